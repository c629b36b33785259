//! What the admin port says of an event and its Triggers in JSON, and what the tools read of it.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trigon_core::filter::Explanation;

use super::standing::{StandingView, State};

/// Events, and what some Triggers make of them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ExplainedPage {
    /// The `namespace/name` of the Broker; none for an event of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) broker: Option<String>,
    /// Those accepted last come first.
    pub(crate) events: Vec<ExplainedEvent>,
    /// How many more events were found and are not shown.
    #[serde(default)]
    pub(crate) more: usize,
    /// Where in the log they were looked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) searched: Vec<SearchedView>,
    /// What could not be found out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) notes: Vec<String>,
}

/// The stretch of a partition that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SearchedView {
    /// The partition.
    pub(crate) partition: u32,
    /// The first offset that was looked at; older ones were not.
    pub(crate) from: u64,
    /// The offset behind the last one that was.
    pub(crate) to: u64,
    /// The oldest offset that is there.
    pub(crate) start: u64,
    /// Why it went no further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
}

/// An event, and what some Triggers make of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ExplainedEvent {
    /// The partition in which it was accepted; none for an event of a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) partition: Option<u32>,
    /// Its offset there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    /// When it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accepted: Option<String>,
    /// The only Trigger that gets it, whatever its filter says: it was parked and is sent again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) only: Option<String>,
    /// It, in the JSON format, without its data, which no filter looks at.
    pub(crate) event: Box<RawValue>,
    /// How many bytes of data it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data_bytes: Option<usize>,
    /// By name.
    pub(crate) triggers: Vec<ExplainedTrigger>,
    /// How many more Triggers there are that the answer had no room for.
    #[serde(default)]
    pub(crate) omitted: usize,
}

/// What a Trigger makes of an event.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExplainedTrigger {
    /// `namespace/name`
    pub(crate) trigger: String,
    /// Whether it wants the event.
    pub(crate) matches: bool,
    /// Its filter in words.
    pub(crate) filter: String,
    /// Why the filter lets the event through or not.
    pub(crate) explanation: Explanation,
    /// The filter of the Trigger in force, in words, where the one that is explained is of a file and differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) other_filter: Option<String>,
    /// Where the event stands for it; none where that was not asked or nobody knows the Trigger.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) standing: Option<StandingView>,
}

impl ExplainedPage {
    /// Takes in what another process says of the same question.
    pub(crate) fn merge(&mut self, other: Self) {
        for event in other.events {
            let place = (event.partition, event.offset);
            match self.events.iter_mut().find(|known| (known.partition, known.offset) == place) {
                Some(known) => known.merge(event),
                None => self.events.push(event),
            }
        }
        for searched in other.searched {
            match self.searched.iter_mut().find(|known| known.partition == searched.partition) {
                Some(known) if searched.from < known.from => *known = searched,
                Some(_) => {}
                None => self.searched.push(searched),
            }
        }
        self.more = self.more.max(other.more);
        self.notes.extend(other.notes);
    }
}

impl ExplainedEvent {
    fn merge(&mut self, other: Self) {
        for trigger in other.triggers {
            match self.triggers.iter_mut().find(|known| known.trigger == trigger.trigger) {
                Some(known) if known.is_elsewhere() => *known = trigger,
                Some(_) => {}
                None => self.triggers.push(trigger),
            }
        }
        self.omitted = self.omitted.min(other.omitted);
    }
}

impl ExplainedTrigger {
    fn is_elsewhere(&self) -> bool {
        self.standing.as_ref().is_none_or(|standing| standing.state == State::Elsewhere)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(from: u64, standing: &[(&str, State)]) -> ExplainedPage {
        let triggers = standing.iter().map(|(trigger, state)| {
            serde_json::json!({
                "trigger": trigger,
                "matches": true,
                "filter": "every event",
                "explanation": {"clause": "every event", "passes": true},
                "standing": {"state": state, "words": ""},
            })
        });
        let event = serde_json::json!({"partition": 1, "offset": 7, "event": {}, "triggers": triggers.collect::<Vec<_>>()});
        let searched = serde_json::json!({"partition": 1, "from": from, "to": 9, "start": 0});
        // By way of a text: the event within is kept as one.
        let json = serde_json::json!({"events": [event], "searched": [searched]}).to_string();
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn the_process_that_has_the_partition_says_where_an_event_stands() {
        let known = page(5, &[("a", State::Elsewhere), ("b", State::Delivered), ("c", State::Elsewhere)]);
        let other = page(0, &[("a", State::Retrying), ("b", State::Elsewhere), ("c", State::Elsewhere)]);
        let mut merged = known;
        merged.merge(other);
        let [event] = &merged.events[..] else { panic!("it is one event: {:?}", merged.events) };
        let states: Vec<_> =
            event.triggers.iter().map(|trigger| trigger.standing.as_ref().unwrap().state).collect();
        assert_eq!(states, [State::Retrying, State::Delivered, State::Elsewhere]);
        assert_eq!(merged.searched[0].from, 0, "as far back as somebody has looked");
    }
}
