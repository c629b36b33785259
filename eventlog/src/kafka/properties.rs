//! Which properties of librdkafka Trigon sets, which ones a user may change, and why.
//!
//! One [`table`] says it; librdkafka's client and our own appends are configured from it, and so is whatever prints it.
//! A property that is not in the table is the user's: librdkafka says whether there is such a one.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use self::table::RULES;
use super::KafkaConfig;
use super::records::Compression;
use super::security::Security;

mod table;

/// librdkafka's default of `batch.size`, in bytes.
const DEFAULT_BATCH_BYTES: usize = 1_000_000;

/// What Trigon does about one property of librdkafka.
#[derive(Debug)]
pub struct PropertyRule {
    /// The property, as Kafka's own clients call it where both know it.
    pub name: &'static str,
    /// What librdkafka also calls it.
    pub aliases: &'static [&'static str],
    /// Where it is set.
    pub clients: Clients,
    /// Whether a user may change it.
    pub kind: PropertyKind,
    /// What it is set to.
    pub value: PropertyValue,
    /// Why.
    pub reason: &'static str,
}

/// Whom a property concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// Trigon's own appends, which know the properties of librdkafka's producer by name.
    Appends,
    /// The client of librdkafka's that tells which partitions are ours.
    Ownership,
}

/// Whether a user may change a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PropertyKind {
    /// No: a user's value is refused.
    Fixed,
    /// Yes: a user's value wins.
    Defaulted,
}

/// What a property is set to.
#[derive(Clone, Copy, Debug)]
pub enum PropertyValue {
    /// Always the same.
    Text(&'static str),
    /// What follows from the configuration, in words.
    From(&'static str, fn(&KafkaConfig, &Security) -> Option<String>),
    /// Not set at all.
    Unset,
}

impl std::fmt::Display for PropertyValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text(text) => text,
            Self::From(words, _) => words,
            Self::Unset => "not set",
        })
    }
}

/// Why a user's property is refused. The value is never shown where it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PropertyError {
    /// Trigon relies on its own value.
    #[error("{name} cannot be set: {reason}")]
    Fixed {
        /// The property, as the user wrote it.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// librdkafka has no such property.
    #[error("librdkafka has no property {name}{}", .nearest.map(|nearest| format!("; is it {nearest}?")).unwrap_or_default())]
    Unknown {
        /// The property, as the user wrote it.
        name: String,
        /// One of the table whose name is like it.
        nearest: Option<&'static str>,
    },
    /// librdkafka does not take the value.
    #[error("{name}: {message}")]
    Invalid {
        /// The property, as the user wrote it.
        name: String,
        /// What librdkafka says.
        message: String,
    },
}

/// Every property that Trigon sets or refuses, with its reason.
pub fn table() -> &'static [PropertyRule] {
    RULES
}

/// Whether these properties of a user can be honoured.
///
/// # Errors
/// The first one that cannot, and why.
pub fn check(properties: &BTreeMap<String, String>) -> Result<(), PropertyError> {
    properties.iter().try_for_each(|(name, value)| check_one(name, value))
}

/// How appends are compressed.
pub(super) fn compression(config: &KafkaConfig) -> Compression {
    let text = users(config, "compression.type").unwrap_or_default();
    compression_of(text).unwrap_or_default()
}

/// How large the batches of appends become, in bytes.
pub(super) fn batch_bytes(config: &KafkaConfig) -> usize {
    let text = users(config, "batch.size").unwrap_or_default();
    text.parse().unwrap_or(DEFAULT_BATCH_BYTES).min(config.max_record_bytes)
}

fn users<'a>(config: &'a KafkaConfig, name: &str) -> Option<&'a str> {
    let rule = RULES.iter().find(|rule| rule.name == name)?;
    rule.names().find_map(|name| config.properties.get(name)).map(String::as_str)
}

fn compression_of(text: &str) -> Option<Compression> {
    match text {
        "none" => Some(Compression::None),
        "gzip" => Some(Compression::Gzip),
        "lz4" => Some(Compression::Lz4),
        "zstd" => Some(Compression::Zstd),
        _ => None,
    }
}

/// The configuration of the client that tells which partitions are ours.
pub(crate) fn client_config(config: &KafkaConfig, security: &Security) -> ClientConfig {
    let mut native = ClientConfig::new();
    // Whoever reads the logs chooses their level with the filter of `tracing`.
    native.set_log_level(RDKafkaLogLevel::Info);
    let is_of_appends = |name: &str| {
        RULES.iter().any(|rule| rule.clients == Clients::Appends && rule.names().any(|known| known == name))
    };
    for (name, value) in config.properties.iter().filter(|(name, _)| !is_of_appends(name)) {
        native.set(name, value);
    }
    for rule in RULES.iter().filter(|rule| rule.clients == Clients::Ownership) {
        let is_users = rule.names().any(|name| config.properties.contains_key(name));
        if rule.kind == PropertyKind::Defaulted && is_users {
            continue;
        }
        let value = match rule.value {
            PropertyValue::Text(text) => Some(text.to_owned()),
            PropertyValue::From(_, of) => of(config, security),
            PropertyValue::Unset => None,
        };
        if let Some(value) = value {
            native.set(rule.name, value);
        }
    }
    native
}

impl PropertyRule {
    /// Its name and its aliases.
    fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

fn check_one(name: &str, value: &str) -> Result<(), PropertyError> {
    let fixed =
        |rule: &&PropertyRule| rule.kind == PropertyKind::Fixed && rule.names().any(|known| known == name);
    if let Some(rule) = RULES.iter().find(fixed) {
        return Err(PropertyError::Fixed { name: name.to_owned(), reason: rule.reason });
    }
    match ClientConfig::new().set(name, value).create_native_config() {
        Ok(_) if name.starts_with("compression.") && compression_of(value).is_none() => {
            let message = format!("{value} is not written; none, gzip, lz4 and zstd are");
            Err(PropertyError::Invalid { name: name.to_owned(), message })
        }
        Ok(_) => Ok(()),
        Err(KafkaError::ClientConfig(_, message, _, _)) if message.starts_with("No such configuration") => {
            Err(PropertyError::Unknown { name: name.to_owned(), nearest: nearest(name) })
        }
        Err(KafkaError::ClientConfig(_, message, _, _)) => {
            Err(PropertyError::Invalid { name: name.to_owned(), message })
        }
        Err(error) => Err(PropertyError::Invalid { name: name.to_owned(), message: error.to_string() }),
    }
}

/// The name in the table that differs least, if it differs little.
fn nearest(name: &str) -> Option<&'static str> {
    const LITTLE: usize = 4;
    let known = RULES.iter().flat_map(PropertyRule::names).map(|known| (distance(name, known), known));
    known.min().filter(|(distance, _)| *distance <= LITTLE).map(|(_, known)| known)
}

/// How many letters have to be added, removed or changed to get from one to the other.
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Arc;

    use tokio::sync::watch;

    use super::*;
    use crate::kafka::security::{Login, Sasl, Secret, Tls};

    fn properties(name: &str, value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(name.to_owned(), value.to_owned())])
    }

    fn config(properties: BTreeMap<String, String>) -> KafkaConfig {
        let security = watch::channel(Arc::new(Security::default())).1;
        KafkaConfig { properties, ..KafkaConfig::new(vec!["a:1".to_owned(), "b:2".to_owned()], security) }
    }

    #[test]
    fn librdkafka_knows_every_property_of_the_table_and_each_is_there_once() {
        let mut seen = BTreeSet::new();
        for name in RULES.iter().flat_map(PropertyRule::names) {
            assert!(seen.insert(name), "{name} is there twice");
            let refused = ClientConfig::new().set(name, "").create_native_config().err();
            let unknown = refused.is_some_and(|error| error.to_string().contains("No such configuration"));
            assert!(!unknown, "{name} is no property of librdkafka's");
        }
    }

    #[test]
    fn what_trigon_relies_on_is_refused_with_its_reason_under_any_of_its_names() {
        for name in
            ["acks", "request.required.acks", "enable.idempotence", "bootstrap.servers", "sasl.password"]
        {
            let refused = check(&properties(name, "hunter2")).unwrap_err();
            assert!(matches!(refused, PropertyError::Fixed { .. }), "{refused:?}");
            assert!(!refused.to_string().contains("hunter2"), "{refused}");
        }
    }

    #[test]
    fn an_unknown_property_is_refused_with_the_one_that_may_be_meant() {
        let refused = check(&properties("batch.sise", "1")).unwrap_err();
        assert_eq!(refused.to_string(), "librdkafka has no property batch.sise; is it batch.size?");
        let refused = check(&properties("retention", "1")).unwrap_err();
        assert_eq!(refused.to_string(), "librdkafka has no property retention");
    }

    #[test]
    fn a_value_that_librdkafka_does_not_take_is_refused_and_so_is_one_that_we_do_not() {
        for (name, value) in
            [("batch.size", "large"), ("compression.type", "best"), ("compression.codec", "snappy")]
        {
            let refused = check(&properties(name, value)).unwrap_err();
            assert!(matches!(refused, PropertyError::Invalid { .. }), "{refused:?}");
        }
    }

    #[test]
    fn a_users_value_wins_over_a_default_under_any_of_its_names() {
        let config = config(properties("auto.commit.interval.ms", "7"));
        let native = client_config(&config, &Security::default());
        assert_eq!(native.get("auto.commit.interval.ms"), Some("7"));
    }

    #[test]
    fn appends_are_what_a_user_says_or_the_default() {
        let config = |name, value| config(properties(name, value));
        assert_eq!(compression(&config("compression.codec", "zstd")), Compression::Zstd);
        assert_eq!(compression(&config("client.id", "x")), Compression::Lz4);
        assert_eq!(batch_bytes(&config("batch.size", "50000")), 50_000);
        assert_eq!(batch_bytes(&config("client.id", "x")), DEFAULT_BATCH_BYTES);
        let native = client_config(&config("compression.codec", "zstd"), &Security::default());
        assert_eq!(native.get("compression.codec"), None);
    }

    #[test]
    fn what_the_table_says_of_appends_is_so() {
        let said = |name| RULES.iter().find(|rule| rule.name == name).map(|rule| rule.value.to_string());
        assert_eq!(said("batch.size"), Some(DEFAULT_BATCH_BYTES.to_string()));
        assert_eq!(compression_of(&said("compression.type").unwrap()), Some(Compression::default()));
    }

    #[test]
    fn what_the_table_does_not_name_is_passed_on() {
        let passed = properties("socket.keepalive.enable", "false");
        assert_eq!(check(&passed), Ok(()));
        let native = client_config(&config(passed), &Security::default());
        assert_eq!(native.get("socket.keepalive.enable"), Some("false"));
    }

    #[test]
    fn the_client_is_made_of_the_table() {
        let ownership = client_config(&config(BTreeMap::new()), &Security::default());
        assert_eq!(ownership.get("bootstrap.servers"), Some("a:1,b:2"));
        assert_eq!(ownership.get("group.id"), Some("trigon"));
        assert_eq!(ownership.get("session.timeout.ms"), Some("6000"));
        assert_eq!(ownership.get("acks"), None);
        assert!(ownership.create_native_config().is_ok());
    }

    #[test]
    fn security_becomes_properties_and_its_secrets_are_not_shown() {
        let security = Security {
            tls: Some(Tls { ca: Some("the authority".to_owned()), ..Tls::default() }),
            sasl: Some(Sasl::ScramSha512(Login { user: "u".to_owned(), password: Secret::new("hunter2") })),
        };
        let native = client_config(&config(BTreeMap::new()), &security);
        assert_eq!(native.get("security.protocol"), Some("sasl_ssl"));
        assert_eq!(native.get("sasl.mechanism"), Some("SCRAM-SHA-512"));
        assert_eq!(native.get("sasl.username"), Some("u"));
        assert_eq!(native.get("sasl.password"), Some("hunter2"));
        assert_eq!(native.get("ssl.ca.pem"), Some("the authority"));
        assert_eq!(native.get("ssl.ca.location"), None);
        assert!(!format!("{native:?}").contains("hunter2"), "{native:?}");
    }
}
