//! The dialects of `filters`, alone and nested.

use super::*;

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
