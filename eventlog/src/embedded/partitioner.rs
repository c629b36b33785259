//! Which partition a record goes to: by its key as Kafka's default partitioner decides it, so that a topic
//! copied between the backends keeps its placement; without a key, to the partitions in turn.

use bytes::Bytes;

/// Records without a key go to one partition until this many bytes went there, and then to the next: readers
/// find runs, not crumbs.
pub(crate) const RUN_BYTES: usize = 16 * 1024;

/// Spreads the records of one topic.
#[derive(Debug)]
pub(crate) struct Partitioner {
    partitions: u32,
    current: u32,
    run: usize,
}

impl Partitioner {
    pub(crate) fn new(partitions: u32) -> Self {
        Self { partitions, current: 0, run: 0 }
    }

    /// The partition of a record.
    pub(crate) fn place(&mut self, key: Option<&Bytes>, size: usize) -> u32 {
        match key {
            Some(key) => (murmur2(key) & 0x7fff_ffff) % self.partitions,
            None => {
                self.run += size;
                self.current
            }
        }
    }

    /// Says that a batch is complete: the next one may go elsewhere.
    pub(crate) fn end_batch(&mut self) {
        if self.run >= RUN_BYTES {
            self.run = 0;
            self.current = (self.current + 1) % self.partitions;
        }
    }
}

/// 32-bit MurmurHash2 with Kafka's seed.
fn murmur2(bytes: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let length = u32::try_from(bytes.len() & 0xffff_ffff).expect("it is masked to 32 bits");
    let mut hash = SEED ^ length;
    let (words, rest) = bytes.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    for (shift, byte) in [0, 8, 16].into_iter().zip(rest) {
        hash ^= u32::from(*byte) << shift;
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> 15
}

#[cfg(test)]
mod tests {
    use super::*;

    /// KAF-09: the vectors of Kafka's own `UtilsTest.testMurmur2`.
    #[test]
    fn hashes_as_kafka_does() {
        let signed = |text: &str| murmur2(text.as_bytes()).cast_signed();
        assert_eq!(signed("21"), -973_932_308);
        assert_eq!(signed("foobar"), -790_332_482);
        assert_eq!(signed("a-little-bit-long-string"), -985_981_536);
        assert_eq!(signed("a-little-bit-longer-string"), -1_486_304_829);
        assert_eq!(signed("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8"), -58_897_971);
        assert_eq!(signed("abc"), 479_470_107);
    }

    #[test]
    fn records_without_a_key_use_every_partition_and_stay_together_in_a_batch() {
        let mut partitioner = Partitioner::new(3);
        let mut seen = Vec::new();
        for _ in 0..3 {
            let batch: Vec<u32> = (0..4).map(|_| partitioner.place(None, RUN_BYTES)).collect();
            assert!(batch.iter().all(|partition| *partition == batch[0]), "{batch:?}");
            partitioner.end_batch();
            seen.push(batch[0]);
        }
        assert_eq!(seen, [0, 1, 2]);
    }
}
