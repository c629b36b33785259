//! The arguments of `trigon standalone`, and the typed settings that they become.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use trigon_eventlog::EmbeddedConfig;
use trigon_ingress::IngressSettings;
use trigon_runtime::server::ServerSettings;

use super::{LOOK_INTERVAL, Settings, Source};
use crate::failure::Failure;
use crate::values::{self, ByteSize};

/// Where things are, and how much of everything there may be.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StandaloneArguments {
    /// The folder with Broker and Trigger YAML, reloaded when it changes
    /// [default: ./trigon.d if it is there, else a built-in Broker default/default]
    #[arg(long, value_name = "DIR", env = "TRIGON_ROUTES")]
    routes: Option<PathBuf>,
    /// The folder with the event log, created if it is not there
    #[arg(long, value_name = "DIR", env = "TRIGON_DATA", default_value = "./trigon-data")]
    data: PathBuf,
    /// Where to take events
    #[arg(long, value_name = "ADDR", env = "TRIGON_LISTEN", default_value = "127.0.0.1:8080", value_parser = values::listen_address)]
    pub(super) listen: SocketAddr,
    /// Where to serve health, metrics, the admin page and the tools; whoever reaches it reads and redrives events
    #[arg(long, value_name = "ADDR", env = "TRIGON_ADMIN", default_value = "127.0.0.1:8081", value_parser = values::listen_address)]
    pub(super) admin: SocketAddr,
    /// Also print what arrives at this address, as `trigon sink` does: to try Trigon out in one terminal
    #[arg(long, value_name = "ADDR", env = "TRIGON_SINK", value_parser = values::listen_address)]
    pub(super) sink: Option<SocketAddr>,
    /// How long to wait after Ctrl-C or SIGTERM for requests and deliveries under way
    #[arg(long, value_name = "DURATION", env = "TRIGON_DRAIN_DEADLINE", default_value = "25s", value_parser = values::duration)]
    pub(super) drain_deadline: Duration,

    /// The largest request body, before and after it is inflated; larger ones are answered 413
    #[arg(long, value_name = "SIZE", env = "TRIGON_MAX_EVENT_SIZE", default_value = "1MiB", help_heading = BOUNDS)]
    max_event_size: ByteSize,
    /// The most events in a batch; longer ones are answered 413
    #[arg(long, value_name = "N", env = "TRIGON_MAX_BATCH_EVENTS", default_value_t = 1_000, help_heading = BOUNDS)]
    max_batch_events: usize,
    /// The most requests at once; more are answered 429
    #[arg(long, value_name = "N", env = "TRIGON_MAX_REQUESTS", default_value_t = 4_096, help_heading = BOUNDS)]
    max_requests: usize,
    /// The most memory for requests at once; more are answered 429
    #[arg(long, value_name = "SIZE", env = "TRIGON_MAX_REQUEST_MEMORY", default_value = "256MiB", help_heading = BOUNDS)]
    max_request_memory: ByteSize,
    /// The most connections at once per listener; more wait
    #[arg(long, value_name = "N", env = "TRIGON_MAX_CONNECTIONS", default_value_t = 16_384, help_heading = BOUNDS)]
    max_connections: usize,
    /// How long a request's body may take to arrive; slower ones are answered 408
    #[arg(long, value_name = "DURATION", env = "TRIGON_BODY_TIMEOUT", default_value = "30s", value_parser = values::duration, help_heading = BOUNDS)]
    body_timeout: Duration,
    /// The most memory for events that wait for delivery; when it is full, reading the log pauses
    #[arg(long, value_name = "SIZE", env = "TRIGON_MAX_HELD_MEMORY", default_value = "256MiB", help_heading = BOUNDS)]
    max_held_memory: ByteSize,
    /// The most deliveries at once; more wait for their turn
    #[arg(long, value_name = "N", env = "TRIGON_MAX_ATTEMPTS", default_value_t = 1_024, help_heading = BOUNDS)]
    max_attempts: usize,
    /// The most memory for the newest events, so that deliveries read no file
    #[arg(long, value_name = "SIZE", env = "TRIGON_LOG_MEMORY", default_value = "32MiB", help_heading = BOUNDS)]
    log_memory: ByteSize,
}

const BOUNDS: &str = "Bounds";

const EXAMPLES: &str = "\
Examples:
  trigon standalone
  trigon standalone --routes examples/quickstart --sink 127.0.0.1:9000
  trigon standalone --routes examples/orders --data /var/lib/trigon --listen :8080
  TRIGON_DATA=/data TRIGON_MAX_EVENT_SIZE=4MiB trigon standalone

The first Ctrl-C drains: requests and deliveries under way are finished. The second stops at once; what was
accepted is delivered after the next start.";

/// The folder that is used when it is there and no other one is given.
const DEFAULT_ROUTES: &str = "./trigon.d";

/// What a record may hold beside a body of the largest size.
const RECORD_HEADERS: usize = 1 << 20;

impl StandaloneArguments {
    /// The settings that they mean, in the working folder of the process.
    ///
    /// # Errors
    /// When the routes are not a folder, or a bound is zero.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        self.refuse_zeroes()?;
        let mut log = EmbeddedConfig::new(&self.data);
        log.tail_bytes = self.log_memory.0;
        log.max_record_bytes = log.max_record_bytes.max(self.max_event_size.0.saturating_add(RECORD_HEADERS));
        log.max_batch_bytes = log.max_batch_bytes.max(log.max_record_bytes);
        Ok(Settings {
            routes: source(self.routes.as_deref(), Path::new(DEFAULT_ROUTES))?,
            log,
            ingress: IngressSettings {
                max_body_bytes: self.max_event_size.0,
                max_batch_events: self.max_batch_events,
                max_requests_in_flight: self.max_requests,
                max_bytes_in_flight: self.max_request_memory.0,
                body_timeout: self.body_timeout,
                ..IngressSettings::default()
            },
            dispatcher: trigon_dispatcher::Config {
                memory: self.max_held_memory.0,
                in_flight: self.max_attempts,
                reply_limit: self.max_event_size.0,
                ..trigon_dispatcher::Config::default()
            },
            server: ServerSettings { max_connections: self.max_connections, ..ServerSettings::default() },
            look_interval: LOOK_INTERVAL,
        })
    }

    fn refuse_zeroes(&self) -> Result<(), Failure> {
        let bounds = [
            ("--max-event-size", self.max_event_size.0),
            ("--max-batch-events", self.max_batch_events),
            ("--max-requests", self.max_requests),
            ("--max-request-memory", self.max_request_memory.0),
            ("--max-connections", self.max_connections),
            ("--max-held-memory", self.max_held_memory.0),
            ("--max-attempts", self.max_attempts),
        ];
        match bounds.iter().find(|(_, value)| *value == 0) {
            Some((flag, _)) => {
                Err(Failure::Usage(format!("{flag} is 0, with which nothing would ever be taken")))
            }
            None => Ok(()),
        }
    }
}

fn source(given: Option<&Path>, default: &Path) -> Result<Source, Failure> {
    match given {
        Some(folder) if folder.is_dir() => Ok(Source::Folder(folder.to_owned())),
        Some(file) if file.exists() => Err(Failure::Usage(format!(
            "--routes: {} is not a folder; name the one it is in",
            file.display()
        ))),
        Some(folder) => Err(Failure::Usage(format!("--routes: there is no folder {}", folder.display()))),
        None if default.is_dir() => Ok(Source::Folder(default.to_owned())),
        None => Ok(Source::BuiltIn),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        standalone: StandaloneArguments,
    }

    fn settings(flags: &[&str]) -> Result<Settings, Failure> {
        Line::try_parse_from(["standalone"].iter().chain(flags)).unwrap().standalone.settings()
    }

    #[test]
    fn without_arguments_the_defaults_are_those_of_the_parts() {
        let settings = settings(&[]).unwrap();
        let defaults = trigon_dispatcher::Config::default();
        assert_eq!(settings.log, EmbeddedConfig::new("./trigon-data"));
        assert_eq!(settings.ingress, IngressSettings::default());
        assert_eq!(settings.server, ServerSettings::default());
        assert_eq!(
            (settings.dispatcher.memory, settings.dispatcher.in_flight, settings.dispatcher.reply_limit),
            (defaults.memory, defaults.in_flight, defaults.reply_limit)
        );
    }

    #[test]
    fn the_log_takes_what_the_ingress_takes() {
        let settings = settings(&["--max-event-size", "32MiB"]).unwrap();
        assert_eq!(settings.ingress.max_body_bytes, 32 << 20);
        assert!(settings.log.max_record_bytes > settings.ingress.max_body_bytes);
        assert!(settings.log.max_batch_bytes >= settings.log.max_record_bytes);
    }

    #[test]
    fn the_routes_are_the_given_folder_or_the_default_one_or_built_in() {
        let folder = tempfile::tempdir().unwrap();
        let none = folder.path().join("none");
        let there = Source::Folder(folder.path().to_owned());
        assert_eq!(source(Some(folder.path()), &none), Ok(there.clone()));
        assert_eq!(source(None, folder.path()), Ok(there));
        assert_eq!(source(None, &none), Ok(Source::BuiltIn));
        let message = format!("--routes: there is no folder {}", none.display());
        assert_eq!(source(Some(&none), folder.path()), Err(Failure::Usage(message)));
        std::fs::write(&none, "").unwrap();
        let message = format!("--routes: {} is not a folder; name the one it is in", none.display());
        assert_eq!(source(Some(&none), folder.path()), Err(Failure::Usage(message)));
    }

    #[test]
    fn a_bound_of_zero_is_wrong_usage() {
        let failure = settings(&["--max-requests", "0"]).err();
        let message = "--max-requests is 0, with which nothing would ever be taken".to_owned();
        assert_eq!(failure, Some(Failure::Usage(message)));
    }
}
