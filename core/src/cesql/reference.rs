//! A slow and obvious evaluator beside the real one, and what must hold for any expression and event.
//!
//! The alphabets are small, so that comparisons, casts and patterns often succeed.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::ast::{BinaryOperator, Expr, ExprKind, LogicOperator};
use super::error::Span;
use super::{ErrorKind, Expression, Value};
use crate::event::{Event, EventBuilder};

#[derive(Clone, Debug, PartialEq)]
enum Plain {
    String(String),
    Integer(i64),
    Boolean(bool),
}

type Attributes = BTreeMap<String, Plain>;

/// The value of an expression, and its errors.
type Result = (Plain, Vec<ErrorKind>);

fn evaluate(expr: &Expr, event: &Attributes) -> Result {
    let go = |expr: &Expr| evaluate(expr, event);
    match &expr.kind {
        ExprKind::String(text) => (Plain::String(text.clone()), vec![]),
        ExprKind::Integer(number) => (Plain::Integer(i64::from(*number)), vec![]),
        ExprKind::Boolean(truth) => (Plain::Boolean(*truth), vec![]),
        ExprKind::Attribute(name) => match event.get(name) {
            Some(value) => (value.clone(), vec![]),
            None => (Plain::Boolean(false), vec![ErrorKind::MissingAttribute]),
        },
        ExprKind::Exists(name) => (Plain::Boolean(event.contains_key(name)), vec![]),
        ExprKind::Not(operand) => {
            let (truth, errors) = boolean(go(operand));
            finish(errors, Plain::Boolean(false), || Plain::Boolean(!truth))
        }
        ExprKind::Negate(operand) => {
            let (number, errors) = integer(go(operand));
            finish(errors, Plain::Integer(0), || Plain::Integer(wrap(-number)))
        }
        ExprKind::Logic(operator, operands) => {
            let (left, mut errors) = boolean(go(&operands[0]));
            // What failed is false.
            let left = left && errors.is_empty();
            if (*operator == LogicOperator::And && !left) || (*operator == LogicOperator::Or && left) {
                return (Plain::Boolean(left), errors);
            }
            let rest = match &operands[1..] {
                [last] => go(last),
                rest => evaluate(&node(ExprKind::Logic(*operator, rest.to_vec())), event),
            };
            let (right, more) = boolean(rest);
            errors.extend(more);
            finish(errors, Plain::Boolean(false), || {
                Plain::Boolean(match operator {
                    LogicOperator::And => left && right,
                    LogicOperator::Or => left || right,
                    LogicOperator::Xor => left != right,
                })
            })
        }
        ExprKind::Binary(BinaryOperator::Equal, operands) => {
            let (left, right) = (go(&operands[0]), go(&operands[1]));
            compare(left, right, true)
        }
        ExprKind::Binary(BinaryOperator::Unequal, operands) => {
            let (left, right) = (go(&operands[0]), go(&operands[1]));
            compare(left, right, false)
        }
        ExprKind::Binary(operator, operands) => arithmetic(*operator, go(&operands[0]), go(&operands[1])),
        ExprKind::Like { is_negated, operand, pattern } => {
            let (text, errors) = string(go(operand));
            let characters: Vec<char> = text.chars().collect();
            let pattern: Vec<char> = pattern.chars().collect();
            let is_like = like(&characters, &pattern);
            finish(errors, Plain::Boolean(false), || Plain::Boolean(is_like != *is_negated))
        }
        ExprKind::In { is_negated, operand, set } => {
            let (wanted, errors) = go(operand);
            if !errors.is_empty() {
                return (Plain::Boolean(false), errors);
            }
            for element in set {
                match compare(go(element), (wanted.clone(), vec![]), true) {
                    (Plain::Boolean(true), _) => return (Plain::Boolean(!is_negated), vec![]),
                    (_, errors) if !errors.is_empty() => return (Plain::Boolean(false), errors),
                    _ => {}
                }
            }
            (Plain::Boolean(*is_negated), vec![])
        }
        ExprKind::Call { function, arguments } => call(function, arguments, event),
    }
}

fn finish(errors: Vec<ErrorKind>, zero: Plain, value: impl FnOnce() -> Plain) -> Result {
    if errors.is_empty() { (value(), errors) } else { (zero, errors) }
}

fn wrap(number: i64) -> i64 {
    let number = number & 0xffff_ffff;
    if number > 0x7fff_ffff { number - 0x1_0000_0000 } else { number }
}

fn string((value, errors): Result) -> (String, Vec<ErrorKind>) {
    let text = match value {
        Plain::String(text) => text,
        Plain::Integer(number) => number.to_string(),
        Plain::Boolean(truth) => truth.to_string(),
    };
    (text, errors)
}

fn integer((value, mut errors): Result) -> (i64, Vec<ErrorKind>) {
    let number = match value {
        Plain::String(text) => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(&text);
            let is_number =
                !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()) && digits.len() < 18;
            let size: i64 = if is_number { digits.parse().expect("digits") } else { i64::MAX };
            let number = if text.starts_with('-') { -size } else { size };
            (-2_147_483_648..=2_147_483_647).contains(&number).then_some(number)
        }
        Plain::Integer(number) => Some(number),
        Plain::Boolean(truth) => Some(i64::from(truth)),
    };
    if number.is_none() && errors.is_empty() {
        errors.push(ErrorKind::Cast);
    }
    (number.unwrap_or(0), errors)
}

fn boolean((value, mut errors): Result) -> (bool, Vec<ErrorKind>) {
    let truth = match value {
        Plain::String(text) => match text.to_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        },
        Plain::Integer(number) => Some(number != 0),
        Plain::Boolean(truth) => Some(truth),
    };
    if truth.is_none() && errors.is_empty() {
        errors.push(ErrorKind::Cast);
    }
    (truth.unwrap_or(false), errors)
}

fn compare(left: Result, right: Result, wanted: bool) -> Result {
    if !left.1.is_empty() || !right.1.is_empty() {
        return (Plain::Boolean(false), [left.1, right.1].concat());
    }
    let (is_equal, errors) = match right.0 {
        Plain::String(text) => {
            let (left, errors) = string(left);
            (left == text, errors)
        }
        Plain::Integer(number) => {
            let (left, errors) = integer(left);
            (left == number, errors)
        }
        Plain::Boolean(truth) => {
            let (left, errors) = boolean(left);
            (left == truth, errors)
        }
    };
    finish(errors, Plain::Boolean(false), || Plain::Boolean(is_equal == wanted))
}

fn arithmetic(operator: BinaryOperator, left: Result, right: Result) -> Result {
    use BinaryOperator as Operator;
    let ((x, errors), (y, more)) = (integer(left), integer(right));
    let mut errors = [errors, more].concat();
    let order = match operator {
        Operator::Less => Some(x < y),
        Operator::LessOrEqual => Some(x <= y),
        Operator::Greater => Some(x > y),
        Operator::GreaterOrEqual => Some(x >= y),
        _ => None,
    };
    if let Some(order) = order {
        return finish(errors, Plain::Boolean(false), || Plain::Boolean(order));
    }
    let divides = matches!(operator, Operator::Divide | Operator::Remainder);
    if divides && y == 0 && errors.is_empty() {
        errors.push(ErrorKind::Math);
    }
    finish(errors, Plain::Integer(0), || {
        Plain::Integer(wrap(match operator {
            Operator::Add => x + y,
            Operator::Subtract => x - y,
            Operator::Multiply => x * y,
            Operator::Divide => x / y,
            _ => x % y,
        }))
    })
}

fn like(text: &[char], pattern: &[char]) -> bool {
    match (pattern, text) {
        ([], _) => text.is_empty(),
        (['%', rest @ ..], _) => (0..=text.len()).any(|start| like(&text[start..], rest)),
        (['\\', wanted @ ('%' | '_'), rest @ ..], [first, more @ ..]) => first == wanted && like(more, rest),
        (['\\', '%' | '_', ..], []) => false,
        (['_', rest @ ..], [_, more @ ..]) => like(more, rest),
        ([wanted, rest @ ..], [first, more @ ..]) => wanted == first && like(more, rest),
        (_, []) => false,
    }
}

fn call(function: &str, arguments: &[Expr], event: &Attributes) -> Result {
    let missing = (Plain::Boolean(false), vec![ErrorKind::MissingFunction]);
    let texts = |arguments: &[Expr]| -> (Vec<String>, Vec<ErrorKind>) {
        let (texts, errors): (Vec<_>, Vec<_>) =
            arguments.iter().map(|argument| string(evaluate(argument, event))).unzip();
        (texts, errors.concat())
    };
    let text = |value: String| Plain::String(value);
    match (function, arguments) {
        ("INT", [x]) => {
            let (number, errors) = integer(evaluate(x, event));
            finish(errors, Plain::Integer(0), || Plain::Integer(number))
        }
        ("BOOL", [x]) => {
            let (truth, errors) = boolean(evaluate(x, event));
            finish(errors, Plain::Boolean(false), || Plain::Boolean(truth))
        }
        ("STRING", [x]) => {
            let (value, errors) = string(evaluate(x, event));
            finish(errors, text(String::new()), || text(value))
        }
        ("IS_INT", [x]) => {
            let (value, errors) = evaluate(x, event);
            finish(errors, Plain::Boolean(false), || Plain::Boolean(integer((value, vec![])).1.is_empty()))
        }
        ("ABS", [x]) => {
            let (number, errors) = integer(evaluate(x, event));
            if number == -2_147_483_648 && errors.is_empty() {
                return (Plain::Integer(2_147_483_647), vec![ErrorKind::Math]);
            }
            finish(errors, Plain::Integer(0), || Plain::Integer(number.abs()))
        }
        ("LENGTH", [_]) => {
            let (texts, errors) = texts(arguments);
            let length = i64::try_from(texts[0].chars().count()).expect("a short text");
            finish(errors, Plain::Integer(0), || Plain::Integer(length))
        }
        ("CONCAT", _) => {
            let (texts, errors) = texts(arguments);
            finish(errors, text(String::new()), || text(texts.concat()))
        }
        ("CONCAT_WS", [_, ..]) => {
            let (texts, errors) = texts(arguments);
            finish(errors, text(String::new()), || text(texts[1..].join(&texts[0])))
        }
        ("UPPER", [_]) => {
            let (texts, errors) = texts(arguments);
            finish(errors, text(String::new()), || text(texts[0].to_uppercase()))
        }
        ("TRIM", [_]) => {
            let (texts, errors) = texts(arguments);
            finish(errors, text(String::new()), || text(texts[0].trim().to_owned()))
        }
        ("LEFT" | "RIGHT", [x, y]) => {
            let ((x, errors), (count, more)) = (string(evaluate(x, event)), integer(evaluate(y, event)));
            let errors = [errors, more].concat();
            if errors.is_empty() && count < 0 {
                return (text(x), vec![ErrorKind::FunctionEvaluation]);
            }
            let count = usize::try_from(count).unwrap_or(0);
            let reversed = |x: &str| x.chars().rev().collect::<String>();
            finish(errors, text(String::new()), || {
                text(match function {
                    "LEFT" => x.chars().take(count).collect(),
                    _ => reversed(&reversed(&x).chars().take(count).collect::<String>()),
                })
            })
        }
        ("SUBSTRING", [x, y, length @ ..]) if length.len() <= 1 => {
            let ((x, errors), (start, more)) = (string(evaluate(x, event)), integer(evaluate(y, event)));
            let (count, most) =
                length.first().map_or((1_000, vec![]), |length| integer(evaluate(length, event)));
            let mut errors = [errors, more, most].concat();
            let characters: Vec<char> = x.chars().collect();
            let size = i64::try_from(characters.len()).expect("a short text");
            if errors.is_empty() && (start > size || start < -size || count < 0) {
                errors.push(ErrorKind::FunctionEvaluation);
            }
            finish(errors, text(String::new()), || {
                let first = if start < 0 { size + start + 1 } else { start };
                let places = (1..).zip(&characters);
                let kept =
                    places.filter(|(place, _)| start != 0 && *place >= first && *place < first + count);
                text(kept.map(|(_, character)| *character).collect())
            })
        }
        _ => missing,
    }
}

fn node(kind: ExprKind) -> Expr {
    Expr { kind, span: Span { start: 0, end: 0 } }
}

fn names() -> impl Strategy<Value = String> {
    select(vec!["type", "a", "b", "n", "1a", "lost"]).prop_map_into()
}

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![
        "[abü😀%_ ]{0,3}",
        select(vec![
            "true",
            "FALSE",
            "0",
            "1",
            "+1",
            "-1",
            "01",
            "-2147483648",
            "2147483648",
            "'",
            "\"",
            "it's",
            "\\%"
        ])
        .prop_map_into(),
    ]
}

fn patterns() -> impl Strategy<Value = String> {
    vec(select(vec!["a", "b", "ü", "%", "%", "_", "\\%", "\\_", "1"]), 0..5).prop_map(|parts| parts.concat())
}

fn binary_operators() -> impl Strategy<Value = BinaryOperator> {
    use BinaryOperator as Operator;
    select(vec![
        Operator::Equal,
        Operator::Equal,
        Operator::Unequal,
        Operator::Less,
        Operator::LessOrEqual,
        Operator::Greater,
        Operator::GreaterOrEqual,
        Operator::Add,
        Operator::Subtract,
        Operator::Multiply,
        Operator::Divide,
        Operator::Remainder,
    ])
}

fn exprs() -> impl Strategy<Value = Expr> {
    let leaf = prop_oneof![
        3 => names().prop_map(ExprKind::Attribute),
        2 => texts().prop_map(ExprKind::String),
        2 => select(vec![0, 1, -1, 2, 5, i32::MAX, i32::MIN]).prop_map(ExprKind::Integer),
        1 => any::<bool>().prop_map(ExprKind::Boolean),
        1 => names().prop_map(ExprKind::Exists),
        3 => (names(), texts()).prop_map(|(name, text)| {
            let operands = [node(ExprKind::Attribute(name)), node(ExprKind::String(text))];
            ExprKind::Binary(BinaryOperator::Equal, Box::new(operands))
        }),
    ];
    leaf.prop_map(node).prop_recursive(5, 40, 4, |inner| {
        let boxed = inner.clone().prop_map(Box::new);
        let functions = select(vec![
            "INT",
            "BOOL",
            "STRING",
            "IS_INT",
            "ABS",
            "LENGTH",
            "CONCAT",
            "CONCAT_WS",
            "UPPER",
            "TRIM",
            "LEFT",
            "RIGHT",
            "SUBSTRING",
            "SUBSTRING",
            "NONE",
        ]);
        let operators = select(vec![LogicOperator::And, LogicOperator::Or, LogicOperator::Xor]);
        prop_oneof![
            1 => boxed.clone().prop_map(ExprKind::Not),
            1 => boxed.clone().prop_map(ExprKind::Negate),
            4 => (operators, vec(inner.clone(), 2..4)).prop_map(|(operator, mut operands)| {
                // As the parser has it: the tail of a chain belongs to the chain.
                if let Some(ExprKind::Logic(same, more)) = operands.last().map(|last| last.kind.clone())
                    && same == operator
                {
                    operands.pop();
                    operands.extend(more);
                }
                ExprKind::Logic(operator, operands)
            }),
            4 => (binary_operators(), inner.clone(), inner.clone())
                .prop_map(|(operator, x, y)| ExprKind::Binary(operator, Box::new([x, y]))),
            2 => (any::<bool>(), boxed.clone(), patterns()).prop_map(|(is_negated, operand, pattern)| {
                ExprKind::Like { is_negated, operand, pattern }
            }),
            2 => (any::<bool>(), boxed, vec(inner.clone(), 1..4)).prop_map(|(is_negated, operand, set)| {
                ExprKind::In { is_negated, operand, set }
            }),
            3 => (functions, vec(inner, 0..4)).prop_map(|(function, arguments)| {
                ExprKind::Call { function: function.to_owned(), arguments }
            }),
        ]
        .prop_map(node)
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let value = prop_oneof![
        3 => texts().prop_filter("an attribute is not empty", |text| !text.is_empty()).prop_map(Plain::String),
        1 => (-2_i64..3).prop_map(Plain::Integer),
        1 => any::<bool>().prop_map(Plain::Boolean),
    ];
    (btree_map(select(vec!["a", "b", "n", "1a"]).prop_map_into(), value, 0..4), "[abü%]{1,2}|true|1")
        .prop_map(|(mut attributes, kind): (Attributes, String)| {
            attributes.insert("type".to_owned(), Plain::String(kind));
            attributes
        })
}

fn build(attributes: &Attributes) -> Event {
    let builder = EventBuilder::default().spec_version("1.0").attribute("id", "1").attribute("source", "/");
    attributes
        .iter()
        .fold(builder, |builder, (name, value)| match value {
            Plain::String(text) => builder.attribute(name.as_str(), text.as_str()),
            Plain::Integer(number) => {
                builder.integer(name.as_str(), i32::try_from(*number).expect("a small number"))
            }
            Plain::Boolean(truth) => builder.boolean(name.as_str(), *truth),
        })
        .build()
        .expect("generated events are valid")
}

pub(crate) fn expressions_and_events() -> impl Strategy<Value = (String, Vec<Event>)> {
    (exprs(), vec(attributes().prop_map(|attributes| build(&attributes)), 1..6))
        .prop_map(|(expr, events)| (expr.to_string(), events))
}

proptest! {
    /// SQLS-02, SQLS-03, SQLS-06, SQLS-10, SQLS-11, SQLS-12, SQLS-13, SQLS-15, SQLS-16
    #[test]
    fn an_expression_comes_to_what_the_obvious_evaluator_says(expr in exprs(), attributes in attributes()) {
        let source = expr.to_string();
        let expression = Expression::parse(&source).expect("what is printed can be read");
        let event = build(&attributes);
        let (value, errors) = evaluate(&expr, &attributes);
        let evaluation = expression.evaluate(&event);
        let found = match evaluation.value {
            Value::String(text) => Plain::String(text.into_owned()),
            Value::Integer(number) => Plain::Integer(i64::from(number)),
            Value::Boolean(truth) => Plain::Boolean(truth),
        };
        let kinds: Vec<_> = evaluation.errors.iter().map(|error| error.kind).collect();
        prop_assert_eq!(&found, &value, "{}\n{}", source, expression.trace(&event));
        let sorted = |mut kinds: Vec<ErrorKind>| { kinds.sort(); kinds };
        prop_assert_eq!(sorted(kinds), sorted(errors.clone()), "{}\n{}", source, expression.trace(&event));
        // Stopping at the first error changes nothing.
        prop_assert_eq!(expression.passes(&event), value == Plain::Boolean(true) && errors.is_empty());
        prop_assert_eq!(expression.trace(&event).is_failed, !errors.is_empty());
    }

    #[test]
    fn what_is_printed_reads_as_the_same_expression(expr in exprs()) {
        let printed = expr.to_string();
        let again = Expression::parse(&printed);
        prop_assert!(again.is_ok(), "{}: {:?}", printed, again);
        let again = again.expect("just checked");
        prop_assert_eq!(&again.0.expr, &expr, "{}", printed);
        prop_assert_eq!(again.to_string(), printed);
    }

    /// SQLS-19
    #[test]
    fn no_text_makes_reading_or_evaluating_panic(
        source in "\\PC{0,40}|[a-cA-C0-9 '\"\\\\(),=<>!+*/%_-]{0,40}",
        attributes in attributes(),
    ) {
        match Expression::parse(&source) {
            Ok(expression) => {
                let event = build(&attributes);
                let evaluation = expression.evaluate(&event);
                let passes = evaluation.value == Value::Boolean(true) && evaluation.errors.is_empty();
                prop_assert_eq!(expression.passes(&event), passes);
                prop_assert_eq!(expression.trace(&event).value, Some(evaluation.value.into_owned()));
                let again = Expression::parse(&expression.to_string()).expect("what is printed can be read");
                prop_assert_eq!(again, expression);
            }
            Err(error) => prop_assert!(error.to_string().contains('^')),
        }
    }

    /// SQLS-19
    #[test]
    fn no_words_of_the_language_make_reading_or_evaluating_panic(
        words in vec(select(vec![
            "a", "type", "1", "-", "+", "'a'", "'%_'", "NOT", "AND", "OR", "XOR", "LIKE", "IN", "EXISTS", "(", ")",
            ",", "=", "!=", "<", ">=", "*", "/", "%", "TRUE", "LENGTH(", "LEFT(", "SUBSTRING(", "CONCAT_WS(", "F(",
        ]), 0..14),
        attributes in attributes(),
    ) {
        if let Ok(expression) = Expression::parse(&words.join(" ")) {
            let event = build(&attributes);
            let evaluation = expression.evaluate(&event);
            let passes = evaluation.value == Value::Boolean(true) && evaluation.errors.is_empty();
            prop_assert_eq!(expression.passes(&event), passes);
            let again = Expression::parse(&expression.to_string()).expect("what is printed can be read");
            prop_assert_eq!(again, expression);
        }
    }
}
