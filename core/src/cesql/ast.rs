//! An expression as a tree, and the tree as text: what is printed reads as the same tree again.

use std::fmt;

use super::error::Span;

/// An expression; where it stands does not make it another.
#[derive(Clone, Debug)]
pub(super) struct Expr {
    pub(super) kind: ExprKind,
    pub(super) span: Span,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum ExprKind {
    String(String),
    Integer(i32),
    Boolean(bool),
    /// The name of an attribute, in lower case (SQLG-05).
    Attribute(String),
    Exists(String),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    /// Two operands and more; the last is no chain of the same operator, because such a chain is this one's tail.
    Logic(LogicOperator, Vec<Expr>),
    Binary(BinaryOperator, Box<[Expr; 2]>),
    Like {
        is_negated: bool,
        operand: Box<Expr>,
        pattern: String,
    },
    In {
        is_negated: bool,
        operand: Box<Expr>,
        set: Vec<Expr>,
    },
    /// The name of the function is in upper case.
    Call {
        function: String,
        arguments: Vec<Expr>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogicOperator {
    And,
    Or,
    Xor,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BinaryOperator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

/// How tightly an expression holds its parts together, from loose to tight (SQLG-08).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Precedence {
    Logic,
    Comparison,
    Additive,
    Multiplicative,
    /// `LIKE` and `IN`, which stand behind their operand.
    Suffix,
    /// `NOT` and the minus sign.
    Prefix,
    Primary,
}

impl Precedence {
    pub(super) fn tighter(self) -> Self {
        match self {
            Self::Logic => Self::Comparison,
            Self::Comparison => Self::Additive,
            Self::Additive => Self::Multiplicative,
            Self::Multiplicative => Self::Suffix,
            Self::Suffix => Self::Prefix,
            Self::Prefix | Self::Primary => Self::Primary,
        }
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

impl LogicOperator {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
            Self::Xor => "XOR",
        }
    }
}

impl BinaryOperator {
    pub(super) fn of_symbol(symbol: &str) -> Option<Self> {
        Some(match symbol {
            "=" => Self::Equal,
            "!=" | "<>" => Self::Unequal,
            "<" => Self::Less,
            "<=" => Self::LessOrEqual,
            ">" => Self::Greater,
            ">=" => Self::GreaterOrEqual,
            "+" => Self::Add,
            "-" => Self::Subtract,
            "*" => Self::Multiply,
            "/" => Self::Divide,
            "%" => Self::Remainder,
            _ => return None,
        })
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }

    pub(super) fn precedence(self) -> Precedence {
        match self {
            Self::Equal
            | Self::Unequal
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual => Precedence::Comparison,
            Self::Add | Self::Subtract => Precedence::Additive,
            Self::Multiply | Self::Divide | Self::Remainder => Precedence::Multiplicative,
        }
    }
}

impl Expr {
    fn precedence(&self) -> Precedence {
        match &self.kind {
            ExprKind::Logic(..) => Precedence::Logic,
            ExprKind::Binary(operator, _) => operator.precedence(),
            ExprKind::Like { .. } | ExprKind::In { .. } => Precedence::Suffix,
            ExprKind::Not(_) | ExprKind::Negate(_) => Precedence::Prefix,
            ExprKind::String(_)
            | ExprKind::Integer(_)
            | ExprKind::Boolean(_)
            | ExprKind::Attribute(_)
            | ExprKind::Exists(_)
            | ExprKind::Call { .. } => Precedence::Primary,
        }
    }

    /// The text of the expression where something of this precedence is needed.
    fn at(&self, least: Precedence) -> Printed<'_> {
        Printed { expr: self, needs_parentheses: self.precedence() < least }
    }
}

struct Printed<'a> {
    expr: &'a Expr,
    needs_parentheses: bool,
}

impl fmt::Display for Printed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.needs_parentheses { write!(f, "({})", self.expr) } else { self.expr.fmt(f) }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |is_negated: &bool| if *is_negated { " NOT" } else { "" };
        match &self.kind {
            ExprKind::String(text) => quoted(f, text),
            ExprKind::Integer(number) => write!(f, "{number}"),
            ExprKind::Boolean(true) => f.write_str("TRUE"),
            ExprKind::Boolean(false) => f.write_str("FALSE"),
            ExprKind::Attribute(name) => f.write_str(name),
            ExprKind::Exists(name) => write!(f, "EXISTS {name}"),
            ExprKind::Not(operand) => write!(f, "NOT {}", operand.at(Precedence::Prefix)),
            // Without the parentheses the sign would be the number's own.
            ExprKind::Negate(operand) if matches!(operand.kind, ExprKind::Integer(0..)) => {
                write!(f, "-({operand})")
            }
            ExprKind::Negate(operand) => write!(f, "-{}", operand.at(Precedence::Prefix)),
            ExprKind::Logic(operator, operands) => {
                for (place, operand) in operands.iter().enumerate() {
                    if place > 0 {
                        write!(f, " {} ", operator.as_str())?;
                    }
                    operand.at(Precedence::Comparison).fmt(f)?;
                }
                Ok(())
            }
            ExprKind::Binary(operator, operands) => {
                let [left, right] = &**operands;
                let precedence = operator.precedence();
                let (left, right) = (left.at(precedence), right.at(precedence.tighter()));
                write!(f, "{left} {} {right}", operator.as_str())
            }
            ExprKind::Like { is_negated, operand, pattern } => {
                write!(f, "{}{} LIKE ", operand.at(Precedence::Suffix), not(is_negated))?;
                quoted(f, pattern)
            }
            ExprKind::In { is_negated, operand, set } => {
                write!(f, "{}{} IN ", operand.at(Precedence::Suffix), not(is_negated))?;
                list(f, set)
            }
            ExprKind::Call { function, arguments } => {
                f.write_str(function)?;
                list(f, arguments)
            }
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, elements: &[Expr]) -> fmt::Result {
    f.write_str("(")?;
    for (place, element) in elements.iter().enumerate() {
        if place > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{element}")?;
    }
    f.write_str(")")
}

/// Some texts can be written between single quotes only and some between double quotes only, because a backslash
/// that stands for itself cannot stand before the delimiter.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    match escaped(text, '\'') {
        Some(escaped) => write!(f, "'{escaped}'"),
        None => write!(f, "\"{}\"", escaped(text, '"').unwrap_or_default()),
    }
}

/// A text as a literal writes it between delimiters, if it can.
fn escaped(text: &str, delimiter: char) -> Option<String> {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        if character == '\\' {
            let next = characters.next().filter(|next| *next != delimiter)?;
            escaped.extend([character, next]);
        } else if character == delimiter {
            escaped.extend(['\\', delimiter]);
        } else {
            escaped.push(character);
        }
    }
    Some(escaped)
}
