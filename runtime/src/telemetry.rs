//! Logs: human-readable on a terminal, JSON lines elsewhere, always on standard error.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people when standard error is a terminal, else JSON.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "log filter {filter:?} is not of the form LEVEL or TARGET=LEVEL,…, for instance info,trigon_ingress=debug"
    )]
    Filter {
        /// The filter.
        filter: String,
        /// What is wrong with it.
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging was started before.
    #[error("logging is started already")]
    Started(#[source] tracing_subscriber::util::TryInitError),
}

/// Starts logging for the process.
///
/// # Errors
/// When the filter cannot be read, or logging was started before.
pub fn init(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let subscriber = tracing_subscriber::fmt().with_env_filter(parse_filter(filter)?).with_writer(io::stderr);
    let started = if is_json(format, io::stderr().is_terminal()) {
        subscriber.json().flatten_event(true).finish().try_init()
    } else {
        subscriber.with_ansi(io::stderr().is_terminal()).finish().try_init()
    };
    started.map_err(TelemetryError::Started)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    EnvFilter::builder()
        .parse(filter)
        .map_err(|source| TelemetryError::Filter { filter: filter.to_owned(), source })
}

fn is_json(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_filter_is_shown_with_the_right_form() {
        let error = parse_filter("trigon=loud").unwrap_err().to_string();
        assert!(error.starts_with("log filter \"trigon=loud\" is not of the form"), "{error}");
        parse_filter("info,trigon_ingress=debug").unwrap();
    }

    #[test]
    fn lines_are_json_unless_somebody_looks() {
        assert!(is_json(LogFormat::Auto, false));
        assert!(!is_json(LogFormat::Auto, true));
        assert!(is_json(LogFormat::Json, true));
        assert!(!is_json(LogFormat::Text, false));
    }
}
