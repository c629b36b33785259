//! What several processes say of the same Brokers and Triggers, as one: each dispatcher knows how the Triggers stand
//! in the partitions that it owns.

use std::collections::BTreeMap;

use crate::admin::view::{BrokerView, TriggerView};

/// The Brokers of all answers, by name. All processes look at one log, so the first answer stands; where a Broker
/// takes events is told by whoever knows.
pub(crate) fn brokers(answers: Vec<Vec<BrokerView>>) -> Vec<BrokerView> {
    let mut merged: BTreeMap<String, BrokerView> = BTreeMap::new();
    for view in answers.into_iter().flatten() {
        match merged.get_mut(&view.broker) {
            Some(known) => {
                known.url = known.url.take().or(view.url);
                known.waiting = known.waiting.take().or(view.waiting);
                // Each dispatcher knows of its own partitions.
                known.stalled.extend(view.stalled);
                known.stalled.sort_by_key(|stall| stall.partition);
            }
            None => {
                merged.insert(view.broker.clone(), view);
            }
        }
    }
    merged.into_values().collect()
}

/// The Triggers of all answers, in the order of their Brokers and names, their figures summed.
pub(crate) fn triggers(answers: Vec<Vec<TriggerView>>) -> Vec<TriggerView> {
    let mut merged: BTreeMap<(String, String), TriggerView> = BTreeMap::new();
    for view in answers.into_iter().flatten() {
        let name = (view.broker.clone(), view.trigger.clone());
        match merged.get_mut(&name) {
            Some(known) => add(known, view),
            None => {
                merged.insert(name, view);
            }
        }
    }
    merged.into_values().collect()
}

/// The partitions of a Broker in which nobody who was asked delivers; none when all are there, as sentences.
pub(crate) fn partial(triggers: &[TriggerView]) -> Vec<String> {
    let mut notes: BTreeMap<&str, String> = BTreeMap::new();
    for trigger in triggers {
        let here = trigger.cursors.len();
        let all = usize::try_from(trigger.partitions).unwrap_or(usize::MAX);
        if here >= all {
            continue;
        }
        let numbers: Vec<_> = trigger.cursors.iter().map(|cursor| cursor.partition.to_string()).collect();
        let numbers = if numbers.is_empty() { "none".to_owned() } else { numbers.join(" ") };
        notes.entry(&trigger.broker).or_insert_with(|| {
            format!(
                "{}: partitions {numbers} of {all} here; --admin takes the addresses of all dispatchers",
                trigger.broker
            )
        });
    }
    notes.into_values().collect()
}

fn add(known: &mut TriggerView, view: TriggerView) {
    known.state = worse(std::mem::take(&mut known.state), view.state);
    known.queued += view.queued;
    known.in_flight += view.in_flight;
    known.retrying += view.retrying;
    known.oldest = known.oldest.take().into_iter().chain(view.oldest).min();
    known.matched += view.matched;
    known.delivered += view.delivered;
    known.dead_lettered += view.dead_lettered;
    known.parked += view.parked;
    known.failures += view.failures;
    known.overtaken += view.overtaken;
    known.partitions = known.partitions.max(view.partitions);
    // Every dispatcher counts all that are parked, some later than others.
    known.waiting = known.waiting.max(view.waiting);
    for cursor in view.cursors {
        match known.cursors.iter_mut().find(|other| other.partition == cursor.partition) {
            // It moved from one to the other between two answers.
            Some(other) if other.watermark >= cursor.watermark => {}
            Some(other) => *other = cursor,
            None => known.cursors.push(cursor),
        }
    }
    known.cursors.sort_by_key(|cursor| cursor.partition);
    known.sum_up();
}

/// The state that needs a look rather than the other.
fn worse(one: String, other: String) -> String {
    const FROM_BAD_TO_GOOD: [&str; 5] = ["paused", "starting", "behind", "active", "elsewhere"];
    let rank = |state: &str| FROM_BAD_TO_GOOD.iter().position(|known| *known == state).unwrap_or_default();
    if rank(&other) < rank(&one) { other } else { one }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::view::{CursorView, GapView, StallView};

    fn gap(to: u64) -> GapView {
        let noticed = "2026-11-21T04:00:00Z".to_owned();
        GapView { cause: "retention".to_owned(), offsets: 3, from: to - 3, to, noticed }
    }

    fn trigger(state: &str, cursors: &[(u32, u64)], delivered: u64) -> TriggerView {
        let cursor = |&(partition, watermark)| {
            let gap = (partition == 2).then(|| gap(watermark));
            CursorView { partition, watermark, position: 10, end: 10, gap }
        };
        TriggerView {
            trigger: "ns/t".to_owned(),
            broker: "ns/b".to_owned(),
            state: state.to_owned(),
            delivered,
            waiting: delivered,
            partitions: 4,
            cursors: cursors.iter().map(cursor).collect(),
            ..TriggerView::default()
        }
    }

    #[test]
    fn figures_are_summed_over_the_partitions_and_what_all_count_is_counted_once() {
        let one = trigger("active", &[(0, 8), (2, 10)], 5);
        let two = trigger("behind", &[(1, 4), (2, 9)], 7);
        let merged = triggers(vec![vec![one], vec![two]]);
        let [both] = &merged[..] else { panic!("{merged:?}") };
        assert_eq!((both.state.as_str(), both.delivered, both.waiting), ("behind", 12, 7));
        let cursors: Vec<_> =
            both.cursors.iter().map(|cursor| (cursor.partition, cursor.watermark)).collect();
        assert_eq!((cursors, both.lag, both.missed), (vec![(0, 8), (1, 4), (2, 10)], 8, 3));
        let note = "ns/b: partitions 0 1 2 of 4 here; --admin takes the addresses of all dispatchers";
        assert_eq!(partial(&merged), [note]);
        let whole =
            triggers(vec![merged, vec![trigger("elsewhere", &[], 0), trigger("active", &[(3, 10)], 0)]]);
        assert!(partial(&whole).is_empty());
        assert!(partial(&[trigger("elsewhere", &[], 0)])[0].starts_with("ns/b: partitions none of 4 here"));
    }

    #[test]
    fn a_broker_is_listed_once_with_the_address_that_one_of_them_knows() {
        let broker = |url: Option<&str>| BrokerView {
            broker: "ns/b".to_owned(),
            url: url.map(str::to_owned),
            waiting: None,
            triggers: 1,
            partitions: 4,
            events: 10,
            bytes: None,
            stalled: Vec::new(),
        };
        let merged = brokers(vec![vec![broker(None)], vec![broker(Some("http://x"))]]);
        assert_eq!((merged.len(), merged[0].url.as_deref(), merged[0].events), (1, Some("http://x"), 10));
        let stalled = |partition| {
            let reason = "no leader".to_owned();
            BrokerView { stalled: vec![StallView { partition, reason }], ..broker(None) }
        };
        let merged = brokers(vec![vec![stalled(2)], vec![stalled(1)]]);
        assert_eq!(merged[0].stalled.iter().map(|stall| stall.partition).collect::<Vec<_>>(), [1, 2]);
    }
}
