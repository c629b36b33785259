//! Project chores, started as `cargo xtask …`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints")]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use clap::{Parser, Subcommand};

mod kafka;
mod requirements;
mod tally;

use tally::Tally;

/// Project chores.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Everything that CI runs: formatting, lints, all tests, a minute of fuzzing. Installs what it needs.
    Test,
    /// Formatting and lints only.
    Lint,
    /// Kafka in the foreground, for tests that are run by themselves, until Ctrl-C.
    Kafka {
        /// How many brokers.
        #[arg(long, default_value_t = 1)]
        brokers: usize,
    },
    /// The fuzz targets, for so many seconds together.
    Fuzz {
        /// Seconds, shared equally by the targets.
        #[arg(long, default_value_t = FUZZ_SECONDS)]
        seconds: u64,
    },
    /// Which lines of a checklist of requirements no test cites.
    ///
    /// The checklist has lines like `- **FLN-01** MUST N what it asks. [source]`; a test cites one in a comment. When
    /// a test cites what the checklist does not have, the status is 1.
    Requirements {
        /// The checklist, a file of Markdown.
        checklist: PathBuf,
        /// Only this area, such as FLN.
        #[arg(long)]
        area: Option<String>,
    },
}

/// How long the fuzz targets run in CI, together.
const FUZZ_SECONDS: u64 = 60;

/// The targets in `fuzz/fuzz_targets`.
const FUZZ_TARGETS: [&str; 4] = ["cesql", "http_request", "json_batch", "record"];

fn main() -> ExitCode {
    let done = match Arguments::parse().chore {
        Chore::Test => test(),
        Chore::Lint => lint(),
        Chore::Kafka { brokers } => kafka::foreground(brokers),
        Chore::Fuzz { seconds } => fuzz(seconds),
        Chore::Requirements { checklist, area } => requirements::report(&checklist, area.as_deref()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

fn test() -> Result<(), String> {
    ensure("cargo-nextest", &["nextest", "--version"])?;
    lint()?;
    // The system tests start the binary; building it first keeps them from waiting for one another.
    step("build the binary", cargo(&["build", "--bin", "trigon"]))?;
    let mut tally = Tally::default();
    let unit = kafka::with_broker(|variables| {
        counted("tests", nextest(&format!("not ({ON_CLUSTER})"), variables), &mut tally)
    });
    // By themselves: three more brokers beside everything else would be too much for two cores.
    let clustered = kafka::with_cluster(|variables| {
        counted("tests on three brokers", nextest(ON_CLUSTER, variables), &mut tally)
    });
    let doc = counted("documentation tests", cargo(&["test", "--workspace", "--doc"]), &mut tally);
    let fuzzed = fuzz(FUZZ_SECONDS);
    println!("tests: {} passed, {} failed", tally.passed, tally.failed);
    if std::env::var_os("CESQL_TCK").is_none_or(|folder| folder.is_empty()) {
        println!(
            "skipped: the TCK of CESQL, because CESQL_TCK is not set; the README says where it is found"
        );
    }
    unit.and(clustered).and(doc).and(fuzzed)
}

/// The tests that share a cluster of three brokers.
const ON_CLUSTER: &str = "binary(kafka_contract) & test(/^three_brokers::/)";

fn nextest(filter: &str, variables: kafka::Variables) -> Command {
    let mut command = cargo(&["nextest", "run", "--workspace", "--no-fail-fast", "--filterset", filter]);
    command.envs(variables);
    command
}

fn lint() -> Result<(), String> {
    step("formatting", cargo(&["fmt", "--all", "--check"]))?;
    step("lints", cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn fuzz(seconds: u64) -> Result<(), String> {
    ensure("cargo-fuzz", &["fuzz", "--version"])?;
    let each = (seconds / FUZZ_TARGETS.len() as u64).max(1);
    for target in FUZZ_TARGETS {
        let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
        std::fs::create_dir_all(&corpus).map_err(|error| format!("could not create {corpus}: {error}"))?;
        let limit = format!("-max_total_time={each}");
        // Without a sanitizer the coverage instrumentation is all stable Rust: no nightly toolchain needed.
        let run = ["fuzz", "run", "--sanitizer", "none", target, &corpus, &seeds, "--"];
        let options = ["-dict=fuzz/dictionary.txt", "-max_len=4096", "-timeout=10", &limit];
        step(&format!("fuzz {target} for {each} s"), cargo(&[&run[..], &options].concat()))?;
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new("cargo");
    command.args(arguments);
    // OpenSSL, which librdkafka uses, is built from source unless the machine has one: that saves some minutes.
    if has_openssl() {
        command.env("OPENSSL_NO_VENDOR", "1");
    }
    command
}

fn has_openssl() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        Command::new("pkg-config").args(["--exists", "openssl"]).status().is_ok_and(|status| status.success())
    })
}

/// Installs a cargo tool unless it answers.
fn ensure(package: &str, probe: &[&str]) -> Result<(), String> {
    let there = cargo(probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_ok_and(|status| status.success()) {
        return Ok(());
    }
    step(&format!("install {package}"), cargo(&["install", "--locked", "--debug", package]))
}

fn step(name: &str, mut command: Command) -> Result<(), String> {
    println!("== {name}");
    let start = Instant::now();
    let status = command.status().map_err(|error| format!("{name}: could not start {command:?}: {error}"))?;
    println!("== {name}: {} after {} s", outcome(status.success()), start.elapsed().as_secs());
    if status.success() { Ok(()) } else { Err(format!("{name} failed")) }
}

/// Runs a test runner, passes its output on, and adds up what its summary lines count.
fn counted(name: &str, mut command: Command, tally: &mut Tally) -> Result<(), String> {
    println!("== {name}");
    let start = Instant::now();
    // nextest sums up on stderr, cargo test on stdout: both go through one pipe.
    let (reader, writer) = std::io::pipe().map_err(|error| format!("{name}: {error}"))?;
    let both = writer.try_clone().map_err(|error| format!("{name}: {error}"))?;
    command.stdout(writer).stderr(both);
    let mut child =
        command.spawn().map_err(|error| format!("{name}: could not start {command:?}: {error}"))?;
    // The command holds the writing ends; the reader ends only when they are closed here.
    drop(command);
    for line in BufReader::new(reader).lines() {
        let line = line.map_err(|error| format!("{name}: {error}"))?;
        println!("{line}");
        tally.count(&line);
    }
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    println!("== {name}: {} after {} s", outcome(status.success()), start.elapsed().as_secs());
    if status.success() { Ok(()) } else { Err(format!("{name} failed")) }
}

fn outcome(success: bool) -> &'static str {
    if success { "ok" } else { "FAILED" }
}
