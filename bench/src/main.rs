//! `trigon-bench`: what Trigon costs and how long it takes, and how two builds of it compare.
//!
//! Starts the binary as a user does, sends it events over TCP, and takes them again as its subscriber. Every
//! figure is measured in that run; `README.md` says how, and what was measured last.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

mod figures;
mod load;
mod report;
mod scenario;
mod sink;
mod trigon;
mod wire;

use figures::Figures;
use report::{Build, Report};

/// Measures a build of Trigon, or two of them against each other.
#[derive(Debug, Parser)]
#[command(name = "trigon-bench", max_term_width = 100)]
struct Arguments {
    /// What to measure
    #[arg(value_enum, required = true)]
    scenarios: Vec<Scenario>,
    /// The build to measure
    #[arg(long, default_value = "target/release/trigon")]
    binary: PathBuf,
    /// Another build: both run in turn, and ratios are shown
    #[arg(long)]
    versus: Option<PathBuf>,
    /// How often each build runs
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Write the figures of every run to this file too
    #[arg(long)]
    json: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

/// What all scenarios take.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Settings {
    /// How long each phase sends, in seconds
    #[arg(long, default_value_t = 20)]
    pub(crate) seconds: u64,
    /// Events per second of open loops [default: what the scenario says]
    #[arg(long)]
    pub(crate) rate: Option<u32>,
    /// The size of each event's data, in bytes
    #[arg(long, default_value_t = 1_024)]
    pub(crate) bytes: usize,
    /// Connections of the load
    #[arg(long, default_value_t = 64)]
    pub(crate) connections: usize,
    /// The backlog of the isolation scenario, in MiB
    #[arg(long, default_value_t = 1_024)]
    pub(crate) backlog: u64,
    /// How many events a Trigger is behind in the catch-up scenario
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    pub(crate) behind: u64,
    /// Partitions of the Broker's topic
    #[arg(long, default_value_t = 4)]
    pub(crate) partitions: u32,
    /// Measure an ingress and a dispatcher over this Kafka, HOST:PORT, instead of standalone
    #[arg(long)]
    pub(crate) kafka: Option<String>,
    /// Where the event log is put [default: the folder for temporary files]
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
}

impl Settings {
    /// How long a phase sends.
    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }
}

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// A Broker without Triggers: taking events and storing them
    Ingress,
    /// One Trigger that matches every event, end to end
    OneTrigger,
    /// A hundred Triggers that match every event
    HundredMatching,
    /// A hundred Triggers of which ten match each event
    TenOfHundred,
    /// One Trigger that wants its events one after the other in each partition
    Ordered,
    /// A thousand Triggers and no event
    Idle,
    /// 1, 100 and 10 000 Triggers of which one matches each event
    CostPerTrigger,
    /// A healthy subscriber beside a dead one with a backlog and a slow one
    Isolation,
    /// A Trigger that is far behind, alone and beside a Trigger at the tail
    CatchUp,
    /// kill -9 under load
    Restart,
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// The process, the network or a file.
    #[error("{0}: {1}")]
    Io(String, std::io::Error),
    /// Trigon did what it must not, or too slowly to measure.
    #[error("{0}")]
    Failed(String),
}

#[expect(clippy::print_stderr, clippy::print_stdout, reason = "a command-line tool prints")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let report = tokio::runtime::Runtime::new()
        .map_err(|error| BenchError::Io("could not start the threads".to_owned(), error))
        .and_then(|runtime| runtime.block_on(measure(&arguments)));
    let written = report.and_then(|report| {
        println!("{report}");
        let Some(path) = &arguments.json else { return Ok(()) };
        std::fs::write(path, format!("{:#}\n", report.json()))
            .map_err(|error| BenchError::Io(format!("could not write {}", path.display()), error))
    });
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("trigon-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "a run takes minutes; it says where it is")]
async fn measure(arguments: &Arguments) -> Result<Report, BenchError> {
    let binaries: Vec<_> =
        [Some(&arguments.binary), arguments.versus.as_ref()].into_iter().flatten().collect();
    let mut report = Report::new(binaries.iter().map(|path| Build::new(path)).collect());
    for &scenario in &arguments.scenarios {
        for run in 1..=arguments.runs {
            // In turn, so that what the machine does meanwhile falls on both.
            for (build, binary) in binaries.iter().enumerate() {
                eprintln!("{scenario:?}, run {run} of {}, {}", arguments.runs, binary.display());
                let figures: Figures = scenario::run(scenario, binary, &arguments.settings).await?;
                report.add(build, scenario, figures);
            }
        }
    }
    Ok(report)
}
