//! The command line: which commands there are, and what all of them take.
//!
//! What a command takes stands beside the command. Every flag is an environment variable too, so that a
//! container needs no arguments; where both are given, the flag wins.

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use trigon_runtime::telemetry::LogFormat;

use crate::check::CheckArguments;
use crate::dispatcher::DispatcherArguments;
use crate::explain::ExplainArguments;
use crate::failure::Failure;
use crate::ingress::IngressArguments;
use crate::list::{BrokersArguments, TriggersArguments};
use crate::parked::ParkedCommand;
use crate::send::SendArguments;
use crate::sink::SinkArguments;
use crate::standalone::StandaloneArguments;
use crate::tail::TailArguments;

/// A CloudEvents broker: POST events to it, and Triggers deliver those that match to your services.
#[derive(Debug, Parser)]
#[command(name = "trigon", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) log: LogArguments,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXAMPLES: &str = "\
Try it, each line in a terminal of its own:
  trigon standalone
  trigon tail
  trigon send http://127.0.0.1:8080/default/default --type hello --source me --data '{\"n\": 1}'

`trigon COMMAND --help` shows examples of each command.";

/// Logs, which go to standard error.
#[derive(Debug, Args)]
#[command(next_help_heading = "Logs")]
pub(crate) struct LogArguments {
    /// What to log: LEVEL or TARGET=LEVEL,… [default: info for standalone, ingress and dispatcher, else warn]
    #[arg(long = "log", value_name = "FILTER", env = "TRIGON_LOG", global = true)]
    filter: Option<String>,
    /// How to log: for people, as JSON lines, or whichever fits standard error
    #[arg(long = "log-format", env = "TRIGON_LOG_FORMAT", default_value = "auto", global = true)]
    pub(crate) format: LogStyle,
}

/// The form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogStyle {
    /// Text on a terminal, else JSON
    Auto,
    /// For people
    Text,
    /// One JSON object per line
    Json,
}

impl From<LogStyle> for LogFormat {
    fn from(style: LogStyle) -> Self {
        match style {
            LogStyle::Auto => Self::Auto,
            LogStyle::Text => Self::Text,
            LogStyle::Json => Self::Json,
        }
    }
}

impl LogArguments {
    /// The filter to start logging with.
    pub(crate) fn filter(&self, command: &Command) -> &str {
        match (&self.filter, command) {
            (Some(filter), _) => filter,
            (None, Command::Standalone(_) | Command::Ingress(_) | Command::Dispatcher(_)) => "info",
            (None, _) => "warn",
        }
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole broker in this process: events in, the log, deliveries out
    Standalone(Box<StandaloneArguments>),
    /// Take events into a Kafka cluster, beside any number of others
    Ingress(Box<IngressArguments>),
    /// Deliver events of a Kafka cluster, beside any number of others
    Dispatcher(Box<DispatcherArguments>),
    /// Send an event, or many
    Send(SendArguments),
    /// Run a subscriber that prints what it gets
    Sink(SinkArguments),
    /// Show events as they are accepted
    Tail(TailArguments),
    /// List the Brokers of a running trigon
    Brokers(BrokersArguments),
    /// List the Triggers of a running trigon, and how they stand
    Triggers(TriggersArguments),
    /// List, show and send again the events that nobody took
    Parked {
        #[command(subcommand)]
        command: ParkedCommand,
    },
    /// Say what is wrong with files of Brokers and Triggers
    Check(CheckArguments),
    /// Say why an event goes to a Trigger or does not, and where it stands
    Explain(ExplainArguments),
    /// Write the completions of a shell to standard output
    #[command(after_help = "\
Examples:
  source <(trigon completions bash)
  trigon completions fish > ~/.config/fish/completions/trigon.fish")]
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// The completions of a shell, as a script.
///
/// # Errors
/// When the script is not text, which no shell's is.
pub(crate) fn completions(shell: Shell) -> Result<String, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "trigon", &mut script);
    String::from_utf8(script).map_err(|error| Failure::of("could not write the completions", &error))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn commands(command: &clap::Command) -> Vec<&clap::Command> {
        let below = command.get_subcommands().filter(|command| command.get_name() != "help");
        std::iter::once(command).chain(below.flat_map(commands)).collect()
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_is_an_environment_variable_too() {
        let tree = Arguments::command();
        for command in commands(&tree) {
            for argument in command.get_arguments() {
                let Some(flag) = argument.get_long() else { continue };
                if matches!(flag, "help" | "version") {
                    continue;
                }
                let variable = argument.get_env().and_then(|name| name.to_str());
                let place = format!("{} --{flag}: {variable:?}", command.get_name());
                assert!(variable.is_some_and(|name| name.starts_with("TRIGON_")), "{place}");
            }
        }
    }

    #[test]
    fn a_variable_means_the_same_flag_wherever_it_is_read() {
        let tree = Arguments::command();
        let mut flags: BTreeMap<String, String> = BTreeMap::new();
        for argument in commands(&tree).into_iter().flat_map(clap::Command::get_arguments) {
            if let (Some(variable), Some(flag)) =
                (argument.get_env().and_then(|v| v.to_str()), argument.get_long())
            {
                let first = flags.entry(variable.to_owned()).or_insert_with(|| flag.to_owned());
                assert_eq!(first, flag, "{variable}");
            }
        }
    }

    #[test]
    fn the_help_of_every_command_shows_examples() {
        let tree = Arguments::command();
        for command in commands(&tree).into_iter().filter(|command| !command.has_subcommands()) {
            let help = command.clone().render_long_help().to_string();
            assert!(help.contains("Examples:\n  "), "{}:\n{help}", command.get_name());
        }
    }

    #[test]
    fn wrong_usage_has_exit_status_2_and_help_has_0() {
        for (line, status) in [
            ("trigon", 2),
            ("trigon fly", 2),
            ("trigon send", 2),
            ("trigon send ftp://x --type t --source s", 2),
            ("trigon send x:80/a/b --type t --source s --count 0", 2),
            ("trigon send x:80/a/b --type t --source s --ext novalue", 2),
            ("trigon sink --status 99", 2),
            ("trigon sink --listen 8080", 2),
            ("trigon standalone --max-event-size 1x", 2),
            ("trigon standalone --drain-deadline 5", 2),
            ("trigon standalone --installation a.b", 2),
            ("trigon ingress --kafka nowhere", 2),
            ("trigon dispatcher --listen :8080", 2),
            ("trigon tail --broker default", 2),
            ("trigon tail --since yesterday", 2),
            ("trigon brokers --admin ftp://x", 2),
            ("trigon explain", 2),
            ("trigon explain --trigger a/b", 2),
            ("trigon explain --id 1", 2),
            ("trigon explain --trigger a/b --event e.json --id 1", 2),
            ("trigon explain --trigger a/b --event e.json --source s", 2),
            ("trigon --help", 0),
            ("trigon send --help", 0),
            ("trigon --version", 0),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!(error.exit_code(), status, "{line}: {error}");
        }
    }

    #[test]
    fn completions_know_the_commands_and_their_flags() {
        for shell in Shell::value_variants() {
            let script = completions(*shell).unwrap();
            for word in ["completions", "send", "sink", "fail-first", "dispatcher", "kafka-secret"] {
                assert!(script.contains(word), "{shell}: {word}");
            }
        }
    }
}
