//! A record of the event log: CloudEvents in Kafka binary mode, whatever the backend.

use bytes::Bytes;
use bytestring::ByteString;

/// Milliseconds since the Unix epoch.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// What the event log stores: headers, a key and a value, the shape of a Kafka record.
///
/// Cloning shares the bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The `partitionkey` of the event (KAF-09); records of one key share a partition.
    pub key: Option<Bytes>,
    /// `ce_*` attributes, `content-type` and Trigon's own `trigon_*` headers, in order.
    pub headers: Vec<(ByteString, Bytes)>,
    /// The event's data; `None` when it has none (KAF-03).
    pub value: Option<Bytes>,
    /// When the event was accepted.
    pub timestamp: Timestamp,
}

impl Record {
    /// The size that the bounds count: key, headers and value, in bytes.
    pub fn size(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.key.as_ref().map_or(0, Bytes::len) + headers + self.value.as_ref().map_or(0, Bytes::len)
    }

    /// The value of the first header of that name.
    pub fn header(&self, name: &str) -> Option<&Bytes> {
        self.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value)
    }
}
