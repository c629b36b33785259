//! Instructions per evaluation, by valgrind's callgrind.
//!
//! Starts itself under callgrind twice per case, with a few evaluations and with many: the difference is what the
//! evaluations take, without start and preparation. The count does not vary from run to run.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it is a command line program")]

use std::hint::black_box;
use std::process::{Command, ExitCode};

use trigon_bench_filters::{Dialect, TYPICAL, event, index, triggers};

/// Evaluations in the shorter run; the first may do what later ones need not.
const FEW: u64 = 10;
/// Evaluations that are counted.
const COUNTED: u64 = 1_000;

/// How many Triggers the index has, and how many match.
const INDEX: (usize, usize) = (1_000, 1);

/// What an index is measured with, by name.
const INDEXED: [(&str, Dialect); 3] = [
    ("index, exact", Dialect::Exact),
    ("index, cesql equality", Dialect::Equality),
    ("index, cesql required equality", Dialect::Required),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo says --bench; what it says besides is the name of a case.
    if let [word, name, count] = &arguments[..]
        && word == "evaluate"
    {
        evaluate(name, count.parse().expect("the count is a number"));
        return ExitCode::SUCCESS;
    }
    let wanted = arguments.iter().find(|argument| !argument.starts_with('-'));
    let names = TYPICAL.map(|typical| typical.name).into_iter().chain(INDEXED.map(|(name, _)| name));
    for name in names.filter(|name| wanted.is_none_or(|wanted| name.contains(wanted.as_str()))) {
        match count(name, FEW).and_then(|few| Ok(count(name, FEW + COUNTED)? - few)) {
            Ok(instructions) => println!("{name:32} {:>6}", instructions / COUNTED),
            Err(error) => {
                eprintln!("{name}: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn evaluate(name: &str, count: u64) {
    let event = event();
    if let Some((_, dialect)) = INDEXED.iter().find(|(indexed, _)| *indexed == name) {
        let (of, matching) = INDEX;
        let index = index(&triggers(of, matching, *dialect));
        let mut found = Vec::with_capacity(matching);
        for _ in 0..count {
            found.clear();
            black_box(&index).matches(black_box(&event), &mut found);
            assert_eq!(found.len(), matching);
        }
        return;
    }
    let typical = TYPICAL.iter().find(|typical| typical.name == name).expect("a case has that name");
    let filter = (typical.filter)();
    for _ in 0..count {
        assert!(black_box(&filter).matches(black_box(&event)));
    }
}

/// The instructions of a process that evaluates so often.
fn count(name: &str, evaluations: u64) -> Result<u64, String> {
    let itself = std::env::current_exe().map_err(|error| format!("could not find itself: {error}"))?;
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(itself)
        .args(["evaluate", name, &evaluations.to_string()])
        .output()
        .map_err(|error| format!("could not start valgrind, which has to be installed: {error}"))?;
    let report = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind failed:\n{report}"));
    }
    let collected = report.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    collected.ok_or_else(|| format!("callgrind has not said what it collected:\n{report}"))
}
