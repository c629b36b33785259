//! Gathers the tests that failed from what nextest and cargo test print, to show them again at the end: a record that
//! keeps only the end of a run must say what failed.

use crate::excerpt::Excerpt;

/// Last lines that are shown of a failed test.
const TEST_LINES: usize = 30;

/// Failed tests of which more than the name is shown.
const SHOWN: usize = 8;

/// What has failed so far.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    failed: Vec<Failed>,
    /// The last one is still being printed.
    is_open: bool,
}

#[derive(Debug)]
struct Failed {
    name: String,
    output: Excerpt,
}

impl Failures {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.failed.len()
    }

    /// Takes one line of a test runner's output in.
    pub(crate) fn take(&mut self, line: &str) {
        if let Some((status, name)) = nextest_status(line) {
            self.is_open = is_failure(status) && self.begin(name);
        } else if let Some(name) = doc_test(line) {
            self.is_open = self.begin(name);
        } else if line.starts_with("────") || line == "failures:" || line.starts_with("test result:")
        {
            self.is_open = false;
        } else if let Some(last) = self.failed.last_mut().filter(|_| self.is_open && !line.trim().is_empty())
        {
            last.output.push(line);
        }
    }

    /// Takes in what failed without naming a test: a build, or a runner.
    pub(crate) fn add(&mut self, name: &str, output: Excerpt) {
        self.failed.push(Failed { name: name.to_owned(), output });
        self.is_open = false;
    }

    /// All of them in words: first how, then which.
    pub(crate) fn report(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for Failed { name, output } in self.failed.iter().take(SHOWN) {
            lines.push(format!("== failed: {name}"));
            lines.extend(output.lines());
        }
        if !self.failed.is_empty() {
            lines.push("== failed:".to_owned());
            lines.extend(self.failed.iter().map(|failed| format!("   {}", failed.name)));
        }
        lines
    }

    /// Whether it is new: nextest names them all again in its summary.
    fn begin(&mut self, name: &str) -> bool {
        if self.failed.iter().any(|failed| failed.name == name) {
            return false;
        }
        self.add(name, Excerpt::new(TEST_LINES));
        true
    }
}

/// The status and the name in nextest's line about a test: `        FAIL [   0.346s] (3/5) package module::test`. What
/// tests print is indented, but never so far that it looks like one unless it was meant to.
fn nextest_status(line: &str) -> Option<(&str, &str)> {
    const WIDTH: usize = 12;
    let (status, rest) = line.split_once(" [")?;
    let (time, rest) = rest.split_once("] ")?;
    let is_time = time.ends_with('s') && time.contains('.');
    if status.chars().count() != WIDTH || !is_time {
        return None;
    }
    let name = match rest.strip_prefix('(') {
        Some(numbered) => numbered.split_once(") ")?.1,
        None => rest,
    };
    Some((status.trim(), name.trim()))
}

fn is_failure(status: &str) -> bool {
    status.contains("FAIL") || ["TIMEOUT", "ABORT", "SIG"].iter().any(|end| status.starts_with(end))
}

/// The name in cargo test's heading of what a failed test printed: `---- src/lib.rs - f (line 1) stdout ----`.
fn doc_test(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXTEST: &str = "    Starting 5 tests across 1 binary
        PASS [   0.034s] (1/5) nx t::good
        FAIL [   0.346s] (2/5) nx t::bad
  stdout ───

    running 1 test
    test t::bad ... FAILED

    failures:
        t::bad

    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.31s

  stderr ───

    thread 't::bad' (15401) panicked at src/lib.rs:2:39:
    assertion `left == right` failed: no

        SLOW [>  1.000s] (───) nx t::hang
 TERMINATING [>  2.000s] (───) nx t::hang
     TIMEOUT [   2.016s] (3/5) nx t::hang
  stdout ───

    (test timed out)

     SIGABRT [   0.037s] ( 4/ 5) nx::bin/it t::abort
  stdout ───
    (test aborted with signal 6: SIGABRT)

────────────
     Summary [   2.109s] 5 tests run: 2 passed, 2 failed, 1 timed out, 0 skipped
        FAIL [   0.346s] (2/5) nx t::bad
     TIMEOUT [   2.016s] (3/5) nx t::hang
     SIGABRT [   0.037s] ( 4/ 5) nx::bin/it t::abort
error: test run failed";

    const CARGO: &str = "test src/lib.rs - f (line 4) ... ok
test src/lib.rs - f (line 1) ... FAILED

failures:

---- src/lib.rs - f (line 1) stdout ----
Test executable failed (exit status: 101).

failures:
    src/lib.rs - f (line 1)

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.27s";

    fn gathered(output: &str) -> Failures {
        let mut failures = Failures::default();
        output.lines().for_each(|line| failures.take(line));
        failures
    }

    #[test]
    fn finds_each_failed_test_of_nextest_once_with_its_output() {
        let report = gathered(NEXTEST).report();
        let expected = "== failed: nx t::bad
  stdout ───
    running 1 test
    test t::bad ... FAILED
    failures:
        t::bad
    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.31s
  stderr ───
    thread 't::bad' (15401) panicked at src/lib.rs:2:39:
    assertion `left == right` failed: no
== failed: nx t::hang
  stdout ───
    (test timed out)
== failed: nx::bin/it t::abort
  stdout ───
    (test aborted with signal 6: SIGABRT)
== failed:
   nx t::bad
   nx t::hang
   nx::bin/it t::abort";
        assert_eq!(report.join("\n"), expected);
    }

    #[test]
    fn finds_failed_documentation_tests() {
        let expected = "== failed: src/lib.rs - f (line 1)
Test executable failed (exit status: 101).
== failed:
   src/lib.rs - f (line 1)";
        assert_eq!(gathered(CARGO).report().join("\n"), expected);
    }

    #[test]
    fn many_are_all_named_but_not_all_shown() {
        let all = SHOWN + 20;
        let output: Vec<_> = (0..all)
            .map(|n| format!("        FAIL [   0.346s] ({n}/{all}) nx t::bad_{n}\n    why"))
            .collect();
        let report = gathered(&output.join("\n")).report();
        assert_eq!(report.iter().filter(|line| line.as_str() == "    why").count(), SHOWN);
        assert_eq!(report.last(), Some(&format!("   nx t::bad_{}", all - 1)));
        assert_eq!(report.len(), 2 * SHOWN + 1 + all);
    }

    #[test]
    fn nothing_is_said_when_nothing_failed() {
        let passed = "        PASS [   0.034s] (1/5) nx t::good\n    FAIL [ is what a test printed";
        assert_eq!(gathered(passed).report(), Vec::<String>::new());
    }
}
