//! Where an event stands for a Trigger: what its lane knows, what the parked topic knows, and the words for it.
//!
//! What nobody knows is not guessed: see [`State::Finished`].

use serde::{Deserialize, Serialize};
use trigon_core::cursor::{Progress, Stage};
use trigon_core::record::Timestamp;
use trigon_dispatcher::parked::ParkedPlace;
use trigon_dispatcher::partition::{Finish, Turn, Whereabouts};

use crate::shown;

/// Where an event stands for a Trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StandingView {
    /// What is known.
    pub(crate) state: State,
    /// Where it is being sent or was sent: `subscriber`, `dead_letter_sink` or `parked_topic`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<String>,
    /// The attempt there that is under way, comes next, or succeeded; counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attempt: Option<u32>,
    /// What the subscriber answered last, where it has failed; none when it did not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    /// When the next attempt is due.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<String>,
    /// Why the stage before gave up, or why it was parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    /// What it is asked for by among the parked events: `namespace/broker/offset`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parked: Option<String>,
    /// When it was parked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parked_at: Option<String>,
    /// Whether it was parked and then sent again, as an event of its own with the same id.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) redriven: bool,
    /// The same in words.
    pub(crate) words: String,
}

/// What is known of an event for a Trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// Another process delivers from that partition.
    Elsewhere,
    /// The cursor of the Trigger is being read.
    Starting,
    /// The Trigger has not come to it.
    Unread,
    /// It was begun with before a restart, and is to be read again.
    Recovering,
    /// It waits for its turn.
    Queued,
    /// An attempt is under way.
    InFlight,
    /// It waits for its next attempt.
    Retrying,
    /// The subscriber took it.
    Delivered,
    /// The dead letter sink took it.
    DeadLettered,
    /// It was parked.
    Parked,
    /// The Trigger is past it and does not say how it ended.
    Finished,
    /// The Trigger is past it and its filter does not want it.
    PassedBy,
}

/// What is known beside the lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known<'a> {
    /// Whether the Trigger wants the event, as it is now.
    pub(super) matches: bool,
    /// Whether the event is for one Trigger, whatever the filters say.
    pub(super) is_addressed: bool,
    /// Whether the Trigger is paused.
    pub(super) is_paused: bool,
    /// Whether it has a dead letter sink.
    pub(super) has_sink: bool,
    /// Where the event was parked for it.
    pub(super) parked: Option<&'a ParkedPlace>,
    /// Whether all parked events were looked through.
    pub(super) is_parked_whole: bool,
    /// What the Broker is called.
    pub(super) broker: &'a str,
    /// The time now.
    pub(super) now: Timestamp,
}

impl StandingView {
    /// Puts together what the lane knows, if there is one here, and what is known beside it.
    pub(super) fn of(at: Option<Whereabouts>, known: Known<'_>) -> Self {
        let mut view = match at {
            None => Self::new(State::Elsewhere),
            Some(Whereabouts::Starting) => Self::new(State::Starting),
            Some(Whereabouts::Unread) => Self::new(State::Unread),
            Some(Whereabouts::Recovering(progress)) => Self::new(State::Recovering).on_its_way(progress),
            Some(Whereabouts::Held { turn, progress, reason }) => {
                let (state, due) = match turn {
                    Turn::Blocked | Turn::Ready => (State::Queued, None),
                    Turn::InFlight => (State::InFlight, None),
                    Turn::Waiting(wait) => {
                        let wait = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
                        let due = Timestamp(known.now.0.saturating_add(wait));
                        (State::Retrying, Some(shown::rfc3339(due)))
                    }
                };
                Self { due, reason, ..Self::new(state).on_its_way(progress) }
            }
            Some(Whereabouts::Finished(Finish { stage, attempt })) => {
                let state = match stage {
                    Stage::Subscriber => State::Delivered,
                    Stage::DeadLetter => State::DeadLettered,
                    Stage::Park => State::Parked,
                };
                Self { stage: Some(stage_name(stage)), attempt: Some(attempt), ..Self::new(state) }
            }
            Some(Whereabouts::Passed) if known.parked.is_some() => Self::new(State::Parked),
            Some(Whereabouts::Passed) if known.matches => Self::new(State::Finished),
            Some(Whereabouts::Passed) => Self::new(State::PassedBy),
        };
        if let Some(place) = known.parked {
            view.parked = Some(format!("{}/{}", known.broker, place.offset));
            view.parked_at = Some(shown::rfc3339(place.parked_at));
            view.redriven = place.is_redriven;
            view.reason = view.reason.or_else(|| Some(place.reason.clone()));
        }
        view.words = view.sentence(known);
        view
    }

    fn new(state: State) -> Self {
        Self {
            state,
            stage: None,
            attempt: None,
            status: None,
            due: None,
            reason: None,
            parked: None,
            parked_at: None,
            redriven: false,
            words: String::new(),
        }
    }

    fn on_its_way(self, Progress { stage, attempts, status }: Progress) -> Self {
        Self {
            stage: Some(stage_name(stage)),
            attempt: Some(attempts.saturating_add(1)),
            status: (status != 0).then_some(status),
            ..self
        }
    }

    fn sentence(&self, known: Known<'_>) -> String {
        let paused = if known.is_paused { "; the trigger is paused" } else { "" };
        let words = match self.state {
            State::Elsewhere => {
                "another process delivers from this partition: --admin takes the addresses of all dispatchers"
                    .to_owned()
            }
            State::Starting => "where the trigger stands is being looked up".to_owned(),
            State::Unread if known.matches => {
                format!("waits in the log: the trigger has not come to it{paused}")
            }
            State::Unread => format!("the trigger has not come to it, and will pass it by{paused}"),
            State::Recovering => {
                format!("waits to be read again after a restart, for {}{paused}", self.attempt_words())
            }
            State::Queued => format!("waits for its turn, for {}{paused}", self.attempt_words()),
            State::InFlight => format!("in flight, in {}", self.attempt_words()),
            State::Retrying => {
                let due = self.due.as_deref().unwrap_or_default();
                format!("waits for {}, due at {due}{paused}", self.attempt_words())
            }
            State::Delivered => format!("delivered, in {}", self.attempt_words()),
            State::DeadLettered => format!("dead-lettered, in {}", self.attempt_words()),
            State::Parked => "parked".to_owned(),
            State::Finished => finished(known),
            State::PassedBy if known.is_addressed => "passed by: it is for another trigger alone".to_owned(),
            State::PassedBy => {
                "passed by, unless the trigger had another filter when it came to it".to_owned()
            }
        };
        match (&self.parked, &self.reason) {
            (Some(parked), Some(reason)) => {
                let parked_at = self.parked_at.as_deref().unwrap_or_default();
                let again = if self.redriven { "; sent again since, as an event of its own" } else { "" };
                let lead = if self.state == State::Parked { words } else { format!("{words}; parked") };
                format!("{lead} as {parked} at {parked_at}: {reason}{again}")
            }
            (None, Some(reason)) => format!("{words}; before that: {reason}"),
            (_, None) => words,
        }
    }

    /// `attempt 2 at the subscriber, which answered 503 before`
    fn attempt_words(&self) -> String {
        let attempt = self.attempt.unwrap_or(1);
        let to = match self.stage.as_deref() {
            Some(DEAD_LETTER_SINK) => "the dead letter sink",
            Some(PARKED_TOPIC) => "the parked topic",
            _ => "the subscriber",
        };
        let is_under_way = !matches!(self.state, State::Delivered | State::DeadLettered | State::Parked);
        let before = match (attempt, self.status) {
            (2.., Some(status)) if is_under_way && to == "the subscriber" => {
                format!(", which answered {status} last")
            }
            (2.., None) if is_under_way && to == "the subscriber" => ", which gave no answer last".to_owned(),
            _ => String::new(),
        };
        format!("attempt {attempt} at {to}{before}")
    }
}

/// What can be said of an event that the Trigger is past and that it wants.
fn finished(known: Known<'_>) -> String {
    let parked = if known.is_parked_whole { "" } else { " or parked long ago" };
    let tell = if known.has_sink { "its subscriber and its dead letter sink" } else { "its subscriber" };
    format!(
        "finished: delivered or dead-lettered{parked}, too long ago for trigon to tell which; {tell} can tell. Or the \
         trigger began after it, was set past it, or had another filter then"
    )
}

const DEAD_LETTER_SINK: &str = "dead_letter_sink";
const PARKED_TOPIC: &str = "parked_topic";

fn stage_name(stage: Stage) -> String {
    match stage {
        Stage::Subscriber => "subscriber",
        Stage::DeadLetter => DEAD_LETTER_SINK,
        Stage::Park => PARKED_TOPIC,
    }
    .to_owned()
}

#[cfg(test)]
mod tests;
