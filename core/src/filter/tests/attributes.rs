//! The legacy `filter.attributes`, and how any filter looks at an attribute.

use super::*;

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
