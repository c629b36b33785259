//! Project chores, started as `cargo xtask …`.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line tool prints")]

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::OnceLock;
use std::time::Instant;

use clap::{Parser, Subcommand};

mod excerpt;
mod failures;
mod kafka;
mod requirements;
mod tally;

use excerpt::Excerpt;
use failures::Failures;
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
    /// Everything that CI runs: formatting, lints, all tests, a minute of each fuzz target. Installs what it needs.
    Test,
    /// Formatting and lints only.
    Lint,
    /// Kafka in the foreground, for tests that are run by themselves, until Ctrl-C.
    Kafka {
        /// How many brokers.
        #[arg(long, default_value_t = 1)]
        brokers: usize,
    },
    /// The fuzz targets, one after the other.
    Fuzz {
        /// Seconds for each target.
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

/// How long each fuzz target runs in CI, in seconds.
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
    let mut results = Results::default();
    let unit = kafka::with_broker(|variables| {
        results.run("tests", nextest(&format!("not ({ON_CLUSTER})"), variables))
    });
    // By themselves: three more brokers beside everything else would be too much for two cores.
    let clustered = kafka::with_cluster(|variables| {
        results.run("tests on three brokers", nextest(ON_CLUSTER, variables))
    });
    let doc = results.run("documentation tests", cargo(&["test", "--workspace", "--doc"]));
    let fuzzed = fuzz(FUZZ_SECONDS);
    for line in results.failures.report() {
        println!("{line}");
    }
    if std::env::var_os("CESQL_TCK").is_none_or(|folder| folder.is_empty()) {
        println!(
            "skipped: the TCK of CESQL, because CESQL_TCK is not set; the README says where it is found"
        );
    }
    println!("tests: {} passed, {} failed", results.tally.passed, results.tally.failed);
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
    for target in FUZZ_TARGETS {
        let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
        std::fs::create_dir_all(&corpus).map_err(|error| format!("could not create {corpus}: {error}"))?;
        let limit = format!("-max_total_time={seconds}");
        // Without a sanitizer the coverage instrumentation is all stable Rust: no nightly toolchain needed.
        let run = ["fuzz", "run", "--sanitizer", "none", target, &corpus, &seeds, "--"];
        let options = ["-dict=fuzz/dictionary.txt", "-max_len=4096", "-timeout=10", &limit];
        let log = target_folder().join(format!("fuzz-{target}.log"));
        quietly(&format!("fuzz {target} for {seconds} s"), cargo(&[&run[..], &options].concat()), &log)?;
    }
    Ok(())
}

fn target_folder() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| "target".into(), PathBuf::from)
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

/// Last lines that are shown of what was silent and failed.
const LOG_LINES: usize = 50;

/// The same, with its output in a file, of which the end is shown when it fails.
fn quietly(name: &str, mut command: Command, log: &Path) -> Result<(), String> {
    let failed = |error| format!("{name}: {}: {error}", log.display());
    std::fs::create_dir_all(target_folder()).map_err(failed)?;
    let file = File::create(log).map_err(failed)?;
    command.stdout(file.try_clone().map_err(failed)?).stderr(file);
    let done = step(name, command);
    if done.is_err() {
        let mut excerpt = Excerpt::new(LOG_LINES);
        for line in String::from_utf8_lossy(&std::fs::read(log).map_err(failed)?).lines() {
            excerpt.push(line);
        }
        println!("== the end of {}", log.display());
        excerpt.lines().iter().for_each(|line| println!("{line}"));
    }
    done
}

/// What the test runners have said.
#[derive(Default)]
struct Results {
    tally: Tally,
    failures: Failures,
}

impl Results {
    /// Runs a test runner and passes its output on.
    fn run(&mut self, name: &str, mut command: Command) -> Result<(), String> {
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
        let before = self.failures.count();
        let mut end = Excerpt::new(LOG_LINES);
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.map_err(|error| format!("{name}: {error}"))?;
            // What a failed test printed may be anything.
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.tally.count(&line);
            self.failures.take(&line);
            end.push(&line);
        }
        let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
        println!("== {name}: {} after {} s", outcome(status.success()), start.elapsed().as_secs());
        if status.success() {
            return Ok(());
        }
        if self.failures.count() == before {
            self.failures.add(name, end);
        }
        Err(format!("{name} failed"))
    }
}

fn outcome(success: bool) -> &'static str {
    if success { "ok" } else { "FAILED" }
}
