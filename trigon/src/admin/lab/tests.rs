//! What a lab counts of records of every kind.

use trigon_core::event::EventBuilder;
use trigon_core::record::Record;
use trigon_core::routing::TopicSettings;
use trigon_eventlog::{EmbeddedConfig, EmbeddedLog};

use super::*;

fn trigger(name: &str, broker: &str, event_type: &str) -> String {
    format!(
        "---\napiVersion: eventing.knative.dev/v1\nkind: Trigger\nmetadata: {{name: {name}}}\nspec:\n  broker: {broker}\n  \
         filter: {{attributes: {{type: {event_type}}}}}\n  subscriber: {{uri: 'http://x/'}}\n"
    )
}

fn table(text: &[String]) -> RoutingTable {
    load_triggers(&Installation::default(), &[("a.yaml".to_owned(), text.concat())]).unwrap()
}

fn event(event_type: &str) -> Envelope {
    let builder =
        EventBuilder::new().spec_version("1.0").attribute("id", event_type).attribute("source", "/s");
    Envelope::of(builder.attribute("type", event_type).build().unwrap())
}

fn permit() -> OwnedSemaphorePermit {
    Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap()
}

#[tokio::test]
async fn events_count_once_and_what_is_none_is_counted_apart() {
    let folder = tempfile::tempdir().unwrap();
    let log: SharedLog = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(folder.path())).unwrap());
    let in_force = table(&[trigger("orders", "shop", "a"), trigger("moved", "other", "a")]);
    let broker = Arc::clone(&in_force.brokers[&BrokerId::new("default", "shop")]);
    log.create_topic(&broker.topic, &TopicSettings::default()).await.unwrap();
    let again = Envelope { audience: Audience::Only(TriggerId::new("default", "orders")), ..event("a") };
    let records =
        [event("a").encode(Timestamp(0)), again.encode(Timestamp(1)), event("b").encode(Timestamp(2))];
    for record in records.into_iter().chain([Record { timestamp: Timestamp(3), ..Record::default() }]) {
        log.append(&broker.topic, vec![record]).await.unwrap();
    }
    let written = table(&[
        trigger("orders", "shop", "b"),
        trigger("moved", "shop", "a"),
        trigger("elsewhere", "other", "a"),
    ]);
    let view = Work::new(&in_force, &broker, 10, &written, permit()).unwrap().run(&log).await;
    assert_eq!((view.events, view.sent_again, view.undecodable, view.missed), (2, 1, 1, 0));
    assert_eq!((view.all, view.error), (true, None));
    // Of the events, not of the records around them.
    let times = [view.from, view.to].map(Option::unwrap);
    assert_eq!(times, ["1970-01-01T00:00:00Z", "1970-01-01T00:00:00.002Z"]);
    assert_eq!(view.skipped, ["default/elsewhere"]);
    let [moved, orders] = &view.triggers[..] else { panic!("{:?}", view.triggers) };
    assert_eq!((orders.matched, orders.gained.count, orders.lost.count, orders.unchanged), (1, 1, 1, false));
    // At this Broker it is a new one.
    assert_eq!((moved.matched, &moved.running), (1, &None));
}

#[tokio::test]
async fn more_than_is_held_at_once_is_looked_at_to_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log: SharedLog = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(folder.path())).unwrap());
    let in_force = table(&[trigger("orders", "shop", "a")]);
    let broker = Arc::clone(&in_force.brokers[&BrokerId::new("default", "shop")]);
    log.create_topic(&broker.topic, &TopicSettings::default()).await.unwrap();
    let mut record = event("a").encode(Timestamp(0));
    record.value = Some(vec![b'x'; SLICE / 2].into());
    for _ in 0..5 {
        log.append(&broker.topic, vec![record.clone()]).await.unwrap();
    }
    let view = Work::new(&in_force, &broker, 5, &in_force, permit()).unwrap().run(&log).await;
    let orders = &view.triggers[0];
    assert_eq!((view.events, orders.events, orders.matched, view.error), (5, 5, 5, None));
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_said_with_what_was_found_until_then() {
    let folder = tempfile::tempdir().unwrap();
    let log: SharedLog = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(folder.path())).unwrap());
    let in_force = table(&[trigger("orders", "shop", "a")]);
    let broker = Arc::clone(&in_force.brokers[&BrokerId::new("default", "shop")]);
    let view = Work::new(&in_force, &broker, 10, &in_force, permit()).unwrap().run(&log).await;
    let error = view.error.unwrap();
    assert!(error.contains("does not exist"), "{error}");
    assert_eq!((view.events, view.triggers[0].unchanged), (0, true));
}
