//! Starting, stopping, and what lies between: nothing lost, nothing sent twice without need.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use trigon_core::binding::record::Envelope;
use trigon_core::delivery::{Backoff, BackoffPolicy};
use trigon_core::record::Timestamp;
use trigon_core::routing::{RoutingTable, StartFrom, Trigger};
use trigon_dispatcher::Config;
use trigon_dispatcher::partition::Limits;

use crate::world::*;

/// CPT-13: a new Trigger starts with the next event, once it is ready.
#[tokio::test]
async fn a_trigger_that_starts_with_the_latest_sees_what_comes_after_it_was_ready() {
    let (dir, first, second) = (folder(), Subscriber::taking().await, Subscriber::taking().await);
    let latest = |name: &str, url: &str| Trigger { start_from: StartFrom::Latest, ..trigger(name, url) };
    let log = log_in(&dir);
    let world = World::start_with(&log, Config::default(), 4, vec![latest("a", &first.url)]).await;
    for n in 0..20 {
        world.send(event(&n.to_string())).await;
    }
    world.until("a", "delivered", |s| s.delivered == 20).await;
    world.route(vec![latest("a", &first.url), latest("b", &second.url)]).await;
    for n in 20..40 {
        world.send(event(&n.to_string())).await;
    }
    world.until("b", "delivered", |s| s.delivered == 20).await;
    world.until("a", "delivered", |s| s.delivered == 40).await;
    let mut ids = second.ids();
    ids.sort();
    assert_eq!(ids, (20..40).map(|n| n.to_string()).collect::<Vec<_>>());
    world.stop().await;
}

/// DLV-27: after a clean drain nothing is sent twice, and nothing is missing.
#[tokio::test]
async fn a_clean_drain_leaves_neither_gaps_nor_duplicates() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let start = || World::start_with(&log, Config::default(), 4, vec![trigger("t", &subscriber.url)]);
    let mut world = start().await;
    let mut sent = 0;
    for round in 0..5 {
        for _ in 0..40 {
            world.send(event(&sent.to_string())).await;
            sent += 1;
        }
        // In the middle of things: some are delivered, some are not.
        subscriber.got(round * 20 + 1).await;
        world.stop().await;
        world = start().await;
    }
    subscriber.got(sent).await;
    world.until("t", "idle", |s| s.lag == 0).await;
    world.stop().await;
    let mut counts = BTreeMap::<_, usize>::new();
    for id in subscriber.ids() {
        *counts.entry(id).or_default() += 1;
    }
    assert_eq!(counts.len(), sent);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

/// The attempts of an unfinished event survive a restart: 1 + retry in all, not per process.
#[tokio::test]
async fn a_restart_keeps_the_attempts() {
    let (dir, subscriber) = (folder(), Subscriber::answering(500).await);
    let log = log_in(&dir);
    let slow = |delay| {
        let mut slow = trigger("t", &subscriber.url);
        slow.delivery.backoff = Some(Backoff { policy: BackoffPolicy::Linear, delay });
        slow
    };
    let world = World::start(&log, vec![slow(Duration::from_secs(3600))]).await;
    world.send(event("1")).await;
    world.until("t", "waiting for its second attempt", |s| s.retrying == 1).await;
    world.stop().await;
    let world = World::start(&log, vec![slow(Duration::from_millis(1))]).await;
    world.until("t", "parked", |s| s.parked == 1).await;
    assert_eq!(subscriber.received().len(), 4);
    world.stop().await;
}

/// A drain waits for what is in flight, and starts nothing that is queued.
#[tokio::test]
async fn a_drain_waits_for_attempts_in_flight_and_withdraws_the_rest() {
    let dir = folder();
    let subscriber = Subscriber::new(|_| Answer::Held(StatusCode::OK.into_response())).await;
    let narrow = Trigger { concurrency: 2, ..trigger("t", &subscriber.url) };
    let log = log_in(&dir);
    let world = World::start(&log, vec![narrow]).await;
    for n in 0..10 {
        world.send(event(&n.to_string())).await;
    }
    subscriber.got(2).await;
    let draining = world.dispatcher.clone();
    let (drained, ()) = tokio::join!(draining.drain(Duration::from_secs(20)), async {
        // The drain is asked for before anything is let go.
        tokio::task::yield_now().await;
        subscriber.release();
    });
    assert_eq!(drained.unwrap().abandoned, 0);
    let before = subscriber.ids().len();
    assert!(before < 10, "{before} were sent");
    drop((world, draining));
    let taking = Subscriber::taking().await;
    let world = World::start(&log, vec![trigger("t", &taking.url)]).await;
    world.until("t", "idle", |s| s.lag == 0).await;
    let mut all = subscriber.ids();
    all.extend(taking.ids());
    all.sort();
    assert_eq!(all, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    world.stop().await;
}

/// What a subscriber never answers is abandoned at the deadline and delivered again.
#[tokio::test]
async fn a_drain_ends_at_its_deadline() {
    let (dir, hanging) = (folder(), Subscriber::new(|_| Answer::Never).await);
    let log = log_in(&dir);
    let world = World::start(&log, vec![trigger("t", &hanging.url)]).await;
    world.send(event("1")).await;
    hanging.got(1).await;
    let drained = world.dispatcher.drain(Duration::from_millis(50)).await.unwrap();
    assert_eq!((drained.drained, drained.abandoned), (0, 1));
    drop(world);
    let taking = Subscriber::taking().await;
    let world = World::start(&log, vec![trigger("t", &taking.url)]).await;
    world.until("t", "delivered", |s| s.delivered == 1).await;
    world.stop().await;
}

/// More than the dispatcher may hold: it reads on as room comes, and delivers all of it.
#[tokio::test]
async fn a_backlog_beyond_all_bounds_is_delivered_within_them() {
    let (dir, fast) = (folder(), Subscriber::taking().await);
    let held = Subscriber::new(|_| Answer::Held(StatusCode::OK.into_response())).await;
    let limits = Limits { lane_events: 16, lane_floor: 1024, ..Limits::default() };
    let config = Config { memory: 8 << 10, partition: limits, ..Config::default() };
    let triggers = vec![trigger("fast", &fast.url), trigger("held", &held.url)];
    let world = World::start_with(&log_in(&dir), config, 2, triggers).await;
    for n in 0..300 {
        world.send(builder(&n.to_string()).data(vec![b'x'; 200]).build().unwrap()).await;
    }
    world.until("fast", "delivered", |s| s.delivered == 300).await;
    let standing = world.trigger("held").total;
    assert!(standing.queued + standing.in_flight <= 32, "{standing:?}");
    held.release();
    world.until("held", "delivered", |s| s.delivered == 300).await;
    world.stop().await;
}

/// An edit neither interrupts nor repeats: a Trigger that points elsewhere goes on there.
#[tokio::test]
async fn an_edit_takes_effect_without_a_gap() {
    let (dir, old, new) = (folder(), Subscriber::taking().await, Subscriber::taking().await);
    let world = World::start(&log_in(&dir), vec![trigger("t", &old.url)]).await;
    for n in 0..50 {
        world.send(event(&n.to_string())).await;
        if n == 25 {
            world.route(vec![trigger("t", &new.url)]).await;
        }
    }
    world.until("t", "delivered", |s| s.delivered == 50).await;
    let mut ids = old.ids();
    ids.extend(new.ids());
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), old.received().len() + new.received().len()), (50, 50));
    assert!(new.received().len() >= 24);
    world.stop().await;
}

/// A Trigger that is deleted vanishes from the metrics; a Broker that is deleted lets its partitions go.
#[tokio::test]
async fn what_is_deleted_vanishes() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let triggers = || vec![trigger("a", &subscriber.url), trigger("b", &subscriber.url)];
    let world = World::start(&log_in(&dir), triggers()).await;
    world.send(event("1")).await;
    world.until("a", "delivered", |s| s.delivered == 1).await;
    world.until("b", "delivered", |s| s.delivered == 1).await;
    let metrics = world.metrics.encode().unwrap();
    let series = r#"trigon_dispatcher_trigger_delivered_total{broker="ns/broker",trigger="ns/a"} 1"#;
    assert!(metrics.contains(series), "{metrics}");
    world.route(vec![trigger("b", &subscriber.url)]).await;
    eventually("gone", || match world.metrics.encode().unwrap() {
        metrics if metrics.contains("ns/a") => Err(metrics),
        _ => Ok(()),
    })
    .await;
    world.routes.send_replace(Arc::new(RoutingTable::default()));
    world.ready().await;
    eventually("gone", || match world.status().brokers.len() {
        0 => Ok(()),
        more => Err(format!("{more} brokers")),
    })
    .await;
    world.stop().await;
}

/// A topic that somebody deletes under a living Broker is created again, and nothing that is accepted from then on
/// is lost, not even before the Triggers have their new places.
#[tokio::test]
async fn a_topic_that_was_deleted_comes_back_and_its_triggers_go_on_at_its_beginning() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let latest = Trigger { start_from: StartFrom::Latest, ..trigger("t", &subscriber.url) };
    let world = World::start(&log, vec![latest]).await;
    for n in 0..3 {
        world.send(event(&n.to_string())).await;
    }
    subscriber.got(3).await;
    let topic = world.broker().topic.clone();
    for round in 1..=3 {
        log.delete_topic(&topic).await.unwrap();
        let again = Envelope::of(event(&format!("again-{round}"))).encode(Timestamp(1_000));
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        while let Err(error) = log.append(&topic, vec![again.clone()]).await {
            assert!(tokio::time::Instant::now() < deadline, "{error}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        subscriber.got(3 + round).await;
        world.ready().await;
    }
    assert_eq!(subscriber.ids()[3..], ["again-1", "again-2", "again-3"]);
    world.stop().await;
}
