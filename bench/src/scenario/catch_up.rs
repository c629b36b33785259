//! A Trigger that is far behind, alone and while events go on to another one at the tail: how fast it reads, how fast
//! it delivers, and what the other one feels.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Meter, delivered, mebibytes, warm_up, whole};
use crate::figures::{Figures, number};
use crate::load::{Pace, Sending};
use crate::sink::Sink;
use crate::trigon::{Route, Trigon};
use crate::{BenchError, Settings};

/// Events per second at the tail.
const RATE: u32 = 500;
/// The type that no event has.
const NO_TYPE: u64 = 999_999;
/// The last hundredth is not measured: with events going on, the end moves.
const REST: u64 = 100;
/// How long it is waited for a Trigger to be in force.
const IN_FORCE: Duration = Duration::from_secs(60);

/// What a Trigger does with what it is behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wants {
    /// It delivers all of it.
    All,
    /// It only reads it.
    Nothing,
}

pub(super) async fn run(binary: &Path, settings: &Settings) -> Result<Figures, BenchError> {
    let start = Instant::now();
    let sink = Sink::start(start).await?;
    let trigon = Trigon::start(binary, &[], settings).await?;
    let mut load = trigon.load(settings, start);
    let filling = load.send(Pace::Saturating);
    while filling.accepted() < settings.behind {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let filled = filling.stop().await?;
    whole(&filled)?;
    load.first = filled.next;

    let bench = Bench { trigon, sink, settings, behind: filled.accepted };
    let tail = bench.tail();
    bench.trigon.route(std::slice::from_ref(&tail), settings)?;
    bench.in_force("tail").await?;
    let rate = settings.rate.unwrap_or(RATE);
    (load.first, _) = warm_up(&load, &bench.sink, rate).await?;

    let mut figures = Figures::default();
    figures.add("behind", number(bench.behind), "events");
    bench.sink.forget_latencies("/tail");
    let before = bench.sink.total();
    let sent = load.send_for(Pace::Open(rate), settings.duration()).await?;
    whole(&sent)?;
    delivered(&bench.sink, before + sent.accepted).await?;
    load.first = sent.next;
    figures.add_latencies("tail alone: end to end", &bench.sink.taken("/tail").latencies);

    for (wants, what) in [(Wants::Nothing, "reading"), (Wants::All, "delivering")] {
        let alone = bench.catch_up(&format!("{what}-alone"), wants, &mut figures).await?;
        bench.sink.forget_latencies("/tail");
        let sending: Sending = load.send(Pace::Open(rate));
        let beside = bench.catch_up(&format!("{what}-beside"), wants, &mut figures).await?;
        let sent = sending.stop().await?;
        whole(&sent)?;
        load.first = sent.next;
        figures.add(format!("{what}: beside the tail against alone"), beside / alone, "×");
        let name = format!("tail beside {what}: end to end");
        figures.add_latencies(&name, &bench.sink.taken("/tail").latencies);
    }
    figures.add("resident memory", mebibytes(bench.trigon.usage()?.resident), "MiB");
    Ok(figures)
}

struct Bench<'a> {
    trigon: Trigon,
    sink: Sink,
    settings: &'a Settings,
    behind: u64,
}

impl Bench<'_> {
    fn tail(&self) -> Route {
        Route { name: "tail".to_owned(), subscriber: self.sink.url("/tail"), ..Route::default() }
    }

    /// Lets a new Trigger come from the beginning of the log to nearly its end, removes it, and says how many events
    /// it had per second.
    async fn catch_up(&self, name: &str, wants: Wants, figures: &mut Figures) -> Result<f64, BenchError> {
        let path = format!("/{name}");
        let late = Route {
            name: name.to_owned(),
            subscriber: self.sink.url(&path),
            of_type: (wants == Wants::Nothing).then_some(NO_TYPE),
            start_from: Some("earliest"),
            ..Route::default()
        };
        self.trigon.route(&[self.tail(), late], self.settings)?;
        let begun = Instant::now();
        while self.left(name, &path, wants).await?.is_none() {
            if begun.elapsed() > IN_FORCE {
                return Err(BenchError::Failed(format!("{name} is not in force after {IN_FORCE:?}")));
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let meter = Meter::start(&self.trigon)?;
        let (begun, first) = (Instant::now(), self.left(name, &path, wants).await?.unwrap_or(0));
        if first <= self.behind / 2 {
            return Err(BenchError::Failed(format!(
                "{name} was {first} events behind when it was first looked at: give --behind more than {}",
                self.behind
            )));
        }
        let (mut left, mut since) = (first, Instant::now());
        while left > self.behind / REST {
            tokio::time::sleep(Duration::from_millis(5)).await;
            let now = self.left(name, &path, wants).await?.unwrap_or(left);
            if now < left {
                (left, since) = (now, Instant::now());
            } else if since.elapsed() > super::STALLED {
                return Err(BenchError::Failed(format!("{name} stands still, {left} events behind")));
            }
        }
        let (elapsed, had) = (begun.elapsed(), first.saturating_sub(left));
        let speed = number(had) / elapsed.as_secs_f64();
        figures.add(format!("{name}: speed"), speed, "/s");
        meter.stop(&self.trigon, had, "event", name, figures)?;
        self.trigon.route(&[self.tail()], self.settings)?;
        Ok(speed)
    }

    /// How far a Trigger is behind, once it has begun.
    async fn left(&self, name: &str, path: &str, wants: Wants) -> Result<Option<u64>, BenchError> {
        match wants {
            Wants::All => {
                let taken = self.sink.count(path);
                Ok((taken > 0).then(|| self.behind.saturating_sub(taken)))
            }
            Wants::Nothing => self.trigon.lag(name).await,
        }
    }

    async fn in_force(&self, name: &str) -> Result<(), BenchError> {
        let begun = Instant::now();
        while self.trigon.lag(name).await?.is_none() {
            if begun.elapsed() > IN_FORCE {
                return Err(BenchError::Failed(format!("{name} is not in force after {IN_FORCE:?}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }
}
