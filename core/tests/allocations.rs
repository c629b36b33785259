//! What filters allocate when they look at an event: nothing, for all that most filters are made of.

use std::collections::BTreeMap;

use allocation_counter::measure;
use trigon_core::cesql::Expression;
use trigon_core::event::{Event, EventBuilder};
use trigon_core::filter::{Filter, FilterError, FilterIndex};

fn event() -> Event {
    [
        ("specversion", "1.0"),
        ("id", "4711"),
        ("source", "/shop/orders"),
        ("type", "order.created"),
        ("subject", "Grüße"),
        ("time", "2026-11-21T04:00:00Z"),
        ("datacontenttype", "application/json; charset=utf-8"),
        ("sequence", "5"),
        ("truth", "TRUE"),
    ]
    .into_iter()
    .fold(EventBuilder::default(), |builder, (name, value)| builder.attribute(name, value))
    .integer("amount", 250)
    .boolean("paid", true)
    .build()
    .expect("a valid event")
}

type Dialect = fn(&BTreeMap<String, String>) -> Result<Filter, FilterError>;

fn one(dialect: Dialect, name: &str, value: &str) -> Filter {
    dialect(&BTreeMap::from([(name.to_owned(), value.to_owned())])).expect("a valid name")
}

fn cesql(source: &str) -> Filter {
    Filter::cesql(Expression::parse(source).expect("an expression"))
}

/// Whether the event passes, and how many allocations that takes to find out.
fn cost(filter: &Filter, event: &Event) -> (bool, u64) {
    let mut passes = false;
    let counted = measure(|| passes = filter.matches(event));
    (passes, counted.count_total)
}

fn dialects() -> Vec<Filter> {
    let small = "a small filter";
    vec![
        Filter::everything(),
        one(Filter::attributes, "subject", ""),
        one(Filter::attributes, "type", "order.created"),
        one(Filter::exact, "type", "order.created"),
        one(Filter::exact, "amount", "250"),
        one(Filter::exact, "paid", "true"),
        one(Filter::exact, "time", "2026-11-21T05:00:00+01:00"),
        one(Filter::exact, "datamediatype", "Application/JSON"),
        one(Filter::prefix, "source", "/shop"),
        one(Filter::suffix, "type", ".created"),
        Filter::not(one(Filter::exact, "type", "order.paid")).expect(small),
        Filter::not(one(Filter::exact, "nothing", "x")).expect(small),
        Filter::any([one(Filter::exact, "id", "1"), one(Filter::prefix, "type", "order.")]).expect(small),
        Filter::all([one(Filter::exact, "id", "4711"), cesql("EXISTS subject")]).expect(small),
    ]
}

const EXPRESSIONS: [&str; 24] = [
    "TRUE",
    "type = 'order.created'",
    "'order.created' = type",
    "type != 'order.paid'",
    "type IN ('order.paid', 'order.created')",
    "type NOT IN ('order.paid')",
    "type LIKE 'order.%'",
    "type LIKE '%.created'",
    "type LIKE '%der_c%'",
    "subject LIKE 'Gr__e'",
    "type NOT LIKE 'invoice.%'",
    "EXISTS subject AND NOT EXISTS nothing",
    "sequence = 5",
    "sequence = '5'",
    "amount = 250",
    "amount = '250'",
    "amount >= 100 AND amount < 1000",
    "amount * 2 - 1 = 499",
    "paid",
    "paid = 'true' AND truth = TRUE",
    "BOOL(truth) XOR FALSE",
    "INT(sequence) < INT(amount)",
    "LENGTH(subject) = 5 AND LEFT(type, 5) = 'order' AND TRIM(SUBSTRING(type, 7)) = 'created'",
    "(id = '1' OR source = '/shop/orders') AND NOT (type = 'order.paid')",
];

#[test]
fn a_match_allocates_nothing() {
    let event = event();
    let filters = dialects().into_iter().chain(EXPRESSIONS.map(cesql));
    for filter in filters {
        assert_eq!(cost(&filter, &event), (true, 0), "{filter}");
    }
}

#[test]
fn neither_does_what_is_not_met_or_fails() {
    let event = event();
    for filter in [
        one(Filter::exact, "type", "order.paid"),
        one(Filter::prefix, "nothing", "x"),
        cesql("type = 'order.paid'"),
        cesql("nothing = 'x'"),
        cesql("type = 5"),
        cesql("amount / (sequence - 5) = 1"),
        cesql("NOFUNCTION(type)"),
        cesql("LEFT(type, -1) = 'x'"),
    ] {
        assert_eq!(cost(&filter, &event), (false, 0), "{filter}");
    }
}

#[test]
fn looking_into_the_index_allocates_nothing_but_the_list_of_what_was_found() {
    let event = event();
    let filters: Vec<_> = dialects().into_iter().chain(EXPRESSIONS.map(cesql)).collect();
    let index = FilterIndex::new(&filters);
    let mut found = Vec::with_capacity(filters.len());
    let counted = measure(|| index.matches(&event, &mut found));
    assert_eq!((found.len(), counted.count_total), (filters.len(), 0));
}

#[test]
fn what_makes_a_text_is_counted() {
    assert_ne!(cost(&cesql("UPPER(type) = 'ORDER.CREATED'"), &event()), (true, 0), "the counter counts");
}
