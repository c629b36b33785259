//! Whether records can be appended, as far as is known.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use crate::Health;

/// A lock is held for a few assignments: nothing panics under it.
const LOCKED: &str = "nobody panics while holding the condition";

/// What is known.
#[derive(Debug, Default)]
pub(super) struct Condition {
    state: Mutex<State>,
    /// Whether something was stored since the last look.
    has_stored: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    /// Why no broker is reached.
    unreached: Option<Arc<str>>,
    /// Why our batches cannot be numbered.
    unnumbered: Option<Arc<str>>,
    /// What was last in the way of a batch.
    complaint: Option<Arc<str>>,
}

impl Condition {
    pub(super) fn health(&self) -> Health {
        let state = self.state.lock().expect(LOCKED);
        match state.unnumbered.as_ref().or(state.unreached.as_ref()) {
            None => Health::Writable,
            Some(reason) => Health::Refusing(reason.to_string()),
        }
    }

    /// What is wrong, as far as it is known.
    pub(super) fn complaint(&self) -> Option<Arc<str>> {
        let state = self.state.lock().expect(LOCKED);
        state.unnumbered.as_ref().or(state.unreached.as_ref()).or(state.complaint.as_ref()).cloned()
    }

    /// A batch has met this.
    pub(super) fn met(&self, complaint: Arc<str>) {
        self.state.lock().expect(LOCKED).complaint = Some(complaint);
    }

    /// Something was stored: there is no better proof.
    pub(super) fn stored(&self) {
        self.has_stored.store(true, Ordering::Relaxed);
    }

    /// Whether something was stored since the last call; if so, all is well.
    pub(super) fn is_proved(&self) -> bool {
        let is_proved = self.has_stored.swap(false, Ordering::Relaxed);
        if is_proved {
            *self.state.lock().expect(LOCKED) = State::default();
        }
        is_proved
    }

    /// The cluster was asked anything, and has answered or not.
    pub(super) fn asked(&self, outcome: Result<(), Arc<str>>) {
        let mut state = self.state.lock().expect(LOCKED);
        if outcome.is_ok() {
            state.complaint = None;
        }
        state.unreached = outcome.err();
    }

    /// The cluster was asked for numbers, and has refused them or not.
    pub(super) fn numbered(&self, outcome: Result<(), Arc<str>>) {
        self.state.lock().expect(LOCKED).unnumbered = outcome.err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusing(reason: &str) -> Health {
        Health::Refusing(reason.to_owned())
    }

    #[test]
    fn nothing_is_said_before_it_was_tried() {
        assert_eq!(Condition::default().health(), Health::Writable);
    }

    #[test]
    fn a_batch_in_trouble_is_a_complaint_and_a_cluster_that_does_not_answer_is_trouble() {
        let condition = Condition::default();
        condition.met("NOT_ENOUGH_REPLICAS".into());
        assert_eq!(condition.health(), Health::Writable);
        assert_eq!(condition.complaint().as_deref(), Some("NOT_ENOUGH_REPLICAS"));
        condition.asked(Err("refused".into()));
        assert_eq!(condition.health(), refusing("refused"));
        assert_eq!(condition.complaint().as_deref(), Some("refused"));
    }

    #[test]
    fn an_answer_ends_the_trouble_and_so_does_a_stored_record() {
        let condition = Condition::default();
        condition.asked(Err("refused".into()));
        condition.asked(Ok(()));
        assert_eq!(condition.health(), Health::Writable);
        condition.asked(Err("refused".into()));
        assert!(!condition.is_proved());
        condition.stored();
        assert!(condition.is_proved());
        assert_eq!(condition.health(), Health::Writable);
    }

    #[test]
    fn who_must_not_write_is_in_trouble_although_the_cluster_answers() {
        let condition = Condition::default();
        condition.numbered(Err("not authorised".into()));
        condition.asked(Ok(()));
        assert_eq!(condition.health(), refusing("not authorised"));
        condition.numbered(Ok(()));
        assert_eq!(condition.health(), Health::Writable);
    }
}
