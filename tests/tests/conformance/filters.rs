//! The filter dialects, one Trigger for each.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use trigon_tests::{Deployment, Event, Object, Subscriber, broker, trigger};

/// The events of these cases, by id: those of upstream's feature, and more that tell dialects apart.
fn events() -> Vec<Event> {
    vec![
        Event::new("full").with("type", "order.created").with("source", "/shop/one").with("colour", "red"),
        Event::new("plain").with("type", "order.created").with("source", "/shop/two"),
        Event::new("other").with("type", "stock.changed").with("source", "/shop/one").with("colour", "green"),
        Event::new("strange").with("type", "order.deleted").with("source", "/elsewhere"),
    ]
}

/// A Trigger's name, what makes its filter, and the ids that it wants, sorted.
pub(super) type Case<'a> = (&'a str, fn(Object) -> Object, &'a [&'a str]);

async fn check<D: Deployment>(cases: &[Case<'_>]) {
    check_with::<D>(&events().iter().map(Event::binary).collect::<Vec<_>>(), cases).await;
}

/// Runs one Trigger per case beside each other, sends the events, and compares which each has received.
pub(super) async fn check_with<D: Deployment>(events: &[(HeaderMap, Bytes)], cases: &[Case<'_>]) {
    let subscriber = Subscriber::start().await;
    let mut routes = vec![broker("default")];
    for (name, filtered, _) in cases {
        routes.push(filtered(trigger(name, &subscriber.url(&format!("/{name}")))));
    }
    let trigon = D::start(&routes).await;
    let producer = trigon.producer();
    for (headers, body) in events {
        let answer = producer.post(headers.clone(), body.clone()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{headers:?}: {}", answer.body);
    }
    for (name, _, wanted) in cases {
        subscriber.takes(&format!("/{name}"), wanted.len()).await;
    }
    trigon.settled().await;
    for (name, _, wanted) in cases {
        let mut ids = subscriber.ids(&format!("/{name}"));
        ids.sort();
        assert_eq!(ids, *wanted, "{name}");
    }
}

pub(super) fn filters(object: Object, filters: Value) -> Object {
    object.filters(filters)
}

/// TST-46 exact, prefix, suffix; FLN-04, FLN-05
async fn exact_prefix_and_suffix_compare_one_attribute<D: Deployment>() {
    check::<D>(&[
        ("exact", |t| filters(t, json!([{"exact": {"type": "order.created"}}])), &["full", "plain"]),
        ("prefix", |t| filters(t, json!([{"prefix": {"type": "order."}}])), &["full", "plain", "strange"]),
        ("suffix", |t| filters(t, json!([{"suffix": {"source": "/one"}}])), &["full", "other"]),
        ("extension", |t| filters(t, json!([{"exact": {"colour": "red"}}])), &["full"]),
        (
            "two",
            |t| filters(t, json!([{"exact": {"type": "order.created", "source": "/shop/two"}}])),
            &["plain"],
        ),
        ("case", |t| filters(t, json!([{"exact": {"type": "Order.created"}}])), &[]),
        ("part", |t| filters(t, json!([{"exact": {"type": "order"}}])), &[]),
        ("prefix-case", |t| filters(t, json!([{"prefix": {"type": "Order."}}])), &[]),
        ("suffix-case", |t| filters(t, json!([{"suffix": {"source": "/One"}}])), &[]),
        (
            "prefixes",
            |t| filters(t, json!([{"prefix": {"type": "order.", "source": "/shop"}}])),
            &["full", "plain"],
        ),
        ("suffixes", |t| filters(t, json!([{"suffix": {"type": "created", "source": "/one"}}])), &["full"]),
    ])
    .await;
}

/// TST-46 all, any, any with multiple exact; FLN-06, FLN-15
async fn all_any_and_not_combine_filters<D: Deployment>() {
    check::<D>(&[
        (
            "all",
            |t| filters(t, json!([{"all": [{"exact": {"type": "order.created"}}, {"suffix": {"source": "one"}}]}])),
            &["full"],
        ),
        (
            "any",
            |t| filters(t, json!([{"any": [{"prefix": {"type": "stock"}}, {"exact": {"colour": "red"}}]}])),
            &["full", "other"],
        ),
        (
            "any-exact",
            |t| {
                filters(t, json!([{"any": [{"exact": {"type": "order.deleted"}}, {"exact": {"type": "stock.changed"}}]}]))
            },
            &["other", "strange"],
        ),
        (
            "not",
            |t| filters(t, json!([{"not": {"exact": {"type": "order.created"}}}])),
            &["other", "strange"],
        ),
        (
            "nested",
            |t| {
                let inner = json!({"all": [{"prefix": {"type": "order"}}, {"not": {"exact": {"colour": "red"}}}]});
                filters(t, json!([{"any": [inner, {"exact": {"colour": "green"}}]}]))
            },
            &["other", "plain", "strange"],
        ),
    ])
    .await;
}

/// FLN-01, FLN-11, FLN-12, X-33
async fn an_element_without_a_dialect_passes_every_event<D: Deployment>() {
    check::<D>(&[
        ("nothing", |t| filters(t, json!([{}])), ALL),
        ("nothings", |t| filters(t, json!([{}, {}])), ALL),
        ("not-nothing", |t| filters(t, json!([{"not": {}}])), ALL),
        ("all-nothing", |t| filters(t, json!([{"all": [{}, {"not": {}}]}])), ALL),
        ("any-nothing", |t| filters(t, json!([{"any": [{}, {}]}])), ALL),
        ("no-attributes", |t| filters(t, json!([{"exact": {}}])), ALL),
        ("any-first", |t| filters(t, json!([{"any": [{}, {"exact": {"type": "x"}}]}])), ALL),
        ("any-last", |t| filters(t, json!([{"any": [{"exact": {"type": "x"}}, {}]}])), ALL),
        (
            "any-none",
            |t| filters(t, json!([{"any": [{"exact": {"type": "x"}}, {"prefix": {"type": "y"}}]}])),
            &[],
        ),
        ("all-but", |t| filters(t, json!([{"all": [{}, {"exact": {"type": "stock.changed"}}]}])), &["other"]),
        ("beside", |t| filters(t, json!([{"exact": {"type": "stock.changed"}}, {}])), &["other"]),
        ("empty-list", |t| filters(t, json!([])), ALL),
        ("absent", |t| t, ALL),
    ])
    .await;
}

/// The ids of all events.
const ALL: &[&str] = &["full", "other", "plain", "strange"];

/// TST-46 missing attributes, multiple filters; FLN-01, FLN-10
async fn an_attribute_that_is_missing_matches_nothing_and_several_filters_must_all_match<D: Deployment>() {
    check::<D>(&[
        ("missing", |t| filters(t, json!([{"exact": {"nothere": "x"}}])), &[]),
        ("missing-prefix", |t| filters(t, json!([{"prefix": {"colour": "g"}}])), &["other"]),
        ("missing-suffix", |t| filters(t, json!([{"suffix": {"colour": "n"}}])), &["other"]),
        (
            "four",
            |t| {
                filters(
                    t,
                    json!([
                        {"exact": {"source": "/shop/one"}},
                        {"prefix": {"type": "order"}},
                        {"suffix": {"type": "created"}},
                        {"cesql": "colour = 'red'"},
                    ]),
                )
            },
            &["full"],
        ),
        (
            "several",
            |t| filters(t, json!([{"exact": {"type": "order.created"}}, {"prefix": {"colour": "r"}}])),
            &["full"],
        ),
    ])
    .await;
}

/// TST-46 empty filters keep the attribute filter, filters override it; TST-44, FLN-02
async fn the_older_filter_counts_only_without_the_newer_ones<D: Deployment>() {
    check::<D>(&[
        ("empty-list", |t| t.filter("type", "stock.changed").filters(json!([])), &["other"]),
        (
            "override",
            |t| t.filter("type", "stock.changed").filters(json!([{"exact": {"colour": "red"}}])),
            &["full"],
        ),
        ("older", |t| t.filter("source", "/elsewhere"), &["strange"]),
        ("override-all", |t| t.filter("type", "stock.changed").filters(json!([{}])), ALL),
        ("empty", |t| t.spec("filter", json!({})), ALL),
    ])
    .await;
}

/// TST-46 multiple triggers and sinks; FLN-15
async fn triggers_with_different_filters_share_nothing_but_the_event<D: Deployment>() {
    check::<D>(&[
        ("a", |t| filters(t, json!([{"exact": {"type": "order.created"}}])), &["full", "plain"]),
        ("b", |t| filters(t, json!([{"exact": {"type": "order.created"}}])), &["full", "plain"]),
        ("c", |t| filters(t, json!([{"exact": {"type": "stock.changed"}}])), &["other"]),
        ("d", |t| t, ALL),
        (
            "overlap-one",
            |t| {
                filters(
                    t,
                    json!([{"any": [{"exact": {"type": "stock.changed"}}, {"prefix": {"source": "/else"}}]}]),
                )
            },
            &["other", "strange"],
        ),
        (
            "overlap-two",
            |t| {
                filters(
                    t,
                    json!([{"any": [{"exact": {"type": "order.created"}}, {"prefix": {"source": "/else"}}]}]),
                )
            },
            &["full", "plain", "strange"],
        ),
    ])
    .await;
}

on_every_deployment!(
    exact_prefix_and_suffix_compare_one_attribute,
    all_any_and_not_combine_filters,
    an_element_without_a_dialect_passes_every_event,
    an_attribute_that_is_missing_matches_nothing_and_several_filters_must_all_match,
    the_older_filter_counts_only_without_the_newer_ones,
    triggers_with_different_filters_share_nothing_but_the_event,
);
