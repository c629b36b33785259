//! The other side is the encoder of `kafka-protocol`.

use bytes::BytesMut;
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records::{
    Compression, Record as Encoded, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use proptest::prelude::*;

use super::*;

const COMPRESSIONS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

/// A batch of these records, their offsets ascending from `base`.
fn batch(base: i64, records: &[Record], compression: Compression, change: impl Fn(&mut Encoded)) -> Bytes {
    let encoded: Vec<_> = (base..)
        .zip(records)
        .map(|(offset, record)| {
            let mut encoded = Encoded {
                transactional: false,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: 0,
                producer_id: 7,
                producer_epoch: 0,
                timestamp_type: TimestampType::Creation,
                offset,
                sequence: i32::try_from(offset - base).expect("it is small"),
                timestamp: record.timestamp.0,
                key: record.key.clone(),
                value: record.value.clone(),
                headers: record
                    .headers
                    .iter()
                    .map(|(name, value)| (StrBytes::from_string(name.to_string()), Some(value.clone())))
                    .collect::<IndexMap<_, _>>(),
            };
            change(&mut encoded);
            encoded
        })
        .collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression };
    RecordBatchEncoder::encode(&mut bytes, &encoded, &options).expect("it can be encoded");
    bytes.freeze()
}

fn plain(n: i64) -> Record {
    Record { value: Some(Bytes::from(n.to_string())), timestamp: Timestamp(n), ..Record::default() }
}

fn all(bytes: Bytes, from: u64) -> (Vec<(Offset, Record)>, Offset) {
    let mut records = Records::new(bytes, Offset(from), Vec::new());
    let read = records.read(usize::MAX).expect("they are records");
    (read, records.next())
}

fn concat(batches: &[Bytes]) -> Bytes {
    batches.concat().into()
}

#[test]
fn a_record_comes_back_as_it_was() {
    let header = |name: &str, value: &'static [u8]| (name.into(), Bytes::from_static(value));
    let full = Record {
        key: Some(Bytes::from_static(b"key")),
        headers: vec![header("b", b"1"), header("a", "zwei \u{2603}".as_bytes()), header("c", b"")],
        value: Some(Bytes::from_static(b"value")),
        timestamp: Timestamp(1_700_000_000_123),
    };
    let empty = Record { key: Some(Bytes::new()), value: Some(Bytes::new()), ..full.clone() };
    let absent = Record { timestamp: Timestamp(1_700_000_000_000), ..Record::default() };
    let records = [full, empty, absent];
    for compression in COMPRESSIONS {
        let (read, next) = all(batch(40, &records, compression, |_| {}), 40);
        let expected: Vec<_> = (40..).map(Offset).zip(records.iter().cloned()).collect();
        assert_eq!(read, expected, "{compression:?}");
        assert_eq!(next, Offset(43), "{compression:?}");
    }
}

#[test]
fn a_record_keeps_no_more_alive_than_its_own_bytes() {
    let bytes = batch(0, &[plain(1)], Compression::None, |_| {});
    let (read, _) = all(bytes.clone(), 0);
    let value = read[0].1.value.clone().expect("there is one");
    assert!(!bytes.as_ptr_range().contains(&value.as_ptr()));
}

#[test]
fn reading_goes_on_within_a_batch() {
    let records: Vec<_> = (0..10).map(plain).collect();
    let mut reader = Records::new(batch(0, &records, Compression::Lz4, |_| {}), Offset(3), Vec::new());
    for n in 3..10 {
        let read = reader.read(1).expect("they are records");
        assert_eq!(read, [(Offset(n), plain(n.cast_signed()))]);
        assert_eq!(reader.next(), Offset(n + 1));
    }
    assert_eq!(reader.read(1), Ok(Vec::new()));
    assert!(reader.is_empty());
}

#[test]
fn what_is_below_the_position_and_a_batch_that_is_cut_short_are_left_out() {
    let (one, two) = (batch(5, &[plain(5), plain(6)], Compression::None, |_| {}), [plain(7), plain(8)]);
    let two = batch(7, &two, Compression::Gzip, |_| {});
    let third = batch(9, &[plain(9)], Compression::None, |_| {});
    for cut in [0, 1, 12, 16, 17, 60, third.len() - 1] {
        let bytes = concat(&[one.clone(), two.clone(), third.slice(..cut)]);
        assert_eq!(end(&bytes), Some(Offset(9)), "{cut}");
        let (read, next) = all(bytes, 6);
        assert_eq!(read.iter().map(|(offset, _)| offset.0).collect::<Vec<_>>(), [6, 7, 8], "{cut}");
        assert_eq!(next, Offset(9), "{cut}");
    }
}

#[test]
fn a_broken_checksum_is_told_after_the_records_before_it_and_again_when_asked_again() {
    let good = batch(0, &[plain(0)], Compression::None, |_| {});
    let mut bad = batch(1, &[plain(1)], Compression::None, |_| {}).to_vec();
    *bad.last_mut().expect("it is not empty") ^= 1;
    let mut reader = Records::new(concat(&[good, bad.into()]), Offset(0), Vec::new());
    assert_eq!(reader.read(100), Ok(vec![(Offset(0), plain(0))]));
    for _ in 0..2 {
        assert_eq!(reader.read(100), Err(Corrupt::Checksum));
        assert_eq!(reader.next(), Offset(1));
    }
}

#[test]
fn an_old_format_is_an_error_with_a_sentence() {
    let mut bytes = batch(0, &[plain(0)], Compression::None, |_| {}).to_vec();
    bytes[16] = 1;
    let error = Records::new(bytes.into(), Offset(0), Vec::new()).read(1).expect_err("it is old");
    assert_eq!(
        error.to_string(),
        "its message format is 1, and only format 2 is read (Kafka 0.11 and later)"
    );
}

#[test]
fn a_bomb_is_refused() {
    let large = Record { value: Some(Bytes::from(vec![0; MAX_BATCH + 1])), ..Record::default() };
    for compression in COMPRESSIONS {
        if compression == Compression::None {
            continue;
        }
        let bytes = batch(0, std::slice::from_ref(&large), compression, |_| {});
        assert!(bytes.len() < MAX_BATCH / 10, "{compression:?}");
        let error = Records::new(bytes, Offset(0), Vec::new()).read(1).expect_err("it is too large");
        assert!(matches!(error, Corrupt::Compression(_)), "{compression:?}: {error}");
    }
}

#[test]
fn control_records_and_aborted_transactions_are_left_out() {
    let transactional = |producer: i64| {
        move |record: &mut Encoded| {
            record.transactional = true;
            record.producer_id = producer;
        }
    };
    let marker = |offset: i64, producer: i64, kind: u8| {
        let record = Record { key: Some(Bytes::copy_from_slice(&[0, 0, 0, kind])), ..Record::default() };
        batch(offset, &[record], Compression::None, move |record| {
            record.transactional = true;
            record.control = true;
            record.producer_id = producer;
        })
    };
    let bytes = concat(&[
        batch(0, &[plain(0)], Compression::None, transactional(1)),
        batch(1, &[plain(1)], Compression::None, transactional(2)),
        batch(2, &[plain(2)], Compression::None, |_| {}),
        marker(3, 1, 0),
        // The same producer's next transaction, which it committed.
        batch(4, &[plain(4)], Compression::None, transactional(1)),
        marker(5, 2, 1),
        marker(6, 1, 1),
    ]);
    let aborted = AbortedTransaction::default().with_producer_id(1.into()).with_first_offset(0);
    for from in 0..7 {
        let mut reader = Records::new(bytes.clone(), Offset(from), vec![aborted.clone()]);
        let read = reader.read(usize::MAX).expect("they are records");
        let expected: Vec<_> = [1, 2, 4].into_iter().filter(|offset| *offset >= from).collect();
        assert_eq!(read.iter().map(|(offset, _)| offset.0).collect::<Vec<_>>(), expected, "{from}");
        assert_eq!(reader.read(1), Ok(Vec::new()));
        assert_eq!(reader.next(), Offset(7), "{from}");
    }
}

#[test]
fn offsets_may_have_gaps() {
    let bytes = batch(0, &[plain(0), plain(1)], Compression::None, |record| {
        record.offset *= 10;
        record.sequence *= 10;
    });
    let (read, next) = all(bytes, 1);
    assert_eq!(read, [(Offset(10), plain(1))]);
    assert_eq!(next, Offset(11));
}

fn any_record() -> impl Strategy<Value = Record> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from);
    let headers = proptest::collection::btree_map("[a-z_]{0,9}", bytes(), 0..5);
    (proptest::option::of(bytes()), proptest::option::of(bytes()), headers, 0_i64..1 << 45).prop_map(
        |(key, value, headers, timestamp)| Record {
            key,
            value,
            headers: headers.into_iter().map(|(name, value)| (name.into(), value)).collect(),
            timestamp: Timestamp(timestamp),
        },
    )
}

proptest! {
    #[test]
    fn whatever_is_encoded_comes_back(
        records in proptest::collection::vec(any_record(), 1..30),
        compression in proptest::sample::select(&COMPRESSIONS[..]),
        base in 0_i64..1 << 40,
        max_bytes in 0_usize..500,
    ) {
        let mut reader =
            Records::new(batch(base, &records, compression, |_| {}), Offset(base.cast_unsigned()), Vec::new());
        let mut read = Vec::new();
        while !reader.is_empty() {
            read.extend(reader.read(max_bytes).expect("they are records"));
        }
        let expected: Vec<_> = (base.cast_unsigned()..).map(Offset).zip(records).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), from in 0_u64..100) {
        end(&bytes);
        Records::new(bytes.into(), Offset(from), Vec::new()).read(usize::MAX).unwrap_or_default();
    }

    /// With a checksum that is right, so that the bytes are looked into.
    #[test]
    fn no_batch_makes_it_panic(
        records in proptest::collection::vec(any_record(), 1..5),
        compression in proptest::sample::select(&COMPRESSIONS[..]),
        changes in proptest::collection::vec((CHECKED..400, any::<u8>()), 1..6),
    ) {
        let mut bytes = batch(0, &records, compression, |_| {}).to_vec();
        let length = bytes.len();
        for (at, byte) in changes {
            bytes[CHECKED + at % (length - CHECKED)] = byte;
        }
        let checksum = crc32c::crc32c(&bytes[CHECKED..]);
        bytes[17..CHECKED].copy_from_slice(&checksum.to_be_bytes());
        end(&bytes);
        let mut reader = Records::new(bytes.into(), Offset(0), Vec::new());
        while let Ok(read) = reader.read(usize::MAX) {
            if read.is_empty() {
                break;
            }
        }
    }
}
