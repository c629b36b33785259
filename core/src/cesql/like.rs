//! The patterns of `LIKE`, taken apart once.
//!
//! Between two `%` stands a segment, and the leftmost place where a segment fits is always good enough, so that
//! nothing is tried twice. A segment without `_` is found in linear time; [`Pattern::cost`] tells the price of
//! the others.

use std::sync::Arc;

/// A pattern: its segments, with a `%` between each and the next (SQLS-13).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pattern(Box<[Segment]>);

/// What stands between two `%`.
#[derive(Clone, Debug, Default, PartialEq)]
struct Segment(Vec<Part>);

#[derive(Clone, Debug, PartialEq)]
enum Part {
    /// Exactly these characters; never empty.
    Text(Arc<str>),
    /// As many characters as there were `_`.
    Any(usize),
}

/// How a text that matches begins.
pub(super) enum Start<'a> {
    /// It is exactly this.
    Whole(&'a Arc<str>),
    /// It starts with this.
    With(&'a Arc<str>),
    /// Any way.
    Open,
}

impl Pattern {
    /// Reads a pattern. Every text is one: a backslash that is before neither `%` nor `_` stands for itself.
    pub(super) fn new(pattern: &str) -> Self {
        let mut segments = Vec::new();
        let mut segment = Segment::default();
        let mut text = String::new();
        let mut characters = pattern.chars().peekable();
        while let Some(character) = characters.next() {
            match character {
                '\\' => text.push(characters.next_if(|next| matches!(next, '%' | '_')).unwrap_or('\\')),
                '%' => {
                    segment.text(&mut text);
                    segments.push(std::mem::take(&mut segment));
                }
                '_' => {
                    segment.text(&mut text);
                    segment.any();
                }
                _ => text.push(character),
            }
        }
        segment.text(&mut text);
        segments.push(segment);
        Self(segments.into())
    }

    /// Whether the pattern fits all of the text.
    pub(super) fn matches(&self, text: &str) -> bool {
        match &*self.0 {
            [] => text.is_empty(),
            [only] => only.strip_start(text).is_some_and(str::is_empty),
            [first, middle @ .., last] => first
                .strip_start(text)
                .and_then(|rest| middle.iter().try_fold(rest, |rest, segment| segment.skip_to_end(rest)))
                .is_some_and(|rest| last.is_end_of(rest)),
        }
    }

    /// How many steps matching a text of this many bytes takes at most.
    pub(super) fn cost(&self, length: usize) -> usize {
        // The first and the last have one place each, where they can stand.
        let floating = match &*self.0 {
            [_, middle @ .., _] => middle,
            _ => &[],
        };
        let tried = floating.iter().filter(|segment| !segment.is_text());
        tried.map(|segment| segment.length().saturating_mul(length)).fold(length, usize::saturating_add)
    }

    /// What a text that matches begins with.
    pub(super) fn start(&self) -> Start<'_> {
        let first = self.0.first().map_or(&[][..], |first| &first.0);
        match (first, self.0.len()) {
            ([Part::Text(text)], 1) => Start::Whole(text),
            ([Part::Text(text), ..], _) => Start::With(text),
            _ => Start::Open,
        }
    }
}

impl Segment {
    fn text(&mut self, text: &mut String) {
        if !text.is_empty() {
            self.0.push(Part::Text(std::mem::take(text).into()));
        }
    }

    fn any(&mut self) {
        match self.0.last_mut() {
            Some(Part::Any(count)) => *count += 1,
            Some(Part::Text(_)) | None => self.0.push(Part::Any(1)),
        }
    }

    /// How many steps trying it at one place takes at most.
    fn length(&self) -> usize {
        let length = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Any(count) => *count,
        };
        self.0.iter().map(length).sum()
    }

    fn is_text(&self) -> bool {
        matches!(&*self.0, [] | [Part::Text(_)])
    }

    /// What follows the segment in a text that starts with it.
    fn strip_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        self.0.iter().try_fold(text, |rest, part| match part {
            Part::Text(wanted) => rest.strip_prefix(&**wanted),
            Part::Any(count) => {
                let mut characters = rest.chars();
                characters.nth(count - 1).map(|_| characters.as_str())
            }
        })
    }

    /// What follows the leftmost place of the segment in the text.
    fn skip_to_end<'t>(&self, text: &'t str) -> Option<&'t str> {
        match &*self.0 {
            [] => Some(text),
            [Part::Text(wanted)] => text.find(&**wanted).map(|start| &text[start + wanted.len()..]),
            _ => text.char_indices().find_map(|(start, _)| self.strip_start(&text[start..])),
        }
    }

    fn is_end_of(&self, text: &str) -> bool {
        let rest = self.0.iter().rev().try_fold(text, |rest, part| match part {
            Part::Text(wanted) => rest.strip_suffix(&**wanted),
            Part::Any(count) => {
                let mut characters = rest.chars();
                characters.nth_back(count - 1).map(|_| characters.as_str())
            }
        });
        rest.is_some()
    }
}
