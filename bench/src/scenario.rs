//! What each scenario does, step by step.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::figures::{Figures, number};
use crate::load::{Load, Pace, Sent};
use crate::sink::Sink;
use crate::trigon::{Route, Trigon, Usage, own_usage};
use crate::{BenchError, Scenario, Settings};

mod catch_up;
mod isolation;
mod restart;
mod triggers;

/// Runs one scenario once.
///
/// # Errors
/// When it cannot be measured.
pub(crate) async fn run(
    scenario: Scenario,
    binary: &Path,
    settings: &Settings,
) -> Result<Figures, BenchError> {
    match scenario {
        Scenario::Ingress => ingress(binary, settings).await,
        Scenario::OneTrigger => matching(binary, settings, Mix::all(1), 2_000).await,
        Scenario::HundredMatching => matching(binary, settings, Mix::all(100), 50).await,
        Scenario::TenOfHundred => {
            matching(binary, settings, Mix { triggers: 100, types: 10, order: None }, 500).await
        }
        Scenario::Ordered => {
            let ordered = Mix { triggers: 1, types: 1, order: Some("partition") };
            matching(binary, settings, ordered, 2_000).await
        }
        Scenario::Idle => idle(binary, settings).await,
        Scenario::CostPerTrigger => triggers::run(binary, settings).await,
        Scenario::Isolation => isolation::run(binary, settings).await,
        Scenario::CatchUp => catch_up::run(binary, settings).await,
        Scenario::Restart => restart::run(binary, settings).await,
    }
}

/// Sent before each measurement, so that connections are open and code is warm.
const WARM_UP: Duration = Duration::from_secs(2);

async fn ingress(binary: &Path, settings: &Settings) -> Result<Figures, BenchError> {
    let trigon = Trigon::start(binary, &[], settings).await?;
    let mut load = trigon.load(settings, Instant::now());
    load.first = load.send_for(Pace::Saturating, WARM_UP).await?.next;
    let mut figures = Figures::default();
    for (name, pace) in paces(settings, 5_000) {
        let meter = Meter::start(&trigon)?;
        let sent = load.send_for(pace, settings.duration()).await?;
        load.first = sent.next;
        whole(&sent)?;
        figures.add(format!("{name}: accepted"), sent.rate(), "/s");
        meter.stop(&trigon, sent.accepted, "event", &name, &mut figures)?;
        figures.add_latencies(&format!("{name}: answer"), &sent.latencies);
    }
    figures.add("resident memory", mebibytes(trigon.usage()?.resident), "MiB");
    Ok(figures)
}

/// How many Triggers there are, and which events they want.
#[derive(Clone, Copy)]
struct Mix {
    triggers: u64,
    /// Events come in so many types in turn; each Trigger wants one of them, so that each event matches
    /// `triggers / types`.
    types: u64,
    order: Option<&'static str>,
}

impl Mix {
    /// Every event matches every Trigger.
    const fn all(triggers: u64) -> Self {
        Self { triggers, types: 1, order: None }
    }
}

async fn matching(binary: &Path, settings: &Settings, mix: Mix, rate: u32) -> Result<Figures, BenchError> {
    let triggers = mix.triggers;
    let matching = triggers / mix.types;
    let start = Instant::now();
    let sink = Sink::start(start).await?;
    let route = |n: u64| Route {
        name: format!("t{n}"),
        subscriber: sink.url(&format!("/{n}")),
        of_type: (mix.types > 1).then_some(n % mix.types),
        order: mix.order,
        ..Route::default()
    };
    let routes: Vec<Route> = (0..triggers).map(route).collect();
    let trigon = Trigon::start(binary, &routes, settings).await?;
    let mut load = Load { types: mix.types, ..trigon.load(settings, start) };
    let mut figures = Figures::default();
    let warm = load.send_for(Pace::Saturating, WARM_UP).await?;
    load.first = warm.next;
    let mut expected = warm.accepted * matching;
    delivered(&sink, expected).await?;
    for (name, pace) in paces(settings, rate) {
        let paths: Vec<String> = (0..triggers).map(|n| format!("/{n}")).collect();
        paths.iter().for_each(|path| sink.forget_latencies(path));
        let meter = Meter::start(&trigon)?;
        let begun = Instant::now();
        let sent = load.send_for(pace, settings.duration()).await?;
        load.first = sent.next;
        whole(&sent)?;
        expected += sent.accepted * matching;
        delivered(&sink, expected).await?;
        let elapsed = begun.elapsed();
        let deliveries = sent.accepted * matching;
        figures.add(format!("{name}: accepted"), sent.rate(), "/s");
        figures.add(format!("{name}: delivered"), number(deliveries) / elapsed.as_secs_f64(), "/s");
        meter.stop(&trigon, deliveries, "delivery", &name, &mut figures)?;
        figures.add_latencies(&format!("{name}: answer"), &sent.latencies);
        let mut latencies = crate::figures::Latencies::default();
        paths.iter().for_each(|path| latencies.merge(&sink.taken(path).latencies));
        figures.add_latencies(&format!("{name}: end to end"), &latencies);
    }
    figures.add("resident memory", mebibytes(trigon.usage()?.resident), "MiB");
    Ok(figures)
}

/// How long nothing happens while it is measured what that costs.
const IDLE: Duration = Duration::from_secs(60);

/// A thousand Triggers to which nothing happens.
async fn idle(binary: &Path, settings: &Settings) -> Result<Figures, BenchError> {
    const TRIGGERS: u64 = 1_000;
    let sink = Sink::start(Instant::now()).await?;
    let route = |n: u64| Route {
        name: format!("t{n}"),
        subscriber: sink.url("/"),
        of_type: Some(n),
        ..Route::default()
    };
    let routes: Vec<Route> = (0..TRIGGERS).map(route).collect();
    let trigon = Trigon::start(binary, &routes, settings).await?;
    tokio::time::sleep(WARM_UP).await;
    let before = trigon.usages()?;
    tokio::time::sleep(IDLE).await;
    let mut figures = Figures::default();
    for ((command, before), (_, after)) in before.into_iter().zip(trigon.usages()?) {
        let share = after.cpu.saturating_sub(before.cpu).as_secs_f64() / IDLE.as_secs_f64() * 100.0;
        figures.add(format!("{command}: CPU"), share, "%");
        figures.add(format!("{command}: resident memory"), mebibytes(after.resident), "MiB");
    }
    Ok(figures)
}

/// An open loop, and as fast as it goes.
fn paces(settings: &Settings, rate: u32) -> [(String, Pace); 2] {
    let rate = settings.rate.unwrap_or(rate);
    [(format!("{rate}/s"), Pace::Open(rate)), ("saturated".to_owned(), Pace::Saturating)]
}

/// How long deliveries may stand still before a run is given up.
const STALLED: Duration = Duration::from_secs(60);

/// Waits until the sink has taken so many.
///
/// # Errors
/// When deliveries stand still.
pub(crate) async fn delivered(sink: &Sink, expected: u64) -> Result<(), BenchError> {
    let (mut last, mut since) = (sink.total(), Instant::now());
    while sink.total() < expected {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if sink.total() > last {
            (last, since) = (sink.total(), Instant::now());
        } else if since.elapsed() > STALLED {
            return Err(BenchError::Failed(format!(
                "{last} of {expected} deliveries, then none for {STALLED:?}"
            )));
        }
    }
    Ok(())
}

/// A run in which something was refused or broke measures something else.
fn whole(sent: &Sent) -> Result<(), BenchError> {
    if sent.refused + sent.broken == 0 && sent.accepted > 0 {
        return Ok(());
    }
    Err(BenchError::Failed(format!(
        "of the load {} were accepted, {} refused and {} broke off",
        sent.accepted, sent.refused, sent.broken
    )))
}

/// CPU time over a phase, of Trigon and of this process.
struct Meter {
    trigon: Vec<(&'static str, Usage)>,
    own: Usage,
}

impl Meter {
    fn start(trigon: &Trigon) -> Result<Self, BenchError> {
        Ok(Self { trigon: trigon.usages()?, own: own_usage()? })
    }

    fn stop(
        self,
        trigon: &Trigon,
        count: u64,
        of: &str,
        phase: &str,
        figures: &mut Figures,
    ) -> Result<(), BenchError> {
        let per = |before: Usage, after: Usage| {
            after.cpu.saturating_sub(before.cpu).as_secs_f64() * 1e6 / number(count.max(1))
        };
        for ((command, before), (_, after)) in self.trigon.into_iter().zip(trigon.usages()?) {
            figures.add(format!("{phase}: CPU per {of}, {command}"), per(before, after), "µs");
        }
        figures.add(format!("{phase}: CPU per {of} of load and sink"), per(self.own, own_usage()?), "µs");
        Ok(())
    }

    /// Microseconds of Trigon's CPU since the start.
    fn cpu_micros(&self, trigon: &Trigon) -> Result<f64, BenchError> {
        let before: Duration = self.trigon.iter().map(|(_, usage)| usage.cpu).sum();
        Ok(trigon.usage()?.cpu.saturating_sub(before).as_secs_f64() * 1e6)
    }
}

fn mebibytes(bytes: u64) -> f64 {
    number(bytes) / f64::from(1_u32 << 20)
}

/// Warms up with a load and gives the next event's number, once all of it is delivered.
async fn warm_up(load: &Load, sink: &Sink, rate: u32) -> Result<(u64, u64), BenchError> {
    let before = sink.total();
    let sent = load.send_for(Pace::Open(rate), WARM_UP).await?;
    delivered(sink, before + sent.accepted).await?;
    Ok((sent.next, sink.total()))
}
