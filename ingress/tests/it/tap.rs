//! What watchers see.

use futures::FutureExt;
use http::StatusCode;
use serde_json::json;
use trigon_ingress::tap::{Seen, TAP_EVENTS, Watcher};

use crate::world::{EVENT, JSON_BATCH, World, broker_id, topic, within};

async fn next(watcher: &mut Watcher) -> Seen {
    within("the next event", watcher.next()).await.unwrap()
}

#[tokio::test]
async fn a_watcher_sees_what_is_accepted_with_its_broker_position_and_time() {
    let world = World::start().await;
    assert_eq!(world.post(&EVENT, "before").await.status, StatusCode::ACCEPTED);
    let mut watcher = world.tap.watch();
    let batch = json!([
        {"specversion": "1.0", "id": "a", "source": "/test", "type": "t"},
        {"specversion": "1.0", "id": "b", "source": "/test", "type": "t"},
    ]);
    assert_eq!(world.post(&[JSON_BATCH], batch.to_string()).await.status, StatusCode::ACCEPTED);
    let records = world.log.records(&topic());
    for (record, offset, id) in [(&records[1], 1, "a"), (&records[2], 2, "b")] {
        let Seen::Event(seen) = next(&mut watcher).await else { panic!("nothing was missed") };
        assert_eq!(*seen.broker, broker_id());
        assert_eq!(seen.position.offset.0, offset);
        assert_eq!(seen.accepted, record.timestamp);
        assert_eq!(seen.envelope.event.id(), id);
    }
    assert!(watcher.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_refused_event_is_not_shown() {
    let world = World::start().await;
    let mut watcher = world.tap.watch();
    assert_eq!(world.post(&EVENT[1..], "").await.status, StatusCode::BAD_REQUEST);
    world.log.refuse(trigon_eventlog::AppendError::NoSpace);
    assert_eq!(world.post(&EVENT, "").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(watcher.next().now_or_never().is_none());
}

#[tokio::test]
async fn a_slow_watcher_is_told_how_many_events_it_missed_and_slows_nobody_down() {
    let world = World::start().await;
    let mut watcher = world.tap.watch();
    let event = json!({"specversion": "1.0", "id": "1", "source": "/test", "type": "t"});
    let batch = serde_json::Value::from(vec![event; TAP_EVENTS + 3]).to_string();
    assert_eq!(world.post(&[JSON_BATCH], batch).await.status, StatusCode::ACCEPTED);
    let Seen::Missed(missed) = next(&mut watcher).await else { panic!("some were missed") };
    assert_eq!(missed, 3);
    for _ in 0..TAP_EVENTS {
        assert!(matches!(next(&mut watcher).await, Seen::Event(_)));
    }
    assert!(watcher.next().now_or_never().is_none());
}

#[tokio::test]
async fn nothing_is_kept_while_nobody_watches() {
    let world = World::start().await;
    drop(world.tap.watch());
    assert!(!world.tap.is_watched());
    assert_eq!(world.post(&EVENT, "").await.status, StatusCode::ACCEPTED);
    assert!(world.tap.watch().next().now_or_never().is_none());
}
