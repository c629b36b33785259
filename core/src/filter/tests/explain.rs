//! What explanations say.

use proptest::{prop_assert_eq, proptest};

use super::*;
use crate::cesql::reference::expressions_and_events;
use crate::filter::Explanation;
use crate::filter::explain::{Hint, MAX_SEEN, Saw};
use crate::filter::line::Mark;

fn lines(filter: &Filter, attributes: &[(&str, &str)]) -> String {
    filter.explain(&event(attributes)).to_string()
}

#[test]
fn a_near_miss_is_told_with_what_it_misses_by() {
    for (filter, attributes, expected) in [
        (exact(&[("subjet", "a")]), &[("subject", "a")][..], "did you mean subject?"),
        (legacy(&[("sorce", "")]), &[], "did you mean source?"),
        (exact(&[("specverson", "1.0")]), &[], "did you mean specversion?"),
        (exact(&[("type", "Order.Created")]), &[], "upper and lower case differ"),
        (prefix(&[("source", "/Orders")]), &[], "upper and lower case differ"),
        (suffix(&[("type", "CREATED")]), &[], "upper and lower case differ"),
        (exact(&[("type", "order.created ")]), &[], "white space at the ends differs"),
    ] {
        let said = lines(&filter, attributes);
        assert!(said.ends_with(&format!("; {expected}")), "{said}");
    }
}

#[test]
fn where_nothing_is_near_or_the_clause_is_met_there_is_no_hint() {
    for (filter, said) in [
        (exact(&[("region", "eu")]), "✗ region is \"eu\", but the event has no such attribute"),
        (exact(&[("type", "stock.changed")]), "✗ type is \"stock.changed\", but it is \"order.created\""),
        (exact(&[("type", "order.created")]), "✓ type is \"order.created\": \"order.created\""),
        (Filter::everything(), "✓ every event"),
        (Filter::unknown("regex"), "✗ the dialect \"regex\", which is unknown and passes no event"),
        (exact(&[("type", "")]), "✗ type is \"\", which is empty and passes no event"),
    ] {
        assert_eq!(lines(&filter, &[]), said);
    }
}

/// FLN-02
#[test]
fn filters_are_explained_in_place_of_the_legacy_filter_which_is_not_looked_at() {
    let filter = Filter::of_trigger(&map(&[("type", "never")]), [exact(&[("id", "1")])]).expect("a filter");
    assert_eq!(lines(&filter, &[]), "✓ id is \"1\": \"1\"");
    let filter = Filter::of_trigger(&map(&[("type", "never")]), []).expect("a filter");
    assert_eq!(lines(&filter, &[]), "✗ type is \"never\", but it is \"order.created\"");
}

#[test]
fn a_long_value_is_told_by_its_beginning() {
    let long = "ä".repeat(MAX_SEEN + 1);
    let explanation = exact(&[("id", "a")]).explain(&event(&[("id", &long)]));
    let Some(Saw::Value(seen)) = explanation.saw else { panic!("{explanation:?}") };
    assert_eq!((seen.chars().count(), seen.chars().last()), (MAX_SEEN + 1, Some('…')));
}

#[test]
fn lines_say_what_to_colour_them_by() {
    let expression = Filter::cesql("typ = 'a' AND id = '1'".parse().expect("an expression"));
    let filter = all([exact(&[("id", "1")]), any([fail(), expression])]);
    let marks: Vec<_> =
        filter.explain(&event(&[])).lines().into_iter().map(|line| (line.depth, line.mark)).collect();
    assert_eq!(
        marks,
        [
            (0, Mark::Fails),
            (1, Mark::Passes),
            (1, Mark::Fails),
            (2, Mark::Fails),
            (2, Mark::Fails),
            (3, Mark::Error),
            (4, Mark::Error),
            (5, Mark::Error),
            (4, Mark::Skipped),
        ]
    );
}

#[test]
fn json_is_read_back_with_what_is_not_there() {
    let filter = all([exact(&[("regon", "eu")]), exact(&[("id", "2")]), not(pass())]);
    let explanation = filter.explain(&event(&[("region", "eu")]));
    let json = serde_json::to_value(&explanation).expect("an explanation is JSON");
    assert_eq!(json["children"][0]["hint"], serde_json::json!({"similar_name": "region"}));
    assert_eq!(json["children"][0]["saw"], serde_json::Value::Null);
    let read: Explanation = serde_json::from_value(json).expect("it is its own JSON");
    assert_eq!(read, explanation);
    assert_eq!(read.children[0].hint, Some(Hint::SimilarName("region".to_owned())));
    assert_eq!((&read.children[0].saw, &read.children[2].saw), (&Some(Saw::Nothing), &None));
}

proptest! {
    #[test]
    fn the_verdict_on_expressions_is_the_one_of_the_filter_however_they_are_nested(
        (source, events) in expressions_and_events(),
    ) {
        let expression = || Filter::cesql(source.parse().expect("a generated expression is one"));
        for event in events {
            for filter in [
                expression(),
                not(expression()),
                any([fail(), expression()]),
                all([not(fail()), any([not(expression()), fail()])]),
            ] {
                let explanation = filter.explain(&event);
                prop_assert_eq!(explanation.passes, filter.matches(&event), "{}", explanation);
                let json = serde_json::to_string(&explanation).expect("an explanation is JSON");
                let read: Explanation = serde_json::from_str(&json).expect("it is its own JSON");
                prop_assert_eq!(read.to_string(), explanation.to_string());
            }
        }
    }
}
