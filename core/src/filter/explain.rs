//! Why an event passes a filter, or which clause says no.
//!
//! The same tree as the filter, with a verdict and the value seen at each clause; unlike
//! [`Filter::matches`], nothing is cut short. The verdict of the root always equals `matches`.

use std::fmt;

use serde::Serialize;

use crate::cesql::Trace;
use crate::event::Event;
use crate::filter::{Filter, Node};

/// The verdict of a filter, or of a part of one, on an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The part in words: `all of`, `any of`, `not`, or what a clause asks for.
    pub clause: String,
    /// Whether the event passes it.
    pub passes: bool,
    /// What a clause saw; `None` for a part that looks at no attribute itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub saw: Option<Saw>,
    /// What the parts of a CESQL expression came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
    /// The verdicts that this one is made of.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub children: Vec<Explanation>,
}

/// What a clause saw in the event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Saw {
    /// The value of its attribute.
    Value(String),
    /// The event has no such attribute; `null` in JSON.
    Nothing,
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
                let saw = clause.saw(event).map_or(Saw::Nothing, |value| Saw::Value(value.to_owned()));
                return Explanation {
                    clause: clause.to_string(),
                    passes: clause.matches(event),
                    saw: Some(saw),
                    trace: None,
                    children,
                };
            }
            Node::Cesql(expression) => {
                return Explanation {
                    clause: self.to_string(),
                    passes: expression.passes(event),
                    saw: None,
                    trace: Some(expression.trace(event)),
                    children,
                };
            }
            Node::All(_) => ("all of".to_owned(), passed.all(|passed| passed)),
            Node::Any(_) => ("any of".to_owned(), passed.any(|passed| passed)),
            Node::Not(_) => ("not".to_owned(), passed.any(|passed| !passed)),
        };
        Explanation { clause, passes, saw: None, trace: None, children }
    }
}

impl Explanation {
    fn write_at(&self, f: &mut fmt::Formatter<'_>, depth: usize) -> fmt::Result {
        let mark = if self.passes { '✓' } else { '✗' };
        write!(f, "{:indent$}{mark} {}", "", self.clause, indent = 2 * depth)?;
        match &self.saw {
            Some(Saw::Value(value)) if !self.passes => write!(f, ", but it is {value:?}")?,
            Some(Saw::Value(value)) => write!(f, ": {value:?}")?,
            Some(Saw::Nothing) => f.write_str(", but the event has no such attribute")?,
            None => {}
        }
        if let Some(trace) = &self.trace {
            writeln!(f)?;
            trace.write_at(f, depth + 1)?;
        }
        for child in &self.children {
            writeln!(f)?;
            child.write_at(f, depth + 1)?;
        }
        Ok(())
    }
}

/// One line per part, indented by two blanks per level, without a line break at the end.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write_at(f, 0)
    }
}
