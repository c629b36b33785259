//! What the documentation says of librdkafka's properties is what the code does.

use std::fmt::Write as _;

use trigon_eventlog::kafka::properties::{Clients, PropertyKind, table};

const PAGE: &str = include_str!("../../docs/kafka.md");

#[test]
fn the_page_lists_every_property_that_is_set_or_refused_with_its_reason() {
    let mut rows =
        String::from("| property | value | may be changed | where | reason |\n|---|---|---|---|---|\n");
    for rule in table() {
        let clients = match rule.clients {
            Clients::Appends => "appends",
            Clients::Ownership => "ownership",
        };
        let kind = match rule.kind {
            PropertyKind::Fixed => "no",
            PropertyKind::Defaulted => "yes",
        };
        writeln!(rows, "| `{}` | {} | {kind} | {clients} | {} |", rule.name, rule.value, rule.reason)
            .expect("text can be written");
    }
    assert!(PAGE.ends_with(&rows), "docs/kafka.md has to end with this table:\n\n{rows}");
}
