//! One bad subscriber hurts nobody else. Asserted on counts and bytes, never on times.

use serde_json::json;
use trigon_tests::flood::{Flood, Load};
use trigon_tests::{Deployment, Event, Reply, Standalone, Subscriber, account, broker, trigger, wait};

const MIB: u64 = 1 << 20;

/// Requests in flight at once per Trigger and partition, and partitions of a Broker: the defaults.
const IN_FLIGHT: usize = 100 * 4;

/// DLV-28, TST-40
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_healthy_trigger_gets_everything_while_a_dead_and_a_silent_one_get_nothing_done() {
    const EVENTS: usize = 3_000;
    let healthy = Subscriber::start().await;
    let (dead, silent) = (Subscriber::start().await, Subscriber::start().await);
    dead.on("/", |_| Reply::status(503));
    silent.on("/", |_| Reply::never());
    let patient =
        json!({"retry": 1000, "backoffPolicy": "linear", "backoffDelay": "PT1H", "timeout": "PT1H"});
    let trigon = Standalone::start(&[
        broker("default"),
        trigger("healthy", &healthy.url("/")),
        trigger("dead", &dead.url("/")).delivery(patient.clone()),
        trigger("silent", &silent.url("/")).delivery(patient),
    ])
    .await;
    let flood = Flood::start(&trigon.broker_url("default"), "e", Load::default());
    flood.more(EVENTS).await;
    let sent = flood.stop().await;
    trigon.trigger("healthy", "has finished", |status| status.is_settled()).await;
    account::settle("healthy", &sent.accepted, &healthy.taken("/"), &[]);
    assert_eq!((dead.taken_count("/"), silent.taken_count("/")), (0, 0));
    for name in ["dead", "silent"] {
        let status = trigon.trigger(name, "is there", |_| true).await;
        assert_eq!((status.delivered, status.dead_lettered, status.parked), (0, 0, 0), "{name}: {status:?}");
        assert!(status.lag > 0, "{name}: {status:?}");
    }
    // At any time, everything that matched is somewhere.
    for (name, status) in trigon.triggers().await.unwrap() {
        let ended = status.delivered + status.dead_lettered + status.parked;
        let waiting = status.in_flight + status.queued + status.retrying;
        assert_eq!(status.matched, ended + waiting, "{name}: {status:?}");
    }
    assert!(silent.most_at_once("/") <= IN_FLIGHT, "{} at once", silent.most_at_once("/"));
}

/// DLV-29: memory under a stated bound with a backlog several times as large, and a complete catch-up while new
/// events go on arriving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backlog_behind_one_subscriber_stays_on_disk_and_is_caught_up_later() {
    const HELD: u64 = 32 * MIB;
    const BACKLOG: u64 = 384 * MIB;
    // Beside what is held for delivery: the newest events (--log-memory), requests under way, and what the
    // allocator has not given back.
    const BESIDE: u64 = 32 * MIB + 64 * MIB;
    let load = Load { connections: 8, bytes: 256 * 1024, keys: 0 };
    let (healthy, late) = (Subscriber::start().await, Subscriber::start().await);
    late.hold("/");
    let trigon = Standalone::start_with(
        &[broker("default"), trigger("healthy", &healthy.url("/")), trigger("late", &late.url("/"))],
        &["--max-held-memory", "32MiB", "--log-memory", "32MiB"],
    )
    .await;
    trigon.producer().accept(&Event::new("first")).await;
    healthy.takes("/", 1).await;
    let before = trigon.process().resident_bytes();
    let flood = Flood::start(&trigon.broker_url("default"), "backlog", load);
    let goal = usize::try_from(BACKLOG).unwrap() / load.bytes;
    let mut most = 0;
    wait::within(wait::DEADLINE * 3, "the backlog to be accepted", async || {
        most = most.max(trigon.process().resident_bytes());
        if flood.accepted() >= goal { Ok(()) } else { Err(format!("{} of {goal}", flood.accepted())) }
    })
    .await;
    let backlog = flood.stop().await;
    trigon.trigger("healthy", "has finished", |status| status.is_settled()).await;
    most = most.max(trigon.process().resident_bytes());
    assert_eq!(late.taken_count("/"), 0);
    println!(
        "resident: {} MiB before, {} MiB at most, behind it {} MiB",
        before / MIB,
        most / MIB,
        BACKLOG / MIB
    );
    assert!(most < before + HELD + BESIDE, "{} MiB of memory with {} MiB to hold", most / MIB, HELD / MIB);
    let flood =
        Flood::start(&trigon.broker_url("default"), "tail", Load { connections: 2, ..Load::default() });
    late.release("/");
    trigon.trigger("late", "goes on", |status| status.delivered > 0).await;
    flood.more(100).await;
    let tail = flood.stop().await;
    trigon.settled().await;
    let accepted: Vec<_> =
        ["first".to_owned()].into_iter().chain(backlog.accepted).chain(tail.accepted).collect();
    account::settle("healthy", &accepted, &healthy.taken("/"), &[]);
    account::settle("late", &accepted, &late.taken("/"), &[]);
}

/// DLV-14: an address where nobody listens, until somebody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_that_comes_up_late_gets_everything_there_was() {
    const EVENTS: usize = 300;
    let address = trigon_tests::subscriber::dead_address();
    let healthy = Subscriber::start().await;
    let patient = json!({"retry": 100_000, "backoffPolicy": "linear", "backoffDelay": "PT0.0001S"});
    let trigon = Standalone::start(&[
        broker("default"),
        trigger("healthy", &healthy.url("/")),
        trigger("late", &format!("http://{address}/")).delivery(patient),
    ])
    .await;
    trigon.producer().accept_many("e", EVENTS).await;
    healthy.takes("/", EVENTS).await;
    trigon.trigger("late", "has tried", |status| status.lag > 0 && status.delivered == 0).await;
    let late = Subscriber::start_at(address).await;
    trigon.settled().await;
    assert_eq!(late.taken("/").times.len(), EVENTS);
    assert_eq!(healthy.count("/"), EVENTS);
}
