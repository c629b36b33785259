//! The part of a long output that says why something failed: its first panic, and its end.

use std::collections::VecDeque;

/// Lines that are kept from a first panic on: the message and what was compared.
const PANIC_LINES: usize = 10;

/// Longer lines are cut: some messages show everything that was seen.
const LINE_CHARS: usize = 500;

/// What is kept of an output that is taken in line by line.
#[derive(Debug)]
pub(crate) struct Excerpt {
    taken: usize,
    /// Where the first panic begins.
    panic_at: Option<usize>,
    panic: Vec<String>,
    end: VecDeque<String>,
    most: usize,
}

impl Excerpt {
    /// Keeps so many of the last lines, and a panic that was before them.
    pub(crate) fn new(most: usize) -> Self {
        Self { taken: 0, panic_at: None, panic: Vec::new(), end: VecDeque::new(), most }
    }

    /// Takes a line in.
    pub(crate) fn push(&mut self, line: &str) {
        let line: String = line.chars().take(LINE_CHARS).collect();
        if self.panic_at.is_none() && line.contains(" panicked at ") {
            self.panic_at = Some(self.taken);
        }
        if self.panic_at.is_some() && self.panic.len() < PANIC_LINES {
            self.panic.push(line.clone());
        }
        if self.end.len() == self.most {
            self.end.pop_front();
        }
        self.end.push_back(line);
        self.taken += 1;
    }

    /// The lines to show, each once.
    pub(crate) fn lines(&self) -> Vec<String> {
        let end_at = self.taken - self.end.len();
        let before_end = end_at.saturating_sub(self.panic_at.unwrap_or(end_at));
        let mut lines: Vec<String> = self.panic.iter().take(before_end).cloned().collect();
        let left_out = before_end - lines.len();
        if left_out > 0 {
            lines.push(format!("… {left_out} more lines …"));
        }
        lines.extend(self.end.iter().cloned());
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(before: usize, after: usize) -> Vec<String> {
        let mut excerpt = Excerpt::new(3);
        (0..before).for_each(|n| excerpt.push(&format!("before {n}")));
        excerpt.push("thread 'main' panicked at src/lib.rs:1:1:");
        (0..after).for_each(|n| excerpt.push(&format!("after {n}")));
        excerpt.lines()
    }

    #[test]
    fn keeps_the_first_panic_and_the_end() {
        let lines = excerpt(5, 20);
        assert_eq!(lines.len(), PANIC_LINES + 1 + 3);
        assert_eq!(lines[0], "thread 'main' panicked at src/lib.rs:1:1:");
        assert_eq!(lines[PANIC_LINES], "… 8 more lines …");
        assert_eq!(lines[PANIC_LINES + 1..], ["after 17", "after 18", "after 19"]);
    }

    #[test]
    fn shows_every_line_once() {
        assert_eq!(excerpt(5, 1), ["before 4", "thread 'main' panicked at src/lib.rs:1:1:", "after 0"]);
        let lines = excerpt(0, PANIC_LINES);
        assert_eq!(lines.len(), PANIC_LINES + 1, "{lines:?}");
        assert_eq!(lines.last().map(String::as_str), Some("after 9"));
    }

    #[test]
    fn without_a_panic_the_end_is_all() {
        let mut excerpt = Excerpt::new(2);
        ["one", "two", "three"].iter().for_each(|line| excerpt.push(line));
        assert_eq!(excerpt.lines(), ["two", "three"]);
    }

    #[test]
    fn long_lines_are_cut() {
        let mut excerpt = Excerpt::new(1);
        excerpt.push(&"é".repeat(LINE_CHARS + 1));
        assert_eq!(excerpt.lines(), ["é".repeat(LINE_CHARS)]);
    }
}
