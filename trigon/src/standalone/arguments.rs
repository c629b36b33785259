//! The arguments of `trigon standalone`, and the typed settings that they become.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use trigon_eventlog::EmbeddedConfig;

use super::Settings;
use crate::failure::Failure;
use crate::kafka::{InstallationArguments, KafkaArguments};
use crate::process::arguments::{
    BOUNDS, CommonBounds, DispatcherBounds, DrainArguments, IngressBounds, ListenArguments, RoutesArguments,
};
use crate::routes::LOOK_INTERVAL;
use crate::store::StoreSettings;
use crate::values::{self, ByteSize};

/// Where things are, and how much of everything there may be.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StandaloneArguments {
    #[command(flatten)]
    routes: RoutesArguments,
    /// The folder with the event log, created if it is not there [default: ./trigon-data]
    #[arg(long, value_name = "DIR", env = "TRIGON_DATA")]
    data: Option<PathBuf>,
    #[command(flatten)]
    pub(super) listen: ListenArguments,
    /// Where to serve health, metrics, the admin page and the tools; whoever reaches it reads and redrives events
    #[arg(long, value_name = "ADDR", env = "TRIGON_ADMIN", default_value = "127.0.0.1:8081", value_parser = values::listen_address)]
    pub(super) admin: SocketAddr,
    /// Also print what arrives at this address, as `trigon sink` does: to try Trigon out in one terminal
    #[arg(long, value_name = "ADDR", env = "TRIGON_SINK", value_parser = values::listen_address)]
    pub(super) sink: Option<SocketAddr>,
    #[command(flatten)]
    pub(super) drain: DrainArguments,
    #[command(flatten)]
    installation: InstallationArguments,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    common: CommonBounds,
    #[command(flatten)]
    ingress: IngressBounds,
    #[command(flatten)]
    dispatcher: DispatcherBounds,
    /// The most memory for the newest events, so that deliveries read no file [default: 32MiB]
    #[arg(long, value_name = "SIZE", env = "TRIGON_LOG_MEMORY", help_heading = BOUNDS)]
    log_memory: Option<ByteSize>,
}

const EXAMPLES: &str = "\
Examples:
  trigon standalone
  trigon standalone --routes examples/quickstart --sink 127.0.0.1:9000
  trigon standalone --routes examples/orders --data /var/lib/trigon --listen :8080
  trigon standalone --kafka 127.0.0.1:9092 --routes examples/kafka
  TRIGON_DATA=/data TRIGON_MAX_EVENT_SIZE=4MiB trigon standalone

The first Ctrl-C drains: requests and deliveries under way are finished. The second stops at once; what was
accepted is delivered after the next start. With --kafka, events are kept in the cluster and not in a folder.";

const DEFAULT_DATA: &str = "./trigon-data";

impl StandaloneArguments {
    /// The settings that they mean, in the working folder of the process.
    ///
    /// # Errors
    /// When the routes are not a folder, a bound is zero, or flags contradict each other.
    pub(super) fn settings(&self) -> Result<Settings, Failure> {
        Ok(Settings {
            ingress: self.ingress.settings(&self.common)?,
            dispatcher: self.dispatcher.config(&self.common)?,
            routes: self.routes.source()?,
            installation: self.installation.installation.clone(),
            store: self.store()?,
            server: self.common.server(),
            look_interval: LOOK_INTERVAL,
        })
    }

    fn store(&self) -> Result<StoreSettings, Failure> {
        let max_record_bytes = self.common.max_record_bytes();
        let Some(cluster) = self.kafka.cluster()? else {
            let folder = self.data.clone().unwrap_or_else(|| DEFAULT_DATA.into());
            let mut log = EmbeddedConfig::new(folder);
            log.tail_bytes = self.log_memory.map_or(log.tail_bytes, |size| size.0);
            log.max_record_bytes = log.max_record_bytes.max(max_record_bytes);
            log.max_batch_bytes = log.max_batch_bytes.max(log.max_record_bytes);
            return Ok(StoreSettings::Embedded(log));
        };
        let of_the_folder = [("--data", self.data.is_some()), ("--log-memory", self.log_memory.is_some())];
        if let Some((flag, _)) = of_the_folder.into_iter().find(|(_, is_given)| *is_given) {
            return Err(Failure::Usage(format!(
                "{flag} is for a log in a folder, and --kafka keeps events in the cluster; remove one of them"
            )));
        }
        let installation = self.installation.installation.clone();
        Ok(StoreSettings::Kafka { cluster, installation, max_record_bytes })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use trigon_ingress::IngressSettings;
    use trigon_runtime::server::ServerSettings;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        standalone: StandaloneArguments,
    }

    fn settings(flags: &[&str]) -> Result<Settings, Failure> {
        Line::try_parse_from(["standalone"].iter().chain(flags)).unwrap().standalone.settings()
    }

    fn embedded(settings: &Settings) -> &EmbeddedConfig {
        match &settings.store {
            StoreSettings::Embedded(config) => config,
            StoreSettings::Kafka { .. } => panic!("{settings:?}"),
        }
    }

    #[test]
    fn without_arguments_the_defaults_are_those_of_the_parts() {
        let settings = settings(&[]).unwrap();
        let defaults = trigon_dispatcher::Config::default();
        assert_eq!(*embedded(&settings), EmbeddedConfig::new("./trigon-data"));
        assert_eq!(embedded(&settings).tail_bytes, 32 << 20);
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
        let log = embedded(&settings);
        assert!(log.max_record_bytes > settings.ingress.max_body_bytes);
        assert!(log.max_batch_bytes >= log.max_record_bytes);
    }

    #[test]
    fn a_bound_of_zero_is_wrong_usage() {
        let failure = settings(&["--max-requests", "0"]).err();
        let message = "--max-requests is 0, with which nothing would ever be taken".to_owned();
        assert_eq!(failure, Some(Failure::Usage(message)));
    }

    #[test]
    fn a_cluster_takes_the_place_of_the_folder() {
        let kafka = settings(&["--kafka", "a:9092", "--installation", "shop"]).unwrap();
        let StoreSettings::Kafka { cluster, installation, max_record_bytes } = &kafka.store else {
            panic!("{kafka:?}")
        };
        assert_eq!((cluster.bootstrap.join(","), installation.to_string()), ("a:9092".into(), "shop".into()));
        assert!(*max_record_bytes > kafka.ingress.max_body_bytes);
        for (flag, value) in [("--data", "x"), ("--log-memory", "1MiB")] {
            let Err(Failure::Usage(message)) = settings(&["--kafka", "a:9092", flag, value]) else {
                panic!("{flag}")
            };
            assert!(message.starts_with(&format!("{flag} is for a log in a folder")), "{message}");
        }
    }
}
