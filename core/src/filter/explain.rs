//! Why an event passes a filter, or which clause says no.
//!
//! The same tree as the filter, with a verdict and the value seen at each clause; unlike
//! [`Filter::matches`], nothing is cut short. The verdict of the root always equals `matches`.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};

use crate::cesql::Trace;
use crate::event::Event;
use crate::filter::line::{self, Line, Mark};
use crate::filter::{Filter, Node};
use crate::suggest::nearest_attribute;

/// Of a value that a clause saw, at most this many characters are told.
pub const MAX_SEEN: usize = 1_024;

/// The verdict of a filter, or of a part of one, on an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The part in words: `all of`, `any of`, `not`, or what a clause asks for.
    pub clause: String,
    /// Whether the event passes it.
    pub passes: bool,
    /// What a clause saw; `None` for a part that looks at no attribute itself.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "seen")]
    pub saw: Option<Saw>,
    /// What the author of a clause that the event does not pass may have overlooked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Hint>,
    /// What the parts of a CESQL expression came to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// The verdicts that this one is made of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Explanation>,
}

/// What a clause saw in the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Saw {
    /// The value of its attribute; a long one ends with `…` after [`MAX_SEEN`] characters.
    Value(String),
    /// The event has no such attribute; `null` in JSON.
    Nothing,
}

/// How a clause nearly agrees with the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hint {
    /// The event has an attribute of a similar name.
    SimilarName(String),
    /// Only upper and lower case differ.
    Case,
    /// Only white space at the ends differs.
    WhiteSpace,
}

impl Filter {
    /// Says why the event passes or does not.
    pub fn explain(&self, event: &Event) -> Explanation {
        let children: Vec<_> = self.children().iter().map(|filter| filter.explain(event)).collect();
        let mut passed = children.iter().map(|child| child.passes);
        let (clause, passes) = match &*self.0 {
            Node::Everything => (self.to_string(), true),
            Node::Invalid(_) => (self.to_string(), false),
            Node::Clause(clause) => {
                let (seen, passes) = (clause.saw(event), clause.matches(event));
                let hint = match seen {
                    None => nearest_attribute(event, clause.attribute())
                        .map(|name| Hint::SimilarName(name.to_owned())),
                    Some(seen) => clause.near_miss(seen),
                };
                return Explanation {
                    saw: Some(seen.map_or(Saw::Nothing, Saw::of)),
                    hint: hint.filter(|_| !passes),
                    ..Explanation::new(clause.to_string(), passes)
                };
            }
            Node::Cesql(expression) => {
                let trace = Some(expression.trace(event));
                return Explanation { trace, ..Explanation::new(self.to_string(), expression.passes(event)) };
            }
            Node::All(_) => ("all of".to_owned(), passed.all(|passed| passed)),
            Node::Any(_) => ("any of".to_owned(), passed.any(|passed| passed)),
            Node::Not(_) => ("not".to_owned(), passed.any(|passed| !passed)),
        };
        Explanation { children, ..Explanation::new(clause, passes) }
    }
}

impl Explanation {
    fn new(clause: String, passes: bool) -> Self {
        Self { clause, passes, saw: None, hint: None, trace: None, children: Vec::new() }
    }

    /// The tree, one line per part, each before the parts that it is made of.
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.write_lines(0, &mut lines);
        lines
    }

    fn write_lines(&self, depth: usize, lines: &mut Vec<Line>) {
        let mark = if self.passes { Mark::Passes } else { Mark::Fails };
        let mut text = self.clause.clone();
        match &self.saw {
            Some(Saw::Value(value)) if !self.passes => text.push_str(&format!(", but it is {value:?}")),
            Some(Saw::Value(value)) => text.push_str(&format!(": {value:?}")),
            Some(Saw::Nothing) => text.push_str(", but the event has no such attribute"),
            None => {}
        }
        if let Some(hint) = &self.hint {
            text.push_str(&format!("; {hint}"));
        }
        lines.push(Line { depth, mark, text });
        if let Some(trace) = &self.trace {
            trace.write_lines(depth + 1, lines);
        }
        for child in &self.children {
            child.write_lines(depth + 1, lines);
        }
    }
}

impl Saw {
    fn of(value: &str) -> Self {
        let cut = value.char_indices().nth(MAX_SEEN).map(|(end, _)| format!("{}…", &value[..end]));
        Self::Value(cut.unwrap_or_else(|| value.to_owned()))
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SimilarName(name) => write!(f, "did you mean {name}?"),
            Self::Case => f.write_str("upper and lower case differ"),
            Self::WhiteSpace => f.write_str("white space at the ends differs"),
        }
    }
}

/// One line per part, indented by two blanks per level, without a line break at the end.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        line::write(f, &self.lines())
    }
}

/// `null` says that there is no attribute, and a member that is missing that none was looked at.
fn seen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Saw>, D::Error> {
    Saw::deserialize(deserializer).map(Some)
}
