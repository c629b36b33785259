//! What is counted, shown and warned of, over events written as rows.

use super::*;
use crate::event::EventBuilder;
use crate::name::{Offset, PartitionId};

fn event(id: u64, attributes: &[(&str, &str)]) -> Event {
    let builder = EventBuilder::new().spec_version("1.0").attribute("id", id.to_string());
    let builder = builder.attribute("source", "/shop");
    attributes
        .iter()
        .fold(builder, |builder, (name, value)| builder.attribute(*name, *value))
        .build()
        .unwrap()
}

fn of_type(event_type: &str) -> Filter {
    Filter::exact(&[("type".to_owned(), event_type.to_owned())].into()).unwrap()
}

fn cesql(expression: &str) -> Filter {
    Filter::cesql(expression.parse().unwrap())
}

/// Compares over events that are told by their attributes; the place of one is its id and its offset.
fn compare(filter: Filter, running: Option<Filter>, events: &[&[(&str, &str)]]) -> Comparison {
    let mut lab = Lab::new([Change { filter, running }]);
    for (id, attributes) in (0..).zip(events) {
        let position = Position { partition: PartitionId(0), offset: Offset(id) };
        let accepted = Timestamp(i64::try_from(id).unwrap());
        lab.show(Placed { position, accepted, event: &event(id, attributes) });
    }
    assert_eq!((lab.filters(), lab.events()), (1, events.len() as u64));
    lab.finish().remove(0)
}

fn ids(samples: &[Sample]) -> Vec<&str> {
    samples.iter().map(|sample| &*sample.id).collect()
}

#[test]
fn what_a_changed_filter_gains_and_loses_is_counted_and_shown_with_the_reason() {
    let events: [&[(&str, &str)]; 4] = [
        &[("type", "a")],
        &[("type", "b")],
        &[("type", "c")],
        &[("type", "b"), ("time", "2026-11-21T04:00:00Z")],
    ];
    let found = compare(Filter::any([of_type("b"), of_type("c")]).unwrap(), Some(of_type("a")), &events);
    assert_eq!((found.matched, found.matched_by_running), (3, 1));
    assert_eq!((found.gained.count, found.lost.count), (3, 1));
    assert_eq!((ids(&found.gained.samples), ids(&found.lost.samples)), (vec!["1", "2", "3"], vec!["0"]));
    let last = &found.gained.samples[2];
    assert_eq!(
        (&*last.event_type, &*last.source, last.time.as_deref()),
        ("b", "/shop", Some("2026-11-21T04:00:00Z"))
    );
    assert_eq!(last.position.offset, Offset(3));
    // Gained is what the filter in force refuses, lost what the new one does.
    assert!(last.reason.as_deref().unwrap().contains("type is \"a\""), "{last:?}");
    let reason = found.lost.samples[0].reason.as_deref().unwrap();
    assert!(
        reason.contains("type is \"b\"") && reason.contains("\"a\"") && reason.contains("either"),
        "{reason}"
    );
    assert_eq!((found.warnings, found.unmatched), (vec![], vec![]));
}

#[test]
fn a_new_trigger_gains_all_that_it_matches_and_loses_nothing() {
    let found = compare(of_type("a"), None, &[&[("type", "a")], &[("type", "b")]]);
    assert_eq!((found.matched, found.matched_by_running, found.running), (1, 0, None));
    assert_eq!((found.gained.count, found.lost.count), (1, 0));
    assert_eq!(found.gained.samples[0].reason, None);
}

#[test]
fn an_event_that_is_excluded_is_shown_with_what_excludes_it() {
    let filter = Filter::not(Filter::any([of_type("x"), of_type("a")]).unwrap()).unwrap();
    let found = compare(filter, Some(Filter::everything()), &[&[("type", "a")], &[("type", "b")]]);
    assert_eq!(ids(&found.lost.samples), ["0"]);
    let reason = found.lost.samples[0].reason.as_deref().unwrap();
    assert!(reason.contains("excludes") && reason.contains("type is \"a\""), "{reason}");
}

#[test]
fn samples_are_few_and_spread_from_the_first_to_the_last() {
    let row: &[(&str, &str)] = &[("type", "a")];
    for (count, first, last) in [(1, 0, 0), (5, 0, 4), (6, 0, 5), (11, 0, 8), (10_000, 0, 7_500)] {
        let found = compare(of_type("a"), None, &vec![row; count]);
        let ids: Vec<u64> = found.gained.samples.iter().map(|sample| sample.id.parse().unwrap()).collect();
        assert_eq!(ids.len(), count.min(MAX_SAMPLES), "{ids:?}");
        assert!(ids.is_sorted() && ids[0] == first && *ids.last().unwrap() >= last, "{count}: {ids:?}");
        let widest = ids.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
        assert!(widest <= (count as u64).div_ceil(2), "{count}: {ids:?}");
    }
}

#[test]
fn what_an_event_says_is_cut() {
    let long = "x".repeat(10 * MAX_SHOWN);
    let found = compare(of_type("a"), Some(Filter::everything()), &[&[("type", &long)]]);
    let sample = &found.lost.samples[0];
    for text in [&sample.event_type, sample.reason.as_ref().unwrap()] {
        assert_eq!((text.chars().count(), text.ends_with('…')), (MAX_SHOWN + 1, true));
    }
}

#[test]
fn a_filter_that_matches_nothing_is_warned_of_with_events_that_it_does_not_match() {
    let found = compare(of_type("order"), None, &[&[("type", "oder")], &[("type", "oder")]]);
    assert_eq!(found.warnings, [Warning::MatchesNothing]);
    assert_eq!(ids(&found.unmatched), ["0", "1"]);
    assert!(found.unmatched[0].reason.as_deref().unwrap().contains("oder"));
}

#[test]
fn without_events_nothing_is_concluded() {
    assert_eq!(compare(of_type("a"), None, &[]).warnings, []);
}

#[test]
fn a_filter_that_matches_everything_is_warned_of_unless_it_asks_for_nothing() {
    let row: &[&[(&str, &str)]] = &[&[("type", "a")]];
    assert_eq!(compare(of_type("a"), None, row).warnings, [Warning::MatchesEverything]);
    assert_eq!(compare(Filter::everything(), None, row).warnings, []);
}

/// FLN-07
#[test]
fn errors_of_an_expression_are_counted_by_event_and_the_first_is_told() {
    let events: [&[(&str, &str)]; 3] =
        [&[("type", "a"), ("total", "7")], &[("type", "a")], &[("type", "a"), ("total", "x")]];
    let found = compare(cesql("INT(total) > 5"), None, &events);
    let [Warning::Errors { events: 2, first }] = &found.warnings[..] else { panic!("{found:?}") };
    assert!(first.starts_with("1:5: ") && first.contains("total"), "{first}");
    assert_eq!(found.matched, 1);
}

#[test]
fn an_attribute_that_no_event_has_is_named_with_one_that_is_meant() {
    let filter = Filter::any([of_type("a"), cesql("EXISTS regoin AND EXISTS color")]).unwrap();
    let found = compare(filter, None, &[&[("type", "a")], &[("type", "b"), ("region", "eu")]]);
    let unknown = |name: &str, nearest: Option<&str>| Warning::UnknownAttribute {
        name: name.to_owned(),
        nearest: nearest.map(str::to_owned),
    };
    assert_eq!(found.warnings, [unknown("regoin", Some("region")), unknown("color", None)]);
    assert_eq!(
        found.warnings[0].to_string(),
        "no event has the attribute \"regoin\"; did you mean \"region\"?"
    );
}

#[test]
fn an_attribute_that_several_clauses_miss_is_named_once() {
    let is = |name: &str| Filter::exact(&[(name.to_owned(), "x".to_owned())].into()).unwrap();
    let filter = Filter::all([is("foo"), is("bar"), cesql("foo = 'x'")]).unwrap();
    let found = compare(filter, None, &[&[("type", "a")]]);
    let named = found.warnings.iter().filter_map(|warning| match warning {
        Warning::UnknownAttribute { name, .. } => Some(name.as_str()),
        _ => None,
    });
    assert_eq!(named.collect::<Vec<_>>(), ["foo", "bar"]);
}

#[test]
fn several_filters_see_the_same_events() {
    let changes = ["a", "b"].map(|of| Change { filter: of_type(of), running: None });
    let mut lab = Lab::new(changes);
    let position = Position { partition: PartitionId(0), offset: Offset(0) };
    lab.show(Placed { position, accepted: Timestamp(0), event: &event(0, &[("type", "b")]) });
    let matched: Vec<_> = lab.finish().iter().map(|found| found.matched).collect();
    assert_eq!(matched, [0, 1]);
}

#[test]
fn an_expression_is_given_as_a_reason_by_the_part_that_decided() {
    let row: &[(&str, &str)] = &[("type", "a"), ("total", "3"), ("flag", "x")];
    for (expression, reason) in [
        ("type = 'b'", "`type = 'b'` is FALSE, because type is 'a'"),
        ("source = '/shop' AND INT(total) > 5", "`INT(total) > 5` is FALSE, because INT(total) is 3"),
        ("type = 'b' OR type = 'c'", "because type = 'b' is FALSE and type = 'c' is FALSE"),
        ("NOT (type = 'a')", "is FALSE, because (type = 'a') is TRUE"),
        ("INT(totl) > 5", "`totl`: the event has no attribute totl"),
        ("source = '/shop' AND INT(flag) > 5", "`INT(flag)`: "),
    ] {
        let found = compare(cesql(expression), Some(Filter::everything()), &[row]);
        let said = found.lost.samples[0].reason.clone().unwrap();
        assert!(said.contains(reason), "{expression}: {said}");
    }
}

#[test]
fn what_two_conditions_refuse_together_is_put_down_to_the_first() {
    let filter = Filter::all([of_type("b"), cesql("source = 'x'")]).unwrap();
    let found = compare(filter, Some(Filter::everything()), &[&[("type", "a")]]);
    assert_eq!(found.lost.samples[0].reason.as_deref(), Some("type is \"b\", but it is \"a\""));
}
