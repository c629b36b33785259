//! Nothing acknowledged is lost: producers at full speed, and the process killed again and again.
//!
//! The seed is printed; `TRIGON_TEST_SEED` repeats a run's choices, though not the scheduling of the machine.

use std::collections::HashSet;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::json;
use trigon_tests::flood::{Account, Flood, Load};
use trigon_tests::seed::seed;
use trigon_tests::subscriber::dead_address;
use trigon_tests::{Deployment, Reply, Standalone, Subscriber, account, broker, trigger};

const KILLS: usize = 10;

/// How long the process lives between two kills: now too short for a commit, now long enough for several.
const LIFE: std::ops::Range<u64> = 50..3_000;

/// Sends at full speed and kills the process at random moments.
async fn storm(trigon: &mut Standalone, seed: u64, load: Load) -> (Account, Vec<Instant>) {
    let mut random = fastrand::Rng::with_seed(seed);
    let flood = Flood::start(&trigon.broker_url("default"), "e", load);
    let mut kills = Vec::new();
    for _ in 0..KILLS {
        // Not a wait for something: the moment itself is what is drawn.
        tokio::time::sleep(Duration::from_millis(random.u64(LIFE))).await;
        flood.more(1).await;
        trigon.kill().await;
        kills.push(Instant::now());
        trigon.restart().await;
    }
    flood.more(1).await;
    (flood.stop().await, kills)
}

/// DLV-27, IN-04, TST-22
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_acknowledged_event_arrives_though_the_process_is_killed_ten_times() {
    let subscriber = Subscriber::start().await;
    let mut trigon = Standalone::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    let load = Load { keys: 50, ..Load::default() };
    let (sent, kills) = storm(&mut trigon, seed(), load).await;
    trigon.settled().await;
    account::settle("t", &sent.accepted, &subscriber.taken("/t"), &kills);
    assert!(account::strange("e-", &subscriber.taken("/t")).is_empty());
}

/// DLV-11, DLV-16, DLV-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_the_subscriber_fails_at_random_as_well() {
    let seed = seed();
    let subscriber = Subscriber::start().await;
    let random = Mutex::new(fastrand::Rng::with_seed(seed));
    subscriber.on("/t", move |_| {
        let mut random = random.lock().unwrap();
        Reply::status(if random.u8(0..10) < 3 { *random.choice(&[500, 503, 429, 404]).unwrap() } else { 200 })
    });
    // So often that chance never exhausts it.
    let delivery = json!({"retry": 50, "backoffPolicy": "linear", "backoffDelay": "PT0.01S"});
    let mut trigon =
        Standalone::start(&[broker("default"), trigger("t", &subscriber.url("/t")).delivery(delivery)]).await;
    let (sent, kills) = storm(&mut trigon, seed, Load::default()).await;
    trigon.settled().await;
    account::settle("t", &sent.accepted, &subscriber.taken("/t"), &kills);
    assert_eq!(trigon.trigger("t", "is there", |_| true).await.parked, 0);
}

/// DLV-28, DLS-01, DLS-03: one of three Triggers is dead for the whole run, and its events are parked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_beside_a_trigger_whose_subscriber_is_dead() {
    let subscriber = Subscriber::start().await;
    let delivery = json!({"retry": 1, "backoffPolicy": "linear", "backoffDelay": "PT0.01S"});
    let mut trigon = Standalone::start(&[
        broker("default"),
        trigger("one", &subscriber.url("/one")),
        trigger("two", &subscriber.url("/two")),
        trigger("dead", &format!("http://{}/", dead_address())).delivery(delivery),
    ])
    .await;
    let (sent, kills) = storm(&mut trigon, seed(), Load { connections: 4, ..Load::default() }).await;
    trigon.settled().await;
    account::settle("one", &sent.accepted, &subscriber.taken("/one"), &kills);
    account::settle("two", &sent.accepted, &subscriber.taken("/two"), &kills);
    let parked: HashSet<String> = trigon.admin().parked("default").await.unwrap().into_iter().collect();
    let lost: Vec<_> = sent.accepted.iter().filter(|id| !parked.contains(*id)).collect();
    assert!(
        lost.is_empty(),
        "{} events of the dead trigger are not parked, among them {:?}",
        lost.len(),
        lost[0]
    );
    let all = ["parked", "list", "--trigger", "default/dead", "--limit", "1000000", "--output", "json"];
    let listed = trigon.tool(&all).await.success();
    assert!(
        listed.lines().count() >= parked.len(),
        "{} of {} are listed",
        listed.lines().count(),
        parked.len()
    );
}

/// DLV-27: a clean stop delivers nothing twice, however often it happens.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clean_stops_under_load_lose_nothing_and_repeat_nothing() {
    let subscriber = Subscriber::start().await;
    let mut trigon = Standalone::start(&[broker("default"), trigger("t", &subscriber.url("/t"))]).await;
    let flood = Flood::start(&trigon.broker_url("default"), "e", Load::default());
    for _ in 0..3 {
        flood.more(300).await;
        trigon.stop().await;
        trigon.restart().await;
    }
    let sent = flood.stop().await;
    trigon.settled().await;
    account::settle("t", &sent.accepted, &subscriber.taken("/t"), &[]);
}
