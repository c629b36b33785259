//! A healthy subscriber alone, then beside a dead one with a backlog and one that takes five seconds.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{delivered, mebibytes, warm_up};
use crate::figures::{Figures, number};
use crate::load::{Pace, Sent};
use crate::sink::{Answer, Sink};
use crate::trigon::{Route, Trigon};
use crate::{BenchError, Settings};

const RATE: u32 = 500;
const SLOW: Duration = Duration::from_secs(5);
/// The data of the events that make the backlog, in bytes.
const LARGE: usize = 16 * 1024;
const MIB: u64 = 1 << 20;

pub(super) async fn run(binary: &Path, settings: &Settings) -> Result<Figures, BenchError> {
    let start = Instant::now();
    let sink = Sink::start(start).await?;
    let (bad, slow) = (Sink::start(start).await?, Sink::start(start).await?);
    bad.answer("/", Answer::Refuse);
    slow.answer("/", Answer::TakeAfter(SLOW));
    let route = |name: &str, sink: &Sink| Route {
        name: name.to_owned(),
        subscriber: sink.url("/"),
        ..Route::default()
    };
    let mut figures = Figures::default();
    let rate = settings.rate.unwrap_or(RATE);

    // Both logs get the same backlog first: what is compared is the neighbours, not an empty disk with a busy one.
    let mut most = 0;
    let alone = {
        let trigon = Trigon::start(binary, &[route("healthy", &sink)], settings).await?;
        let filled = fill(&trigon, &sink, settings, start, &mut 0).await?;
        let sent = measure(&trigon, &sink, settings, start, filled.next).await?;
        figures.add_latencies("healthy alone: answer", &sent.latencies);
        figures.add_latencies("healthy alone: end to end", &sink.taken("/").latencies);
        figures.add("healthy alone: resident memory", mebibytes(trigon.usage()?.resident), "MiB");
        sink.taken("/").latencies.at(0.99)
    };

    let sink = Sink::start(start).await?;
    let routes = [route("healthy", &sink), route("dead", &bad), route("slow", &slow)];
    let trigon = Trigon::start(binary, &routes, settings).await?;
    let filled = fill(&trigon, &sink, settings, start, &mut most).await?;
    let sent = measure(&trigon, &sink, settings, start, filled.next).await?;
    most = most.max(trigon.usage()?.resident);
    let beside = sink.taken("/").latencies;
    figures.add("backlog behind the dead one", mebibytes(filled.accepted * number_of(LARGE)), "MiB");
    figures.add_latencies("healthy beside dead and slow: answer", &sent.latencies);
    figures.add_latencies("healthy beside dead and slow: end to end", &beside);
    figures.add("healthy beside dead and slow, p99 against alone", beside.at(0.99) / alone, "×");
    figures.add("most resident memory", mebibytes(most), "MiB");

    let mut load = trigon.load(settings, start);
    // The dead one comes back, while the tail goes on.
    load.first = sent.next;
    sink.forget_latencies("/");
    let total = sink.taken("/").distinct;
    bad.answer("/", Answer::Take);
    let back = Instant::now();
    let sending = load.send(Pace::Open(rate));
    let mut first = None;
    let (mut last, mut since) = (0, Instant::now());
    while bad.count("/") < total {
        tokio::time::sleep(Duration::from_millis(10)).await;
        most = most.max(trigon.usage()?.resident);
        if first.is_none() && bad.count("/") > 0 {
            first = Some(back.elapsed());
        }
        if bad.count("/") > last {
            (last, since) = (bad.count("/"), Instant::now());
        } else if since.elapsed() > super::STALLED {
            return Err(BenchError::Failed(format!("the catch-up stands still at {last} of {total}")));
        }
    }
    let caught_up = back.elapsed();
    let tail = sending.stop().await?;
    let seconds = (caught_up - first.unwrap_or_default()).as_secs_f64();
    figures.add("catch-up: until the first delivery", first.unwrap_or_default().as_secs_f64(), "s");
    figures.add("catch-up: until all of the backlog", caught_up.as_secs_f64(), "s");
    figures.add("catch-up: delivered", number(total) / seconds.max(0.001), "/s");
    figures.add_latencies("healthy during the catch-up: end to end", &sink.taken("/").latencies);
    figures.add("most resident memory, catch-up too", mebibytes(most), "MiB");
    figures.add("tail refused or broken during the catch-up", number(tail.refused + tail.broken), "events");
    Ok(figures)
}

/// Sends a backlog as fast as it is taken, which the healthy subscriber takes at once.
async fn fill(
    trigon: &Trigon,
    sink: &Sink,
    settings: &Settings,
    start: Instant,
    most: &mut u64,
) -> Result<Sent, BenchError> {
    let mut load = trigon.load(settings, start);
    load.bytes = LARGE;
    let goal = settings.backlog * MIB / number_of(LARGE);
    let sending = load.send(Pace::Saturating);
    while sending.accepted() < goal {
        tokio::time::sleep(Duration::from_millis(50)).await;
        *most = (*most).max(trigon.usage()?.resident);
    }
    let backlog = sending.stop().await?;
    delivered(sink, backlog.accepted).await?;
    Ok(backlog)
}

/// Sends at a rate, and leaves the latencies of exactly that in the sink.
async fn measure(
    trigon: &Trigon,
    sink: &Sink,
    settings: &Settings,
    start: Instant,
    first: u64,
) -> Result<Sent, BenchError> {
    let rate = settings.rate.unwrap_or(RATE);
    let mut load = trigon.load(settings, start);
    load.first = first;
    (load.first, _) = warm_up(&load, sink, rate).await?;
    sink.forget_latencies("/");
    let before = sink.total();
    let sent = load.send_for(Pace::Open(rate), settings.duration()).await?;
    delivered(sink, before + sent.accepted).await?;
    Ok(sent)
}

fn number_of(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
