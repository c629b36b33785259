//! Cost follows matches: the same load with more and more Triggers, of which one matches each event.

use std::path::Path;
use std::time::{Duration, Instant};

use super::{Meter, delivered, warm_up, whole};
use crate::figures::{Figures, number};
use crate::load::Pace;
use crate::sink::Sink;
use crate::trigon::{Route, Trigon};
use crate::{BenchError, Settings};

const COUNTS: [u64; 3] = [1, 100, 10_000];
const RATE: u32 = 1_000;
/// How long nothing is sent, to see what Triggers cost by being there.
const IDLE: Duration = Duration::from_secs(5);

pub(super) async fn run(binary: &Path, settings: &Settings) -> Result<Figures, BenchError> {
    let mut figures = Figures::default();
    let rate = settings.rate.unwrap_or(RATE);
    let mut resident = Vec::new();
    let mut cpu = Vec::new();
    for count in COUNTS {
        let start = Instant::now();
        let sink = Sink::start(start).await?;
        let route = |n: u64| Route {
            name: format!("t{n}"),
            subscriber: sink.url("/"),
            of_type: Some(n),
            ..Route::default()
        };
        let routes: Vec<Route> = (0..count).map(route).collect();
        let trigon = Trigon::start(binary, &routes, settings).await?;
        resident.push(number(trigon.usage()?.resident));
        let meter = Meter::start(&trigon)?;
        tokio::time::sleep(IDLE).await;
        let idle = meter.cpu_micros(&trigon)? / IDLE.as_secs_f64() / 1e6;
        figures.add(format!("{count} triggers without events: CPU"), idle * 100.0, "%");
        let mut load = trigon.load(settings, start);
        // One and the same Trigger matches every event, and then all of them in turn.
        for (name, types) in [("one matches all events", 1), ("all match in turn", count)] {
            load.types = types;
            (load.first, _) = warm_up(&load, &sink, rate).await?;
            let before = sink.total();
            let meter = Meter::start(&trigon)?;
            let sent = load.send_for(Pace::Open(rate), settings.duration()).await?;
            whole(&sent)?;
            delivered(&sink, before + sent.accepted).await?;
            let per_event = meter.cpu_micros(&trigon)? / number(sent.accepted);
            load.first = sent.next;
            figures.add(format!("{count} triggers, {name}: CPU per event"), per_event, "µs");
            figures.add_latencies(&format!("{count} triggers, {name}: answer"), &sent.latencies);
            cpu.push(per_event);
        }
    }
    if let ([one, .., many], [first, first_turn, .., last, last_turn]) = (&resident[..], &cpu[..]) {
        figures.add("CPU of 10000 triggers against 1, one matches all", last / first, "×");
        figures.add("CPU of 10000 triggers against 1, in turn", last_turn / first_turn, "×");
        let idle = number(COUNTS[2] - COUNTS[0]);
        figures.add("memory per idle trigger", (many - one) / idle / 1_000.0, "kB");
    }
    Ok(figures)
}
