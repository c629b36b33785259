//! An expression made ready for evaluation: functions and attributes resolved, patterns taken apart, and what
//! does not depend on the event computed.

use std::borrow::Cow;
use std::sync::Arc;

use super::ast::{BinaryOperator, Expr, ExprKind, LogicOperator};
use super::error::{EvaluationError, Remark, Span};
use super::folding::Folding;
use super::function::{self, Signature};
use super::like::Pattern;
use super::value::{Type, Value};
use crate::event::{Event, SpecVersion, ValueType};

/// A part of a program.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) span: Span,
}

#[derive(Debug)]
pub(super) enum NodeKind {
    /// What the part comes to with every event.
    Constant {
        value: Constant,
        errors: Box<[EvaluationError]>,
    },
    Attribute(Attribute),
    Exists(Attribute),
    Not(Box<Node>),
    Negate(Box<Node>),
    Logic(LogicOperator, Box<[Node]>),
    Binary(BinaryOperator, Box<[Node; 2]>),
    Like {
        is_negated: bool,
        operand: Box<Node>,
        pattern: Pattern,
    },
    In {
        is_negated: bool,
        operand: Box<Node>,
        set: Box<[Node]>,
    },
    Call {
        signature: &'static Signature,
        arguments: Box<[Node]>,
    },
    Missing {
        function: Box<str>,
        arguments: usize,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Constant {
    String(Arc<str>),
    Integer(i32),
    Boolean(bool),
}

/// The name of an attribute, and how an event is asked for it.
#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    pub(crate) name: Arc<str>,
    kind: AttributeKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AttributeKind {
    SpecVersion,
    /// CloudEvents 0.3 calls it `schemaurl`.
    DataSchema,
    /// Another attribute of the specification: always a String.
    Core,
    Extension,
}

impl Constant {
    pub(super) fn value(&self) -> Value<'_> {
        match self {
            Self::String(text) => Value::String(Cow::Borrowed(text)),
            Self::Integer(number) => Value::Integer(*number),
            Self::Boolean(truth) => Value::Boolean(*truth),
        }
    }
}

impl From<Value<'_>> for Constant {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::String(text) => Self::String(text.into()),
            Value::Integer(number) => Self::Integer(number),
            Value::Boolean(truth) => Self::Boolean(truth),
        }
    }
}

impl Attribute {
    fn new(name: &str) -> Self {
        let kind = match name {
            "specversion" => AttributeKind::SpecVersion,
            "dataschema" => AttributeKind::DataSchema,
            "id" | "source" | "type" | "subject" | "time" | "datacontenttype" => AttributeKind::Core,
            _ => AttributeKind::Extension,
        };
        Self { name: name.into(), kind }
    }

    /// Whether its values are Strings in every event.
    pub(super) fn is_string(&self) -> bool {
        self.kind != AttributeKind::Extension
    }

    fn is_required(&self) -> bool {
        matches!(&*self.name, "specversion" | "id" | "source" | "type")
    }

    /// The text that the event has for it under its own name, unless it is typed otherwise.
    pub(super) fn text_of<'e>(&self, event: &'e Event) -> Option<&'e str> {
        let found = event.attributes().iter().find(|attribute| *attribute.name == *self.name)?;
        (found.value_type == ValueType::String).then_some(&*found.value)
    }

    /// What the event has for it.
    pub(crate) fn of<'e>(&self, event: &'e Event) -> Option<Value<'e>> {
        if self.kind == AttributeKind::SpecVersion {
            return Some(Value::String(Cow::Borrowed(event.spec_version().as_str())));
        }
        let find = |name: &str| event.attributes().iter().find(|attribute| attribute.name == name);
        let found = match self.kind {
            AttributeKind::DataSchema if event.spec_version() == SpecVersion::V03 => {
                find(&self.name).or_else(|| find("schemaurl"))
            }
            _ => find(&self.name),
        };
        let attribute = found?;
        let typed = match attribute.value_type {
            ValueType::String => None,
            ValueType::Boolean => attribute.value.parse().ok().map(Value::Boolean),
            ValueType::Integer => attribute.value.parse().ok().map(Value::Integer),
        };
        Some(typed.unwrap_or(Value::String(Cow::Borrowed(&attribute.value))))
    }
}

impl Node {
    /// Makes an expression ready, and computes what does not depend on the event as far as `folding` goes.
    pub(super) fn new(expr: &Expr, folding: &mut Folding<'_>) -> Self {
        let kind = match &expr.kind {
            ExprKind::String(text) => NodeKind::constant(Constant::String(text.as_str().into())),
            ExprKind::Integer(number) => NodeKind::constant(Constant::Integer(*number)),
            ExprKind::Boolean(truth) => NodeKind::constant(Constant::Boolean(*truth)),
            ExprKind::Attribute(name) => NodeKind::Attribute(Attribute::new(name)),
            ExprKind::Exists(name) => match Attribute::new(name) {
                // SQLS-05
                attribute if attribute.is_required() => NodeKind::constant(Constant::Boolean(true)),
                attribute => NodeKind::Exists(attribute),
            },
            ExprKind::Not(operand) => NodeKind::Not(Self::boxed(operand, folding)),
            ExprKind::Negate(operand) => NodeKind::Negate(Self::boxed(operand, folding)),
            ExprKind::Logic(operator, operands) => NodeKind::Logic(*operator, Self::all(operands, folding)),
            ExprKind::Binary(operator, operands) => {
                let [left, right] = &**operands;
                NodeKind::Binary(*operator, Box::new([Self::new(left, folding), Self::new(right, folding)]))
            }
            ExprKind::Like { is_negated, operand, pattern } => NodeKind::Like {
                is_negated: *is_negated,
                operand: Self::boxed(operand, folding),
                pattern: Pattern::new(pattern),
            },
            ExprKind::In { is_negated, operand, set } => NodeKind::In {
                is_negated: *is_negated,
                operand: Self::boxed(operand, folding),
                set: Self::all(set, folding),
            },
            ExprKind::Call { function, arguments } => match function::resolve(function, arguments.len()) {
                Some(signature) => NodeKind::Call { signature, arguments: Self::all(arguments, folding) },
                // The arguments of a call to nothing are not evaluated (SQLS-16).
                None => NodeKind::Missing { function: function.as_str().into(), arguments: arguments.len() },
            },
        };
        folding.fold(Self { kind, span: expr.span })
    }

    fn boxed(expr: &Expr, folding: &mut Folding<'_>) -> Box<Self> {
        Box::new(Self::new(expr, folding))
    }

    fn all(exprs: &[Expr], folding: &mut Folding<'_>) -> Box<[Self]> {
        exprs.iter().map(|expr| Self::new(expr, folding)).collect()
    }

    /// What the node is made of, in the order of evaluation.
    pub(super) fn operands(&self) -> impl Iterator<Item = &Self> {
        let (first, rest): (Option<&Self>, &[Self]) = match &self.kind {
            NodeKind::Constant { .. }
            | NodeKind::Attribute(_)
            | NodeKind::Exists(_)
            | NodeKind::Missing { .. } => (None, &[]),
            NodeKind::Not(operand) | NodeKind::Negate(operand) | NodeKind::Like { operand, .. } => {
                (Some(operand), &[])
            }
            NodeKind::Logic(_, operands) => (None, operands),
            NodeKind::Binary(_, operands) => (None, &**operands),
            NodeKind::In { operand, set, .. } => (Some(operand), set),
            NodeKind::Call { arguments, .. } => (None, arguments),
        };
        first.into_iter().chain(rest)
    }

    /// What the node comes to when it fails.
    pub(super) fn zero(&self) -> Value<'static> {
        match &self.kind {
            NodeKind::Constant { value, .. } => value.value().value_type(),
            NodeKind::Negate(_) => Type::Integer,
            NodeKind::Binary(operator, _) => match operator {
                BinaryOperator::Add
                | BinaryOperator::Subtract
                | BinaryOperator::Multiply
                | BinaryOperator::Divide
                | BinaryOperator::Remainder => Type::Integer,
                BinaryOperator::Equal
                | BinaryOperator::Unequal
                | BinaryOperator::Less
                | BinaryOperator::LessOrEqual
                | BinaryOperator::Greater
                | BinaryOperator::GreaterOrEqual => Type::Boolean,
            },
            NodeKind::Call { signature, .. } => signature.returns,
            // Of an attribute the type is not known (SQLS-03).
            NodeKind::Attribute(_)
            | NodeKind::Exists(_)
            | NodeKind::Not(_)
            | NodeKind::Logic(..)
            | NodeKind::Like { .. }
            | NodeKind::In { .. }
            | NodeKind::Missing { .. } => Type::Boolean,
        }
        .zero()
    }

    /// What in the program goes wrong with every event that comes there.
    pub(super) fn remarks(&self, remarks: &mut Vec<Remark>) {
        if let NodeKind::Constant { errors, .. } = &self.kind {
            remarks.extend(errors.iter().map(|error| error.remark.clone()));
        }
        self.operands().for_each(|operand| operand.remarks(remarks));
    }
}

impl NodeKind {
    fn constant(value: Constant) -> Self {
        Self::Constant { value, errors: Box::default() }
    }
}
