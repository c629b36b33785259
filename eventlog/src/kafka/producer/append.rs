//! One append: what became of each of its records, and the answer that they add up to.

use std::fmt;
use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;
use trigon_core::name::{Offset, PartitionId, Position};

use super::gate::Charge;

/// A lock is held for one report: nothing panics under it.
const LOCKED: &str = "nobody panics while holding an append";

/// What became of all records of an append.
pub(super) type Answer = Result<Vec<Position>, Failure>;

/// Why an append was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// Why the first record failed that did.
    pub(super) cause: Cause,
    /// The records that were stored.
    pub(super) stored: usize,
    /// The records that may have been stored.
    pub(super) doubtful: usize,
    /// All records.
    pub(super) total: usize,
}

/// Why a record was not acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// There is no such topic.
    UnknownTopic,
    /// Kafka does not take a record of that size.
    TooLarge,
    /// The deadline has passed; what was last in the way, if that is known.
    Late(Option<Arc<str>>),
    /// Waiting changes nothing.
    Refused(Arc<str>),
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownTopic => f.write_str("the topic does not exist"),
            Self::TooLarge => f.write_str("a record is larger than the topic's max.message.bytes"),
            Self::Late(None) => f.write_str("it took nothing within the append deadline"),
            Self::Late(Some(complaint)) => {
                write!(f, "it took nothing within the append deadline: {complaint}")
            }
            Self::Refused(reason) => f.write_str(reason),
        }
    }
}

/// What became of a record that was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is certainly not in the log.
    NotStored,
    /// It may be.
    Unknown,
}

/// An append that waits for reports.
#[derive(Debug)]
pub(super) struct Append {
    reports: Mutex<Reports>,
    _charge: Charge,
}

/// Asks for the report on one record.
#[derive(Debug)]
pub(super) struct Ticket {
    append: Arc<Append>,
    index: usize,
}

#[derive(Debug)]
struct Reports {
    missing: usize,
    tally: Tally,
    answer: Option<oneshot::Sender<Answer>>,
}

/// The reports so far.
#[derive(Debug, PartialEq, Eq)]
struct Tally {
    positions: Vec<Position>,
    stored: usize,
    doubtful: usize,
    first: Option<Cause>,
}

impl Append {
    /// Waits for so many reports.
    pub(super) fn new(records: usize, charge: Charge) -> (Arc<Self>, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let reports = Reports { missing: records, tally: Tally::new(records), answer: Some(answer) };
        (Arc::new(Self { reports: Mutex::new(reports), _charge: charge }), answered)
    }

    /// Asks for the report on the record at `index`.
    pub(super) fn ticket(self: &Arc<Self>, index: usize) -> Ticket {
        Ticket { append: Arc::clone(self), index }
    }

    fn report(&self, add: impl FnOnce(&mut Tally)) {
        let mut reports = self.reports.lock().expect(LOCKED);
        add(&mut reports.tally);
        reports.missing -= 1;
        if reports.missing > 0 {
            return;
        }
        let answer = reports.tally.answer();
        if let Some(waiting) = reports.answer.take() {
            // Whoever waited may have gone; the records are stored all the same.
            drop(waiting.send(answer));
        }
    }
}

impl Ticket {
    /// The record is stored.
    pub(super) fn stored(self, at: Position) {
        self.append.report(|tally| tally.stored(self.index, at));
    }

    /// The record was not acknowledged.
    pub(super) fn failed(self, cause: Cause, fate: Fate) {
        self.append.report(|tally| tally.failed(cause, fate));
    }
}

impl Tally {
    fn new(records: usize) -> Self {
        let nowhere = Position { partition: PartitionId(0), offset: Offset(0) };
        Self { positions: vec![nowhere; records], stored: 0, doubtful: 0, first: None }
    }

    fn stored(&mut self, index: usize, at: Position) {
        self.positions[index] = at;
        self.stored += 1;
    }

    fn failed(&mut self, cause: Cause, fate: Fate) {
        self.doubtful += usize::from(fate == Fate::Unknown);
        self.first.get_or_insert(cause);
    }

    /// What the reports add up to, once all are there.
    fn answer(&mut self) -> Answer {
        match self.first.take() {
            None => Ok(std::mem::take(&mut self.positions)),
            Some(cause) => Err(Failure {
                cause,
                stored: self.stored,
                doubtful: self.doubtful,
                total: self.positions.len(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::producer::gate::{Gate, Load};

    fn append(records: usize) -> (Arc<Append>, oneshot::Receiver<Answer>) {
        let gate = Arc::new(Gate::new(Load { records: 10, bytes: 10 }));
        Append::new(records, gate.admit(Load { records, bytes: 1 }).unwrap())
    }

    fn position(partition: u32, offset: u64) -> Position {
        Position { partition: PartitionId(partition), offset: Offset(offset) }
    }

    #[test]
    fn positions_are_in_the_order_of_the_records_whatever_the_order_of_the_reports() {
        let (append, mut answered) = append(3);
        append.ticket(2).stored(position(1, 5));
        append.ticket(0).stored(position(1, 4));
        assert!(answered.try_recv().is_err(), "one report is missing");
        append.ticket(1).stored(position(0, 9));
        assert_eq!(answered.try_recv().unwrap(), Ok(vec![position(1, 4), position(0, 9), position(1, 5)]));
    }

    #[test]
    fn one_record_that_may_be_stored_makes_the_answer_doubtful() {
        let (append, mut answered) = append(3);
        append.ticket(0).stored(position(0, 1));
        append.ticket(1).failed(Cause::Late(None), Fate::Unknown);
        append.ticket(2).failed(Cause::TooLarge, Fate::NotStored);
        let failure = Failure { cause: Cause::Late(None), stored: 1, doubtful: 1, total: 3 };
        assert_eq!(answered.try_recv().unwrap(), Err(failure));
    }
}
