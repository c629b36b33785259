//! Counts passed and failed tests from the summary lines of nextest and of cargo test.

/// What the summaries have said so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed or timed out.
    pub(crate) failed: u64,
}

impl Tally {
    /// Takes one line of output in; lines that are no summary change nothing.
    pub(crate) fn count(&mut self, line: &str) {
        // What a failed test printed is shown again, indented: its own summary is not another's.
        let counts = match line.strip_prefix("test result:") {
            Some(rest) => rest,
            None if line.trim_start().starts_with("Summary [") => line,
            None => return,
        };
        // `12 passed (1 slow), 1 failed, 2 timed out, 0 skipped`
        for part in counts.split([',', ':', ';', '.']) {
            let mut words = part.split_whitespace();
            while let Some(word) = words.next() {
                let Ok(number) = word.parse::<u64>() else { continue };
                match words.next() {
                    Some("passed") => self.passed += number,
                    Some("failed" | "timed") => self.failed += number,
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(lines: &[&str]) -> (u64, u64) {
        let mut tally = Tally::default();
        for line in lines {
            tally.count(line);
        }
        (tally.passed, tally.failed)
    }

    #[test]
    fn adds_up_the_summaries_of_both_runners() {
        let nextest =
            "     Summary [   9.731s] 310 tests run: 307 passed (2 slow), 2 failed, 1 timed out, 0 skipped";
        let cargo = "test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out";
        assert_eq!(counted(&[nextest, cargo]), (312, 4));
    }

    #[test]
    fn other_lines_count_for_nothing() {
        assert_eq!(
            counted(&[
                "        PASS [   0.006s] 3 passed",
                "running 12 tests",
                "    test result: FAILED. 0 passed; 1 failed"
            ]),
            (0, 0)
        );
    }
}
