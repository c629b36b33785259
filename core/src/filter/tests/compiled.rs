//! Bounds, words, explanations and what the index makes of a filter.

use std::collections::BTreeMap;

use super::*;
use crate::filter::requirement::{Key, Reach, Requirement};
use crate::filter::{FilterError, MAX_CLAUSES, MAX_DEPTH, is_attribute_name};

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
        (
            any([Filter::cesql("type='a'".parse().expect("an expression")), fail()]),
            "`type = 'a'` or id is \"2\"",
        ),
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
    let cesql = |source: &str| Filter::cesql(source.parse().expect("an expression"));
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
        (cesql("type = 'a' AND id = '1'"), &["id=1", "type=a"]),
        (cesql("TRUE AND (EXISTS subject AND type = 'a')"), &["type=a"]),
        (cesql("'a' = type"), &["type=a"]),
        (cesql("type = UPPER('a')"), &["type=A"]),
        (cesql("type IN ('b', 'a', 'b')"), &["type=a|b"]),
        (cesql("type LIKE 'a%'"), &["type=a*"]),
        (cesql("type LIKE 'a\\_b_%'"), &["type=a_b*"]),
        (cesql("type LIKE 'a'"), &["type=a"]),
        (cesql("type LIKE '%a'"), &[]),
        (cesql("type = 'a' OR type LIKE 'b%'"), &["type=a|b*"]),
        (cesql("type = 'a' OR id = '1'"), &[]),
        (cesql("type = 'a' XOR id = '1'"), &[]),
        (cesql("NOT (type = 'a')"), &[]),
        (cesql("type != 'a'"), &[]),
        (cesql("type NOT IN ('a')"), &[]),
        (cesql("type NOT LIKE 'a'"), &[]),
        // Several texts are the same number and the same truth.
        (cesql("x = 5"), &[]),
        (cesql("x = TRUE"), &[]),
        (cesql("x = '05'"), &["x=05"]),
        (cesql("'5' = x"), &["x=5"]),
        (cesql("'05' = x"), &[]),
        (cesql("'TRUE' = x"), &[]),
        (cesql("'TRUE' = type"), &["type=TRUE"]),
        (cesql("x IN ('5', 'true')"), &["x=5|true"]),
        (cesql("x IN ('5', '-0')"), &[]),
        (cesql("x IN (5)"), &[]),
        (cesql("x = id"), &[]),
        (all([cesql("type = 'a'"), kind("a")]), &["type=a", "type=a"]),
        (any([cesql("type = 'a'"), kind("b")]), &["type=a|b"]),
    ] {
        assert_eq!(read(&filter), expected, "{filter}");
    }
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
