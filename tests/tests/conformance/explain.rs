//! Why an event arrives or does not, and where it stands.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use trigon_tests::command::{self, Finished};
use trigon_tests::routes::sink;
use trigon_tests::{Deployment, Event, Object, Reply, Split, Subscriber, broker, trigger, wait};

async fn explain<D: Deployment>(trigon: &D, arguments: &[&str]) -> Finished {
    let admin = trigon.admin_addresses().join(",");
    let all = [&["explain", "--admin", &admin], arguments].concat();
    command::trigon(&all).await
}

/// The Triggers' standing for each event with that id, the newest first.
async fn standing<D: Deployment>(trigon: &D, id: &str) -> Result<Vec<BTreeMap<String, Value>>, String> {
    let said = explain(trigon, &["--broker", "default/default", "--id", id, "--output", "json"]).await;
    let page: Value = serde_json::from_str(&said.stdout).map_err(|error| format!("{error}: {said:?}"))?;
    let events = page["events"].as_array().ok_or_else(|| format!("no events: {page}"))?;
    let of_event = |event: &Value| {
        let triggers = event["triggers"].as_array().into_iter().flatten();
        let name = |trigger: &Value| trigger["trigger"].as_str().unwrap_or_default().replace("default/", "");
        triggers.map(|trigger| (name(trigger), trigger["standing"].clone())).collect()
    };
    Ok(events.iter().map(of_event).collect())
}

/// Waits until the first of `count` events with that id stands as `wanted`.
async fn stands<D: Deployment>(
    trigon: &D,
    id: &str,
    count: usize,
    wanted: &[(&str, &str)],
) -> BTreeMap<String, Value> {
    wait::until("the event to stand as it should", async || {
        let mut events = standing(trigon, id).await?;
        let first = events.first().cloned().unwrap_or_default();
        let is_so =
            wanted.iter().all(|(trigger, state)| first.get(*trigger).is_some_and(|at| at["state"] == *state));
        if events.len() == count && is_so { Ok(events.remove(0)) } else { Err(format!("{events:#?}")) }
    })
    .await
}

fn routes(subscriber: &Subscriber) -> Vec<Object> {
    let to = |name: &str| trigger(name, &subscriber.url(&format!("/{name}")));
    vec![
        broker("default"),
        to("taken"),
        to("refused"),
        to("sunk").delivery(json!({"deadLetterSink": sink(&subscriber.url("/sink"))})),
        to("held"),
        to("again").delivery(json!({"retry": 5, "backoffPolicy": "linear", "backoffDelay": "PT1H"})),
        to("other").filter("type", "other"),
        to("paused").annotation("trigon.dev/paused", "true"),
    ]
}

/// An event is asked for by its id on every way that it can go.
async fn an_event_can_be_asked_for_by_its_id<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    subscriber.on("/refused", |_| Reply::status(400));
    subscriber.on("/sunk", |_| Reply::status(400));
    subscriber.on("/again", |_| Reply::status(503));
    subscriber.hold("/held");
    let mut trigon = D::start(&routes(&subscriber)).await;
    trigon.producer().accept(&Event::new("lost").data("text/plain", "hello")).await;
    let ends = [
        ("taken", "delivered"),
        ("refused", "parked"),
        ("sunk", "dead_lettered"),
        ("held", "in_flight"),
        ("again", "retrying"),
        ("other", "passed_by"),
        ("paused", "unread"),
    ];
    let at = stands(&trigon, "lost", 1, &ends).await;
    assert_eq!((&at["taken"]["attempt"], &at["held"]["attempt"]), (&1.into(), &1.into()));
    assert_eq!((&at["again"]["attempt"], &at["again"]["status"]), (&2.into(), &503.into()));
    assert!(at["again"]["due"].is_string() && at["refused"]["parked"].is_string(), "{at:#?}");

    subscriber.release("/held");
    stands(&trigon, "lost", 1, &[("held", "delivered")]).await;
    trigon.stop().await;
    trigon.restart().await;
    // What is finished is not kept, and what is parked is. The retries go on.
    let ends = [
        ("taken", "finished"),
        ("refused", "parked"),
        ("sunk", "finished"),
        ("held", "finished"),
        ("other", "passed_by"),
        ("paused", "unread"),
    ];
    let at = stands(&trigon, "lost", 1, &ends).await;
    assert_eq!(at["again"]["stage"], "subscriber", "{at:#?}");

    // What is sent again is an event of its own, for one Trigger.
    subscriber.on("/refused", |_| Reply::status(200));
    let admin = trigon.admin_addresses().join(",");
    command::trigon(&["parked", "redrive", "--all", "--admin", &admin]).await.success();
    stands(&trigon, "lost", 2, &[("refused", "delivered"), ("taken", "passed_by")]).await;
    let said = explain(&trigon, &["--trigger", "default/refused", "--id", "lost"]).await.success();
    for wanted in
        ["for default/refused alone", "sent again since", "delivered, in attempt 1 at the subscriber"]
    {
        assert!(said.contains(wanted), "{wanted} is not in:\n{said}");
    }
}

/// FLN-07, FLN-10
async fn the_exit_status_says_whether_the_trigger_wants_the_event<D: Deployment>() {
    let filters = json!([{"exact": {"colur": "red"}}, {"cesql": "LENGTH(type) > 'x'"}]);
    let routes = [
        broker("default"),
        trigger("all", "http://127.0.0.1:1/"),
        trigger("none", "http://127.0.0.1:1/").filters(filters),
    ];
    let trigon = D::start(&routes).await;
    trigon.producer().accept(&Event::new("1").with("colour", "red")).await;
    let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
    let event = folder.path().join("event.json");
    let text =
        r#"{"specversion": "1.0", "id": "1", "source": "/x", "type": "test", "colour": "red", "data": 1}"#;
    std::fs::write(&event, text).expect("the folder is writable");
    let event = event.display().to_string();
    for which in [["--id", "1"], ["--event", &event]] {
        let ask = async |name: &str| explain(&trigon, &[&["--trigger", name], &which[..]].concat()).await;
        assert_eq!(ask("default/all").await.status.code(), Some(0));
        let none = ask("default/none").await;
        assert_eq!(none.status.code(), Some(1), "{none:?}");
        for wanted in [
            "colur is \"red\", but the event has no such attribute; did you mean colour?",
            "1:16: 'x' is not an Integer",
        ] {
            assert!(none.stdout.contains(wanted), "{wanted} is not in:\n{}", none.stdout);
        }
        assert!(!none.stdout.contains('\x1b'), "there is no terminal: {:?}", none.stdout);
        let absent = ask("default/al").await;
        assert_eq!(absent.status.code(), Some(2), "{absent:?}");
        assert!(absent.stderr.contains("did you mean default/all?"), "{absent:?}");
    }
    let absent = explain(&trigon, &["--trigger", "default/all", "--id", "2"]).await;
    assert_eq!(absent.status.code(), Some(2), "{absent:?}");
    assert!(absent.stderr.contains("no event with id 2 is among the newest 1 records"), "{absent:?}");
    let other = explain(&trigon, &["--trigger", "default/all", "--id", "1", "--source", "/other"]).await;
    assert_eq!(other.status.code(), Some(2), "{other:?}");
}

/// A filter is tried on an event that was accepted before the filter is in force.
async fn a_filter_of_a_file_is_tried_on_an_event_of_the_log<D: Deployment>() {
    let subscriber = Subscriber::start().await;
    let in_force = trigger("t", &subscriber.url("/t")).filter("type", "other");
    let trigon = D::start(&[broker("default"), in_force.clone()]).await;
    trigon.producer().accept(&Event::new("1")).await;
    let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
    let file = folder.path().join("t.yaml");
    let edited = trigon_tests::routes::yaml(&[in_force.filter("type", "test")]);
    std::fs::write(&file, edited).expect("the folder is writable");
    let file = file.display().to_string();
    let said = explain(&trigon, &["--trigger", &file, "--id", "1"]).await.success();
    for wanted in [
        "matches",
        "type is \"test\": \"test\"",
        "the trigger in force has another filter: type is \"other\"",
    ] {
        assert!(said.contains(wanted), "{wanted} is not in:\n{said}");
    }
}

/// Each dispatcher knows of its own partitions, and an ingress of none.
#[tokio::test]
async fn a_process_that_is_asked_alone_says_what_only_others_know() {
    let subscriber = Subscriber::start().await;
    let mut trigon = Split::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    trigon.shared().await;
    trigon.producer().accept_many("e", 20).await;
    subscriber.takes("/t", 20).await;
    trigon.settled().await;
    let dispatcher = trigon.dispatchers()[0].admin_address().to_owned();
    let ingress = trigon.ingresses()[0].admin_address().to_owned();
    let mut states = BTreeSet::new();
    for event in subscriber.ids("/t") {
        let ask = async |admin: &str| {
            let question = ["explain", "--broker", "default/default", "--id", &event, "--admin", admin];
            command::trigon(&[&question[..], &["--output", "json"]].concat()).await
        };
        let page: Value = serde_json::from_str(&ask(&dispatcher).await.success()).expect("it is JSON");
        let state = &page["events"][0]["triggers"][0]["standing"]["state"];
        states.insert(state.as_str().unwrap_or_default().to_owned());
        let alone = ask(&ingress).await;
        assert_eq!(alone.status.code(), Some(2), "{alone:?}");
        assert!(alone.stderr.contains("ask the admin address of a dispatcher"), "{alone:?}");
    }
    assert_eq!(states, ["delivered", "elsewhere"].map(str::to_owned).into());
}

on_every_deployment!(
    an_event_can_be_asked_for_by_its_id,
    the_exit_status_says_whether_the_trigger_wants_the_event,
    a_filter_of_a_file_is_tried_on_an_event_of_the_log,
);
