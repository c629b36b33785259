//! What filters mean, in tables: the checklist's lines, the rows that TST-65 names, the matrices of FLA-08 and
//! the features of TST-46, each with the events that must not pass.

use std::collections::BTreeMap;

use super::requirement::{Key, Reach, Requirement};
use super::{Filter, FilterError, FilterIndex, MAX_CLAUSES, MAX_DEPTH, is_attribute_name};
use crate::event::{Event, EventBuilder};

/// An event of version 1.0 with id, source and type unless given.
fn event(attributes: &[(&str, &str)]) -> Event {
    event_of("1.0", attributes)
}

fn event_of(version: &str, attributes: &[(&str, &str)]) -> Event {
    let defaults = [("id", "1"), ("source", "/orders"), ("type", "order.created")];
    let missing = defaults.iter().filter(|(name, _)| attributes.iter().all(|(given, _)| given != name));
    let builder = EventBuilder::default().spec_version(version);
    missing
        .chain(attributes)
        .fold(builder, |builder, (name, value)| builder.attribute(*name, *value))
        .build()
        .expect("a valid event")
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn legacy(pairs: &[(&str, &str)]) -> Filter {
    Filter::attributes(&map(pairs)).expect("valid names")
}

fn exact(pairs: &[(&str, &str)]) -> Filter {
    Filter::exact(&map(pairs)).expect("valid names")
}

fn prefix(pairs: &[(&str, &str)]) -> Filter {
    Filter::prefix(&map(pairs)).expect("valid names")
}

fn suffix(pairs: &[(&str, &str)]) -> Filter {
    Filter::suffix(&map(pairs)).expect("valid names")
}

fn all<const N: usize>(filters: [Filter; N]) -> Filter {
    Filter::all(filters).expect("a small filter")
}

fn any<const N: usize>(filters: [Filter; N]) -> Filter {
    Filter::any(filters).expect("a small filter")
}

fn not(filter: Filter) -> Filter {
    Filter::not(filter).expect("a small filter")
}

/// A filter that passes every event that these tables send, and is no no-op.
fn pass() -> Filter {
    exact(&[("id", "1")])
}

/// A filter that passes no event that these tables send, and is not invalid.
fn fail() -> Filter {
    exact(&[("id", "2")])
}

#[track_caller]
fn assert_verdicts(filter: &Filter, cases: &[(&[(&str, &str)], bool)]) {
    for (attributes, passes) in cases {
        let event = event(attributes);
        assert_eq!(filter.matches(&event), *passes, "{filter}: {attributes:?}\n{}", filter.explain(&event));
        assert_eq!(filter.explain(&event).passes, *passes, "{filter}: {attributes:?}");
    }
}

/// FLA-01
#[test]
fn legacy_attributes_must_all_be_there_and_equal_as_whole_case_sensitive_strings() {
    assert_verdicts(
        &legacy(&[("type", "order.created"), ("region", "eu")]),
        &[
            (&[("region", "eu")], true),
            (&[("region", "EU")], false),
            (&[("region", "eu-1")], false),
            (&[("region", "e")], false),
            (&[("region", " eu")], false),
            (&[], false),
            (&[("type", "order.updated"), ("region", "eu")], false),
            (&[("type", "Order.created"), ("region", "eu")], false),
        ],
    );
}

/// FLA-02, X-08
#[test]
fn a_legacy_empty_value_takes_any_value_but_not_a_missing_attribute() {
    assert_verdicts(
        &legacy(&[("type", ""), ("region", "")]),
        &[(&[("region", "eu")], true), (&[("region", "us")], true), (&[], false), (&[("zone", "eu")], false)],
    );
}

/// FLA-03, FLN-01
#[test]
fn no_legacy_attributes_and_no_filters_pass_every_event() {
    assert_verdicts(&legacy(&[]), &[(&[], true), (&[("region", "eu")], true)]);
    assert_verdicts(&all([]), &[(&[], true)]);
    assert_eq!(Filter::default(), Filter::everything());
}

/// FLA-04, TST-65
#[test]
fn filters_know_every_core_attribute_of_an_event_of_version_1_0() {
    let event = event(&[
        ("subject", "cool"),
        ("time", "2026-11-21T04:00:00Z"),
        ("dataschema", "https://example.com/schema"),
        ("datacontenttype", "text/cheers; mate=yes"),
    ]);
    for (name, value) in [
        ("specversion", "1.0"),
        ("id", "1"),
        ("source", "/orders"),
        ("type", "order.created"),
        ("subject", "cool"),
        ("time", "2026-11-21T04:00:00Z"),
        ("dataschema", "https://example.com/schema"),
        ("schemaurl", "https://example.com/schema"),
        ("datacontenttype", "text/cheers; mate=yes"),
        ("datamediatype", "text/cheers"),
    ] {
        for filter in [legacy(&[(name, value)]), exact(&[(name, value)])] {
            assert!(filter.matches(&event), "{}", filter.explain(&event));
        }
        assert!(legacy(&[(name, "")]).matches(&event), "{name} is present");
        let other = format!("{value}x");
        for filter in [legacy(&[(name, &other)]), exact(&[(name, &other)])] {
            assert!(!filter.matches(&event), "{}", filter.explain(&event));
        }
    }
    assert!(!legacy(&[("datacontentencoding", "")]).matches(&event));
}

/// FLA-04, TST-65
#[test]
fn filters_know_the_attributes_that_only_version_0_3_has() {
    let event = event_of(
        "0.3",
        &[
            ("schemaurl", "https://example.com/schema"),
            ("datacontentencoding", "base64"),
            ("datacontenttype", "Application/JSON;charset=utf-8"),
        ],
    );
    for (name, value) in [
        ("specversion", "0.3"),
        ("schemaurl", "https://example.com/schema"),
        ("dataschema", "https://example.com/schema"),
        ("datacontentencoding", "base64"),
        ("datamediatype", "application/json"),
    ] {
        let filter = legacy(&[(name, value)]);
        assert!(filter.matches(&event), "{}", filter.explain(&event));
    }
    assert!(!legacy(&[("specversion", "1.0")]).matches(&event));
}

/// FLA-04
#[test]
fn an_extension_hides_the_alias_of_its_name() {
    let event =
        event(&[("schemaurl", "own"), ("dataschema", "https://example.com"), ("datamediatype", "mine")]);
    assert!(legacy(&[("schemaurl", "own"), ("datamediatype", "mine")]).matches(&event));
    assert!(!legacy(&[("schemaurl", "https://example.com")]).matches(&event));
}

/// FLA-05
#[test]
fn an_absent_optional_attribute_is_missing_for_the_any_filter_too_and_so_is_time() {
    let bare = event(&[]);
    for name in ["subject", "dataschema", "schemaurl", "datacontenttype", "datamediatype", "time"] {
        assert!(!legacy(&[(name, "")]).matches(&bare), "{name}");
    }
}

/// FLA-06, FLN-09
#[test]
fn integers_and_booleans_are_compared_by_their_canonical_text() {
    let event = event(&[])
        .into_builder()
        .integer("amount", -42)
        .boolean("paid", true)
        .build()
        .expect("a valid event");
    for (filter, passes) in [
        (legacy(&[("amount", "-42"), ("paid", "true")]), true),
        (legacy(&[("amount", ""), ("paid", "")]), true),
        (exact(&[("amount", "-42")]), true),
        (exact(&[("paid", "true")]), true),
        (prefix(&[("amount", "-4")]), true),
        (suffix(&[("paid", "ue")]), true),
        (legacy(&[("amount", "-42.0")]), false),
        (exact(&[("amount", "42")]), false),
        (exact(&[("paid", "True")]), false),
        (exact(&[("paid", "1")]), false),
    ] {
        assert_eq!(filter.matches(&event), passes, "{}", filter.explain(&event));
    }
}

/// FLA-07
#[test]
fn times_are_equal_when_they_are_the_same_instant() {
    for filter in
        [legacy(&[("time", "2026-11-21T04:00:00Z")]), exact(&[("time", "2026-11-21T05:00:00+01:00")])]
    {
        assert_verdicts(
            &filter,
            &[
                (&[("time", "2026-11-21T04:00:00Z")], true),
                (&[("time", "2026-11-21T04:00:00.000Z")], true),
                (&[("time", "2026-11-21T04:00:00+00:00")], true),
                (&[("time", "2026-11-20T20:00:00-08:00")], true),
                (&[("time", "2026-11-21t04:00:00z")], true),
                (&[("time", "2026-11-21T04:00:00.000000001Z")], false),
                (&[("time", "2026-11-21T04:00:00-01:00")], false),
                (&[], false),
            ],
        );
    }
    assert_verdicts(
        &prefix(&[("time", "2026-11-21")]),
        &[(&[("time", "2026-11-21T00:30:00+01:00")], true), (&[("time", "2026-11-20T23:30:00Z")], false)],
    );
    // Another attribute is text, whatever it looks like.
    assert_verdicts(
        &exact(&[("due", "2026-11-21T04:00:00Z")]),
        &[(&[("due", "2026-11-21T05:00:00+01:00")], false), (&[("due", "2026-11-21T04:00:00Z")], true)],
    );
}

/// FLA-07
#[test]
fn what_is_not_an_rfc_3339_timestamp_is_compared_as_text() {
    let leap = "2016-12-31T23:59:60Z";
    assert_verdicts(
        &exact(&[("time", leap)]),
        &[(&[("time", leap)], true), (&[("time", "2016-12-31T23:59:59Z")], false)],
    );
    for wanted in ["yesterday", "2026-11-21", "2026-11-21 04:00:00Z", "2026-11-21T04:00:00Z[UTC]"] {
        assert_verdicts(&exact(&[("time", wanted)]), &[(&[("time", "2026-11-21T04:00:00Z")], false)]);
    }
}

/// FLA-01, FLA-02, TST-65
#[test]
fn legacy_filters_with_extensions_and_subjects() {
    let plain: &[(&str, &str)] = &[];
    let extended: &[(&str, &str)] = &[("myextension", "my-extension-value")];
    let about: &[(&str, &str)] = &[("subject", "mysubject")];
    let both = [("type", "order.created"), ("source", "/orders")];
    let and = |name, value| legacy(&[both[0], both[1], (name, value)]);
    for (filter, attributes, passes) in [
        (legacy(&[("type", "some-other-type"), ("source", "")]), plain, false),
        (legacy(&[("type", ""), ("source", "some-other-source")]), plain, false),
        (legacy(&[("type", ""), ("source", "")]), plain, true),
        (legacy(&both), plain, true),
        (and("myextension", "my-extension-value"), extended, true),
        (and("myextension", "my-extension-value"), plain, false),
        (and("myextension", ""), plain, false),
        (and("myextension", ""), extended, true),
        (and("myextension", "some-other-extension-value"), extended, false),
        (and("subject", "mysubject"), about, true),
        (and("subject", "mysubject"), plain, false),
        (and("subject", "another"), about, false),
        (and("subject", ""), plain, false),
        (and("subject", ""), about, true),
        (legacy(&[("type", ""), ("source", "")]), &[("knativearrivaltime", "2019-08-26T23:38:17Z")], true),
    ] {
        assert_verdicts(&filter, &[(attributes, passes)]);
    }
}

/// What every filter passes of every event, by the one and by the index; `expected` has a row per event.
#[track_caller]
fn assert_matrix<const FILTERS: usize>(
    filters: &[Filter; FILTERS],
    events: &[Event],
    expected: &[[u8; FILTERS]],
) {
    let index = FilterIndex::new(filters);
    assert_eq!(events.len(), expected.len());
    for (event, expected) in events.iter().zip(expected) {
        let verdicts = filters.each_ref().map(|filter| u8::from(filter.matches(event)));
        assert_eq!(verdicts, *expected, "{event:?}");
        let mut found = Vec::new();
        index.matches(event, &mut found);
        let places: Vec<_> = (0..FILTERS).filter(|place| expected[*place] == 1).collect();
        assert_eq!(found, places, "{event:?}");
    }
}

/// FLA-08, TST-34
#[test]
fn many_triggers_on_type_and_source_get_their_events_and_no_others() {
    let (source1, source2) = ("http://source1.com", "http://source2.com");
    let filters = [("", ""), ("type1", ""), ("", source1), ("type1", source1)]
        .map(|(event_type, source)| legacy(&[("type", event_type), ("source", source)]));
    let events = [("type1", source1), ("type1", source2), ("type2", source1), ("type2", source2)]
        .map(|(event_type, source)| event(&[("type", event_type), ("source", source)]));
    assert_matrix(&filters, &events, &[[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 1, 0], [1, 0, 0, 0]]);
}

/// FLA-08, TST-34
#[test]
fn many_triggers_on_extensions_get_their_events_and_no_others() {
    const ANY: &str = "";
    let (source1, source2) = ("http://source1.com", "http://source2.com");
    let (first, second) = (("extname1", "extval1"), ("extname2", "extvalue2"));
    let filter = |event_type, source, extensions: &[(&str, &str)]| {
        legacy(&[&[("type", event_type), ("source", source)], extensions].concat())
    };
    let filters = [
        filter(ANY, ANY, &[first]),
        filter(ANY, ANY, &[first, second]),
        filter(ANY, ANY, &[second]),
        filter("type1", ANY, &[first]),
        filter(ANY, ANY, &[("extname1", ANY)]),
        filter(ANY, source1, &[first]),
        filter(ANY, source1, &[first, second]),
        filter(ANY, source2, &[first, ("extname2", "extval1")]),
    ];
    let event = |event_type, source, extensions: &[(&str, &str)]| {
        event(&[&[("type", event_type), ("source", source)], extensions].concat())
    };
    let events = [
        event("type1", source1, &[first]),
        event("type1", source1, &[first, second]),
        event("type1", source1, &[second]),
        event("type1", source2, &[first]),
        event("type2", source1, &[("extname1", "nonmatchingextval")]),
        event("type2", source2, &[("nonmatchingextname", "extval1")]),
        event("type2", source2, &[first, second]),
        event("type2", source2, &[first, ("nonmatchingextname", "extvalue2")]),
    ];
    assert_matrix(
        &filters,
        &events,
        &[
            [1, 0, 0, 1, 1, 1, 0, 0],
            [1, 1, 1, 1, 1, 1, 1, 0],
            [0, 0, 1, 0, 0, 0, 0, 0],
            [1, 0, 0, 1, 1, 0, 0, 0],
            [0, 0, 0, 0, 1, 0, 0, 0],
            [0, 0, 0, 0, 0, 0, 0, 0],
            [1, 1, 1, 0, 1, 0, 0, 0],
            [1, 0, 0, 0, 1, 0, 0, 0],
        ],
    );
}

#[test]
fn the_index_evaluates_only_the_filters_that_an_event_gives_a_chance() {
    // All share the type; the source is unique, but for one filter that names three.
    let source = |n: usize| exact(&[("type", "order.created"), ("source", &format!("/{n}"))]);
    let mut filters: Vec<_> = (0..1_000).map(source).collect();
    filters.push(all([exact(&[("type", "order.created")]), any([source(1), source(2), source(3)])]));
    filters.push(prefix(&[("source", "/5")]));
    filters.push(all([prefix(&[("source", "/")]), exact(&[("region", "eu")])]));
    filters.push(suffix(&[("source", "/5")]));
    filters.push(all([prefix(&[("id", "1")]), exact(&[("zone", "z")])]));
    filters.push(all([exact(&[("type", "order.created")]), prefix(&[("source", "/no")])]));
    let index = FilterIndex::new(&filters);
    for (value, expected) in
        [("/7", vec![7, 1003]), ("/2", vec![2, 1000, 1003]), ("/57", vec![57, 1001, 1003]), ("x", vec![1003])]
    {
        let mut candidates: Vec<_> = index.candidates(&event(&[("source", value)])).collect();
        candidates.sort_unstable();
        assert_eq!(candidates, expected, "{value}");
    }
}

/// FLN-01
#[test]
fn several_filters_must_all_pass() {
    let filter = Filter::of_trigger(&map(&[]), [exact(&[("type", "a")]), prefix(&[("source", "/b")])]);
    assert_verdicts(
        &filter.expect("valid"),
        &[
            (&[("type", "a"), ("source", "/b/c")], true),
            (&[("type", "a"), ("source", "/c")], false),
            (&[("type", "b"), ("source", "/b")], false),
        ],
    );
}

/// FLN-02, TST-46 (empty filters keep the attribute filter; filters override it)
#[test]
fn filters_replace_the_attribute_filter_unless_the_list_is_empty() {
    let attributes = map(&[("type", "by.attribute")]);
    let kept = Filter::of_trigger(&attributes, []).expect("valid");
    assert_verdicts(&kept, &[(&[("type", "by.attribute")], true), (&[("type", "other")], false)]);

    let replaced = Filter::of_trigger(&attributes, [exact(&[("type", "by.filter")])]).expect("valid");
    assert_verdicts(&replaced, &[(&[("type", "by.filter")], true), (&[("type", "by.attribute")], false)]);

    let no_op = Filter::of_trigger(&attributes, [Filter::everything()]).expect("valid");
    assert_verdicts(&no_op, &[(&[("type", "other")], true)]);
}

/// FLN-03
#[test]
fn an_unknown_dialect_passes_nothing_wherever_it_stands() {
    let unknown = || Filter::unknown("regex");
    for filter in [
        unknown(),
        not(unknown()),
        not(not(unknown())),
        all([unknown(), pass()]),
        any([unknown(), fail()]),
        not(any([unknown(), fail()])),
        not(all([unknown(), fail()])),
    ] {
        assert_verdicts(&filter, &[(&[], false)]);
    }
    assert_verdicts(&any([unknown(), pass()]), &[(&[], true)]);
}

/// FLN-04, FLN-05, FLN-10, TST-65
#[test]
fn exact_prefix_and_suffix_with_one_attribute() {
    let value = "dev.knative.example";
    for (filter, matching, others) in [
        (exact as fn(&[(&str, &str)]) -> Filter, value, ["dev.knative", "Dev.knative.example", "x"]),
        (prefix, "dev.k", ["wrong.prefix", "Dev", "dev.knative.example.more"]),
        (suffix, ".example", ["wrong.suffix", "Example", "a.dev.knative.example"]),
    ] {
        let extension = ("myextension", value);
        assert_verdicts(&filter(&[("type", matching)]), &[(&[("type", value)], true)]);
        assert_verdicts(&filter(&[("source", matching)]), &[(&[("source", value)], true)]);
        assert_verdicts(&filter(&[("myextension", matching)]), &[(&[extension], true), (&[], false)]);
        assert_verdicts(&filter(&[("missingattribute", matching)]), &[(&[extension], false)]);
        for other in others {
            assert_verdicts(&filter(&[("type", other)]), &[(&[("type", value)], false)]);
            assert_verdicts(&filter(&[("source", other)]), &[(&[("source", value)], false)]);
            assert_verdicts(&filter(&[("myextension", other)]), &[(&[extension], false)]);
        }
    }
}

/// FLN-04, FLN-05, FLN-10, TST-65
#[test]
fn exact_prefix_and_suffix_with_two_attributes_need_both() {
    let event: &[(&str, &str)] = &[("type", "aXb"), ("source", "aYb")];
    let extended: &[(&str, &str)] = &[("type", "aXb"), ("myextension", "aZb")];
    for (filter, first, second, third) in [
        (exact as fn(&[(&str, &str)]) -> Filter, "aXb", "aYb", "aZb"),
        (prefix, "aX", "aY", "aZ"),
        (suffix, "Xb", "Yb", "Zb"),
    ] {
        for (pairs, attributes, passes) in [
            ([("type", "wrong"), ("source", "wrong")], event, false),
            ([("type", first), ("source", "wrong")], event, false),
            ([("type", "wrong"), ("source", second)], event, false),
            ([("type", first), ("source", second)], event, true),
            ([("type", first), ("myextension", third)], event, false),
            ([("type", first), ("myextension", third)], extended, true),
        ] {
            assert_verdicts(&filter(&pairs), &[(attributes, passes)]);
        }
    }
}

/// FLN-05
#[test]
fn prefixes_and_suffixes_compare_bytes_without_normalising() {
    let composed = "\u{e9}t\u{e9}";
    let decomposed = "e\u{301}te\u{301}";
    assert_verdicts(
        &prefix(&[("subject", "\u{e9}")]),
        &[(&[("subject", composed)], true), (&[("subject", decomposed)], false)],
    );
    assert_verdicts(
        &suffix(&[("subject", "e\u{301}")]),
        &[(&[("subject", composed)], false), (&[("subject", decomposed)], true)],
    );
}

/// FLN-06, X-33, TST-65
#[test]
fn all_any_and_not_follow_their_truth_tables() {
    let (t, f) = (pass, fail);
    for (filter, passes) in [
        (all([]), true),
        (all([t()]), true),
        (all([f()]), false),
        (all([t(), f()]), false),
        (all([t(), t()]), true),
        (all([f(), f()]), false),
        (all([all([t()])]), true),
        (all([all([f()])]), false),
        (all([t(), all([f()])]), false),
        (all([t(), all([t()])]), true),
        (all([f(), all([f()])]), false),
        (all([f(), all([t()])]), false),
        (all([t(), all([t(), f()])]), false),
        (all([t(), all([t(), t()])]), true),
        (all([t(), all([f(), f()])]), false),
        (all([f(), all([t(), f()])]), false),
        (all([f(), all([t(), t()])]), false),
        (all([f(), all([f(), f()])]), false),
        (any([]), true),
        (any([t()]), true),
        (any([f()]), false),
        (any([t(), f()]), true),
        (any([f(), t()]), true),
        (any([t(), t()]), true),
        (any([f(), f()]), false),
        (any([any([t()])]), true),
        (any([any([f()])]), false),
        (any([t(), any([f()])]), true),
        (any([t(), any([t()])]), true),
        (any([f(), any([f()])]), false),
        (any([f(), any([t()])]), true),
        (any([t(), any([t(), f()])]), true),
        (any([t(), any([t(), t()])]), true),
        (any([t(), any([f(), f()])]), true),
        (any([f(), any([t(), f()])]), true),
        (any([f(), any([t(), t()])]), true),
        (any([f(), any([f(), f()])]), false),
        (not(Filter::everything()), true),
        (not(t()), false),
        (not(f()), true),
        (not(not(t())), true),
        (not(all([t(), f()])), true),
        (not(any([t(), f()])), false),
        (all([any([f(), t()]), not(f())]), true),
    ] {
        assert_verdicts(&filter, &[(&[], passes)]);
    }
}

/// FLN-11
#[test]
fn filters_made_of_no_ops_pass_every_event() {
    let no_op = Filter::everything;
    for filter in [
        no_op(),
        exact(&[]),
        prefix(&[]),
        suffix(&[]),
        not(no_op()),
        not(not(no_op())),
        not(exact(&[])),
        not(all([no_op(), any([])])),
        all([no_op(), no_op()]),
        any([no_op(), not(no_op())]),
    ] {
        assert_eq!(filter, Filter::everything());
        assert_verdicts(&filter, &[(&[], true)]);
    }
}

/// FLN-12, X-33
#[test]
fn a_no_op_in_a_list_counts_as_true_wherever_it_stands() {
    for (filter, passes) in [
        (any([Filter::everything(), fail()]), true),
        (any([fail(), Filter::everything()]), true),
        (any([fail(), Filter::everything(), fail()]), true),
        (not(any([fail(), Filter::everything()])), false),
        (all([Filter::everything(), fail()]), false),
        (all([fail(), Filter::everything()]), false),
        (all([pass(), Filter::everything()]), true),
    ] {
        assert_verdicts(&filter, &[(&[], passes)]);
    }
}

/// FLN-13, X-09
#[test]
fn an_empty_value_in_a_dialect_never_passes_an_event() {
    for filter in [exact as fn(&[(&str, &str)]) -> Filter, prefix, suffix] {
        for pairs in [&[("type", "")][..], &[("id", "1"), ("type", "")], &[("missing", "")]] {
            assert_verdicts(&filter(pairs), &[(&[], false), (&[("region", "eu")], false)]);
            assert_verdicts(&not(filter(pairs)), &[(&[], false)]);
        }
    }
}

/// FLN-15, TST-46 (exact, prefix, suffix)
#[test]
fn each_single_dialect_takes_its_event_and_leaves_the_other() {
    let wanted: &[(&str, &str)] =
        &[("type", "com.example.FullEvent"), ("source", "http://example.com/source")];
    let other: &[(&str, &str)] = &[("type", "org.wrong.type"), ("source", "org.wrong.source")];
    for filter in [
        exact(wanted),
        prefix(&[("type", "com."), ("source", "http")]),
        suffix(&[("type", "ample.FullEvent"), ("source", "//example.com/source")]),
    ] {
        assert_verdicts(&filter, &[(wanted, true), (other, false)]);
    }
}

/// FLN-15, TST-46 (any)
#[test]
fn any_takes_what_one_of_its_dialects_takes() {
    assert_verdicts(
        &any([
            exact(&[("type", "exact.event.type")]),
            prefix(&[("type", "prefix")]),
            suffix(&[("type", "suffix")]),
            not(suffix(&[("type", "event.type")])),
        ]),
        &[
            (&[("type", "exact.event.type")], true),
            (&[("type", "prefix.event.type")], true),
            (&[("type", "event.type.suffix")], true),
            (&[("type", "not.type.event")], true),
            (&[("type", "not.event.type")], false),
        ],
    );
}

/// FLN-15, TST-46 (any of several exact)
#[test]
fn any_of_three_exact_types_takes_these_three() {
    let resource = |verb| exact(&[("type", &format!("dev.knative.apiserver.resource.{verb}"))]);
    assert_verdicts(
        &any([resource("update"), resource("add"), resource("delete")]),
        &[
            (&[("type", "dev.knative.apiserver.resource.update")], true),
            (&[("type", "dev.knative.apiserver.resource.add")], true),
            (&[("type", "dev.knative.apiserver.resource.delete")], true),
            (&[("type", "prefix.event.type")], false),
        ],
    );
}

/// FLN-15, TST-46 (all; several filters)
#[test]
fn all_and_a_list_of_filters_take_only_what_every_dialect_takes() {
    let filters = || {
        [
            exact(&[("type", "exact.prefix.suffix.event.type")]),
            prefix(&[("type", "exact.prefix")]),
            suffix(&[("type", "suffix.event.type")]),
        ]
    };
    let several = Filter::of_trigger(&map(&[]), filters()).expect("valid");
    for filter in [all(filters()), several] {
        assert_verdicts(
            &filter,
            &[
                (&[("type", "not.event.type")], false),
                (&[("type", "exact.prefix.suffix.event")], false),
                (&[("type", "exact.prefix.suffix.event.suffix.event.type")], false),
                (&[("type", "exact.prefix.suffix.event.type")], true),
            ],
        );
    }
}

/// FLN-15, TST-46 (several triggers and sinks)
#[test]
fn two_triggers_with_overlapping_any_filters_share_only_the_overlap() {
    let filters = ["type1", "type2"].map(|own| any([exact(&[("type", own)]), prefix(&[("type", "both")])]));
    let events =
        ["type1", "both.should.match", "type2", "type3"].map(|event_type| event(&[("type", event_type)]));
    assert_matrix(&filters, &events, &[[1, 0], [1, 1], [0, 1], [0, 0]]);
}

/// FLN-10, FLN-15, TST-46 (missing attributes)
#[test]
fn a_missing_attribute_fails_every_dialect() {
    let filters = || {
        [
            exact(&[("extensionattribute", "extensionvalue")]),
            prefix(&[("extensionattribute", "extension")]),
            suffix(&[("extensionattribute", "value")]),
        ]
    };
    for filter in filters().into_iter().chain([all(filters())]) {
        assert_verdicts(&filter, &[(&[], false), (&[("extensionattribute", "extensionvalue")], true)]);
    }
}

/// FLN-17
#[test]
fn nesting_and_size_are_bounded() {
    let nested = |depth| (1..depth).try_fold(pass(), |filter, _| Filter::not(filter));
    assert!(nested(MAX_DEPTH).is_ok());
    assert_eq!(nested(MAX_DEPTH + 1), Err(FilterError::TooDeep { depth: MAX_DEPTH + 1 }));

    let wide = |clauses| Filter::any((0..clauses).map(|id| exact(&[("id", &format!("{id}"))])));
    assert!(wide(MAX_CLAUSES).is_ok_and(|filter| filter.matches(&event(&[]))));
    assert_eq!(wide(MAX_CLAUSES + 1), Err(FilterError::TooManyClauses { clauses: MAX_CLAUSES + 1 }));
    let many: BTreeMap<_, _> = (0..=MAX_CLAUSES).map(|n| (format!("a{n}"), "x".to_owned())).collect();
    assert_eq!(Filter::exact(&many), Err(FilterError::TooManyClauses { clauses: MAX_CLAUSES + 1 }));
}

/// VAL-21, VAL-23
#[test]
fn names_that_no_attribute_can_have_are_refused_together() {
    let bad = ["", "Type", "my type", "my_type", "my-type", "123", "9a", "\u{1f980}", "type!", "typ\u{e9}"];
    for name in bad {
        assert!(!is_attribute_name(name), "{name:?}");
        let pairs = map(&[("type", "a"), (name, "b")]);
        for filter in [Filter::attributes, Filter::exact, Filter::prefix, Filter::suffix] {
            assert_eq!(filter(&pairs), Err(FilterError::AttributeNames { names: vec![name.to_owned()] }));
        }
    }
    let error =
        Filter::exact(&map(&[("my-type", "a"), ("Type", "b"), ("id", "c")])).expect_err("two bad names");
    assert_eq!(
        error.to_string(),
        "no attribute can be called [\"Type\", \"my-type\"]: write lower-case letters and digits, a letter first"
    );
}

/// VAL-22
#[test]
fn long_names_names_with_digits_and_core_names_are_accepted() {
    for name in [
        "abcdefghijklmnopqrst",
        "abcdefghijklmnopqrstuvwxyz",
        "a1b2",
        "source",
        "id",
        "specversion",
        "type",
        "subject",
        "time",
        "datacontenttype",
        "dataschema",
    ] {
        assert!(exact(&[(name, "a")]).to_string().starts_with(name));
    }
}

#[test]
fn a_filter_reads_as_english() {
    for (filter, words) in [
        (Filter::everything(), "every event"),
        (
            all([exact(&[("type", "order.created")]), prefix(&[("source", "/eu/")])]),
            "type is \"order.created\" and source starts with \"/eu/\"",
        ),
        (legacy(&[("type", "a"), ("region", "")]), "region is present and type is \"a\""),
        (
            any([exact(&[("type", "a"), ("id", "1")]), not(suffix(&[("type", ".b")]))]),
            "(id is \"1\" and type is \"a\") or not (type ends with \".b\")",
        ),
        (any([Filter::everything(), fail()]), "every event or id is \"2\""),
        (not(exact(&[("type", "")])), "not (type is \"\", which is empty and passes no event)"),
        (Filter::unknown("regex"), "the dialect \"regex\", which is unknown and passes no event"),
        (exact(&[("time", "2026-11-21T05:00:00+01:00")]), "time is \"2026-11-21T05:00:00+01:00\""),
        (exact(&[("datamediatype", "text/plain")]), "datamediatype is \"text/plain\""),
    ] {
        assert_eq!(filter.to_string(), words);
    }
}

#[test]
fn an_explanation_says_which_clause_failed_and_what_it_saw() {
    let filter = all([
        exact(&[("type", "order.created")]),
        any([prefix(&[("source", "/eu/")]), exact(&[("region", "eu")])]),
        not(exact(&[("subject", "test")])),
    ]);
    let event = event(&[("source", "/us/7"), ("subject", "test")]);
    let explanation = filter.explain(&event);
    assert_eq!(
        explanation.to_string(),
        "✗ all of\n  \
           ✓ type is \"order.created\": \"order.created\"\n  \
           ✗ any of\n    \
             ✗ source starts with \"/eu/\", but it is \"/us/7\"\n    \
             ✗ region is \"eu\", but the event has no such attribute\n  \
           ✗ not\n    \
             ✓ subject is \"test\": \"test\""
    );
    let any = serde_json::to_value(&explanation.children[1]).expect("an explanation is JSON");
    assert_eq!(
        any,
        serde_json::json!({
            "clause": "any of",
            "passes": false,
            "children": [
                {"clause": "source starts with \"/eu/\"", "passes": false, "saw": "/us/7"},
                {"clause": "region is \"eu\"", "passes": false, "saw": null},
            ],
        })
    );
}

#[test]
fn requirements_are_the_values_and_beginnings_without_which_no_event_passes() {
    let read = |filter: &Filter| -> Vec<String> {
        let words = |required: Requirement<'_>| {
            let key = |key: &Key<'_>| match key.reach {
                Reach::Whole => key.text.to_string(),
                Reach::Start => format!("{}*", key.text),
            };
            format!("{}={}", required.attribute, required.keys.iter().map(key).collect::<Vec<_>>().join("|"))
        };
        filter.requirements().into_iter().map(words).collect()
    };
    let kind = |value| exact(&[("type", value)]);
    for (filter, expected) in [
        (exact(&[("type", "a"), ("id", "1")]), &["id=1", "type=a"][..]),
        (legacy(&[("type", "a"), ("region", "")]), &["type=a"]),
        (all([kind("a"), prefix(&[("source", "/")]), not(kind("b"))]), &["source=/*", "type=a"]),
        (any([kind("b"), kind("a"), kind("b")]), &["type=a|b"]),
        (any([kind("a"), kind("ab")]), &["type=a|ab"]),
        (any([kind("a"), exact(&[("type", "b"), ("id", "1")])]), &["type=a|b"]),
        (any([kind("a"), exact(&[("id", "1")])]), &[]),
        (any([kind("a"), prefix(&[("type", "b")])]), &["type=a|b*"]),
        (any([kind("ab"), prefix(&[("type", "a")]), prefix(&[("type", "aa")]), kind("b")]), &["type=a*|b"]),
        (any([kind("a"), suffix(&[("type", "b")])]), &[]),
        (prefix(&[("time", "2026")]), &["time=2026*"]),
        (any([kind("a"), Filter::everything()]), &[]),
        (all([any([kind("a"), kind("b")]), kind("b")]), &["type=b", "type=a|b"]),
        (any([all([any([kind("a"), kind("b")]), kind("b")]), kind("c")]), &["type=b|c"]),
        (not(kind("a")), &[]),
        (exact(&[("time", "2026-11-21T04:00:00Z")]), &[]),
        (exact(&[("time", "yesterday")]), &["time=yesterday"]),
        (exact(&[("datamediatype", "text/plain")]), &[]),
        (Filter::everything(), &[]),
    ] {
        assert_eq!(read(&filter), expected, "{filter}");
    }
}
