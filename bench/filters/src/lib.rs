//! What is measured: an event, ten filters as users write them, and Triggers by the thousand.
//!
//! Both benchmarks measure the same, one in nanoseconds and one in instructions.

use std::collections::BTreeMap;
use std::fmt;

use trigon_core::cesql::Expression;
use trigon_core::event::{Event, EventBuilder};
use trigon_core::filter::{Filter, FilterError, FilterIndex};

/// A filter as users write them.
#[derive(Clone, Copy, Debug)]
pub struct Typical {
    /// What it is called in the figures.
    pub name: &'static str,
    /// Makes it.
    pub filter: fn() -> Filter,
}

impl fmt::Display for Typical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// Ten of them. All pass [`event`], and look at all of it that they can look at before they pass.
pub const TYPICAL: [Typical; 10] = [
    Typical { name: "exact", filter: || exact(&[("type", "com.example.order.created")]) },
    Typical {
        name: "exact, two attributes",
        filter: || exact(&[("region", "eu-central"), ("type", "com.example.order.created")]),
    },
    Typical { name: "prefix", filter: || one(Filter::prefix, &[("type", "com.example.order.")]) },
    Typical { name: "suffix", filter: || one(Filter::suffix, &[("type", ".created")]) },
    Typical {
        name: "any of three exact",
        filter: || {
            let types = ["com.example.order.paid", "com.example.order.gone", "com.example.order.created"];
            Filter::any(types.map(|wanted| exact(&[("type", wanted)]))).expect("it is small")
        },
    },
    Typical {
        name: "all of prefix, not suffix",
        filter: || {
            let not = Filter::not(one(Filter::suffix, &[("source", "/asia")])).expect("it is small");
            Filter::all([one(Filter::prefix, &[("type", "com.example.order.")]), not]).expect("it is small")
        },
    },
    Typical { name: "cesql equality", filter: || cesql("type = 'com.example.order.created'") },
    Typical { name: "cesql LIKE", filter: || cesql("type LIKE 'com.example.%.created'") },
    Typical {
        name: "cesql IN",
        filter: || {
            cesql("type IN ('com.example.order.paid', 'com.example.order.gone', 'com.example.order.created')")
        },
    },
    Typical {
        name: "cesql compound",
        filter: || {
            cesql(
                "type = 'com.example.order.created' AND (amount < 100 OR NOT EXISTS express) \
                 AND NOT (LEFT(region, 2) IN ('us', 'ap'))",
            )
        },
    },
];

/// An event as large as they often are: twelve attributes.
///
/// # Panics
/// Never: it is valid.
pub fn event() -> Event {
    [
        ("specversion", "1.0"),
        ("id", "8b1c1d9e-52a0-4d0c-9f0f-6d9b3a1f7f10"),
        ("source", "/shop/orders/europe"),
        ("type", "com.example.order.created"),
        ("subject", "order-4711"),
        ("time", "2026-11-21T04:00:00.123Z"),
        ("datacontenttype", "application/json"),
        ("partitionkey", "customer-815"),
        ("region", "eu-central"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
        ("knativearrivaltime", "2026-11-21T04:00:00.2Z"),
    ]
    .into_iter()
    .fold(EventBuilder::default(), |builder, (name, value)| builder.attribute(name, value))
    .integer("amount", 250)
    .build()
    .expect("the event is valid")
}

/// How the filters of [`triggers`] ask for a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `exact`.
    Exact,
    /// CESQL, with nothing but the equality.
    Equality,
    /// CESQL, with an equality that is required beside something else.
    Required,
}

/// The filters of so many Triggers on a type each, of which so many match [`event`].
pub fn triggers(count: usize, matching: usize, dialect: Dialect) -> Vec<Filter> {
    let filter = |wanted: &str| match dialect {
        Dialect::Exact => exact(&[("type", wanted)]),
        Dialect::Equality => cesql(&format!("type = '{wanted}'")),
        Dialect::Required => cesql(&format!("amount >= 100 AND type = '{wanted}'")),
    };
    let others = (matching..count).map(|n| filter(&format!("com.example.order.kind{n}")));
    (0..matching).map(|_| filter("com.example.order.created")).chain(others).collect()
}

/// The filters compiled together.
pub fn index(filters: &[Filter]) -> FilterIndex {
    FilterIndex::new(filters)
}

/// What an index is there to avoid: every filter is asked.
pub fn scan(filters: &[Filter], event: &Event, found: &mut Vec<usize>) {
    found.extend((0..filters.len()).filter(|place| filters[*place].matches(event)));
}

fn one(
    dialect: fn(&BTreeMap<String, String>) -> Result<Filter, FilterError>,
    pairs: &[(&str, &str)],
) -> Filter {
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    dialect(&pairs).expect("the names are valid")
}

fn exact(pairs: &[(&str, &str)]) -> Filter {
    one(Filter::exact, pairs)
}

fn cesql(source: &str) -> Filter {
    Filter::cesql(Expression::parse(source).expect("the expression is one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_typical_filter_passes_the_event() {
        for typical in TYPICAL {
            let filter = (typical.filter)();
            assert!(filter.matches(&event()), "{typical}\n{}", filter.explain(&event()));
        }
    }

    #[test]
    fn index_and_scan_find_as_many_triggers_as_are_to_match() {
        for dialect in [Dialect::Exact, Dialect::Equality, Dialect::Required] {
            for matching in [0, 1, 10] {
                let filters = triggers(10, matching, dialect);
                let (mut by_index, mut by_scan) = (Vec::new(), Vec::new());
                index(&filters).matches(&event(), &mut by_index);
                scan(&filters, &event(), &mut by_scan);
                assert_eq!((filters.len(), by_index.len()), (10, matching));
                assert_eq!(by_index, by_scan);
            }
        }
    }
}
