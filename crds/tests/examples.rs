//! Every folder of `examples/` is a set of good routes, as its reader expects.

use std::fs;
use std::path::Path;

use trigon_core::delivery::Order;
use trigon_core::name::TriggerId;
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
    load(&files, &uris_only).expect("an example is valid")
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
