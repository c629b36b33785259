//! A slow and obvious evaluator beside the real one, and what must hold for any filters and events.
//!
//! The alphabets are small, so that about half of the clauses match.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;

use super::{Explanation, Filter, FilterIndex};
use crate::event::{Event, EventBuilder};

type Attributes = BTreeMap<String, String>;

/// A filter as a manifest writes it.
#[derive(Clone, Debug)]
enum Written {
    NoOp,
    Unknown,
    Legacy(Attributes),
    Exact(Attributes),
    Prefix(Attributes),
    Suffix(Attributes),
    /// What an expression asks, joined by `AND` or else by `OR`.
    Cesql(bool, Vec<Asked>),
    All(Vec<Written>),
    Any(Vec<Written>),
    Not(Box<Written>),
}

/// What an expression asks of an attribute.
#[derive(Clone, Debug)]
struct Asked {
    name: String,
    value: String,
    how: How,
}

#[derive(Clone, Copy, Debug)]
enum How {
    Equal,
    In,
    Like,
    Exists,
}

/// Texts of `time`; those with the same letter are the same instant.
const TIMES: [(&str, char); 6] = [
    ("2026-11-21T04:00:00Z", 'a'),
    ("2026-11-21T05:00:00+01:00", 'a'),
    ("2026-11-21T04:00:00.000Z", 'a'),
    ("2026-11-21T04:00:01Z", 'b'),
    ("2026-11-20T20:00:01-08:00", 'b'),
    ("2016-12-31T23:59:60Z", 'c'),
];

impl Written {
    fn compile(&self) -> Filter {
        let list = |filters: &[Self]| -> Vec<Filter> { filters.iter().map(Self::compile).collect() };
        match self {
            Self::NoOp => Ok(Filter::everything()),
            Self::Unknown => Ok(Filter::unknown("regex")),
            Self::Legacy(attributes) => Filter::attributes(attributes),
            Self::Exact(attributes) => Filter::exact(attributes),
            Self::Prefix(attributes) => Filter::prefix(attributes),
            Self::Suffix(attributes) => Filter::suffix(attributes),
            Self::Cesql(is_and, asked) => {
                let parts: Vec<_> = asked.iter().map(Asked::source).collect();
                let source = parts.join(if *is_and { " AND " } else { " OR " });
                Ok(Filter::cesql(source.parse().expect("generated expressions are valid")))
            }
            Self::All(filters) => Filter::all(list(filters)),
            Self::Any(filters) => Filter::any(list(filters)),
            Self::Not(filter) => Filter::not(filter.compile()),
        }
        .expect("generated filters are within the bounds")
    }

    fn passes(&self, event: &Attributes) -> bool {
        if self.is_no_op() {
            return true;
        }
        match self {
            Self::NoOp => true,
            Self::Unknown => false,
            Self::Legacy(wanted) => wanted.iter().all(|(name, value)| {
                seen(event, name).is_some_and(|seen| value.is_empty() || equal(name, seen, value))
            }),
            Self::Exact(wanted) => every(event, wanted, equal),
            Self::Prefix(wanted) => every(event, wanted, |_, seen, start| seen.starts_with(start)),
            Self::Suffix(wanted) => every(event, wanted, |_, seen, end| seen.ends_with(end)),
            Self::Cesql(true, asked) => asked.iter().all(|asked| asked.verdict(event) == Some(true)),
            // The first that is not false decides, and one that fails decides against it.
            Self::Cesql(false, asked) => {
                asked.iter().map(|asked| asked.verdict(event)).find(|verdict| *verdict != Some(false))
                    == Some(Some(true))
            }
            Self::All(filters) => {
                filters.iter().filter(|filter| filter.passes(event)).count() == filters.len()
            }
            Self::Any(filters) => filters.iter().filter(|filter| filter.passes(event)).count() > 0,
            Self::Not(filter) => filter.is_valid() && !filter.passes(event),
        }
    }

    fn is_no_op(&self) -> bool {
        match self {
            Self::NoOp => true,
            Self::Unknown | Self::Cesql(..) => false,
            Self::Legacy(wanted) | Self::Exact(wanted) | Self::Prefix(wanted) | Self::Suffix(wanted) => {
                wanted.is_empty()
            }
            Self::All(filters) | Self::Any(filters) => filters.iter().all(Self::is_no_op),
            Self::Not(filter) => filter.is_no_op(),
        }
    }

    fn is_valid(&self) -> bool {
        match self {
            Self::NoOp | Self::Legacy(_) | Self::Cesql(..) => true,
            Self::Unknown => false,
            Self::Exact(wanted) | Self::Prefix(wanted) | Self::Suffix(wanted) => {
                wanted.values().all(|value| !value.is_empty())
            }
            Self::All(filters) | Self::Any(filters) => filters.iter().all(Self::is_valid),
            Self::Not(filter) => filter.is_valid(),
        }
    }

    /// The same with every list back to front.
    fn reversed(&self) -> Self {
        let list = |filters: &[Self]| filters.iter().rev().map(Self::reversed).collect();
        match self {
            Self::All(filters) => Self::All(list(filters)),
            Self::Any(filters) => Self::Any(list(filters)),
            Self::Not(filter) => Self::Not(Box::new(filter.reversed())),
            _ => self.clone(),
        }
    }
}

impl Asked {
    fn source(&self) -> String {
        let Self { name, value, how } = self;
        match how {
            How::Equal => format!("{name} = '{value}'"),
            How::In => format!("{name} IN ('b', '{value}')"),
            How::Like => format!("{name} LIKE '{value}%'"),
            How::Exists => format!("EXISTS {name}"),
        }
    }

    /// `None` when the event has no such attribute and needs one.
    fn verdict(&self, event: &Attributes) -> Option<bool> {
        let schema = event.get("schemaurl").filter(|_| self.name == "dataschema");
        let seen = event.get(&self.name).or(schema);
        match self.how {
            How::Equal => seen.map(|seen| *seen == self.value),
            How::In => seen.map(|seen| *seen == self.value || seen == "b"),
            How::Like => seen.map(|seen| seen.starts_with(&self.value)),
            How::Exists => Some(seen.is_some()),
        }
    }
}

fn every(event: &Attributes, wanted: &Attributes, test: impl Fn(&str, &str, &str) -> bool) -> bool {
    wanted.iter().all(|(name, value)| {
        !value.is_empty() && seen(event, name).is_some_and(|seen| test(name, seen, value))
    })
}

fn seen<'a>(event: &'a Attributes, name: &str) -> Option<&'a str> {
    let own = event.get(name).map(String::as_str);
    match name {
        // An event has the one of its version.
        "schemaurl" => own.or(event.get("dataschema").map(String::as_str)),
        "dataschema" => own.or(event.get("schemaurl").map(String::as_str)),
        "datamediatype" => own.or(event.get("datacontenttype")?.split(';').next()),
        _ => own,
    }
}

fn equal(name: &str, seen: &str, wanted: &str) -> bool {
    let instant = |text| TIMES.iter().find(|(known, _)| *known == text).map(|(_, instant)| instant);
    match name {
        "time" => seen == wanted || instant(seen).is_some_and(|seen| Some(seen) == instant(wanted)),
        "datamediatype" => seen.to_lowercase() == wanted.to_lowercase(),
        _ => seen == wanted,
    }
}

fn build(attributes: &Attributes) -> Event {
    attributes
        .iter()
        .fold(EventBuilder::default(), |builder, (name, value)| {
            builder.attribute(name.as_str(), value.as_str())
        })
        .build()
        .expect("generated events are valid")
}

fn value(name: &'static str) -> BoxedStrategy<String> {
    match name {
        "time" => select(&TIMES[..]).prop_map(|(text, _)| text.to_owned()).boxed(),
        "datacontenttype" => select(vec!["text/a", "Text/A", "text/b", "text/a;c=d"]).prop_map_into().boxed(),
        "datamediatype" => select(vec!["text/a", "TEXT/A", "text/b"]).prop_map_into().boxed(),
        "dataschema" | "schemaurl" => select(vec!["x:a", "x:b"]).prop_map_into().boxed(),
        _ => "[ab]{1,2}".boxed(),
    }
}

/// The name of an attribute, and a value that it may have.
fn pair() -> impl Strategy<Value = (String, String)> {
    let names = vec![
        "type",
        "source",
        "id",
        "x",
        "time",
        "dataschema",
        "schemaurl",
        "datacontenttype",
        "datamediatype",
    ];
    select(names).prop_flat_map(|name| {
        let value = prop_oneof![8 => value(name), 1 => Just(String::new())];
        (Just(name.to_owned()), value)
    })
}

fn asked() -> impl Strategy<Value = Asked> {
    let how = select(vec![How::Equal, How::In, How::Like, How::Exists]);
    (pair(), how).prop_map(|((name, value), how)| Asked { name, value, how })
}

fn wanted() -> impl Strategy<Value = Attributes> {
    vec(pair(), 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

fn written() -> impl Strategy<Value = Written> {
    let leaf = prop_oneof![
        1 => Just(Written::NoOp),
        1 => Just(Written::Unknown),
        4 => wanted().prop_map(Written::Legacy),
        6 => wanted().prop_map(Written::Exact),
        2 => wanted().prop_map(Written::Prefix),
        2 => wanted().prop_map(Written::Suffix),
        4 => (any::<bool>(), vec(asked(), 1..4)).prop_map(|(is_and, asked)| Written::Cesql(is_and, asked)),
    ];
    // Keys of one attribute that overlap are what the index has to keep apart.
    let overlapping = vec((any::<bool>(), value("type")), 2..5).prop_map(|branches| {
        let branch = |(is_whole, value): (bool, String)| {
            let wanted = [("type".to_owned(), value)].into();
            if is_whole { Written::Exact(wanted) } else { Written::Prefix(wanted) }
        };
        Written::Any(branches.into_iter().map(branch).collect())
    });
    let leaf = prop_oneof![4 => leaf, 1 => overlapping];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Written::All),
            vec(inner.clone(), 0..4).prop_map(Written::Any),
            inner.prop_map(|filter| Written::Not(Box::new(filter))),
        ]
    })
}

fn attributes() -> impl Strategy<Value = Attributes> {
    let required = (value("type"), value("source"), value("id"));
    let optional =
        ["x", "time", "dataschema", "datacontenttype"].map(|name| proptest::option::of(value(name)));
    let version = select(vec![("1.0", "dataschema"), ("0.3", "schemaurl")]);
    (version, required, optional).prop_map(|(version, required, [x, time, schema, content])| {
        let ((version, schema_name), (event_type, source, id)) = (version, required);
        [
            ("specversion", Some(version.to_owned())),
            ("type", Some(event_type)),
            ("source", Some(source)),
            ("id", Some(id)),
            ("x", x),
            ("time", time),
            (schema_name, schema),
            ("datacontenttype", content),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    })
}

/// Counts the parts, and checks that each verdict follows from its children.
fn count(explanation: &Explanation) -> usize {
    let mut verdicts = explanation.children.iter().map(|child| child.passes);
    match &*explanation.clause {
        "all of" => assert_eq!(explanation.passes, verdicts.all(|passes| passes)),
        "any of" => assert_eq!(explanation.passes, verdicts.any(|passes| passes)),
        "not" => assert_eq!([!explanation.passes][..], verdicts.collect::<Vec<_>>()),
        _ => assert!(explanation.children.is_empty()),
    }
    let parts = explanation.trace.as_ref().map_or(0, |trace| trace.to_string().lines().count());
    1 + parts + explanation.children.iter().map(count).sum::<usize>()
}

proptest! {
    /// FLN-04, FLN-05, FLN-06, FLN-12, FLN-13
    #[test]
    fn a_compiled_filter_passes_what_the_written_one_does(written in written(), attributes in attributes()) {
        let filter = written.compile();
        prop_assert_eq!(filter.matches(&build(&attributes)), written.passes(&attributes), "{}", filter);
    }

    #[test]
    fn the_index_finds_exactly_the_filters_that_pass(
        written in vec(written(), 0..16),
        events in vec(attributes(), 1..8),
    ) {
        let filters: Vec<_> = written.iter().map(Written::compile).collect();
        let index = FilterIndex::new(&filters);
        for attributes in events {
            let mut found = vec![usize::MAX];
            index.matches(&build(&attributes), &mut found);
            let passing = (0..written.len()).filter(|place| written[*place].passes(&attributes));
            prop_assert_eq!(found, [usize::MAX].into_iter().chain(passing).collect::<Vec<_>>());
        }
    }

    #[test]
    fn an_explanation_agrees_with_the_verdict(written in written(), attributes in attributes()) {
        let (filter, event) = (written.compile(), build(&attributes));
        let explanation = filter.explain(&event);
        prop_assert_eq!(explanation.passes, filter.matches(&event));
        prop_assert_eq!(explanation.to_string().lines().count(), count(&explanation));
        let json = serde_json::to_string(&explanation).expect("an explanation is JSON");
        // Of an error the excerpt is not in JSON.
        let read: Explanation = serde_json::from_str(&json).expect("it is its own JSON");
        prop_assert_eq!(serde_json::to_string(&read).expect("it is JSON as before"), json);
    }

    /// FLN-16
    #[test]
    fn the_order_of_a_list_does_not_matter(written in written(), attributes in attributes()) {
        let event = build(&attributes);
        prop_assert_eq!(written.compile().matches(&event), written.reversed().compile().matches(&event));
    }

    /// FLN-16
    #[test]
    fn no_event_and_no_filter_makes_matching_panic(
        wanted in btree_map("[a-z][a-z0-9]{0,3}|time|datamediatype", "\\PC{0,24}|[0-9:.TZ+-]{20}", 0..4),
        seen in btree_map("[a-z][a-z0-9]{0,3}", "\\PC{1,24}", 0..4),
    ) {
        let mut attributes: Attributes = seen;
        for special in ["data", "time"] {
            attributes.remove(special);
        }
        for (name, value) in [("specversion", "1.0"), ("id", "a"), ("source", "a"), ("type", "a")] {
            attributes.insert(name.to_owned(), value.to_owned());
        }
        let event = build(&attributes);
        for filter in [Filter::attributes, Filter::exact, Filter::prefix, Filter::suffix] {
            let filter = filter(&wanted).expect("valid names");
            let explanation = filter.explain(&event);
            prop_assert_eq!(filter.matches(&event), explanation.passes, "{}\n{}", filter, explanation);
        }
    }
}
