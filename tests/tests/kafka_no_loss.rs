//! Nothing acknowledged is lost while Kafka, Trigon and the network between them break: two ingresses and two
//! dispatchers over three brokers, senders at full speed.
//!
//! `TRIGON_TEST_ROUNDS` says how often everything is broken, `TRIGON_TEST_SEED` repeats a run's choices.

use std::ops::Range;
use std::time::{Duration, Instant};

use tokio::time::sleep;
use trigon_test_servers::{Kafka, Options};
use trigon_tests::account::{Excuse, UNCOMMITTED};
use trigon_tests::kafka::group;
use trigon_tests::proxy::Proxy;
use trigon_tests::seed::{rounds, seed};
use trigon_tests::storm::{BROKERS, Storm, TRIGGERS};

/// How long everything lives between two breaks, in milliseconds: now too short for a commit, now long enough for
/// several.
const LIFE: Range<u64> = 50..3_000;

/// How long a killed broker stays away, in milliseconds: now less than Kafka takes to notice, now longer.
const ABSENCE: Range<u64> = 100..6_000;

#[derive(Clone, Copy, Debug)]
enum Victim {
    Ingress(usize),
    Dispatcher(usize),
    Broker(usize),
}

/// Not a wait for something: the moment itself is what is drawn.
async fn any_moment(random: &mut fastrand::Rng, within: Range<u64>) {
    sleep(Duration::from_millis(random.u64(within))).await;
}

/// DLV-27, IN-04, TST-22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_arrives_though_each_process_and_each_broker_is_killed() {
    let mut random = fastrand::Rng::with_seed(seed());
    let mut storm = Storm::start().await;
    let flood = storm.flood();
    let mut excuses = Vec::new();
    for _ in 0..rounds() {
        let trigon = (0..2).flat_map(|n| [Victim::Ingress(n), Victim::Dispatcher(n)]);
        let mut victims: Vec<_> = trigon.chain((0..BROKERS).map(Victim::Broker)).collect();
        random.shuffle(&mut victims);
        for victim in victims {
            any_moment(&mut random, LIFE).await;
            flood.more(1).await;
            match victim {
                Victim::Ingress(n) => {
                    storm.trigon.ingresses()[n].kill();
                    storm.trigon.ingresses()[n].start().await;
                }
                Victim::Dispatcher(n) => {
                    storm.trigon.dispatchers()[n].kill();
                    excuses.push(Excuse::kill(Instant::now()));
                    storm.trigon.dispatchers()[n].start().await;
                }
                Victim::Broker(n) => {
                    // A second one would leave too few replicas, and nothing would be accepted.
                    storm.kafka.wait_in_sync();
                    let from = Instant::now();
                    storm.kafka.kill(n);
                    any_moment(&mut random, ABSENCE).await;
                    storm.kafka.start(n);
                    storm.kafka.wait_in_sync();
                    // It may have kept the offsets of groups, or coordinated the dispatchers.
                    excuses.push(Excuse::between(from, Instant::now() + UNCOMMITTED));
                }
            }
        }
    }
    flood.more(1).await;
    let sent = flood.stop().await;
    storm.settle(&sent, &excuses).await;
}

/// Fencing: a dispatcher that was stopped past its session and goes on takes nobody else's progress forward.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_slept_past_its_session_skips_no_event_when_it_wakes_up() {
    let mut storm = Storm::start().await;
    let flood = storm.flood();
    let mut excuses = Vec::new();
    for _ in 0..rounds() {
        for sleeper in 0..2 {
            flood.more(200).await;
            storm.trigon.dispatchers()[sleeper].process().pause();
            excuses.push(Excuse::kill(Instant::now()));
            storm.trigon.owned_by(1 - sleeper).await;
            flood.more(200).await;
            let awake = Instant::now();
            storm.trigon.dispatchers()[sleeper].process().resume();
            storm.trigon.shared().await;
            // Until it has heard that its partitions are another's, it goes on with what it holds.
            excuses.push(Excuse::between(awake, awake + Duration::from_secs(1)));
        }
    }
    flood.more(200).await;
    let sent = flood.stop().await;
    storm.settle(&sent, &excuses).await;
}

/// Connections between us and the brokers end, slow down, and cannot be made for a while.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_though_connections_to_kafka_are_cut_and_slow() {
    let mut random = fastrand::Rng::with_seed(seed());
    let mut proxies = Vec::new();
    for _ in 0..BROKERS {
        proxies.push(Proxy::start().await);
    }
    let options = Options::default().advertised(proxies.iter().map(Proxy::address));
    let kafka = Kafka::cluster(BROKERS, options).expect("Kafka starts");
    for (n, proxy) in proxies.iter().enumerate() {
        proxy.forward(kafka.address(n));
    }
    let storm = Storm::on(kafka).await;
    let flood = storm.flood();
    flood.more(200).await;
    let from = Instant::now();
    for _ in 0..rounds() {
        for proxy in &proxies {
            proxy.cut();
            flood.more(100).await;
            proxy.slow(Duration::from_millis(random.u64(5..50)));
            flood.more(100).await;
            proxy.close();
            any_moment(&mut random, LIFE).await;
            proxy.slow(Duration::ZERO);
            proxy.open();
            flood.more(100).await;
        }
        proxies.iter().for_each(Proxy::close);
        any_moment(&mut random, LIFE).await;
        proxies.iter().for_each(Proxy::open);
        flood.more(100).await;
    }
    // Any cut may have kept a commit from being written, or cost a dispatcher its session.
    let excuses = [Excuse::between(from, Instant::now() + UNCOMMITTED)];
    let sent = flood.stop().await;
    storm.settle(&sent, &excuses).await;
}

/// What an upgrade of Kafka does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_while_all_brokers_are_restarted_one_after_another() {
    let mut storm = Storm::start().await;
    let flood = storm.flood();
    flood.more(200).await;
    let from = Instant::now();
    for n in 0..BROKERS {
        storm.kafka.wait_in_sync();
        storm.kafka.stop(n);
        flood.more(200).await;
        storm.kafka.start(n);
    }
    storm.kafka.wait_in_sync();
    flood.more(200).await;
    let excuses = [Excuse::between(from, Instant::now() + UNCOMMITTED)];
    let sent = flood.stop().await;
    storm.settle(&sent, &excuses).await;
}

/// The lanes know where they stand, so that a group which is deleted under them is only written anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_that_is_deleted_while_it_is_used_costs_nothing() {
    let mut storm = Storm::start().await;
    let flood = storm.flood();
    let tools = storm.kafka.tools();
    for name in TRIGGERS {
        flood.more(200).await;
        tools
            .delete_group(&group(&storm.installation, name))
            .expect("Kafka's tool deletes a group without members");
    }
    flood.more(200).await;
    let sent = flood.stop().await;
    storm.settle(&sent, &[]).await;
    // And it is there again, so that a restart repeats nothing.
    for dispatcher in storm.trigon.dispatchers() {
        dispatcher.stop().await;
    }
    for name in TRIGGERS {
        let rows = tools.describe_group(&group(&storm.installation, name)).expect("the group is there");
        let lags: Vec<_> = rows.iter().map(|row| row.lag).collect();
        assert!(!rows.is_empty() && lags.iter().all(|lag| *lag == Some(0)), "{name}: {rows:?}");
    }
    for dispatcher in storm.trigon.dispatchers() {
        dispatcher.start().await;
    }
    storm.trigon.owned().await;
    storm.settle(&sent, &[]).await;
}
