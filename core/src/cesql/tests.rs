//! What expressions come to, in tables written from the specification; here is how the tables are read.
//!
//! A row is an expression and what it comes to: the value, and the kinds of its errors in the order in which they
//! come up.

use super::{ErrorKind, Expression};
use crate::event::{Event, EventBuilder};

mod comparisons;
mod functions;
mod limits;
mod messages;
mod operators;
mod syntax;
mod whole;

/// The event of the tables.
fn event() -> Event {
    [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/orders"),
        ("type", "order.created"),
        ("subject", "Grüße"),
        ("time", "2026-11-21T04:00:00+01:00"),
        ("sequence", "5"),
        ("negative", "-7"),
        ("big", "2147483648"),
        ("truth", "TRUE"),
        ("lie", "false"),
        ("smile", "a😀b"),
        ("percent", "50%_\\off"),
        ("x2", "two"),
    ]
    .into_iter()
    .fold(EventBuilder::default(), |builder, (name, value)| builder.attribute(name, value))
    .integer("number", 10)
    .boolean("flag", true)
    .build()
    .expect("a valid event")
}

fn parse(source: &str) -> Expression {
    Expression::parse(source).unwrap_or_else(|error| panic!("{source}\n{error}"))
}

fn word(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::Math => "math",
        ErrorKind::Cast => "cast",
        ErrorKind::MissingAttribute => "attribute",
        ErrorKind::MissingFunction => "function",
        ErrorKind::FunctionEvaluation => "evaluation",
        ErrorKind::Generic => "generic",
    }
}

/// Whether every expression comes to what stands beside it, as a filter passes accordingly, prints as itself, and
/// has a trace that agrees.
#[track_caller]
fn assert_values(rows: &[(&str, &str)]) {
    let event = event();
    for (source, expected) in rows {
        let expression = parse(source);
        let evaluation = expression.evaluate(&event);
        let mut found = evaluation.value.to_string();
        for error in &evaluation.errors {
            found = format!("{found} {}", word(error.kind));
        }
        assert_eq!(found, *expected, "{source}\n{}", expression.trace(&event));
        assert_eq!(expression.passes(&event), *expected == "TRUE", "{source}");
        assert_eq!(parse(&expression.to_string()), expression, "{source} printed as {expression}");
        let trace = expression.trace(&event);
        assert_eq!(trace.value, Some(evaluation.value.into_owned()), "{source}\n{trace}");
        assert_eq!(trace.is_failed, !evaluation.errors.is_empty(), "{source}\n{trace}");
    }
}
