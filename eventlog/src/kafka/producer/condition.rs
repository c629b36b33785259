//! Whether a client can append, as far as it knows.
//!
//! librdkafka says when things go wrong and not when they are well again: so a client in trouble is asked
//! ([`Condition::needs_proof`]) until it proves that it works.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::Notify;

use crate::Health;

/// A lock is held for a few assignments: nothing panics under it.
const LOCKED: &str = "nobody panics while holding the condition";

/// After a fatal error the first proof does not count: it may be older than the next fatal error.
const PROOFS_AFTER_FATAL: u8 = 2;

/// The condition of one client.
#[derive(Debug)]
pub(super) struct Condition {
    /// Where the cluster is looked for.
    bootstrap: String,
    state: Mutex<State>,
    /// Whether `state` is in trouble, for a look without its lock.
    in_trouble: AtomicBool,
    /// Wakes whoever looks after the client.
    pub(super) changed: Notify,
}

#[derive(Clone, Debug, Default)]
struct State {
    trouble: Option<Trouble>,
    /// Something took too long: maybe there is trouble that librdkafka has not told.
    doubtful: bool,
    fatal: bool,
    /// What a broker last said.
    complaint: Option<String>,
}

#[derive(Clone, Debug)]
struct Trouble {
    reason: String,
    /// After so many proofs that the client works it is over.
    proofs: u8,
}

impl Condition {
    /// The condition of a client that has not tried anything.
    pub(super) fn new(bootstrap: &[String]) -> Self {
        Self {
            bootstrap: bootstrap.join(","),
            state: Mutex::default(),
            in_trouble: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    /// The condition of a client that takes another one's place.
    pub(super) fn inherit(&self) -> Self {
        let old = self.state.lock().expect(LOCKED).clone();
        let proofs = if old.fatal { PROOFS_AFTER_FATAL } else { 1 };
        let trouble = old.trouble.map(|trouble| Trouble { proofs, ..trouble });
        let in_trouble = AtomicBool::new(trouble.is_some());
        let state = Mutex::new(State { trouble, ..State::default() });
        Self { bootstrap: self.bootstrap.clone(), state, in_trouble, changed: Notify::new() }
    }

    pub(super) fn health(&self) -> Health {
        match &self.state.lock().expect(LOCKED).trouble {
            None => Health::Writable,
            Some(trouble) => Health::Refusing(trouble.reason.clone()),
        }
    }

    /// What is wrong, as far as it is known.
    pub(super) fn complaint(&self) -> Option<String> {
        let state = self.state.lock().expect(LOCKED);
        state.trouble.as_ref().map(|trouble| trouble.reason.clone()).or_else(|| state.complaint.clone())
    }

    pub(super) fn is_fatal(&self) -> bool {
        self.state.lock().expect(LOCKED).fatal
    }

    /// Whether somebody should find out if the client works.
    pub(super) fn needs_proof(&self) -> bool {
        let state = self.state.lock().expect(LOCKED);
        !state.fatal && (state.doubtful || state.trouble.is_some())
    }

    /// librdkafka told of an error that concerns more than a record.
    pub(super) fn error(&self, code: RDKafkaErrorCode, message: &str) {
        let mut state = self.state.lock().expect(LOCKED);
        match code {
            // Its settings are the same for all brokers.
            RDKafkaErrorCode::Authentication | RDKafkaErrorCode::SSL => {
                state.complaint = Some(message.to_owned());
                state.trouble.get_or_insert(Trouble { reason: String::new(), proofs: 1 }).reason =
                    message.to_owned();
            }
            RDKafkaErrorCode::AllBrokersDown => {
                let reason = self.reason(&state, message);
                state.trouble.get_or_insert(Trouble { reason, proofs: 1 });
            }
            // One broker of several: the others go on.
            RDKafkaErrorCode::BrokerTransportFailure
            | RDKafkaErrorCode::Resolve
            | RDKafkaErrorCode::OperationTimedOut => {
                state.complaint = Some(message.to_owned());
            }
            // It may be fatal: whoever looks after the client finds out.
            _ => {}
        }
        self.told(&state);
    }

    /// The client has ended for good.
    pub(super) fn fatal(&self, reason: String) {
        let mut state = self.state.lock().expect(LOCKED);
        if !state.fatal {
            state.fatal = true;
            state.trouble = Some(Trouble { reason, proofs: PROOFS_AFTER_FATAL });
            self.told(&state);
        }
    }

    /// Something took too long.
    pub(super) fn doubt(&self) {
        let mut state = self.state.lock().expect(LOCKED);
        if !state.doubtful {
            state.doubtful = true;
            self.told(&state);
        }
    }

    /// The client was asked, and no broker answered.
    pub(super) fn disproved(&self, by: &str) {
        let mut state = self.state.lock().expect(LOCKED);
        state.doubtful = false;
        let reason = self.reason(&state, by);
        state.trouble.get_or_insert(Trouble { reason, proofs: 1 });
        self.told(&state);
    }

    /// The client was asked, and a broker answered.
    pub(super) fn proved(&self) {
        let mut state = self.state.lock().expect(LOCKED);
        state.doubtful = false;
        if let Some(trouble) = &mut state.trouble {
            trouble.proofs -= 1;
            if trouble.proofs == 0 {
                state.recover();
            }
        }
        self.told(&state);
    }

    /// A record was stored: there is no better proof.
    pub(super) fn stored(&self) {
        if self.in_trouble.load(Ordering::Relaxed) {
            let mut state = self.state.lock().expect(LOCKED);
            state.recover();
            self.told(&state);
        }
    }

    /// What a broker said, or else where there is none.
    fn reason(&self, state: &State, otherwise: &str) -> String {
        state
            .complaint
            .clone()
            .unwrap_or_else(|| format!("no broker of {} works: {otherwise}", self.bootstrap))
    }

    fn told(&self, state: &State) {
        self.in_trouble.store(state.trouble.is_some(), Ordering::Relaxed);
        self.changed.notify_one();
    }
}

impl State {
    fn recover(&mut self) {
        if !self.fatal {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: &str = "kafka:9092/bootstrap: Connect to ipv4#10.0.0.1:9092 failed: Connection refused";

    fn condition() -> Condition {
        Condition::new(&["kafka:9092".to_owned()])
    }

    fn refusing(reason: &str) -> Health {
        Health::Refusing(reason.to_owned())
    }

    #[test]
    fn nothing_is_said_before_it_was_tried() {
        assert_eq!(condition().health(), Health::Writable);
    }

    #[test]
    fn one_broker_of_several_may_be_away() {
        let condition = condition();
        condition.error(RDKafkaErrorCode::BrokerTransportFailure, REFUSED);
        assert_eq!(condition.health(), Health::Writable);
        condition.error(RDKafkaErrorCode::AllBrokersDown, "3/3 brokers are down");
        assert_eq!(condition.health(), refusing(REFUSED));
    }

    #[test]
    fn a_proof_ends_the_trouble_and_so_does_a_stored_record() {
        let condition = condition();
        condition.error(RDKafkaErrorCode::Authentication, "kafka:9092: wrong password");
        assert_eq!(condition.health(), refusing("kafka:9092: wrong password"));
        assert!(condition.needs_proof());
        condition.proved();
        assert_eq!(condition.health(), Health::Writable);
        condition.error(RDKafkaErrorCode::AllBrokersDown, "1/1 brokers are down");
        condition.stored();
        assert_eq!(condition.health(), Health::Writable);
        assert!(!condition.needs_proof());
    }

    #[test]
    fn silence_is_trouble_only_when_a_question_is_not_answered() {
        let condition = condition();
        condition.doubt();
        assert_eq!(condition.health(), Health::Writable);
        assert!(condition.needs_proof());
        condition.disproved("timed out");
        assert_eq!(condition.health(), refusing("no broker of kafka:9092 works: timed out"));
    }

    #[test]
    fn a_fatal_error_is_not_over_with_the_first_proof_of_the_next_client() {
        let condition = condition();
        condition.fatal("not authorised".to_owned());
        condition.proved();
        condition.stored();
        assert!(condition.is_fatal());
        assert_eq!(condition.health(), refusing("not authorised"));
        let next = condition.inherit();
        assert!(!next.is_fatal());
        next.proved();
        assert_eq!(next.health(), refusing("not authorised"));
        next.proved();
        assert_eq!(next.health(), Health::Writable);
    }
}
