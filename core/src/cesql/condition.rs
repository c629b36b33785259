//! What an event cannot do without to pass an expression, where comparing the text of an attribute can tell.

use std::sync::Arc;

use super::ast::{BinaryOperator, LogicOperator};
use super::like::Start;
use super::program::{Attribute, Constant, Node, NodeKind};
use super::value::is_canonical;

/// A condition that every event that passes meets; others may meet it too.
pub(crate) enum Condition<'a> {
    /// None that is known.
    Open,
    /// The attribute has exactly this text.
    Is(&'a Arc<str>, &'a Arc<str>),
    /// The text of the attribute starts with this.
    StartsWith(&'a Arc<str>, &'a Arc<str>),
    All(Vec<Condition<'a>>),
    Any(Vec<Condition<'a>>),
}

impl Node {
    /// The condition for this to be TRUE without an error.
    pub(super) fn condition(&self) -> Condition<'_> {
        match &self.kind {
            NodeKind::Logic(LogicOperator::And, operands) => {
                Condition::All(operands.iter().map(Self::condition).collect())
            }
            NodeKind::Logic(LogicOperator::Or, operands) => {
                Condition::Any(operands.iter().map(Self::condition).collect())
            }
            NodeKind::Binary(BinaryOperator::Equal, operands) => match &**operands {
                // The text on the right decides that texts are compared (SQLS-11).
                [Self { kind: NodeKind::Attribute(attribute), .. }, right] => {
                    right.text().map_or(Condition::Open, |text| Condition::Is(&attribute.name, text))
                }
                [left, Self { kind: NodeKind::Attribute(attribute), .. }] => left.is_of(attribute),
                _ => Condition::Open,
            },
            NodeKind::Like { is_negated: false, operand, pattern } => {
                match (&operand.kind, pattern.start()) {
                    (NodeKind::Attribute(attribute), Start::Whole(text)) => {
                        Condition::Is(&attribute.name, text)
                    }
                    (NodeKind::Attribute(attribute), Start::With(text)) => {
                        Condition::StartsWith(&attribute.name, text)
                    }
                    _ => Condition::Open,
                }
            }
            NodeKind::In { is_negated: false, operand, set } => match &operand.kind {
                NodeKind::Attribute(attribute) => {
                    Condition::Any(set.iter().map(|element| element.is_of(attribute)).collect())
                }
                _ => Condition::Open,
            },
            _ => Condition::Open,
        }
    }

    fn text(&self) -> Option<&Arc<str>> {
        match &self.kind {
            NodeKind::Constant { value: Constant::String(text), errors } if errors.is_empty() => Some(text),
            _ => None,
        }
    }

    /// That an attribute equals this, cast to the type of the attribute. An extension may be of another type,
    /// and then only a text that no other equals after the cast will do.
    fn is_of<'a>(&'a self, attribute: &'a Attribute) -> Condition<'a> {
        let text = self.text().filter(|text| attribute.is_string() || is_canonical(text));
        text.map_or(Condition::Open, |text| Condition::Is(&attribute.name, text))
    }
}
