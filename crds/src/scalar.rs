//! Finds a place within a text of a file: what YAML made of the characters there is undone step by step.
//!
//! Blanks and line breaks are not compared, because folding changes them.

use std::iter::Peekable;
use std::str::Chars;

use crate::yaml::Place;

/// Where the byte `offset` of `text` stands in a file, if the text starts at `start`. Where the file has something
/// that this does not know, the place is the last one that it does.
pub(crate) fn place_within(file: &str, start: Place, text: &str, offset: usize) -> Place {
    let before: usize = file.split_inclusive('\n').take(start.line - 1).map(str::len).sum();
    let line = &file[before..];
    let column = line.char_indices().nth(start.column - 1).map_or(line.len(), |(bytes, _)| bytes);
    let characters = line[column..].chars().peekable();
    let mut raw = Raw { characters, style: Style::Plain, place: start };
    raw.open();
    for character in text[..offset.min(text.len())].chars().filter(|character| !character.is_whitespace()) {
        raw.skip_blanks();
        if !raw.takes(character) {
            return raw.place;
        }
    }
    if offset < text.len() {
        raw.skip_blanks();
    }
    raw.place
}

/// The characters of a file, from a text on.
struct Raw<'a> {
    characters: Peekable<Chars<'a>>,
    style: Style,
    place: Place,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Style {
    /// Without quotes, or a block.
    Plain,
    Single,
    Double,
}

impl Raw<'_> {
    /// Passes what stands before the text itself.
    fn open(&mut self) {
        match self.characters.peek() {
            Some('\'') => self.style = Style::Single,
            Some('"') => self.style = Style::Double,
            Some('|' | '>') => while self.next().is_some_and(|character| character != '\n') {},
            _ => {}
        }
        if self.style != Style::Plain {
            self.next();
        }
    }

    fn next(&mut self) -> Option<char> {
        let character = self.characters.next()?;
        if character == '\n' {
            self.place = Place { line: self.place.line + 1, column: 1 };
        } else {
            self.place.column += 1;
        }
        Some(character)
    }

    fn skip_blanks(&mut self) {
        loop {
            let mut ahead = self.characters.clone();
            match (ahead.next(), ahead.next()) {
                (Some(blank), _) if blank.is_whitespace() => {}
                (Some('\\'), Some('n' | 't' | 'r' | ' ' | '\n')) if self.style == Style::Double => {
                    self.next();
                }
                _ => return,
            }
            self.next();
        }
    }

    /// Passes what stands for this character.
    fn takes(&mut self, character: char) -> bool {
        let Some(first) = self.characters.peek().copied() else { return false };
        if self.style == Style::Double && first == '\\' {
            let digits = match self.characters.clone().nth(1) {
                Some('x') => 2,
                Some('u') => 4,
                Some('U') => 8,
                _ => 0,
            };
            for _ in 0..2 + digits {
                self.next();
            }
            return true;
        }
        if first != character {
            return false;
        }
        self.next();
        if self.style == Style::Single && character == '\'' {
            self.next();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::{self, Value};

    #[track_caller]
    fn assert_place(file: &str, wanted: &str, line: usize, column: usize) {
        let (documents, error) = yaml::documents(file);
        assert!(error.is_none(), "{file}: {error:?}");
        let node = &documents[0].entry("k").expect("a key").node;
        let (Value::Plain(text) | Value::Text(text)) = &node.value else { panic!("{file} has no text") };
        let offset = text.find(wanted).expect("it is in the text");
        assert_eq!(place_within(file, node.place, text, offset), Place { line, column }, "{file}");
    }

    #[test]
    fn a_place_in_a_text_is_found_however_the_text_is_written() {
        assert_place("k: abc def\n", "def", 1, 8);
        assert_place("a: 1\nk:   über x\n", "x", 2, 11);
        assert_place("k: abc\n   def\n", "def", 2, 4);
        assert_place("k: 'abc def'\n", "def", 1, 9);
        assert_place("k: 'it''s x'\n", "x", 1, 11);
        assert_place("k: 'a\n   b'\n", "b", 2, 4);
        assert_place("k: \"abc def\"\n", "def", 1, 9);
        assert_place("k: \"a\\\"b\\\\ x\"\n", "x", 1, 12);
        assert_place("k: \"\\u00fc\\x41\\tx\"\n", "x", 1, 17);
        assert_place("k: \"a \\\n  b\"\n", "b", 2, 3);
        assert_place("k: |\n  abc\n  def\n", "def", 3, 3);
        assert_place("k: >-\n  abc\n  def\n", "def", 3, 3);
        assert_place("k: |2-\n   abc\n", "abc", 2, 4);
    }

    #[test]
    fn the_end_of_a_text_is_behind_its_last_character() {
        assert_eq!(
            place_within("k: abc\n", Place { line: 1, column: 4 }, "abc", 3),
            Place { line: 1, column: 7 }
        );
    }

    #[test]
    fn a_text_that_is_not_there_has_some_place() {
        let start = Place { line: 3, column: 9 };
        assert_eq!(place_within("k: 1\n", start, "abc", 2), start);
        assert_eq!(place_within("", start, "abc", 2), start);
    }
}
