//! Several dispatchers over one log, and people who use its tools.

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use bytes::Bytes;
use bytestring::ByteString;
use trigon_core::cursor::Cursor;
use trigon_core::name::{BrokerId, Offset, PartitionId, TopicName, TopicPartition};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::{RoutingTable, StartFrom, TopicSettings, Trigger};
use trigon_dispatcher::Config;
use trigon_dispatcher::parked::{ParkedError, Selection, UNDECODABLE};
use trigon_dispatcher::status::{GapCause, Phase};
use trigon_eventlog::{Commit, EventLog, Place, SharedLog};

use crate::shared_log::Replica;
use crate::world::*;

fn at(topic: &TopicName, partition: u32) -> TopicPartition {
    TopicPartition { topic: topic.clone(), partition: PartitionId(partition) }
}

fn topic() -> TopicName {
    let settings = TopicSettings::default();
    let id = BrokerId::new("ns", "broker");
    table(&id, &settings, Vec::new()).brokers[&id].topic.clone()
}

/// A dispatcher that owns nothing yet.
fn replica(log: &Arc<Replica>, partitions: u32, triggers: Vec<Trigger>) -> World {
    let shared: SharedLog = Arc::clone(log) as SharedLog;
    World::begin(&shared, Config::default(), partitions, triggers)
}

async fn place_of(log: &dyn EventLog, trigger: &Trigger, partition: u32) -> Option<Cursor> {
    let place = Place { group: trigger.group.clone(), at: at(&topic(), partition) };
    log.load(&[place]).await.pop().unwrap().unwrap()
}

/// The second dispatcher waits for the first, which has partition 0, and neither takes the other for an old one.
#[tokio::test]
async fn a_new_trigger_is_started_once_and_by_the_owner_of_the_first_partition() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let latest = || Trigger { start_from: StartFrom::Latest, ..trigger("t", &subscriber.url) };
    let settings = TopicSettings { partitions: 2, ..TopicSettings::default() };
    log.create_topic(&topic(), &settings).await.unwrap();
    for n in 0..20 {
        let record = trigon_core::binding::record::Envelope::of(event(&n.to_string())).encode(Timestamp(1));
        log.append(&topic(), vec![record]).await.unwrap();
    }
    let (one, two) = (Replica::over(&log), Replica::over(&log));
    let second = replica(&two, 2, vec![latest()]);
    two.assign(&topic(), &[1]);
    eventually("asked to wait", || match second.status().brokers.first() {
        Some(broker) if !broker.triggers.is_empty() => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    assert_eq!(place_of(&*log, &latest(), 1).await, None, "it is not for this one to say");
    let first = replica(&one, 2, vec![latest()]);
    one.assign(&topic(), &[0]);
    first.ready().await;
    second.ready().await;
    for partition in [0, 1] {
        let end = log.extent(&at(&topic(), partition)).await.unwrap().end;
        assert_eq!(place_of(&*log, &latest(), partition).await, Some(Cursor::at(end)));
    }
    assert!(two.commits().is_empty());
    for n in 20..40 {
        first.send(event(&n.to_string())).await;
    }
    subscriber.got(20).await;
    first.stop().await;
    second.stop().await;
    assert_eq!(subscriber.received().len(), 20);
}

/// R18
#[tokio::test]
async fn a_partition_that_comes_later_is_read_from_its_beginning() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let latest = Trigger { start_from: StartFrom::Latest, ..trigger("t", &subscriber.url) };
    let settings = TopicSettings { partitions: 2, ..TopicSettings::default() };
    log.create_topic(&topic(), &settings).await.unwrap();
    let place = Commit { group: latest.group.clone(), at: at(&topic(), 0), cursor: Cursor::at(Offset(0)) };
    log.commit(vec![place]).await.pop().unwrap().unwrap();
    for n in 0..20 {
        let record = trigon_core::binding::record::Envelope::of(event(&n.to_string())).encode(Timestamp(1));
        log.append(&topic(), vec![record]).await.unwrap();
    }
    let one = Replica::over(&log);
    let world = replica(&one, 2, vec![latest]);
    one.assign(&topic(), &[0, 1]);
    subscriber.got(20).await;
    world.stop().await;
}

/// Nothing twice: what is in flight is waited for, committed, and only then another dispatcher takes over.
#[tokio::test]
async fn a_revoked_partition_is_drained_before_it_is_released() {
    let dir = folder();
    let held = Subscriber::new(|_| Answer::Held(StatusCode::OK.into_response())).await;
    let log = log_in(&dir);
    let (one, two) = (Replica::over(&log), Replica::over(&log));
    let triggers = || vec![Trigger { concurrency: 2, ..trigger("t", &held.url) }];
    let first = replica(&one, 1, triggers());
    one.assign(&topic(), &[0]);
    first.ready().await;
    for n in 0..10 {
        first.send(event(&n.to_string())).await;
    }
    held.got(2).await;
    first.until("t", "queued", |s| s.queued == 8).await;
    one.revoke(&topic(), &[0]);
    eventually("draining", || match first.trigger("t").partitions[0].phase {
        Phase::Behind => Ok(()),
        phase => Err(format!("{phase:?}")),
    })
    .await;
    assert!(one.released().is_empty(), "two attempts are in flight");
    held.release();
    eventually("released", || match one.released() {
        released if released == [0] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let second = replica(&two, 1, triggers());
    two.assign(&topic(), &[0]);
    second.ready().await;
    second.until("t", "idle", |s| s.lag == 0 && s.delivered > 0).await;
    let mut ids = held.ids();
    ids.sort();
    assert_eq!(ids, (0..10).map(|n| n.to_string()).collect::<Vec<_>>());
    first.stop().await;
    second.stop().await;
}

/// A partition that went to another dispatcher is abandoned at once, and the outcome that comes late changes nothing.
#[tokio::test]
async fn a_lost_partition_commits_nothing_any_more() {
    let dir = folder();
    let held = Subscriber::new(|_| Answer::Held(StatusCode::OK.into_response())).await;
    let log = log_in(&dir);
    let one = Replica::over(&log);
    let triggers = || vec![trigger("t", &held.url)];
    let first = replica(&one, 1, triggers());
    one.assign(&topic(), &[0]);
    first.ready().await;
    first.send(event("1")).await;
    held.got(1).await;
    let before = one.commits().len();
    one.lose(&topic(), &[0]);
    eventually("abandoned", || match first.status().brokers.len() {
        0 => Ok(()),
        more => Err(format!("{more} brokers")),
    })
    .await;
    held.release();
    eventually("the late outcome", || match first.status().in_flight {
        0 => Ok(()),
        more => Err(format!("{more} in flight")),
    })
    .await;
    assert_eq!((one.commits().len(), one.released()), (before, vec![]));
    assert_eq!(place_of(&*log, &triggers()[0], 0).await, Some(Cursor::at(Offset(0))));
    let two = Replica::over(&log);
    let second = replica(&two, 1, triggers());
    two.assign(&topic(), &[0]);
    second.ready().await;
    second.until("t", "delivered", |s| s.delivered == 1).await;
    assert_eq!(held.ids(), ["1", "1"], "the event was not finished when the partition was lost");
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_partition_that_comes_back_while_it_drains_is_driven_again_after_that() {
    let dir = folder();
    let held = Subscriber::new(|_| Answer::Held(StatusCode::OK.into_response())).await;
    let log = log_in(&dir);
    let one = Replica::over(&log);
    let world = replica(&one, 1, vec![Trigger { concurrency: 1, ..trigger("t", &held.url) }]);
    one.assign(&topic(), &[0]);
    world.ready().await;
    for n in 0..3 {
        world.send(event(&n.to_string())).await;
    }
    held.got(1).await;
    one.revoke(&topic(), &[0]);
    one.assign(&topic(), &[0]);
    held.release();
    held.got(3).await;
    world.until("t", "idle", |s| s.lag == 0).await;
    assert_eq!((held.ids(), one.released()), (["0", "1", "2"].map(str::to_owned).to_vec(), vec![0]));
    world.stop().await;
}

/// The log says that the topic is gone while it is read, and does not take the partition away.
#[tokio::test]
async fn a_partition_whose_topic_is_gone_is_driven_again_when_it_is_back() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let one = Replica::over(&log);
    let latest = Trigger { start_from: StartFrom::Latest, ..trigger("t", &subscriber.url) };
    let world = replica(&one, 1, vec![latest]);
    one.assign(&topic(), &[0]);
    world.ready().await;
    world.send(event("1")).await;
    subscriber.got(1).await;
    log.delete_topic(&topic()).await.unwrap();
    let again = trigon_core::binding::record::Envelope::of(event("2")).encode(Timestamp(1));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while let Err(error) = log.append(&topic(), vec![again.clone()]).await {
        assert!(tokio::time::Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    subscriber.got(2).await;
    assert_eq!(subscriber.ids(), ["1", "2"]);
    world.ready().await;
    world.stop().await;
}

/// The second deletion is noticed before the Triggers have their places in the topic that followed the first.
#[tokio::test]
async fn a_topic_that_goes_twice_is_read_from_its_beginning_by_those_that_stood_there() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let one = Replica::over(&log);
    let latest = Trigger { start_from: StartFrom::Latest, ..trigger("t", &subscriber.url) };
    let world = replica(&one, 1, vec![latest]);
    one.assign(&topic(), &[0]);
    world.ready().await;
    world.send(event("1")).await;
    subscriber.got(1).await;
    log.delete_topic(&topic()).await.unwrap();
    one.lose(&topic(), &[0]);
    let without_places = || match &world.dispatcher.unserved()[..] {
        [(_, reason)] if !reason.contains("created") => Ok(()),
        unserved => Err(format!("{unserved:?}")),
    };
    eventually("created again, and nobody placed", without_places).await;
    world.send(event("2")).await;
    one.lose(&topic(), &[0]);
    one.assign(&topic(), &[0]);
    subscriber.got(2).await;
    assert_eq!(subscriber.ids(), ["1", "2"]);
    world.ready().await;
    world.stop().await;
}

/// The Broker is deleted, its partition comes all the same, and then the Broker is back.
#[tokio::test]
async fn a_partition_that_came_without_its_broker_is_driven_when_that_is_back() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let one = Replica::over(&log);
    let world = replica(&one, 1, vec![trigger("t", &subscriber.url)]);
    one.assign(&topic(), &[0]);
    world.ready().await;
    one.revoke(&topic(), &[0]);
    world.routes.send_replace(Arc::new(RoutingTable::default()));
    world.ready().await;
    one.assign(&topic(), &[0]);
    // The owner takes its orders one by one: when this is released, it has seen the assignment.
    one.revoke(&topic(), &[7]);
    eventually("assigned", || match one.released() {
        released if released == [0, 7] => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    world.route(vec![trigger("t", &subscriber.url)]).await;
    world.send(event("1")).await;
    subscriber.got(1).await;
    world.stop().await;
}

/// Somebody uses `kafka-consumer-groups --reset-offsets`, forwards and backwards.
#[tokio::test]
async fn a_trigger_goes_on_where_somebody_has_set_it() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let one = Replica::over(&log);
    let of = || trigger("t", &subscriber.url);
    let group = of().group;
    let world = replica(&one, 1, vec![of()]);
    one.assign(&topic(), &[0]);
    world.ready().await;
    for n in 0..5 {
        world.send(event(&n.to_string())).await;
    }
    subscriber.got(5).await;
    eventually("committed", || match one.commits().last() {
        Some(commit) if commit.cursor.watermark == Offset(5) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    let set = Commit { group: group.clone(), at: at(&topic(), 0), cursor: Cursor::at(Offset(3)) };
    log.commit(vec![set]).await.pop().unwrap().unwrap();
    subscriber.got(7).await;
    assert_eq!(subscriber.ids()[5..], ["3", "4"]);
    let metrics = world.metrics.encode().unwrap();
    assert!(metrics.contains("trigon_dispatcher_moved_total 1"), "{metrics}");
    log.delete_group(&group).await.unwrap();
    world.send(event("5")).await;
    subscriber.got(8).await;
    eventually("committed again", || match one.commits().last() {
        Some(commit) if commit.cursor.watermark == Offset(6) => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await;
    world.stop().await;
    assert_eq!(subscriber.ids()[7..], ["5"], "a place that was deleted sends nothing back");
    assert_eq!(place_of(&*log, &of(), 0).await, Some(Cursor::at(Offset(6))));
}

/// KAF-11
#[tokio::test]
async fn a_record_that_is_no_cloudevent_is_parked_and_in_nobodys_way() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let world = World::start(&log, vec![trigger("t", &subscriber.url)]).await;
    let headers = vec![
        (ByteString::from_static("content-type"), Bytes::from_static(b"text/plain")),
        (ByteString::from_static("x-trace"), Bytes::from_static(b"42")),
    ];
    let foreign = Record {
        key: Some(Bytes::from_static(b"order-7")),
        headers,
        value: Some(Bytes::from_static(b"hello")),
        timestamp: Timestamp(1_000),
    };
    world.append(vec![foreign]).await;
    world.send(event("1")).await;
    world.until("t", "idle", |s| s.delivered == 1 && s.lag == 0).await;
    world.route(vec![trigger("t", &subscriber.url), trigger("u", &subscriber.url)]).await;
    world.until("u", "idle", |s| s.delivered == 1 && s.lag == 0).await;
    world.stop().await;
    let world = World::start(&log, vec![trigger("t", &subscriber.url), trigger("u", &subscriber.url)]).await;
    world.until("u", "idle", |s| s.lag == 0).await;
    let events = world.parked_events().await;
    let [parked] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&parked.trigger, parked.original.offset), (&None, Offset(0)));
    assert!(parked.reason.contains("specversion"), "{}", parked.reason);
    let event = &parked.envelope.event;
    assert_eq!(
        (event.event_type(), event.id(), &**event.data().unwrap()),
        (UNDECODABLE, "0-0", &b"hello"[..])
    );
    assert_eq!(event.attribute("datacontenttype"), Some("text/plain"));
    assert_eq!(event.attribute("source"), Some(&*format!("/topics/{}", topic())));
    let header = |name: &str| {
        let found = parked.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| String::from_utf8(value.to_vec()).unwrap())
    };
    assert_eq!((header("x-trace").as_deref(), header("key").as_deref()), (Some("42"), Some("order-7")));
    let (redrive, broker) = (world.dispatcher.parked(), world.broker());
    let one = Selection { offset: Some(Offset(0)), ..Selection::default() };
    let refused = redrive.redrive(&broker, &one, None).await;
    assert!(matches!(refused, Err(ParkedError::NoTrigger(Offset(0)))), "{refused:?}");
    let all = redrive.redrive(&broker, &Selection::default(), None).await.unwrap();
    assert_eq!((all.sent, all.undecodable), (0, 1));
    world.stop().await;
}

/// A Broker whose topic cannot be had is named, and the others are served.
#[tokio::test]
async fn one_broker_without_a_topic_does_not_hold_the_others_up() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let one = Replica::over(&log);
    let settings = TopicSettings { partitions: 1, ..TopicSettings::default() };
    let other = table(&BrokerId::new("ns", "other"), &settings, Vec::new());
    let refused = other.brokers.values().next().unwrap().topic.clone();
    one.refuse(&refused, true);
    let world = replica(&one, 1, vec![trigger("t", &subscriber.url)]);
    one.assign(&topic(), &[0]);
    world.ready().await;
    assert_eq!(world.dispatcher.unserved(), []);
    let mut both = RoutingTable::clone(&world.routes.borrow());
    both.brokers.extend(other.brokers.clone());
    world.routes.send_replace(Arc::new(both));
    eventually("told why", || match &world.dispatcher.unserved()[..] {
        [(id, reason)] if id.name.as_str() == "other" && reason.contains("told to refuse") => Ok(()),
        unserved => Err(format!("{unserved:?}")),
    })
    .await;
    world.send(event("1")).await;
    subscriber.got(1).await;
    one.refuse(&refused, false);
    world.ready().await;
    assert_eq!(world.dispatcher.unserved(), []);
    world.stop().await;
}

/// One creation never ends, and the other topic is asked for and served all the same, also when it comes later.
#[tokio::test]
async fn a_topic_that_takes_long_does_not_hold_the_others_up() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let one = Replica::over(&log);
    let settings = TopicSettings { partitions: 1, ..TopicSettings::default() };
    let other = table(&BrokerId::new("ns", "another"), &settings, Vec::new());
    one.hang_on(&other.brokers.values().next().unwrap().topic);
    one.refuse(&topic(), true);
    let world = replica(&one, 1, vec![trigger("t", &subscriber.url)]);
    let mut both = RoutingTable::clone(&world.routes.borrow());
    both.brokers.extend(other.brokers.clone());
    world.routes.send_replace(Arc::new(both));
    eventually("being created, and refused", || match &world.dispatcher.unserved()[..] {
        [(_, hangs), (_, refused)]
            if hangs.contains("being created") && refused.contains("told to refuse") =>
        {
            Ok(())
        }
        unserved => Err(format!("{unserved:?}")),
    })
    .await;
    one.refuse(&topic(), false);
    eventually("asked for", || match one.wanted() {
        wanted if wanted == [topic()].into() => Ok(()),
        wanted => Err(format!("{wanted:?}")),
    })
    .await;
    one.assign(&topic(), &[0]);
    world.send(event("1")).await;
    subscriber.got(1).await;
    world.stop().await;
}

/// The log has lost its end, or somebody has set the place there: it is counted, and the Trigger goes on at the end.
#[tokio::test]
async fn a_place_beyond_the_end_is_shown_and_goes_on_at_the_end() {
    let (dir, subscriber) = (folder(), Subscriber::taking().await);
    let log = log_in(&dir);
    let of = trigger("t", &subscriber.url);
    let settings = TopicSettings { partitions: 1, ..TopicSettings::default() };
    log.create_topic(&topic(), &settings).await.unwrap();
    let beyond = Commit { group: of.group.clone(), at: at(&topic(), 0), cursor: Cursor::at(Offset(900)) };
    log.commit(vec![beyond]).await.pop().unwrap().unwrap();
    let world = World::start(&log, vec![of]).await;
    let gap = world.trigger("t").partitions[0].gap.unwrap();
    assert_eq!((gap.cause, gap.offsets, gap.from, gap.to), (GapCause::BeyondEnd, 900, 0, 900));
    assert!(world.metrics.encode().unwrap().contains("trigon_dispatcher_beyond_end_total 1"));
    world.send(event("1")).await;
    subscriber.got(1).await;
    world.stop().await;
}
