//! The names that must not be confused with one another: brokers, triggers, topics, groups, partitions and
//! offsets.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// A Broker: its namespace and name, shown as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BrokerId {
    /// The Kubernetes namespace, or in standalone the first segment of the path.
    pub namespace: String,
    /// The name within the namespace.
    pub name: String,
}

/// A Trigger: its namespace and name, shown as `namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TriggerId {
    /// The Kubernetes namespace.
    pub namespace: String,
    /// The name within the namespace.
    pub name: String,
}

macro_rules! namespaced {
    ($type:ident) => {
        impl $type {
            /// Names the object; the parts are taken as they are.
            pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
                Self { namespace: namespace.into(), name: name.into() }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.namespace, self.name)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                let (namespace, name) = parts(text).ok_or_else(|| NameError(text.to_owned()))?;
                Ok(Self::new(namespace, name))
            }
        }
    };
}

namespaced!(BrokerId);
namespaced!(TriggerId);

/// Namespace and name, of a text of the form `NAMESPACE/NAME`.
pub fn parts(text: &str) -> Option<(&str, &str)> {
    let (namespace, name) = text.split_once('/')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains('/')).then_some((namespace, name))
}

/// What has a namespace and a name, to look a Broker up without owning them.
pub(crate) trait Named {
    /// Both, in the order in which Brokers are sorted.
    fn parts(&self) -> (&str, &str);
}

impl Named for BrokerId {
    fn parts(&self) -> (&str, &str) {
        (&self.namespace, &self.name)
    }
}

impl Named for (&str, &str) {
    fn parts(&self) -> (&str, &str) {
        *self
    }
}

impl<'a> Borrow<dyn Named + 'a> for BrokerId {
    fn borrow(&self) -> &(dyn Named + 'a) {
        self
    }
}

impl PartialEq for dyn Named + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for dyn Named + '_ {}

impl PartialOrd for dyn Named + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Named + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

/// A text that is not of the form `NAMESPACE/NAME`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not of the form NAMESPACE/NAME")]
pub struct NameError(String);

/// A topic of the event log. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct TopicName(Arc<str>);

/// A group of cursors in the event log: one per Trigger. Cloning shares the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct GroupName(Arc<str>);

/// Kafka's limit on the name of a topic or a group, in bytes.
pub const MAX_LOG_NAME: usize = 249;

/// The name of an installation of Trigon: what it calls its topics and groups in a log that it shares with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation(String);

impl Default for Installation {
    fn default() -> Self {
        Self("trigon".to_owned())
    }
}

impl fmt::Display for Installation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no installation can have.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} names no installation: write 1 to {MAX_INSTALLATION} of a-z, A-Z, 0-9 and -")]
pub struct InstallationError(String);

/// The longest name of an installation, in bytes.
pub const MAX_INSTALLATION: usize = 60;

impl std::str::FromStr for Installation {
    type Err = InstallationError;

    fn from_str(text: &str) -> Result<Self, InstallationError> {
        // No dot: `<installation>.<namespace>` must not be another installation's name.
        let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        match !text.is_empty() && text.len() <= MAX_INSTALLATION && text.bytes().all(is_legal) {
            true => Ok(Self(text.to_owned())),
            false => Err(InstallationError(text.to_owned())),
        }
    }
}

impl Installation {
    /// The topic of a Broker's events: `trigon.<namespace>.<broker>`.
    ///
    /// A namespace contains no dot, so two Brokers never share a name (peer's R15).
    pub fn topic(&self, broker: &BrokerId) -> TopicName {
        log_name(&self.0, &[&broker.namespace, &broker.name]).into()
    }

    /// The topic of a Broker's parked events: `trigon.<namespace>.<broker>_parked`.
    ///
    /// No Broker's name contains `_`, so it is no Broker's topic.
    pub fn parked_topic(&self, broker: &BrokerId) -> TopicName {
        log_name(&self.0, &[&broker.namespace, &format!("{}_parked", broker.name)]).into()
    }

    /// The group of a Trigger's cursors: `trigon.<namespace>.<broker>.<trigger>`.
    ///
    /// A dot in the Broker's name becomes `_`, which no name of an object contains: otherwise the Trigger `b.c` of the
    /// Broker `a` and the Trigger `c` of the Broker `a.b` would share a group, and deleting one would lose the other's
    /// progress.
    pub fn group(&self, broker: &BrokerId, trigger: &TriggerId) -> GroupName {
        log_name(&self.0, &[&broker.namespace, &broker.name.replace('.', "_"), &trigger.name]).into()
    }

    /// The group in which the dispatchers share the partitions among them: `trigon`.
    pub fn dispatchers(&self) -> GroupName {
        self.0.clone().into()
    }
}

impl TopicName {
    /// A topic that somebody else named.
    pub fn external(name: impl Into<String>) -> Self {
        name.into().into()
    }
}

macro_rules! log_name {
    ($type:ident) => {
        impl $type {
            /// The name as the log knows it.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<String> for $type {
            fn from(name: String) -> Self {
                Self(name.into())
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> Self {
                name.as_str().to_owned()
            }
        }
    };
}

log_name!(TopicName);
log_name!(GroupName);

fn log_name(prefix: &str, parts: &[&str]) -> String {
    let full = format!("{prefix}.{}", parts.join("."));
    if full.len() <= MAX_LOG_NAME {
        return full;
    }
    // FNV-1a, 128 bits: stable across versions and platforms, which a std hasher does not promise.
    let hash = full.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d_u128, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0000_0000_0100_0000_0000_0000_0000_013b)
    });
    let tail = format!("-{hash:032x}");
    let mut cut = MAX_LOG_NAME - tail.len();
    while !full.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{tail}", &full[..cut])
}

/// A partition of a topic, counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionId(pub u32);

/// The place of a record in its partition, counted from 0 and never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offset(pub u64);

impl Offset {
    /// The offset after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicName,
    /// The partition within it.
    pub partition: PartitionId,
}

/// Where a record stands in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// The partition.
    pub partition: PartitionId,
    /// The offset within the partition.
    pub offset: Offset,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.partition, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_topics_do_not_collide_across_namespaces_nor_with_parked_topics() {
        let a = Installation::default().topic(&BrokerId::new("a", "b.parked"));
        let b = Installation::default().parked_topic(&BrokerId::new("a", "b"));
        assert_ne!(a, b);
        assert_eq!(a.as_str(), "trigon.a.b.parked");
        assert_eq!(b.as_str(), "trigon.a.b_parked");
    }

    #[test]
    fn names_of_groups_do_not_collide_where_names_of_brokers_and_triggers_have_dots() {
        let group = |broker, trigger| {
            Installation::default().group(&BrokerId::new("ns", broker), &TriggerId::new("ns", trigger))
        };
        assert_ne!(group("a", "b.c"), group("a.b", "c"));
        assert_eq!(group("a", "b.c").as_str(), "trigon.ns.a.b.c");
    }

    #[test]
    fn a_long_name_keeps_its_head_and_gets_a_hashed_tail() {
        let long = "x".repeat(253);
        let one = Installation::default().topic(&BrokerId::new("ns", format!("{long}1")));
        let two = Installation::default().topic(&BrokerId::new("ns", format!("{long}2")));
        assert_eq!(one.as_str().len(), MAX_LOG_NAME);
        assert!(one.as_str().starts_with("trigon.ns.xxx"));
        assert_ne!(one, two);
    }

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        let id: BrokerId = "default/orders".parse().unwrap();
        assert_eq!(id, BrokerId::new("default", "orders"));
        assert!("default".parse::<BrokerId>().is_err());
        assert!("a/b/c".parse::<BrokerId>().is_err());
    }
}
