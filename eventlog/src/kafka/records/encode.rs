//! Records into the bytes that Kafka stores: one record batch of format 2.

use std::io::{self, Write};

use bytes::Bytes;
use trigon_core::record::Record;

use super::{CHECKED, HEADER, PREFIX};

/// Smaller batches are sent as they are: compressing costs more than it saves.
const COMPRESSED_FROM: usize = 512;

/// In which order a producer's batches for a partition belong: Kafka stores each once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct Numbering {
    /// Who sends.
    pub(in crate::kafka) producer: ProducerId,
    /// The number of the first record.
    pub(in crate::kafka) sequence: i32,
}

/// Kafka's name for a producer whose batches are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kafka) struct ProducerId {
    pub(in crate::kafka) id: i64,
    pub(in crate::kafka) epoch: i16,
}

/// How the records of a batch are compressed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::kafka) enum Compression {
    /// Not at all.
    None,
    /// As by gzip.
    Gzip,
    /// In the frame format of LZ4.
    #[default]
    Lz4,
    /// As by zstd.
    Zstd,
}

impl Compression {
    fn attributes(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Gzip => 1,
            Self::Lz4 => 3,
            Self::Zstd => 4,
        }
    }

    fn compressed(self, plain: &[u8]) -> io::Result<Vec<u8>> {
        let room = Vec::with_capacity(plain.len() / 2);
        match self {
            Self::None => Ok(plain.to_vec()),
            Self::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(room, flate2::Compression::default());
                writer.write_all(plain)?;
                writer.finish()
            }
            Self::Lz4 => {
                let mut writer = lz4::EncoderBuilder::new()
                    // Kafka's own reader takes no others.
                    .block_mode(lz4::BlockMode::Independent)
                    // The batch has its own.
                    .checksum(lz4::ContentChecksum::NoChecksum)
                    .build(room)?;
                writer.write_all(plain)?;
                let (written, ended) = writer.finish();
                ended.map(|()| written)
            }
            Self::Zstd => zstd::encode_all(plain, zstd::DEFAULT_COMPRESSION_LEVEL),
        }
    }
}

/// One batch of at least one record.
pub(in crate::kafka) fn encode<'a>(
    records: impl ExactSizeIterator<Item = &'a Record> + Clone,
    numbering: Numbering,
    compression: Compression,
) -> Bytes {
    let count = i32::try_from(records.len()).unwrap_or(i32::MAX);
    let times = records.clone().map(|record| record.timestamp.0);
    let (first, last) = times.clone().next().zip(times.max()).unwrap_or_default();
    let room: usize = records.clone().map(|record| record.size() + 16 * (record.headers.len() + 2)).sum();
    let mut batch = Vec::with_capacity(HEADER + room);
    batch.resize(HEADER, 0);
    for (delta, record) in (0..).zip(records) {
        put_record(&mut batch, record, record.timestamp.0 - first, delta);
    }
    let mut attributes = Compression::None.attributes();
    if batch.len() - HEADER >= COMPRESSED_FROM
        && compression != Compression::None
        // What does not get smaller, or not at all, goes as it is.
        && let Ok(compressed) = compression.compressed(&batch[HEADER..])
        && compressed.len() < batch.len() - HEADER
    {
        batch.truncate(HEADER);
        batch.extend_from_slice(&compressed);
        attributes = compression.attributes();
    }
    let length = i32::try_from(batch.len() - PREFIX).unwrap_or(i32::MAX);
    let mut put = |at: usize, bytes: &[u8]| batch[at..at + bytes.len()].copy_from_slice(bytes);
    put(8, &length.to_be_bytes());
    // The leader's epoch, which the broker writes.
    put(12, &(-1_i32).to_be_bytes());
    put(16, &[2]);
    put(21, &attributes.to_be_bytes());
    put(23, &(count - 1).to_be_bytes());
    put(27, &first.to_be_bytes());
    put(35, &last.to_be_bytes());
    put(43, &numbering.producer.id.to_be_bytes());
    put(51, &numbering.producer.epoch.to_be_bytes());
    put(53, &numbering.sequence.to_be_bytes());
    put(57, &count.to_be_bytes());
    let checksum = crc32c::crc32c(&batch[CHECKED..]);
    batch[17..21].copy_from_slice(&checksum.to_be_bytes());
    batch.into()
}

fn put_record(out: &mut Vec<u8>, record: &Record, time: i64, offset: i64) {
    // A length comes before what it counts, and its own length varies: so the body goes first and makes room.
    let start = out.len();
    out.push(0);
    put_varint(out, time);
    put_varint(out, offset);
    put_optional(out, record.key.as_deref());
    put_optional(out, record.value.as_deref());
    put_varint(out, signed(record.headers.len()));
    for (name, value) in &record.headers {
        put_optional(out, Some(name.as_bytes()));
        put_optional(out, Some(value));
    }
    let mut length = [0; 10];
    let length = varint(&mut length, signed(out.len() - start));
    out.splice(start..start, length.iter().copied());
}

fn put_optional(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            put_varint(out, signed(bytes.len()));
            out.extend_from_slice(bytes);
        }
        None => put_varint(out, -1),
    }
}

fn put_varint(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(varint(&mut [0; 10], value));
}

/// In zigzag, seven bits to a byte.
fn varint(out: &mut [u8; 10], value: i64) -> &[u8] {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut length = 0;
    loop {
        let low = u8::try_from(rest & 0x7f).unwrap_or_default();
        rest >>= 7;
        out[length] = if rest == 0 { low } else { low | 0x80 };
        length += 1;
        if rest == 0 {
            return &out[..length];
        }
    }
}

fn signed(length: usize) -> i64 {
    i64::try_from(length).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use trigon_core::name::Offset;
    use trigon_core::record::Timestamp;

    use super::*;
    use crate::kafka::records::Records;

    const NUMBERING: Numbering =
        Numbering { producer: ProducerId { id: 7, epoch: 1 }, sequence: i32::MAX - 1 };

    fn decoded(batch: Bytes) -> Vec<(Offset, Record)> {
        let mut records = Records::new(batch, Offset(0), Vec::new());
        records.read(usize::MAX).expect("it can be read")
    }

    fn record() -> impl Strategy<Value = Record> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
        let header = ("[a-z_é]{0,12}", bytes()).prop_map(|(name, value)| (name.into(), value));
        let headers = proptest::collection::vec(header, 0..12);
        let time = (-1_i64 << 40)..(1 << 45);
        let parts = (proptest::option::of(bytes()), headers, proptest::option::of(bytes()), time);
        parts.prop_map(|(key, headers, value, time)| Record {
            key,
            headers,
            value,
            timestamp: Timestamp(time),
        })
    }

    proptest! {
        /// KAF-01, KAF-03.
        #[test]
        fn what_is_written_is_what_is_read(
            records in proptest::collection::vec(record(), 1..20),
            compression in prop_oneof![
                Just(Compression::None), Just(Compression::Gzip), Just(Compression::Lz4), Just(Compression::Zstd),
            ],
        ) {
            let batch = encode(records.iter(), NUMBERING, compression);
            let expected: Vec<_> = (0..).map(Offset).zip(records).collect();
            prop_assert_eq!(decoded(batch), expected);
        }
    }

    #[test]
    fn the_protocols_own_library_reads_it_and_its_numbers() {
        let records: Vec<_> = (0..3)
            .map(|n: i64| Record {
                value: Some(vec![b'x'; 600].into()),
                timestamp: Timestamp(1_000 + n),
                ..Record::default()
            })
            .collect();
        let mut batch = encode(records.iter(), NUMBERING, Compression::Lz4);
        assert!(batch.len() < 600, "it is not compressed: {}", batch.len());
        let read = kafka_protocol::records::RecordBatchDecoder::decode(&mut batch).expect("it can be read");
        let numbers: Vec<_> = read
            .records
            .iter()
            .map(|record| (record.producer_id, record.producer_epoch, record.sequence, record.timestamp))
            .collect();
        let first = i32::MAX - 1;
        assert_eq!(numbers[0], (7, 1, first, 1_000));
        assert_eq!(numbers.len(), 3);
        assert_eq!(numbers[2].3, 1_002);
    }

    #[test]
    fn what_does_not_get_smaller_is_not_compressed() {
        let noise: Vec<u8> = std::iter::repeat_with(|| fastrand::u8(..)).take(5_000).collect();
        let record = Record { value: Some(noise.into()), ..Record::default() };
        let batch = encode(std::iter::once(&record), NUMBERING, Compression::Lz4);
        assert_eq!(batch[22] & 0x07, 0);
        assert_eq!(decoded(batch), [(Offset(0), record)]);
    }
}
