//! `trigon check`: says what is wrong with files of Brokers and Triggers, before anything reads them in earnest, and
//! what their filters would have done with events that really came.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use trigon_core::name::{BrokerId, Installation};
use trigon_core::routing::RoutingTable;
use trigon_crds::Problem;

use crate::admin::lab::view::LabView;
use crate::admin::lab::{DEFAULT_LAST, MAX_LAST};
use crate::admin::view::ProblemView;
use crate::failure::Failure;
use crate::manifests::Manifests;
use crate::remote::{Remote, RemoteArguments};
use crate::terminal::{BAD, BOLD, GOOD, OutputFormat, Terminal, styled};

mod against;
mod shown;

use against::Tried;

/// What to check.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArguments {
    /// Files, and folders whose .yaml, .yml and .json files are meant
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// Try the filters of this Broker's Triggers on the last events that a running trigon has of it
    #[arg(long, value_name = "NAMESPACE/NAME", env = "TRIGON_CHECK_AGAINST")]
    against: Option<BrokerId>,
    /// With --against: on so many events
    #[arg(long, value_name = "N", env = "TRIGON_CHECK_LAST", default_value_t = DEFAULT_LAST, value_parser = clap::value_parser!(u64).range(1..=MAX_LAST))]
    last: u64,
    /// For people, or one JSON object
    #[arg(long, short, env = "TRIGON_OUTPUT", default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    remote: RemoteArguments,
}

const EXAMPLES: &str = "\
Examples:
  trigon check trigon.d
  trigon check brokers.yaml triggers/ && git push
  trigon check trigon.d --output json | jq -r '.problems[].file'
  trigon check --against default/default orders.yaml
  trigon check --against default/default --last 100000 trigon.d
  trigon check --against default/default orders.yaml --output json | jq '.lab.triggers[].lost.count'

All files are checked together, as standalone reads them: a Trigger finds its Broker in another file, and a Broker \
the ConfigMap with the settings of its topic. Other ConfigMaps are not looked at. A note names what decides nothing \
here, a warning what is no error and yet goes wrong: a CESQL function that there is not fails with every event.

With --against nothing is changed and nothing delivered. The filter of each Trigger of that Broker is tried on the \
last events that the Broker has accepted, replies included, and compared with the filter that the running trigon has \
for the Trigger of this name: what it would have matched, what it gains and what it loses, with a few of these events \
and the reason. The Brokers need not be among the files, and subscribers may be references that only a cluster can look up; Triggers \
of other Brokers are skipped.

Exit status:
  0  nothing is wrong; there may be warnings
  1  a file is wrong, or trigon does not answer
  2  the command line is wrong
  3  a filter matches none of the events, and there are some";

#[derive(Serialize)]
struct Report {
    files: usize,
    brokers: usize,
    triggers: usize,
    problems: Vec<ProblemView>,
    notes: Vec<ProblemView>,
    warnings: Vec<ProblemView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lab: Option<LabView>,
}

/// Checks the files, prints what is wrong with them, and tries their filters if that is asked for.
///
/// # Errors
/// When a path cannot be read, something is wrong, trigon does not answer, or a filter matches nothing.
pub(crate) async fn run(arguments: &CheckArguments, terminal: &Terminal) -> Result<(), Failure> {
    let manifests = Manifests::read(&arguments.paths).map_err(|error| Failure::Failed(error.to_string()))?;
    if manifests.len() == 0 {
        let paths: Vec<_> = arguments.paths.iter().map(|path| path.display().to_string()).collect();
        let message = format!("there is no .yaml, .yml or .json file in {}", paths.join(", "));
        return Err(Failure::Failed(message));
    }
    let table = match arguments.against {
        Some(_) => manifests.triggers(&Installation::default()),
        None => manifests.table(&Installation::default()),
    };
    if arguments.output == OutputFormat::Text {
        for note in manifests.notes() {
            terminal.note(format_args!("{}: {note}", styled(BOLD, "note")))?;
        }
        for warning in manifests.warnings() {
            terminal.note(format_args!("{}: {warning}", styled(BAD, "warning")))?;
        }
    }
    let lab = match (&arguments.against, &table) {
        (Some(broker), Ok(table)) => {
            let remote = Remote::new(&arguments.remote)?;
            let tried = Tried { broker, last: arguments.last, objects: &manifests.objects(), table };
            Some(tried.ask(&remote).await?)
        }
        _ => None,
    };
    terminal.print(match (arguments.output, &lab) {
        (OutputFormat::Json, _) => json(&manifests, &table, lab.clone()),
        (OutputFormat::Text, Some(lab)) => shown::lab(lab),
        (OutputFormat::Text, None) => text(&manifests, &table),
    })?;
    table.map_err(|_| Failure::Reported)?;
    let matches_nothing =
        |lab: &LabView| lab.triggers.iter().any(|trigger| trigger.events > 0 && trigger.matched == 0);
    if lab.as_ref().is_some_and(matches_nothing) { Err(Failure::MatchesNothing) } else { Ok(()) }
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

fn json(manifests: &Manifests, table: &Result<RoutingTable, Vec<Problem>>, lab: Option<LabView>) -> String {
    let problems = table.as_ref().err().map(Vec::as_slice).unwrap_or_default();
    let report = Report {
        files: manifests.len(),
        brokers: table.as_ref().map_or(0, |_| manifests.objects().brokers().count()),
        triggers: table.as_ref().map_or(0, triggers),
        problems: problems.iter().map(ProblemView::of).collect(),
        notes: manifests.notes().iter().map(ProblemView::of).collect(),
        warnings: manifests.warnings().iter().map(ProblemView::of).collect(),
        lab,
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

    async fn check(files: &[(&str, &str)], flags: &[&str]) -> (Result<(), Failure>, String, String) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        let path = folder.path().to_str().unwrap();
        let arguments = Line::try_parse_from(["check", path].iter().chain(flags)).unwrap().check;
        let (terminal, printed, noted) = Terminal::captured();
        let ended = run(&arguments, &terminal).await;
        let [printed, noted] =
            [printed, noted].map(|written| written.text().replace(&format!("{path}/"), ""));
        (ended, printed, noted)
    }

    #[tokio::test]
    async fn good_files_are_counted_together() {
        let (ended, printed, _) = check(&[("a.yaml", TRIGGER), ("b.yaml", BROKER)], &[]).await;
        assert_eq!((ended, printed.as_str()), (Ok(()), "2 files, 1 broker, 1 trigger: ok\n"));
    }

    #[tokio::test]
    async fn every_error_has_its_file_line_column_and_field() {
        let misspelt = TRIGGER.replace("  subscriber", "  subscribr");
        let (ended, printed, _) =
            check(&[("a.yaml", &misspelt), ("b.yaml", "kind: Boker\n"), ("c.yaml", BROKER)], &[]).await;
        assert_eq!(ended, Err(Failure::Reported));
        assert!(printed.starts_with("a.yaml:6:3: spec.subscribr: unknown field"), "{printed}");
        assert!(printed.contains("\nb.yaml:1:"), "{printed}");
        assert!(printed.lines().last().unwrap().starts_with("3 files: "), "{printed}");
    }

    #[tokio::test]
    async fn json_has_the_same_in_fields() {
        let misspelt = TRIGGER.replace("  subscriber", "  subscribr");
        let (ended, printed, _) =
            check(&[("a.yaml", &misspelt), ("c.yaml", BROKER)], &["--output", "json"]).await;
        assert_eq!(ended, Err(Failure::Reported));
        let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(report["files"], 2);
        let problem = &report["problems"][0];
        assert_eq!(
            (&problem["line"], &problem["column"], &problem["field"]),
            (&6.into(), &3.into(), &"spec.subscribr".into())
        );
        let (ended, printed, _) = check(&[("c.yaml", BROKER)], &["--output", "json"]).await;
        assert_eq!(
            (ended, printed.as_str()),
            (
                Ok(()),
                "{\"files\":1,\"brokers\":1,\"triggers\":0,\"problems\":[],\"notes\":[],\"warnings\":[]}\n"
            )
        );
    }

    #[tokio::test]
    async fn a_folder_without_manifests_is_an_error() {
        let (ended, _, _) = check(&[("notes.txt", "")], &[]).await;
        let Err(Failure::Failed(message)) = ended else { panic!("{ended:?}") };
        assert!(message.starts_with("there is no .yaml, .yml or .json file in /"), "{message}");
    }

    /// SQLS-16
    #[tokio::test]
    async fn an_expression_that_always_fails_is_warned_of_with_line_and_column() {
        let failing = format!("{TRIGGER}  filters:\n  - cesql: type = 'a' AND LOWR(source) = 'b'\n");
        let (ended, printed, noted) = check(&[("a.yaml", &failing), ("b.yaml", BROKER)], &[]).await;
        assert_eq!((ended, printed.as_str()), (Ok(()), "2 files, 1 broker, 1 trigger: ok\n"));
        assert!(noted.starts_with("warning: a.yaml:8:27: spec.filters[0].cesql: "), "{noted}");
        let (_, printed, noted) =
            check(&[("a.yaml", &failing), ("b.yaml", BROKER)], &["--output", "json"]).await;
        let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!((&report["warnings"][0]["column"], noted.as_str()), (&27.into(), ""));
    }

    #[tokio::test]
    async fn what_is_wrong_is_said_before_anybody_is_asked() {
        let misspelt = TRIGGER.replace("  subscriber", "  subscribr");
        // Nobody answers there.
        let flags = ["--against", "default/default", "--admin", "127.0.0.1:1"];
        let (ended, printed, _) = check(&[("a.yaml", &misspelt)], &flags).await;
        assert_eq!(ended, Err(Failure::Reported));
        assert!(printed.starts_with("a.yaml:6:3: spec.subscribr: unknown field"), "{printed}");
    }
}
