//! How partitions go from one dispatcher to another. The times are printed, and asserted only so far that a hang fails.

use std::time::{Duration, Instant};

use trigon_tests::account::Excuse;
use trigon_tests::process::Output;
use trigon_tests::storm::Storm;

/// Far beyond the session timeout, and short of Kafka's default of 45 s.
const LOST: Duration = Duration::from_secs(30);

#[expect(clippy::print_stdout, reason = "the figures belong into the test's output, also when it passes")]
fn report(what: &str, since: Instant) -> Duration {
    let elapsed = since.elapsed();
    println!("{what}: {} ms", elapsed.as_millis());
    elapsed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_partitions_of_a_killed_dispatcher_are_taken_over_after_its_session() {
    let mut storm = Storm::start().await;
    let flood = storm.flood();
    flood.more(300).await;
    let kill = Instant::now();
    storm.trigon.dispatchers()[0].kill();
    storm.trigon.owned_by(1).await;
    let elapsed = report("take-over after kill -9", kill);
    assert!(elapsed < LOST, "{elapsed:?}");
    flood.more(300).await;
    let sent = flood.stop().await;
    storm.settle(&sent, &[Excuse::kill(kill)]).await;
}

/// Stops a dispatcher and waits until the other one serves everything; shows what both of them said meanwhile.
async fn hand_over(storm: &mut Storm, leaving: usize) {
    let staying = 1 - leaving;
    let said = storm.trigon.dispatchers().iter().map(|dispatcher| dispatcher.process().output().clone());
    let said: Vec<_> = said.map(|output| (output.stderr().len(), output)).collect();
    let stop = Instant::now();
    storm.trigon.dispatchers()[leaving].process().terminate();
    storm.trigon.owned_by(staying).await;
    let elapsed = report("take-over after a clean stop", stop);
    assert!(elapsed < LOST, "{elapsed:?}");
    let (status, _) = storm.trigon.dispatchers()[leaving].ended().await;
    assert!(status.success(), "{status}");
    report("until the process had ended", stop);
    show("leaves", &said[leaving]);
    show("stays", &said[staying]);
}

#[expect(clippy::print_stdout, reason = "the phases of a take-over belong beside its figure")]
fn show(who: &str, (before, output): &(usize, Output)) {
    for line in output.stderr().iter().skip(*before) {
        let field =
            |name: &str| Some(line.split_once(&format!("\"{name}\":\""))?.1.split('"').next()?.to_owned());
        if let (Some(time), Some(message)) = (field("timestamp"), field("message")) {
            println!("  {time} {who}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_that_is_stopped_hands_over_at_once_and_nothing_is_repeated() {
    let mut storm = Storm::start().await;
    let flood = storm.flood();
    for leaving in [0, 1] {
        flood.more(300).await;
        hand_over(&mut storm, leaving).await;
        flood.more(300).await;
        let start = Instant::now();
        storm.trigon.dispatchers()[leaving].start().await;
        // Each owns a part again: partitions have moved while events were in flight.
        storm.trigon.shared().await;
        report("share after a start", start);
    }
    flood.more(300).await;
    let sent = flood.stop().await;
    storm.settle(&sent, &[]).await;
    // And so it is when there is nothing to deliver.
    for leaving in [0, 1] {
        hand_over(&mut storm, leaving).await;
        storm.trigon.dispatchers()[leaving].start().await;
        storm.trigon.shared().await;
    }
    storm.settle(&sent, &[]).await;
}

/// What is in flight ends where it was begun, also while others come and go at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dispatchers_that_join_and_leave_at_once_repeat_nothing() {
    let mut storm = Storm::start().await;
    let flood = storm.flood();
    flood.more(300).await;
    storm.trigon.add_dispatcher().await;
    storm.trigon.shared().await;
    flood.more(300).await;
    storm.trigon.dispatchers()[0].process().terminate();
    storm.trigon.add_dispatcher().await;
    let (status, _) = storm.trigon.dispatchers()[0].ended().await;
    assert!(status.success(), "{status}");
    storm.trigon.shared().await;
    flood.more(300).await;
    let sent = flood.stop().await;
    storm.settle(&sent, &[]).await;
}

/// Ingresses come and go without anybody noticing but those who send to them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_that_is_stopped_has_answered_what_it_took() {
    let mut storm = Storm::start().await;
    let flood = storm.flood();
    for leaving in [0, 1] {
        flood.more(300).await;
        storm.trigon.ingresses()[leaving].stop().await;
        flood.more(300).await;
        storm.trigon.ingresses()[leaving].start().await;
    }
    let sent = flood.stop().await;
    storm.settle(&sent, &[]).await;
}
