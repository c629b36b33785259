//! The dialect `cesql` among the others.

use proptest::{prop_assert_eq, proptest};

use super::*;
use crate::cesql::Expression;
use crate::cesql::reference::expressions_and_events;

fn cesql(source: &str) -> Filter {
    Filter::cesql(Expression::parse(source).unwrap_or_else(|error| panic!("{source}\n{error}")))
}

/// FLN-07, FLN-10, FLN-14, SQLS-17, SQLS-18
#[test]
fn an_event_passes_an_expression_that_is_true_without_errors() {
    assert_verdicts(
        &cesql("type = 'order.created' AND EXISTS region"),
        &[(&[], false), (&[("region", "eu")], true), (&[("region", "eu"), ("type", "a")], false)],
    );
    assert_verdicts(&cesql("region = 'eu'"), &[(&[], false), (&[("region", "eu")], true)]);
    assert_verdicts(&cesql("region != 'eu'"), &[(&[], false), (&[("region", "us")], true)]);
    assert_verdicts(&cesql("region"), &[(&[], false), (&[("region", "true")], false)]);
    assert_verdicts(&cesql("LENGTH(type)"), &[(&[], false)]);
    assert_verdicts(&cesql("id"), &[(&[("id", "true")], false)]);
    assert_verdicts(&cesql("TRUE"), &[(&[], true)]);
}

/// FLN-06, FLN-15
#[test]
fn expressions_nest_in_the_other_dialects() {
    assert_verdicts(&not(cesql("type LIKE 'order.%'")), &[(&[], false), (&[("type", "invoice.paid")], true)]);
    // The expression fails, so that it does not pass, and the filter around it turns that round.
    assert_verdicts(&not(cesql("region = 'eu'")), &[(&[], true), (&[("region", "eu")], false)]);
    let mixed = any([
        exact(&[("type", "a")]),
        prefix(&[("type", "b.")]),
        suffix(&[("type", ".c")]),
        not(cesql("type LIKE '%d%' OR EXISTS type")),
        cesql("type = 'e' AND source = '/orders'"),
    ]);
    assert_verdicts(
        &mixed,
        &[
            (&[("type", "a")], true),
            (&[("type", "b.x")], true),
            (&[("type", "x.c")], true),
            (&[("type", "x")], false),
            (&[("type", "e")], true),
            (&[("type", "e"), ("source", "/")], false),
        ],
    );
    assert_verdicts(
        &all([cesql("type LIKE 'order.%'"), exact(&[("source", "/orders")]), cesql("LENGTH(id) = 1")]),
        &[(&[], true), (&[("id", "12")], false), (&[("source", "/")], false)],
    );
}

/// FLN-16
#[test]
fn the_index_finds_what_expressions_pass() {
    assert_matrix(
        &[
            cesql("type = 'a'"),
            cesql("type IN ('a', 'b')"),
            cesql("type LIKE 'a%' AND source = '/orders'"),
            cesql("type = 'a' OR region = 'eu'"),
            exact(&[("type", "a")]),
            cesql("NOT (type = 'a')"),
            cesql("5 = sequence"),
        ],
        &[
            event(&[("type", "a")]),
            event(&[("type", "b"), ("region", "eu")]),
            event(&[("type", "ab"), ("sequence", "5")]),
            event(&[("type", "a"), ("source", "/"), ("sequence", "6")]),
        ],
        &[[1, 1, 1, 1, 1, 0, 0], [0, 1, 0, 1, 0, 1, 0], [0, 0, 1, 0, 0, 1, 1], [1, 1, 0, 1, 1, 0, 0]],
    );
}

#[test]
fn an_explanation_shows_what_the_parts_came_to() {
    let filter = all([exact(&[("id", "1")]), cesql("type = 'a' AND EXISTS region")]);
    let explanation = filter.explain(&event(&[]));
    assert_eq!(
        explanation.to_string(),
        "✗ all of\n  \
           ✓ id is \"1\": \"1\"\n  \
           ✗ `type = 'a' AND EXISTS region`\n    \
             type = 'a' AND EXISTS region: FALSE\n      \
               type = 'a': FALSE\n        \
                 type: 'order.created'\n      \
               EXISTS region: not evaluated"
    );
    let trace = explanation.children[1].trace.as_ref().expect("an expression has a trace");
    let json = serde_json::to_value(trace).expect("it is JSON");
    assert_eq!(json["parts"][0]["parts"][0]["value"], "order.created");
    assert_eq!(json["value"], false);

    let explanation = cesql("tpye = 'a'").explain(&event(&[]));
    assert!(explanation.to_string().contains("did you mean type?"), "{explanation}");
    let json = serde_json::to_value(&explanation).expect("it is JSON");
    let error = &json["trace"]["parts"][0]["errors"][0];
    assert_eq!((&error["kind"], &error["position"]["column"]), (&"missingAttribute".into(), &1.into()));
}

proptest! {
    /// FLN-16
    #[test]
    fn the_index_finds_exactly_the_expressions_that_pass(
        cases in proptest::collection::vec(expressions_and_events(), 1..8),
    ) {
        let filters: Vec<_> = cases.iter().map(|(source, _)| cesql(source)).collect();
        let index = FilterIndex::new(&filters);
        for event in cases.iter().flat_map(|(_, events)| events) {
            let mut found = Vec::new();
            index.matches(event, &mut found);
            let passing: Vec<_> = (0..filters.len()).filter(|place| filters[*place].matches(event)).collect();
            prop_assert_eq!(found, passing);
        }
    }
}
