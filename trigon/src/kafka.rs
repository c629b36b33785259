//! Where a Kafka cluster is and how it is spoken to, as the command line, files and a mounted Secret say it.
//!
//! What stands in the Secret and in files that properties name is looked at for as long as the process runs, so
//! that certificates and passwords can be changed under it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;
use trigon_core::name::Installation;
use trigon_eventlog::kafka::KafkaConfig;
use trigon_eventlog::kafka::properties::check;
use trigon_eventlog::kafka::security::{Security, properties};

use crate::failure::{Chain, Failure};

mod credentials;
mod property_file;

pub(crate) use credentials::{Credentials, LOOK_INTERVAL};

/// Where the Kafka cluster is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kafka")]
pub(crate) struct KafkaArguments {
    /// Keep events in this Kafka cluster: some of its brokers, which tell the others
    #[arg(long, value_name = "HOST:PORT,…", env = "TRIGON_KAFKA", value_delimiter = ',', value_parser = host_and_port)]
    kafka: Vec<String>,
    /// A property of librdkafka; may be repeated, in the variable one per line
    #[arg(
        long = "kafka-config",
        value_name = "KEY=VALUE",
        env = "TRIGON_KAFKA_CONFIG",
        value_delimiter = '\n',
        hide_env_values = true
    )]
    properties: Vec<Given>,
    /// A file of such properties, one KEY=VALUE per line; --kafka-config wins over it
    #[arg(long = "kafka-config-file", value_name = "FILE", env = "TRIGON_KAFKA_CONFIG_FILE")]
    property_file: Option<PathBuf>,
    /// A folder with the keys of a Secret, as Knative and Strimzi write them; read again when it changes
    #[arg(long = "kafka-secret", value_name = "DIR", env = "TRIGON_KAFKA_SECRET")]
    secret: Option<PathBuf>,
}

/// A property as it was given.
#[derive(Clone)]
struct Given(String);

impl From<String> for Given {
    fn from(text: String) -> Self {
        Self(text)
    }
}

// It may hold a password.
impl std::fmt::Debug for Given {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[given]")
    }
}

/// How topics and groups are named.
#[derive(Debug, Args)]
pub(crate) struct InstallationArguments {
    /// What names of topics and groups begin with: tells installations apart that share a Kafka cluster
    #[arg(long, value_name = "NAME", env = "TRIGON_INSTALLATION", default_value_t)]
    pub(crate) installation: Installation,
}

/// A Kafka cluster, typed.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    /// Where it begins.
    pub(crate) bootstrap: Vec<String>,
    /// Properties of librdkafka, those about security taken out.
    pub(crate) properties: BTreeMap<String, String>,
    /// What stands for security now, and where to look for changes.
    pub(crate) credentials: Credentials,
}

/// Properties, each with the place where it was given.
pub(crate) type Properties = BTreeMap<String, Property>;

/// The value of a property, and where it was given: `--kafka-config`, `FILE:LINE`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Property {
    pub(crate) value: String,
    pub(crate) origin: String,
}

// A value may be a password.
impl std::fmt::Debug for Property {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Property").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// The properties that say where the cluster is, which `--kafka` does.
const BOOTSTRAP: [&str; 2] = ["bootstrap.servers", "metadata.broker.list"];

impl KafkaArguments {
    /// The cluster that they mean; `None` when they mean none.
    ///
    /// # Errors
    /// When a file cannot be read, or a property cannot be honoured, or what is said of security is wrong, or stands
    /// without a cluster.
    pub(crate) fn cluster(&self) -> Result<Option<Cluster>, Failure> {
        if self.kafka.is_empty() {
            return match self.stray() {
                Some(flag) => Err(Failure::Usage(format!(
                    "{flag} says how to reach Kafka, but not where it is: add --kafka HOST:PORT"
                ))),
                None => Ok(None),
            };
        }
        let all = self.properties()?;
        if let Some((name, property)) = BOOTSTRAP.iter().find_map(|name| all.get_key_value(*name)) {
            let origin = &property.origin;
            return Err(Failure::Usage(format!(
                "{origin}: {name}: --kafka says where the cluster is; remove one of them"
            )));
        }
        let (of_security, others): (Properties, Properties) =
            all.into_iter().partition(|(name, _)| properties::is_about_security(name));
        let credentials = Credentials::read(self.secret.clone(), of_security).map_err(Failure::Usage)?;
        // Here, and not when the log is opened, because the places where they were given are still known.
        let mut properties = BTreeMap::new();
        for (name, Property { value, origin }) in others {
            let one = BTreeMap::from([(name, value)]);
            check(&one).map_err(|error| Failure::Usage(format!("{origin}: {}", Chain(&error))))?;
            properties.extend(one);
        }
        Ok(Some(Cluster { bootstrap: self.kafka.clone(), properties, credentials }))
    }

    /// The cluster, where there must be one.
    ///
    /// # Errors
    /// As [`cluster`](Self::cluster), and when none is meant.
    pub(crate) fn required(&self, process: &str) -> Result<Cluster, Failure> {
        self.cluster()?.ok_or_else(|| {
            Failure::Usage(format!(
                "trigon {process} keeps no events itself: add --kafka HOST:PORT, or run trigon standalone, which does"
            ))
        })
    }

    /// A flag that is of no use without a cluster.
    fn stray(&self) -> Option<&'static str> {
        let given = [
            ("--kafka-config", self.given().next().is_some()),
            ("--kafka-config-file", self.property_file.is_some()),
            ("--kafka-secret", self.secret.is_some()),
        ];
        given.into_iter().find_map(|(flag, is_given)| is_given.then_some(flag))
    }

    /// The properties; a variable of several lines has blank ones, and ends with one.
    fn given(&self) -> impl Iterator<Item = &Given> {
        self.properties.iter().filter(|Given(property)| !property.trim().is_empty())
    }

    fn properties(&self) -> Result<Properties, Failure> {
        let mut all = match &self.property_file {
            Some(file) => property_file::read(file).map_err(Failure::Usage)?,
            None => Properties::new(),
        };
        for Given(property) in self.given() {
            let origin = "--kafka-config".to_owned();
            match property.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some((name, value)) if !name.is_empty() => {
                    all.insert(name.to_owned(), Property { value: value.to_owned(), origin });
                }
                // Not by the parser of arguments: it would show the value, which may be a password.
                _ => return Err(Failure::Usage("--kafka-config: write KEY=VALUE".to_owned())),
            }
        }
        Ok(all)
    }
}

impl Cluster {
    /// What the log is opened with, and who tells it of changes of its security.
    pub(crate) fn config(
        &self,
        installation: &Installation,
        max_record_bytes: usize,
    ) -> (KafkaConfig, watch::Sender<Arc<Security>>) {
        let (sender, security) = watch::channel(Arc::clone(self.credentials.current()));
        let mut config = KafkaConfig::new(self.bootstrap.clone(), security);
        config.installation = installation.clone();
        config.properties = self.properties.clone();
        config.max_record_bytes = config.max_record_bytes.max(max_record_bytes);
        (config, sender)
    }
}

fn host_and_port(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_good = text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(['/', ' ', '@']) && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if is_good {
        Ok(text.to_owned())
    } else {
        Err("write HOST:PORT, for instance kafka.local:9092".to_owned())
    }
}

#[cfg(test)]
mod tests;
