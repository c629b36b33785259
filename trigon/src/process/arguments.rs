//! What the processes of the broker have in common on the command line, in groups that each takes as it needs them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use trigon_ingress::IngressSettings;
use trigon_runtime::server::ServerSettings;

use crate::failure::Failure;
use crate::routes::Source;
use crate::values::{self, ByteSize};

/// Where the routes are.
#[derive(Debug, Args)]
pub(crate) struct RoutesArguments {
    /// The folder with Broker and Trigger YAML, reloaded when it changes
    /// [default: ./trigon.d if it is there, else a built-in Broker default/default]
    #[arg(long, value_name = "DIR", env = "TRIGON_ROUTES")]
    routes: Option<PathBuf>,
}

/// Where events are taken.
#[derive(Debug, Args)]
pub(crate) struct ListenArguments {
    /// Where to take events
    #[arg(long, value_name = "ADDR", env = "TRIGON_LISTEN", default_value = "127.0.0.1:8080", value_parser = values::listen_address)]
    pub(crate) listen: SocketAddr,
}

/// How a process stops.
#[derive(Debug, Args)]
pub(crate) struct DrainArguments {
    /// How long to wait after Ctrl-C or SIGTERM for requests and deliveries under way
    #[arg(long, value_name = "DURATION", env = "TRIGON_DRAIN_DEADLINE", default_value = "25s", value_parser = values::duration)]
    pub(crate) drain_deadline: Duration,
}

/// The bounds of every process.
#[derive(Debug, Args)]
#[command(next_help_heading = BOUNDS)]
pub(crate) struct CommonBounds {
    /// The largest request body, before and after it is inflated, and the largest reply of a subscriber
    #[arg(long, value_name = "SIZE", env = "TRIGON_MAX_EVENT_SIZE", default_value = "1MiB")]
    max_event_size: ByteSize,
    /// The most connections at once per listener; more wait
    #[arg(long, value_name = "N", env = "TRIGON_MAX_CONNECTIONS", default_value_t = 16_384)]
    max_connections: usize,
}

/// The bounds of what takes events.
#[derive(Debug, Args)]
#[command(next_help_heading = BOUNDS)]
pub(crate) struct IngressBounds {
    /// The most events in a batch; longer ones are answered 413
    #[arg(long, value_name = "N", env = "TRIGON_MAX_BATCH_EVENTS", default_value_t = 1_000)]
    max_batch_events: usize,
    /// The most requests at once; more are answered 429
    #[arg(long, value_name = "N", env = "TRIGON_MAX_REQUESTS", default_value_t = 4_096)]
    max_requests: usize,
    /// The most memory for requests at once; more are answered 429
    #[arg(long, value_name = "SIZE", env = "TRIGON_MAX_REQUEST_MEMORY", default_value = "256MiB")]
    max_request_memory: ByteSize,
    /// How long a request's body may take to arrive; slower ones are answered 408
    #[arg(long, value_name = "DURATION", env = "TRIGON_BODY_TIMEOUT", default_value = "30s", value_parser = values::duration)]
    body_timeout: Duration,
}

/// The bounds of what delivers them.
#[derive(Debug, Args)]
#[command(next_help_heading = BOUNDS)]
pub(crate) struct DispatcherBounds {
    /// The most memory for events that wait for delivery; when it is full, reading the log pauses
    #[arg(long, value_name = "SIZE", env = "TRIGON_MAX_HELD_MEMORY", default_value = "256MiB")]
    max_held_memory: ByteSize,
    /// The most deliveries at once; more wait for their turn
    #[arg(long, value_name = "N", env = "TRIGON_MAX_ATTEMPTS", default_value_t = 1_024)]
    max_attempts: usize,
}

pub(crate) const BOUNDS: &str = "Bounds";

/// The folder that is used when it is there and no other one is given.
const DEFAULT_ROUTES: &str = "./trigon.d";

/// What a record may hold beside a body of the largest size.
const RECORD_HEADERS: usize = 1 << 20;

impl RoutesArguments {
    /// Where the routes come from, in the working folder of the process.
    ///
    /// # Errors
    /// When they are not a folder.
    pub(crate) fn source(&self) -> Result<Source, Failure> {
        source(self.routes.as_deref(), Path::new(DEFAULT_ROUTES))
    }
}

impl CommonBounds {
    /// What listeners take.
    pub(crate) fn server(&self) -> ServerSettings {
        ServerSettings { max_connections: self.max_connections, ..ServerSettings::default() }
    }

    /// The largest record that the log must take.
    pub(crate) fn max_record_bytes(&self) -> usize {
        self.max_event_size.0.saturating_add(RECORD_HEADERS)
    }

    fn given(&self) -> [(&'static str, usize); 2] {
        [("--max-event-size", self.max_event_size.0), ("--max-connections", self.max_connections)]
    }
}

impl IngressBounds {
    /// What the ingress takes.
    ///
    /// # Errors
    /// When a bound is zero.
    pub(crate) fn settings(&self, common: &CommonBounds) -> Result<IngressSettings, Failure> {
        refuse_zeroes(&common.given())?;
        refuse_zeroes(&[
            ("--max-batch-events", self.max_batch_events),
            ("--max-requests", self.max_requests),
            ("--max-request-memory", self.max_request_memory.0),
        ])?;
        Ok(IngressSettings {
            max_body_bytes: common.max_event_size.0,
            max_batch_events: self.max_batch_events,
            max_requests_in_flight: self.max_requests,
            max_bytes_in_flight: self.max_request_memory.0,
            body_timeout: self.body_timeout,
            ..IngressSettings::default()
        })
    }
}

impl DispatcherBounds {
    /// What the dispatcher holds.
    ///
    /// # Errors
    /// When a bound is zero.
    pub(crate) fn config(&self, common: &CommonBounds) -> Result<trigon_dispatcher::Config, Failure> {
        refuse_zeroes(&common.given())?;
        refuse_zeroes(&[
            ("--max-held-memory", self.max_held_memory.0),
            ("--max-attempts", self.max_attempts),
        ])?;
        Ok(trigon_dispatcher::Config {
            memory: self.max_held_memory.0,
            in_flight: self.max_attempts,
            reply_limit: common.max_event_size.0,
            ..trigon_dispatcher::Config::default()
        })
    }
}

fn refuse_zeroes(bounds: &[(&str, usize)]) -> Result<(), Failure> {
    match bounds.iter().find(|(_, value)| *value == 0) {
        Some((flag, _)) => {
            Err(Failure::Usage(format!("{flag} is 0, with which nothing would ever be taken")))
        }
        None => Ok(()),
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
    use super::*;

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
}
