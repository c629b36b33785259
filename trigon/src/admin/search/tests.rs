//! What is found in an embedded log, and how far it is looked for.

use std::sync::Arc;

use tempfile::TempDir;
use trigon_core::name::{BrokerId, Installation, TriggerId};
use trigon_core::routing::TopicSettings;
use trigon_eventlog::{EmbeddedConfig, EmbeddedLog};

use super::*;

struct World {
    log: SharedLog,
    topic: TopicName,
    _folder: TempDir,
}

impl World {
    async fn new(partitions: u32) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log: SharedLog = Arc::new(EmbeddedLog::open(EmbeddedConfig::new(folder.path())).unwrap());
        let topic = Installation::default().topic(&BrokerId::new("default", "default"));
        let settings = TopicSettings { partitions, ..TopicSettings::default() };
        log.create_topic(&topic, &settings).await.unwrap();
        Self { log, topic, _folder: folder }
    }

    async fn append(&self, records: Vec<Record>) {
        self.log.append(&self.topic, records).await.unwrap();
    }

    async fn search(&self, id: &str, source: Option<&str>, records: u64) -> Search {
        let wanted = Wanted { id: id.to_owned(), source: source.map(str::to_owned) };
        search(&self.log, &self.topic, &wanted, records).await.unwrap()
    }
}

fn envelope(id: &str, source: &str) -> Envelope {
    let event = EventBuilder::new().spec_version("1.0").attribute("id", id).attribute("source", source);
    Envelope::of(event.attribute("type", "t").integer("n", 5).data("data").build().unwrap())
}

fn record(id: &str, source: &str, accepted: i64) -> Record {
    envelope(id, source).encode(Timestamp(accepted))
}

fn sources(search: &Search) -> Vec<&str> {
    search.found.iter().map(|found| found.event.source()).collect()
}

#[tokio::test]
async fn all_events_of_an_id_are_found_the_newest_first_without_their_data() {
    let world = World::new(3).await;
    let others = (0..50).map(|n| record(&format!("o{n}"), "/o", n));
    world.append(others.chain([record("x", "/a", 100), record("x", "/b", 101)]).collect()).await;
    let again = Envelope { audience: Audience::Only(TriggerId::new("default", "t")), ..envelope("x", "/a") };
    world.append(vec![again.encode(Timestamp(102))]).await;
    let search = world.search("x", None, RECORDS).await;
    assert_eq!(sources(&search), ["/a", "/b", "/a"]);
    let [again, second, _] = &search.found[..] else { panic!("{:?}", search.found) };
    assert_eq!(again.audience, Audience::Only(TriggerId::new("default", "t")));
    assert_eq!((second.event.data(), second.data), (None, Some(4)));
    let without = EventBuilder::new().spec_version("1.0").attribute("id", "x").attribute("source", "/b");
    assert_eq!(second.event, without.attribute("type", "t").integer("n", 5).build().unwrap());
    assert_eq!(sources(&world.search("x", Some("/b"), RECORDS).await), ["/b"]);
    let none = world.search("y", None, RECORDS).await;
    assert!(none.found.is_empty());
    assert_eq!(none.looked.iter().map(|looked| looked.extent.end.0 - looked.from.0).sum::<u64>(), 53);
}

#[tokio::test]
async fn what_is_older_than_the_bound_is_not_looked_at_and_that_is_told() {
    let world = World::new(1).await;
    world.append((0..10).map(|n| record(&format!("e{n}"), "/", n)).collect()).await;
    let search = world.search("e5", None, 5).await;
    assert_eq!((search.found.len(), search.looked[0].from), (1, Offset(5)));
    let search = world.search("e4", None, 5).await;
    assert_eq!((search.found.len(), search.looked[0].from), (0, Offset(5)));
}

#[tokio::test]
async fn only_the_newest_are_told_and_the_others_are_counted() {
    let world = World::new(2).await;
    let many = FOUND + 3;
    world.append((0..many).map(|n| record("x", &format!("/{n}"), n.try_into().unwrap())).collect()).await;
    let search = world.search("x", None, RECORDS).await;
    let newest: Vec<_> = (3..many).rev().map(|n| format!("/{n}")).collect();
    assert_eq!((sources(&search), search.more), (newest.iter().map(String::as_str).collect(), 3));
}

#[tokio::test]
async fn structured_records_are_found_and_what_is_no_event_is_passed_over() {
    let world = World::new(1).await;
    let structured = |content_type: &'static str| Record {
        headers: vec![("content-type".into(), content_type.into())],
        value: Some(r#"{"specversion":"1.0","id":"x","source":"/s","type":"t"}"#.into()),
        ..Record::default()
    };
    let junk = Record { headers: vec![("ce_id".into(), "x".into())], ..Record::default() };
    let types = ["application/cloudevents+json", "Application/CloudEvents+JSON; charset=UTF-8"];
    world.append(types.map(structured).into_iter().chain([junk, Record::default()]).collect()).await;
    assert_eq!(sources(&world.search("x", None, RECORDS).await), ["/s", "/s"]);
}

#[tokio::test]
async fn a_topic_that_is_not_there_is_an_error() {
    let world = World::new(1).await;
    let wanted = Wanted { id: "x".to_owned(), source: None };
    let topic = TopicName::external("none");
    let error = search(&world.log, &topic, &wanted, RECORDS).await.unwrap_err();
    assert!(matches!(error, LogError::UnknownTopic(_)), "{error}");
}
