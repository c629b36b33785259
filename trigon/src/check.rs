//! `trigon check`: says what is wrong with files of Brokers and Triggers, before anything reads them in earnest.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use trigon_core::name::Installation;
use trigon_core::routing::RoutingTable;
use trigon_crds::Problem;

use crate::admin::view::ProblemView;
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::terminal::{BAD, BOLD, GOOD, OutputFormat, Terminal, styled};

/// What to check.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArguments {
    /// Files, and folders whose .yaml, .yml and .json files are meant
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// For people, or one JSON object
    #[arg(long, short, env = "TRIGON_OUTPUT", default_value = "text")]
    output: OutputFormat,
}

const EXAMPLES: &str = "\
Examples:
  trigon check trigon.d
  trigon check brokers.yaml triggers/ && git push
  trigon check trigon.d --output json | jq -r '.problems[].file'

All files are checked together, as standalone reads them: a Trigger finds its Broker in another file, and a Broker the
ConfigMap with the settings of its topic. Other ConfigMaps are not looked at. A note names what decides nothing here.";

#[derive(Serialize)]
struct Report {
    files: usize,
    brokers: usize,
    triggers: usize,
    problems: Vec<ProblemView>,
    notes: Vec<ProblemView>,
}

/// Checks the files and prints what is wrong with them.
///
/// # Errors
/// When a path cannot be read, or something is wrong.
pub(crate) fn run(arguments: &CheckArguments, terminal: &Terminal) -> Result<(), Failure> {
    let manifests = Manifests::read(&arguments.paths).map_err(|error| Failure::Failed(error.to_string()))?;
    if manifests.len() == 0 {
        let paths: Vec<_> = arguments.paths.iter().map(|path| path.display().to_string()).collect();
        let message = format!("there is no .yaml, .yml or .json file in {}", paths.join(", "));
        return Err(Failure::Failed(message));
    }
    let table = manifests.table(&Installation::default());
    if arguments.output == OutputFormat::Text {
        for note in manifests.notes() {
            terminal.note(format_args!("{}: {note}", styled(BOLD, "note")))?;
        }
    }
    terminal.print(match arguments.output {
        OutputFormat::Text => text(&manifests, &table),
        OutputFormat::Json => json(&manifests, &table),
    })?;
    table.map(|_| ()).map_err(|_| Failure::Reported)
}

/// Problems for people, one per line, as editors and CI jump to them.
pub(crate) fn lines(problems: &[Problem]) -> String {
    let line = |problem: &Problem| {
        let place = styled(BOLD, format_args!("{}:{}:{}:", problem.file, problem.line, problem.column));
        let separator = if problem.field.is_empty() { "" } else { ": " };
        format!("{place} {}{separator}{}\n", problem.field, problem.message)
    };
    problems.iter().map(line).collect()
}

fn text(manifests: &Manifests, table: &Result<RoutingTable, Vec<Problem>>) -> String {
    let files = count(manifests.len(), "file");
    match table {
        Ok(table) => format!(
            "{files}, {}, {}: {}\n",
            count(table.brokers.len(), "broker"),
            count(triggers(table), "trigger"),
            styled(GOOD, "ok")
        ),
        Err(problems) => {
            let verdict = styled(BAD, count(problems.len(), "error"));
            format!("{}{files}: {verdict}\n", lines(problems))
        }
    }
}

fn json(manifests: &Manifests, table: &Result<RoutingTable, Vec<Problem>>) -> String {
    let problems = table.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    let report = Report {
        files: manifests.len(),
        brokers: table.as_ref().map_or(0, |table| table.brokers.len()),
        triggers: table.as_ref().map_or(0, triggers),
        problems: problems.iter().map(ProblemView::of).collect(),
        notes: manifests.notes().iter().map(ProblemView::of).collect(),
    };
    format!("{}\n", serde_json::to_string(&report).expect("texts and numbers are JSON"))
}

fn triggers(table: &RoutingTable) -> usize {
    table.brokers.values().map(|broker| broker.triggers.len()).sum()
}

/// `1 file`, `2 files`
pub(crate) fn count(n: usize, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        check: CheckArguments,
    }

    const BROKER: &str = "apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata: {name: default}\n";
    const TRIGGER: &str = "\
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: orders}
spec:
  broker: default
  subscriber: {uri: 'http://127.0.0.1:9000/'}
";

    fn check(files: &[(&str, &str)], flags: &[&str]) -> (Result<(), Failure>, String) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let path = folder.path().to_str().unwrap();
        let arguments = Line::try_parse_from(["check", path].iter().chain(flags)).unwrap().check;
        let (terminal, printed, _) = Terminal::captured();
        let ended = run(&arguments, &terminal);
        (ended, printed.text().replace(&format!("{path}/"), ""))
    }

    #[test]
    fn good_files_are_counted_together() {
        let (ended, printed) = check(&[("a.yaml", TRIGGER), ("b.yaml", BROKER)], &[]);
        assert_eq!((ended, printed.as_str()), (Ok(()), "2 files, 1 broker, 1 trigger: ok\n"));
    }

    #[test]
    fn every_error_has_its_file_line_column_and_field() {
        let misspelt = TRIGGER.replace("  subscriber", "  subscribr");
        let (ended, printed) =
            check(&[("a.yaml", &misspelt), ("b.yaml", "kind: Boker\n"), ("c.yaml", BROKER)], &[]);
        assert_eq!(ended, Err(Failure::Reported));
        assert!(printed.starts_with("a.yaml:6:3: spec.subscribr: unknown field"), "{printed}");
        assert!(printed.contains("\nb.yaml:1:"), "{printed}");
        assert!(printed.lines().last().unwrap().starts_with("3 files: "), "{printed}");
    }

    #[test]
    fn json_has_the_same_in_fields() {
        let misspelt = TRIGGER.replace("  subscriber", "  subscribr");
        let (ended, printed) = check(&[("a.yaml", &misspelt), ("c.yaml", BROKER)], &["--output", "json"]);
        assert_eq!(ended, Err(Failure::Reported));
        let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(report["files"], 2);
        let problem = &report["problems"][0];
        assert_eq!(
            (&problem["line"], &problem["column"], &problem["field"]),
            (&6.into(), &3.into(), &"spec.subscribr".into())
        );
        let (ended, printed) = check(&[("c.yaml", BROKER)], &["--output", "json"]);
        assert_eq!(
            (ended, printed.as_str()),
            (Ok(()), "{\"files\":1,\"brokers\":1,\"triggers\":0,\"problems\":[],\"notes\":[]}\n")
        );
    }

    #[test]
    fn a_folder_without_manifests_is_an_error() {
        let (ended, _) = check(&[("notes.txt", "")], &[]);
        let Err(Failure::Failed(message)) = ended else { panic!("{ended:?}") };
        assert!(message.starts_with("there is no .yaml, .yml or .json file in /"), "{message}");
    }
}
