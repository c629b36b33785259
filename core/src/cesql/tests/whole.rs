//! Whole filters, as users write them, with several events each.

use std::collections::BTreeMap;

use super::*;
use crate::filter::{Filter, FilterError};

/// Valid with these attributes beside or instead of the required ones.
fn event_with(attributes: &[(&str, &str)]) -> Event {
    let required = [("specversion", "1.0"), ("id", "1"), ("source", "/shop"), ("type", "order.created")];
    required
        .iter()
        .filter(|(name, _)| attributes.iter().all(|(given, _)| given != name))
        .chain(attributes)
        .fold(EventBuilder::default(), |builder, (name, value)| builder.attribute(*name, *value))
        .build()
        .expect("a valid event")
}

/// Which of the events pass, and how they come to it.
#[track_caller]
fn assert_passes(source: &str, rows: &[(&[(&str, &str)], &str)]) {
    let expression = parse(source);
    for (attributes, expected) in rows {
        let event = event_with(attributes);
        let evaluation = expression.evaluate(&event);
        let kinds: String = evaluation.errors.iter().map(|error| format!(" {}", word(error.kind))).collect();
        assert_eq!(
            format!("{}{kinds}", evaluation.value),
            *expected,
            "{source}\n{}",
            expression.trace(&event)
        );
        assert_eq!(expression.passes(&event), *expected == "TRUE", "{source} with {attributes:?}");
    }
}

/// SQLS-03, SQLS-06, SQLS-11
#[test]
fn conditions_that_users_write() {
    assert_passes(
        "INT(attempt) < INT(most) AND INT(attempt) < 100",
        &[
            (&[("attempt", "3"), ("most", "5")], "TRUE"),
            (&[("attempt", "5"), ("most", "5")], "FALSE"),
            (&[("attempt", "200"), ("most", "500")], "FALSE"),
            (&[("attempt", "three"), ("most", "5")], "FALSE cast"),
            (&[("attempt", "3")], "FALSE attribute"),
        ],
    );
    assert_passes(
        "attempt < most",
        &[(&[("attempt", "9"), ("most", "10")], "TRUE"), (&[("attempt", "10"), ("most", "9")], "FALSE")],
    );
    assert_passes(
        "attempt = 3",
        &[(&[("attempt", "3")], "TRUE"), (&[("attempt", "4")], "FALSE"), (&[("attempt", "x")], "FALSE cast")],
    );
    assert_passes(
        "buyer = 'Ada' OR subject = 'Ada'",
        &[
            (&[("buyer", "Ada"), ("subject", "Bob")], "TRUE"),
            (&[("buyer", "Bob"), ("subject", "Ada")], "TRUE"),
            (&[("buyer", "Bob"), ("subject", "Bob")], "FALSE"),
            (&[("buyer", "Ada")], "TRUE"),
            (&[("subject", "Ada")], "FALSE attribute"),
        ],
    );
    assert_passes(
        "(first = 'Ada' AND last = 'Byron') OR subject = 'Ada Byron'",
        &[
            (&[("first", "Ada"), ("last", "Byron"), ("subject", "x")], "TRUE"),
            (&[("first", "Ada"), ("last", "Smith"), ("subject", "Ada Byron")], "TRUE"),
            (&[("first", "Bob"), ("subject", "x")], "FALSE"),
            (&[("first", "Ada"), ("subject", "x")], "FALSE attribute"),
        ],
    );
    assert_passes(
        "EXISTS subject AND (subject LIKE '%.jpg' OR subject LIKE '%.png')",
        &[
            (&[("subject", "a.jpg")], "TRUE"),
            (&[("subject", "a.png")], "TRUE"),
            (&[("subject", "a.jpg.txt")], "FALSE"),
            (&[], "FALSE"),
        ],
    );
    assert_passes(
        "(id = '1' AND type LIKE '%.created') OR (id = '2' AND source LIKE '/shop%' AND type LIKE '%.paid')",
        &[
            (&[], "TRUE"),
            (&[("id", "2"), ("type", "order.paid")], "TRUE"),
            (&[("id", "2"), ("type", "order.paid"), ("source", "/elsewhere")], "FALSE"),
            (&[("id", "2")], "FALSE"),
            (&[("id", "3")], "FALSE"),
        ],
    );
    assert_passes(
        "(id = '1' OR type LIKE '%.paid') AND (id = '2' OR source LIKE '/shop%') AND region = 'eu'",
        &[
            (&[("region", "eu")], "TRUE"),
            (&[("region", "us")], "FALSE"),
            (&[], "FALSE attribute"),
            (&[("id", "2"), ("type", "order.paid"), ("source", "/elsewhere"), ("region", "eu")], "TRUE"),
            (&[("id", "2"), ("region", "eu")], "FALSE"),
            (&[("source", "/elsewhere")], "FALSE"),
        ],
    );
}

type Dialect = fn(&BTreeMap<String, String>) -> Result<Filter, FilterError>;

fn one(dialect: Dialect, name: &str, value: &str) -> Filter {
    dialect(&BTreeMap::from([(name.to_owned(), value.to_owned())])).expect("a valid name")
}

fn cesql(source: &str) -> Filter {
    Filter::cesql(parse(source))
}

/// FLN-04, FLN-05, FLN-06, FLN-10, SQLS-13
#[test]
fn the_other_dialects_can_be_written_as_expressions() {
    let (exact, prefix, suffix): (Dialect, Dialect, Dialect) =
        (Filter::exact, Filter::prefix, Filter::suffix);
    let all = |filters: [Filter; 2]| Filter::all(filters).expect("a small filter");
    let any = |filters: [Filter; 2]| Filter::any(filters).expect("a small filter");
    let not = |filter: Filter| Filter::not(filter).expect("a small filter");
    let created = || one(suffix, "type", ".created");
    let in_shop = || one(prefix, "source", "/shop");
    let events = [
        &[][..],
        &[("type", "order.paid")],
        &[("type", "invoice.created"), ("region", "eu")],
        &[("source", "/shop/one"), ("region", "europe")],
        &[("source", "/elsewhere"), ("region", "EU")],
        &[("type", "created"), ("source", "/elsewhere"), ("region", "us-eu")],
        &[("id", "2"), ("region", "50%_off")],
        &[("type", "order_created"), ("region", "")],
    ]
    .map(event_with);
    for (source, filter, passing) in [
        ("type = 'order.created'", one(exact, "type", "order.created"), 4),
        ("region = 'eu'", one(exact, "region", "eu"), 1),
        ("type LIKE 'order.%'", one(prefix, "type", "order."), 5),
        ("region LIKE 'eu%'", one(prefix, "region", "eu"), 2),
        ("type LIKE '%.created'", created(), 5),
        ("region LIKE '%eu'", one(suffix, "region", "eu"), 2),
        (r"region LIKE '50\%\_%'", one(prefix, "region", "50%_"), 1),
        ("type LIKE '%.created' AND source LIKE '/shop%'", all([created(), in_shop()]), 4),
        ("type LIKE '%.created' OR source LIKE '/shop%'", any([created(), in_shop()]), 7),
        (
            "type IN ('order.paid', 'created')",
            any([one(exact, "type", "order.paid"), one(exact, "type", "created")]),
            2,
        ),
        ("NOT (source LIKE '/shop%')", not(in_shop()), 2),
        ("source NOT LIKE '/shop%'", not(in_shop()), 2),
        ("id != '1'", not(one(exact, "id", "1")), 1),
        ("NOT (id = '1' AND type LIKE '%.created')", not(all([one(exact, "id", "1"), created()])), 4),
        ("NOT EXISTS region OR region != 'eu'", not(one(exact, "region", "eu")), 7),
    ] {
        let expression = cesql(source);
        for event in &events {
            assert_eq!(
                expression.matches(event),
                filter.matches(event),
                "{source}\n{}",
                expression.explain(event)
            );
        }
        let count = events.iter().filter(|event| filter.matches(event)).count();
        assert_eq!(count, passing, "{source}");
    }
}
