//! The dialect `cesql`: what an expression comes to decides whether an event is delivered.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::json;
use trigon_tests::{Deployment, Event, Object};

use super::filters::{Case, check_with, filters};

/// The events of these cases: one in binary mode, where all is text, one in structured mode with an Integer and a
/// Boolean, and one with little.
fn events() -> Vec<(HeaderMap, Bytes)> {
    let rich = |id: &str| {
        Event::new(id)
            .with("type", "order.created")
            .with("source", "/shop/one")
            .with("subject", "Gr\u{fc}\u{df}e")
            .with("sequence", "5")
            .with("flag", "true")
            .data("application/json", r#"{"price": 5}"#)
    };
    let (headers, _) = rich("typed").structured();
    let mut typed = rich("typed").json();
    typed["sequence"] = json!(5);
    typed["flag"] = json!(true);
    let bare = Event::new("bare").with("type", "stock.changed");
    vec![rich("texts").binary(), (headers, typed.to_string().into()), bare.binary()]
}

async fn check<D: Deployment>(cases: &[Case<'_>]) {
    check_with::<D>(&events(), cases).await;
}

fn cesql(object: Object, expression: &str) -> Object {
    filters(object, json!([{"cesql": expression}]))
}

const ALL: &[&str] = &["bare", "texts", "typed"];
const RICH: &[&str] = &["texts", "typed"];

/// FLN-07, FLN-14, SQLS-17, SQLS-18, TST-46 CloudEvents SQL
async fn only_true_without_errors_is_delivered<D: Deployment>() {
    check::<D>(&[
        ("true", |t| cesql(t, "TRUE"), ALL),
        ("false", |t| cesql(t, "FALSE"), &[]),
        ("integer", |t| cesql(t, "1"), &[]),
        ("length", |t| cesql(t, "LENGTH(type)"), &[]),
        ("text", |t| cesql(t, "'true'"), &[]),
        ("attribute", |t| cesql(t, "type"), &[]),
        ("truth", |t| cesql(t, "flag"), &["typed"]),
        ("division", |t| cesql(t, "1 / 0 = 0"), &[]),
        ("cast", |t| cesql(t, "INT(type) = 0"), &[]),
        ("no-function", |t| cesql(t, "NOFUNCTION() OR TRUE"), &[]),
        ("no-arity", |t| cesql(t, "LENGTH() = FALSE"), &[]),
        ("negative", |t| cesql(t, "LEFT(source, -1) = source"), &[]),
        ("error-first", |t| cesql(t, "nothing = 1 OR TRUE"), &[]),
        ("decided-first", |t| cesql(t, "TRUE OR nothing = 1"), ALL),
    ])
    .await;
}

/// FLN-10, SQLS-03, SQLS-05, SQLS-06, SQLS-19
async fn what_is_missing_is_not_delivered_unless_it_is_asked_for<D: Deployment>() {
    check::<D>(&[
        ("equal", |t| cesql(t, "subject = 'x'"), &[]),
        ("unequal", |t| cesql(t, "subject != 'x'"), RICH),
        ("not-equal", |t| cesql(t, "NOT (subject = 'x')"), RICH),
        ("like", |t| cesql(t, "subject LIKE '%'"), RICH),
        ("not-in", |t| cesql(t, "subject NOT IN ('x')"), RICH),
        ("exists", |t| cesql(t, "EXISTS subject"), RICH),
        ("exists-not", |t| cesql(t, "NOT EXISTS subject"), &["bare"]),
        ("guarded", |t| cesql(t, "EXISTS subject AND subject != 'x'"), RICH),
        ("guarded-not", |t| cesql(t, "NOT EXISTS subject OR subject = 'x'"), &["bare"]),
        ("required", |t| cesql(t, "EXISTS id AND EXISTS SOURCE AND exists type AND EXISTS specversion"), ALL),
        ("data", |t| cesql(t, "EXISTS data"), &[]),
        ("price", |t| cesql(t, "price = 5"), &[]),
    ])
    .await;
}

/// FLN-09, SQLS-01, SQLS-10, SQLS-11, SQLS-12, SQLS-21, X-07
async fn values_are_cast_alike_in_either_mode<D: Deployment>() {
    check::<D>(&[
        ("number", |t| cesql(t, "sequence = 5"), RICH),
        ("number-text", |t| cesql(t, "sequence = '5'"), RICH),
        ("number-left", |t| cesql(t, "5 = sequence"), RICH),
        ("number-in", |t| cesql(t, "sequence IN (4, 5)"), RICH),
        ("number-order", |t| cesql(t, "sequence < 10 AND sequence >= 5"), RICH),
        ("number-sum", |t| cesql(t, "sequence * 2 - 1 = 9"), RICH),
        ("number-like", |t| cesql(t, "sequence LIKE '_'"), RICH),
        ("number-not", |t| cesql(t, "sequence = 6"), &[]),
        ("truth", |t| cesql(t, "flag = TRUE"), RICH),
        ("truth-text", |t| cesql(t, "flag = 'true'"), RICH),
        ("truth-case", |t| cesql(t, "flag = 'TRUE'"), &[]),
        ("truth-cast", |t| cesql(t, "BOOL(flag)"), RICH),
        ("truth-and", |t| cesql(t, "flag AND flag"), RICH),
        ("not-number", |t| cesql(t, "NOT 10"), &[]),
        ("not-not-number", |t| cesql(t, "NOT NOT 10"), ALL),
    ])
    .await;
}

/// SQLG-01, SQLG-05, SQLG-08, SQLG-09, SQLS-13, SQLS-14, SQLS-15, X-10
async fn expressions_are_read_as_the_grammar_has_it<D: Deployment>() {
    check::<D>(&[
        ("keywords", |t| cesql(t, "Exists SUBJECT aNd tYpE like 'order.%'"), RICH),
        ("functions", |t| cesql(t, "upper(type) = 'ORDER.CREATED'"), RICH),
        ("text-case", |t| cesql(t, "type = 'ORDER.CREATED'"), &[]),
        ("like-case", |t| cesql(t, "type LIKE 'ORDER.%'"), &[]),
        ("right", |t| cesql(t, "FALSE AND FALSE OR TRUE"), &[]),
        ("left", |t| cesql(t, "(FALSE AND FALSE) OR TRUE"), ALL),
        ("not-first", |t| cesql(t, "NOT flag = FALSE"), RICH),
        ("not-last", |t| cesql(t, "NOT (flag = FALSE)"), RICH),
        ("sum", |t| cesql(t, "1 + 2 * 3 = 7"), ALL),
        ("characters", |t| cesql(t, "subject LIKE 'Gr__e' AND LENGTH(subject) = 5"), RICH),
        ("cut", |t| cesql(t, "SUBSTRING(subject, -2) = '\u{df}e'"), RICH),
        ("escape", |t| cesql(t, r"type LIKE 'order\_created'"), &[]),
    ])
    .await;
}

/// FLN-06, FLN-15, TST-46 CloudEvents SQL
async fn expressions_nest_in_the_other_dialects<D: Deployment>() {
    check::<D>(&[
        ("not", |t| filters(t, json!([{"not": {"cesql": "type LIKE 'order.%'"}}])), &["bare"]),
        // The expression fails where there is no subject, so it does not pass, and `not` turns that round.
        ("not-missing", |t| filters(t, json!([{"not": {"cesql": "subject LIKE '%'"}}])), &["bare"]),
        (
            "any",
            |t| {
                filters(
                    t,
                    json!([{"any": [
                        {"exact": {"type": "order.deleted"}},
                        {"prefix": {"type": "invoice."}},
                        {"suffix": {"type": ".paid"}},
                        {"not": {"cesql": "type LIKE '%.c%'"}},
                        {"cesql": "sequence = 5"},
                    ]}]),
                )
            },
            RICH,
        ),
        (
            "all",
            |t| {
                filters(
                    t,
                    json!([{"all": [
                        {"exact": {"source": "/shop/one"}},
                        {"prefix": {"type": "order."}},
                        {"suffix": {"type": ".created"}},
                        {"cesql": "EXISTS subject"},
                    ]}]),
                )
            },
            RICH,
        ),
        (
            "beside",
            |t| filters(t, json!([{"cesql": "type LIKE '%c%'"}, {"cesql": "NOT EXISTS subject"}])),
            &["bare"],
        ),
    ])
    .await;
}

on_every_deployment!(
    only_true_without_errors_is_delivered,
    what_is_missing_is_not_delivered_unless_it_is_asked_for,
    values_are_cast_alike_in_either_mode,
    expressions_are_read_as_the_grammar_has_it,
    expressions_nest_in_the_other_dialects,
);
