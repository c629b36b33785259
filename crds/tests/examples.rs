//! Every folder of `examples/` is a set of good routes, as its reader expects.

use std::fs;
use std::path::Path;

use trigon_core::delivery::Order;
use trigon_core::event::EventBuilder;
use trigon_core::name::{Installation, TriggerId};
use trigon_core::routing::RoutingTable;
use trigon_crds::{load, uris_only};

fn example(name: &str) -> RoutingTable {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
    let files: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of the example is there")
        .map(|entry| entry.expect("it can be listed").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("its files can be read");
            (path.display().to_string(), text)
        })
        .collect();
    load(&Installation::default(), &files, &uris_only).expect("an example is valid")
}

fn names(table: &RoutingTable) -> Vec<String> {
    let triggers = table.brokers.values().flat_map(|broker| &broker.triggers);
    triggers.map(|trigger| format!("{} of {}", trigger.id.name, trigger.broker)).collect()
}

#[test]
fn every_example_is_valid_and_delivers_to_this_machine_only() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("there are examples") {
        let entry = entry.expect("they can be listed");
        if !entry.path().is_dir() {
            continue;
        }
        let table = example(&entry.file_name().to_string_lossy());
        for trigger in table.brokers.values().flat_map(|broker| &broker.triggers) {
            let sinks = trigger.delivery.dead_letter_sink.iter();
            for destination in sinks.chain([&trigger.subscriber]) {
                assert!(destination.text.starts_with("http://127.0.0.1:"), "{}", destination.text);
            }
            seen += 1;
        }
    }
    assert!(seen >= 10, "only {seen} Triggers");
}

#[test]
fn the_examples_have_the_routes_that_they_explain() {
    assert_eq!(names(&example("quickstart")), ["orders of default/default"]);
    assert_eq!(names(&example("filters")).len(), 4);
    let replies = ["billing of default/default", "pricing of default/default"];
    assert_eq!(names(&example("replies")), replies);

    let table = example("dead-letter");
    let retries =
        |name| table.trigger(&TriggerId::new("default", name)).map(|(_, trigger)| &trigger.delivery);
    let (orders, impatient) = (retries("orders").unwrap(), retries("impatient").unwrap());
    assert_eq!((orders.retry, orders.backoff.is_some()), (3, true));
    assert_eq!((impatient.retry, impatient.backoff.is_some()), (9, false));
    assert_eq!(orders.dead_letter_sink, impatient.dead_letter_sink);

    let table = example("ordered-delivery");
    let order = |name| table.trigger(&TriggerId::new("default", name)).map(|(_, trigger)| trigger.order);
    assert_eq!(order("balances"), Some(Order::Key));
    assert_eq!(order("ledger"), Some(Order::Partition));
    assert_eq!(order("mail"), Some(Order::Unordered));
}

/// The Triggers that want an event, by the index that the dispatcher uses.
fn wanted_by(table: &RoutingTable, attributes: &[(&str, &str)]) -> Vec<String> {
    let mut event = EventBuilder::new().spec_version("1.0").attribute("id", "1");
    for (name, value) in attributes {
        event = event.attribute((*name).to_owned(), (*value).to_owned());
    }
    let event = event.build().expect("the event is valid");
    let broker = table.brokers.values().next().expect("there is a Broker");
    let mut places = Vec::new();
    broker.index.matches(&event, &mut places);
    places.into_iter().map(|place| broker.triggers[place].id.name.clone()).collect()
}

/// FLN-01, FLA-02
#[test]
fn the_filters_of_the_examples_want_what_their_comments_say() {
    let table = example("filters");
    let created = ("type", "order.created");
    assert_eq!(wanted_by(&table, &[created, ("source", "/shop")]), ["audit"]);
    assert_eq!(wanted_by(&table, &[created, ("source", "/shop"), ("tenant", "a")]), ["audit", "orders"]);
    assert_eq!(wanted_by(&table, &[created, ("source", "shop.eu")]), ["audit", "europe"]);
    assert_eq!(wanted_by(&table, &[created, ("source", "shop.eu"), ("stage", "test")]), ["audit"]);
    assert_eq!(wanted_by(&table, &[created, ("source", "/shop"), ("size", "large")]), ["audit", "fraud"]);
    assert_eq!(wanted_by(&table, &[("type", "refund.paid"), ("source", "/shop")]), ["audit", "fraud"]);

    let table = example("replies");
    assert_eq!(wanted_by(&table, &[created, ("source", "/shop")]), ["pricing"]);
    assert_eq!(wanted_by(&table, &[("type", "order.priced"), ("source", "/pricing")]), ["billing"]);
}
