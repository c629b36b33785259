//! What is said of partitions that are in trouble.

use trigon_core::name::{Offset, PartitionId, TopicName};
use trigon_core::record::Timestamp;
use trigon_dispatcher::status::Standing;

use super::*;

#[test]
fn the_offsets_of_a_partition_that_cannot_be_asked_are_those_that_the_dispatcher_saw_last() {
    let at = |partition| TopicPartition {
        topic: TopicName::external("orders"),
        partition: PartitionId(partition),
    };
    let known = [PartitionStatus { partition: 1, start: 3, end: 9, stalled: Some("no leader".to_owned()) }];
    let answer = Extent { start: Offset(4), end: Offset(12) };
    assert_eq!(Held::of(&at(1), Some(answer), &known), Held { start: 4, end: 12 });
    assert_eq!(Held::of(&at(1), None, &known), Held { start: 3, end: 9 });
    assert_eq!(Held::of(&at(0), None, &known), Held::default());
    let stalled = StallView::of(&known[0]).map(|stall| stall.to_string());
    assert_eq!(stalled.as_deref(), Some("partition 1: no leader"));
}

#[test]
fn what_a_trigger_has_missed_is_summed_and_said_with_its_cause() {
    let partition = |partition, cause| TriggerPartition {
        partition,
        watermark: 10,
        position: 10,
        end: 10,
        phase: Phase::Reading,
        gap: Some(Gap { cause, offsets: 5, from: 5, to: 10, noticed: Timestamp(0) }),
        standing: Standing::default(),
    };
    let partitions = vec![partition(0, GapCause::Retention), partition(1, GapCause::BeyondEnd)];
    let total = Standing { overtaken: 5, ..Standing::default() };
    let mut view = TriggerView::default();
    assert_eq!(view.missed_words(), None);
    view.take(&TriggerStatus { trigger: "ns/t".to_owned(), total, partitions }, &[10, 10]);
    assert_eq!((view.overtaken, view.missed), (5, 10));
    let words = view.missed_words().unwrap();
    assert!(words.contains("partition 0: 5 offsets missed, retention removed 5 to 10"), "{words}");
    assert!(words.contains("partition 1: 5 offsets missed, it stood"), "{words}");
}
