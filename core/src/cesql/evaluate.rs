//! What an expression comes to with an event: a value, and the errors on the way.
//!
//! An operator or function of which an operand failed fails itself, with the zero value of its type, and is not
//! carried out: so neither `1 / missing` nor `missing / 0` divides (SQLS-03, SQLS-04). It follows that a value is
//! the same whether or not the evaluation goes on after an error to collect the others; a filter does not go on
//! (SQLS-17), and then nothing is allocated for errors.

use std::borrow::Cow;

use super::ast::{BinaryOperator, LogicOperator};
use super::error::{ErrorKind, EvaluationError, Remark};
use super::function::{self, Function};
use super::program::{Attribute, Node, NodeKind};
use super::trace::Traced;
use super::value::{Type, Value};
use super::{MAX_ERRORS, MAX_WORK};
use crate::event::Event;
use crate::suggest::nearest_attribute;

/// A value, which after an error is an `Err`.
pub(super) type Outcome<'e> = Result<Value<'e>, Value<'e>>;

/// Something went wrong; what it was is in the log, if there is one.
#[derive(Clone, Copy)]
pub(super) struct Failed;

pub(super) struct Evaluator<'e, 'l> {
    pub(super) event: Option<&'e Event>,
    source: &'l str,
    /// Where the errors go; without it the evaluation ends with the first.
    pub(super) log: Option<&'l mut Vec<EvaluationError>>,
    /// The parts evaluated so far at the level that is being evaluated, if they are wanted.
    traced: Option<Vec<Traced<'e>>>,
    work: usize,
}

impl<'e, 'l> Evaluator<'e, 'l> {
    /// Stops at the first error, and says no more than that there was one.
    pub(super) fn of_filter(event: &'e Event) -> Self {
        Self { event: Some(event), source: "", log: None, traced: None, work: MAX_WORK }
    }

    /// Collects all errors.
    pub(super) fn new(event: &'e Event, source: &'l str, log: &'l mut Vec<EvaluationError>) -> Self {
        Self { event: Some(event), source, log: Some(log), traced: None, work: MAX_WORK }
    }

    /// Collects all errors, and the value of each part.
    pub(super) fn tracing(event: &'e Event, source: &'l str, log: &'l mut Vec<EvaluationError>) -> Self {
        Self { traced: Some(Vec::new()), ..Self::new(event, source, log) }
    }

    /// For what does not look at an event; takes at most so much work.
    pub(super) fn of_constant(source: &'l str, log: &'l mut Vec<EvaluationError>, work: usize) -> Self {
        Self { event: None, source, log: Some(log), traced: None, work }
    }

    /// What may still be done; 0 once the evaluation was too long.
    pub(super) fn work_left(&self) -> usize {
        self.work
    }

    /// The parts that were evaluated.
    pub(super) fn into_traced(self) -> Vec<Traced<'e>> {
        self.traced.unwrap_or_default()
    }

    /// Whether a filter passes: TRUE, without an error (SQLS-18).
    pub(super) fn passes(&mut self, node: &'e Node) -> bool {
        self.verdict(node) == Some(true)
    }

    /// Whether a value is TRUE; `None` after an error.
    pub(super) fn verdict(&mut self, node: &'e Node) -> Option<bool> {
        match self.equality(node) {
            Some(verdict) => verdict.ok(),
            None => self.evaluate(node).ok().map(|value| value == Value::Boolean(true)),
        }
    }

    pub(super) fn evaluate(&mut self, node: &'e Node) -> Outcome<'e> {
        let Some(siblings) = self.traced.take() else { return self.carry_out(node) };
        self.traced = Some(Vec::new());
        let start = self.logged().len();
        let outcome = self.carry_out(node);
        let parts = self.traced.replace(siblings).unwrap_or_default();
        let logged = start..self.logged().len();
        // What its parts have not said.
        let starts = [logged.start].into_iter().chain(parts.iter().map(|part: &Traced<'_>| part.logged.end));
        let ends = parts.iter().map(|part| part.logged.start).chain([logged.end]);
        let errors = starts.zip(ends).flat_map(|(start, end)| &self.logged()[start..end]).cloned().collect();
        if let Some(siblings) = &mut self.traced {
            siblings.push(Traced { node, outcome: outcome.clone(), errors, logged, parts });
        }
        outcome
    }

    fn logged(&self) -> &[EvaluationError] {
        self.log.as_deref().map_or(&[], Vec::as_slice)
    }

    fn carry_out(&mut self, node: &'e Node) -> Outcome<'e> {
        let value = match &node.kind {
            NodeKind::Constant { value, errors } => {
                if errors.is_empty() {
                    return Ok(value.value());
                }
                if let Some(log) = &mut self.log {
                    let room = MAX_ERRORS - log.len();
                    log.extend(errors.iter().take(room).cloned());
                }
                return Err(value.value());
            }
            NodeKind::Attribute(attribute) => self.attribute(node, attribute),
            NodeKind::Exists(attribute) => {
                let event = self.event.ok_or(Value::Boolean(false))?;
                let charged = self.spend(node, event.attributes().len());
                charged.map(|()| Value::Boolean(attribute.of(event).is_some()))
            }
            NodeKind::Not(operand) => self.boolean(operand).map(|truth| Value::Boolean(!truth)),
            // Like the sums: two's complement, as the Go SDK has it (SQLS-08).
            NodeKind::Negate(operand) => {
                self.integer(operand).map(|number| Value::Integer(number.wrapping_neg()))
            }
            NodeKind::Logic(operator, operands) => self.logic(*operator, operands).map(Value::Boolean),
            NodeKind::Binary(operator, operands) => self.binary(node, *operator, operands),
            NodeKind::Like { is_negated, operand, pattern } => self.string(operand).and_then(|text| {
                self.spend(node, pattern.cost(text.len()))?;
                Ok(Value::Boolean(pattern.matches(&text) != *is_negated))
            }),
            NodeKind::In { is_negated, operand, set } => {
                self.is_in(operand, set).map(|is_in| Value::Boolean(is_in != *is_negated))
            }
            NodeKind::Call { signature, arguments } => {
                return self.call(node, signature.function, arguments);
            }
            NodeKind::Missing { function, arguments } => {
                Err(self.fail(node, ErrorKind::MissingFunction, || function::missing(function, *arguments)))
            }
        };
        value.map_err(|Failed| node.zero())
    }

    fn attribute(&mut self, node: &Node, attribute: &Attribute) -> Result<Value<'e>, Failed> {
        let event = self.event.ok_or(Failed)?;
        self.spend(node, event.attributes().len())?;
        let Some(value) = attribute.of(event) else {
            return Err(self.fail(node, ErrorKind::MissingAttribute, || {
                match nearest_attribute(event, &attribute.name) {
                    Some(near) => {
                        format!("the event has no attribute {}; did you mean {near}?", attribute.name)
                    }
                    None => format!("the event has no attribute {}", attribute.name),
                }
            }));
        };
        if let Value::String(text) = &value {
            self.spend(node, text.len())?;
        }
        Ok(value)
    }

    /// SQLS-06
    fn logic(&mut self, operator: LogicOperator, operands: &'e [Node]) -> Result<bool, Failed> {
        let mut verdict = Ok(operator == LogicOperator::And);
        for operand in operands {
            let truth = self.boolean(operand);
            match (operator, truth) {
                (LogicOperator::And, Ok(true)) | (LogicOperator::Or, Ok(false)) => {}
                // What failed is false.
                (LogicOperator::And, Ok(false)) => return verdict.map(|_| false),
                (LogicOperator::And, Err(Failed)) => return Err(Failed),
                (LogicOperator::Or, Ok(true)) => return verdict.map(|_| true),
                (LogicOperator::Xor, Ok(truth)) => verdict = verdict.map(|verdict| verdict != truth),
                (LogicOperator::Or | LogicOperator::Xor, Err(Failed)) => {
                    verdict = Err(Failed);
                    if self.log.is_none() {
                        return verdict;
                    }
                }
            }
        }
        verdict
    }

    fn binary(
        &mut self,
        node: &Node,
        operator: BinaryOperator,
        [left, right]: &'e [Node; 2],
    ) -> Result<Value<'e>, Failed> {
        use BinaryOperator as Operator;
        let compute: fn(i32, i32) -> i32 = match operator {
            Operator::Equal | Operator::Unequal => {
                let (x, y) = self.both(left, right, Self::value)?;
                let is_equal = self.equal(left, &x, &y)?;
                return Ok(Value::Boolean(is_equal == (operator == Operator::Equal)));
            }
            Operator::Less => return self.ordered(left, right, |x, y| x < y),
            Operator::LessOrEqual => return self.ordered(left, right, |x, y| x <= y),
            Operator::Greater => return self.ordered(left, right, |x, y| x > y),
            Operator::GreaterOrEqual => return self.ordered(left, right, |x, y| x >= y),
            // SQLS-08
            Operator::Add => i32::wrapping_add,
            Operator::Subtract => i32::wrapping_sub,
            Operator::Multiply => i32::wrapping_mul,
            Operator::Divide => i32::wrapping_div,
            Operator::Remainder => i32::wrapping_rem,
        };
        let (x, y) = self.both(left, right, Self::integer)?;
        // SQLS-07
        if let (Operator::Divide | Operator::Remainder, 0) = (operator, y) {
            return Err(self.fail(node, ErrorKind::Math, || format!("{x} cannot be divided by 0")));
        }
        Ok(Value::Integer(compute(x, y)))
    }

    fn ordered(
        &mut self,
        left: &'e Node,
        right: &'e Node,
        is_so: fn(i32, i32) -> bool,
    ) -> Result<Value<'e>, Failed> {
        let (x, y) = self.both(left, right, Self::integer)?;
        Ok(Value::Boolean(is_so(x, y)))
    }

    /// Whether a value equals another, whose type decides (SQLS-11).
    fn equal(&mut self, node: &Node, value: &Value<'_>, target: &Value<'_>) -> Result<bool, Failed> {
        let equal = value.equals(target);
        equal.ok_or_else(|| self.no_cast(node, value, target.value_type()))
    }

    /// Stops at the first element that is equal or cannot be compared (SQLS-12).
    fn is_in(&mut self, operand: &'e Node, set: &'e [Node]) -> Result<bool, Failed> {
        let wanted = self.value(operand)?;
        for element in set {
            let value = self.value(element)?;
            if self.equal(element, &value, &wanted)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn call(&mut self, node: &'e Node, function: Function, arguments: &'e [Node]) -> Outcome<'e> {
        let value = match (function, arguments) {
            (Function::Int, [x]) => self.integer(x).map(Value::Integer),
            (Function::Bool, [x]) => self.boolean(x).map(Value::Boolean),
            (Function::String, [x]) => self.string(x).map(Value::String),
            (Function::IsInt, [x]) => self.value(x).map(|x| Value::Boolean(x.to_integer().is_some())),
            (Function::IsBool, [x]) => self.value(x).map(|x| Value::Boolean(x.to_boolean().is_some())),
            (Function::Abs, [x]) => match self.integer(x) {
                // SQLS-09
                Ok(i32::MIN) => {
                    self.fail(node, ErrorKind::Math, || format!("{} has no absolute value", i32::MIN));
                    return Err(Value::Integer(i32::MAX));
                }
                number => number.map(|number| Value::Integer(number.abs())),
            },
            (Function::Length, [x]) => self.string(x).map(|text| Value::Integer(length(&text))),
            (Function::Concat, texts) => self.concat(node, None, texts),
            (Function::ConcatWs, [separator, texts @ ..]) => self.concat(node, Some(separator), texts),
            (Function::Lower, [x]) => self.mapped(node, x, str::to_lowercase),
            (Function::Upper, [x]) => self.mapped(node, x, str::to_uppercase),
            (Function::Trim, [x]) => self.string(x).map(|text| Value::String(part(text, str::trim))),
            (Function::Left | Function::Right, [x, count]) => match self.text_and_number(x, count) {
                Ok((text, count)) => return self.side(node, function, text, count),
                Err(Failed) => Err(Failed),
            },
            (Function::SubstringFrom, [x, start]) => self
                .text_and_number(x, start)
                .and_then(|(text, start)| self.substring(node, text, start, i32::MAX)),
            (Function::Substring, [x, start, count]) => {
                let both = self.text_and_number(x, start);
                let count =
                    if both.is_err() && self.log.is_none() { Err(Failed) } else { self.integer(count) };
                both.and_then(|(text, start)| self.substring(node, text, start, count?))
            }
            // The signature says how many arguments there are.
            _ => Err(self.fail(node, ErrorKind::Generic, || "the call has other arguments".to_owned())),
        };
        value.map_err(|Failed| node.zero())
    }

    fn concat(
        &mut self,
        node: &Node,
        separator: Option<&'e Node>,
        texts: &'e [Node],
    ) -> Result<Value<'e>, Failed> {
        let separator = separator.map_or(Ok(Cow::Borrowed("")), |separator| self.string(separator));
        let mut joined = separator.as_ref().map(|_| String::new()).map_err(|Failed| Failed);
        for (place, text) in texts.iter().enumerate() {
            if joined.is_err() && self.log.is_none() {
                break;
            }
            let text = self.string(text);
            joined = match (joined, text, &separator) {
                (Ok(mut joined), Ok(text), Ok(separator)) => {
                    let separator = if place > 0 { separator } else { "" };
                    self.spend(node, separator.len() + text.len())?;
                    joined.push_str(separator);
                    joined.push_str(&text);
                    Ok(joined)
                }
                _ => Err(Failed),
            };
        }
        joined.map(|text| Value::String(Cow::Owned(text)))
    }

    fn mapped(&mut self, node: &Node, x: &'e Node, map: fn(&str) -> String) -> Result<Value<'e>, Failed> {
        let text = self.string(x)?;
        self.spend(node, text.len())?;
        Ok(Value::String(Cow::Owned(map(&text))))
    }

    /// `LEFT` and `RIGHT`, which have a result beside their error (SQLS-15).
    fn side(&mut self, node: &Node, function: Function, text: Cow<'e, str>, count: i32) -> Outcome<'e> {
        let Ok(count) = usize::try_from(count) else {
            self.fail(node, ErrorKind::FunctionEvaluation, || {
                format!("the number of characters is {count}; it cannot be negative")
            });
            return Err(Value::String(text));
        };
        Ok(Value::String(part(text, |text| match (function, count) {
            (Function::Left, _) => &text[..nth(text, count)],
            (_, 0) => "",
            _ => {
                let start = text.char_indices().nth_back(count - 1).map_or(0, |(start, _)| start);
                &text[start..]
            }
        })))
    }

    /// SQLS-15
    fn substring(
        &mut self,
        node: &Node,
        text: Cow<'e, str>,
        start: i32,
        count: i32,
    ) -> Result<Value<'e>, Failed> {
        let length = length(&text);
        let Ok(count) = usize::try_from(count) else {
            return Err(self.fail(node, ErrorKind::FunctionEvaluation, || {
                format!("the length is {count}; it cannot be negative")
            }));
        };
        if start > length || start < -length {
            return Err(self.fail(node, ErrorKind::FunctionEvaluation, || {
                format!("the position is {start}, and the text has {length} characters")
            }));
        }
        let skipped = match start {
            0 => return Ok(Value::String(Cow::Borrowed(""))),
            1.. => start - 1,
            _ => length + start,
        };
        let skipped = usize::try_from(skipped).map_err(|_| Failed)?;
        Ok(Value::String(part(text, |text| {
            let rest = &text[nth(text, skipped)..];
            &rest[..nth(rest, count)]
        })))
    }

    /// Two operands; the second is looked at after the first failed only if its errors are wanted.
    fn both<T>(
        &mut self,
        left: &'e Node,
        right: &'e Node,
        read: impl Fn(&mut Self, &'e Node) -> Result<T, Failed>,
    ) -> Result<(T, T), Failed> {
        let left = read(self, left);
        if left.is_err() && self.log.is_none() {
            return Err(Failed);
        }
        let right = read(self, right);
        Ok((left?, right?))
    }

    fn text_and_number(&mut self, x: &'e Node, y: &'e Node) -> Result<(Cow<'e, str>, i32), Failed> {
        let text = self.string(x);
        if text.is_err() && self.log.is_none() {
            return Err(Failed);
        }
        let number = self.integer(y);
        Ok((text?, number?))
    }

    fn value(&mut self, node: &'e Node) -> Result<Value<'e>, Failed> {
        // Most operands are leaves, which need no outcome with a zero value: IN takes a fifth less for that.
        match &node.kind {
            NodeKind::Attribute(attribute) if self.traced.is_none() => self.attribute(node, attribute),
            NodeKind::Constant { value, errors } if self.traced.is_none() && errors.is_empty() => {
                Ok(value.value())
            }
            _ => self.evaluate(node).map_err(|_| Failed),
        }
    }

    fn string(&mut self, node: &'e Node) -> Result<Cow<'e, str>, Failed> {
        let text = self.value(node)?.into_string();
        self.spend(node, text.len())?;
        Ok(text)
    }

    fn integer(&mut self, node: &'e Node) -> Result<i32, Failed> {
        let value = self.value(node)?;
        value.to_integer().ok_or_else(|| self.no_cast(node, &value, Type::Integer))
    }

    fn boolean(&mut self, node: &'e Node) -> Result<bool, Failed> {
        if let Some(verdict) = self.equality(node) {
            return verdict;
        }
        let value = self.value(node)?;
        value.to_boolean().ok_or_else(|| self.no_cast(node, &value, Type::Boolean))
    }

    fn no_cast(&mut self, node: &Node, value: &Value<'_>, to: Type) -> Failed {
        const MOST: usize = 64;
        self.fail(node, ErrorKind::Cast, || {
            let text = value.to_string();
            let shown: String = text.chars().take(MOST).collect();
            let rest = if text.chars().nth(MOST).is_some() { "…" } else { "" };
            format!("{shown}{rest} is not {to}")
        })
    }

    /// Takes from what the evaluation may spend, so that its time is bounded whatever the event and the expression.
    pub(super) fn spend(&mut self, node: &Node, work: usize) -> Result<(), Failed> {
        match self.work.checked_sub(work) {
            Some(left) => {
                self.work = left;
                Ok(())
            }
            None => {
                self.work = 0;
                Err(self.fail(node, ErrorKind::Generic, || {
                    format!("the evaluation takes more than {MAX_WORK} steps; make it simpler")
                }))
            }
        }
    }

    fn fail(&mut self, node: &Node, kind: ErrorKind, message: impl FnOnce() -> String) -> Failed {
        if let Some(log) = self.log.as_mut().filter(|log| log.len() < MAX_ERRORS) {
            log.push(EvaluationError { kind, remark: Remark::new(self.source, node.span, message()) });
        }
        Failed
    }
}

/// How many characters a text has.
fn length(text: &str) -> i32 {
    i32::try_from(text.chars().count()).unwrap_or(i32::MAX)
}

/// Where a character starts, or the end of the text.
fn nth(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(start, _)| start)
}

/// A part of a text, which stays borrowed if the text is.
fn part<'e>(text: Cow<'e, str>, of: impl FnOnce(&str) -> &str) -> Cow<'e, str> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(of(text)),
        Cow::Owned(text) => Cow::Owned(of(&text).to_owned()),
    }
}
