//! kill -9 under load: how much comes twice, and how long deliveries pause.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{delivered, warm_up};
use crate::figures::{Figures, number};
use crate::load::Pace;
use crate::sink::Sink;
use crate::trigon::{Route, Trigon};
use crate::{BenchError, Settings};

const RATE: u32 = 5_000;
/// How long a machine may need until deliveries resume, before the run is given up.
const RESUMED: Duration = Duration::from_secs(60);
/// How often it is looked whether partitions are ours again: in a log that others share that takes until the killed
/// process is given up.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// After the kill, what was under way to the sink arrives within this time.
const AFTERMATH: Duration = Duration::from_millis(200);

pub(super) async fn run(binary: &Path, settings: &Settings) -> Result<Figures, BenchError> {
    let start = Instant::now();
    let sink = Sink::start(start).await?;
    let route = Route { name: "t".to_owned(), subscriber: sink.url("/"), ..Route::default() };
    let mut trigon = Trigon::start(binary, &[route], settings).await?;
    let mut load = trigon.load(settings, start);
    let rate = settings.rate.unwrap_or(RATE);
    let (next, warm) = warm_up(&load, &sink, rate.min(500)).await?;
    load.first = next;
    let sending = load.send(Pace::Open(rate));
    tokio::time::sleep(settings.duration() / 2).await;
    trigon.kill()?;
    let killed = Instant::now();
    tokio::time::sleep(AFTERMATH).await;
    let before = sink.total();
    let last_before = sink.taken("/").last.unwrap_or(killed);
    let restarted = Instant::now();
    trigon.restart()?;
    let printed = restarted.elapsed();
    let (mut ours, mut looked) = (None, restarted);
    while sink.total() == before {
        tokio::time::sleep(Duration::from_micros(500)).await;
        if ours.is_none() && looked.elapsed() > LOOK_INTERVAL {
            looked = Instant::now();
            ours = trigon.has_partitions("t").await.then(|| restarted.elapsed());
        }
        if restarted.elapsed() > RESUMED {
            return Err(BenchError::Failed(format!("no delivery {RESUMED:?} after the restart")));
        }
    }
    let resumed = restarted.elapsed();
    let pause = last_before.elapsed();
    tokio::time::sleep(settings.duration() / 2).await;
    let sent = sending.stop().await?;
    // What was accepted must all be there; what was not answered may be.
    let mut taken = sink.taken("/");
    let end = Instant::now() + RESUMED;
    while taken.distinct < warm + sent.accepted && Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(50)).await;
        taken = sink.taken("/");
    }
    let lost = (warm + sent.accepted).saturating_sub(taken.distinct);
    if lost > 0 {
        return Err(BenchError::Failed(format!("{lost} acknowledged events were not delivered")));
    }
    delivered(&sink, warm + sent.accepted).await?;
    let mut figures = Figures::default();
    figures.add("accepted", number(sent.accepted), "events");
    figures.add("refused or broken, while it was away", number(sent.refused + sent.broken), "events");
    figures.add("delivered twice", number(taken.taken - taken.distinct), "events");
    figures.add("start until it serves", printed.as_secs_f64() * 1_000.0, "ms");
    figures.add("start until the first delivery", resumed.as_secs_f64() * 1_000.0, "ms");
    let ours = ours.unwrap_or(resumed).min(resumed);
    figures.add("partitions ours until the first delivery", (resumed - ours).as_secs_f64() * 1_000.0, "ms");
    figures.add(
        "pause of deliveries, the 200 ms before the start included",
        pause.as_secs_f64() * 1_000.0,
        "ms",
    );
    Ok(figures)
}
