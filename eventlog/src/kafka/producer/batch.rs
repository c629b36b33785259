//! One append: the reports on its records, and the answer that they add up to.

use std::sync::{Arc, Mutex};

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::oneshot;
use trigon_core::name::{Offset, PartitionId, Position};

use super::gate::Charge;

/// A lock is held for one report: nothing panics under it.
const LOCKED: &str = "nobody panics while holding a batch";

/// What became of all records of an append.
pub(super) type Answer = Result<Vec<Position>, Failure>;

/// Why an append was not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// What the first record that failed met.
    pub(super) code: RDKafkaErrorCode,
    /// The records that were stored.
    pub(super) stored: usize,
    /// The records that may have been stored.
    pub(super) doubtful: usize,
    /// All records.
    pub(super) total: usize,
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
pub(super) struct Batch {
    reports: Mutex<Reports>,
    _charge: Charge,
}

/// Asks for the report on one record.
pub(super) struct Ticket {
    batch: Arc<Batch>,
    index: usize,
}

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
    first: Option<RDKafkaErrorCode>,
}

impl Batch {
    /// Waits for so many reports.
    pub(super) fn new(records: usize, charge: Charge) -> (Arc<Self>, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let reports = Reports { missing: records, tally: Tally::new(records), answer: Some(answer) };
        (Arc::new(Self { reports: Mutex::new(reports), _charge: charge }), answered)
    }

    /// Asks for the report on the record at `index`.
    pub(super) fn ticket(self: &Arc<Self>, index: usize) -> Ticket {
        Ticket { batch: self.clone(), index }
    }

    /// Reports that so many records were not even sent.
    pub(super) fn unsent(&self, records: usize, code: RDKafkaErrorCode) {
        self.report(records, |tally| tally.failed(code, Fate::NotStored));
    }

    fn report(&self, records: usize, add: impl FnOnce(&mut Tally)) {
        let mut reports = self.reports.lock().expect(LOCKED);
        add(&mut reports.tally);
        reports.missing -= records;
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
        self.batch.report(1, |tally| tally.stored(self.index, at));
    }

    /// The record was not acknowledged.
    pub(super) fn failed(self, code: RDKafkaErrorCode, fate: Fate) {
        self.batch.report(1, |tally| tally.failed(code, fate));
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

    fn failed(&mut self, code: RDKafkaErrorCode, fate: Fate) {
        self.doubtful += usize::from(fate == Fate::Unknown);
        self.first.get_or_insert(code);
    }

    /// What the reports add up to, once all are there.
    fn answer(&mut self) -> Answer {
        match self.first {
            None => Ok(std::mem::take(&mut self.positions)),
            Some(code) => Err(Failure {
                code,
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

    fn batch(records: usize) -> (Arc<Batch>, oneshot::Receiver<Answer>) {
        let gate = Arc::new(Gate::new(Load { records: 10, bytes: 10 }));
        Batch::new(records, gate.admit(Load { records, bytes: 1 }).unwrap())
    }

    fn position(partition: u32, offset: u64) -> Position {
        Position { partition: PartitionId(partition), offset: Offset(offset) }
    }

    #[test]
    fn positions_are_in_the_order_of_the_records_whatever_the_order_of_the_reports() {
        let (batch, mut answered) = batch(3);
        batch.ticket(2).stored(position(1, 5));
        batch.ticket(0).stored(position(1, 4));
        assert!(answered.try_recv().is_err(), "one report is missing");
        batch.ticket(1).stored(position(0, 9));
        assert_eq!(answered.try_recv().unwrap(), Ok(vec![position(1, 4), position(0, 9), position(1, 5)]));
    }

    #[test]
    fn one_record_that_may_be_stored_makes_the_answer_doubtful() {
        let (batch, mut answered) = batch(3);
        batch.ticket(0).stored(position(0, 1));
        batch.ticket(1).failed(RDKafkaErrorCode::MessageTimedOut, Fate::Unknown);
        batch.ticket(2).failed(RDKafkaErrorCode::NotEnoughReplicas, Fate::NotStored);
        let failure = Failure { code: RDKafkaErrorCode::MessageTimedOut, stored: 1, doubtful: 1, total: 3 };
        assert_eq!(answered.try_recv().unwrap(), Err(failure));
    }

    #[test]
    fn what_was_not_sent_was_not_stored() {
        let (batch, mut answered) = batch(3);
        let ticket = batch.ticket(0);
        batch.unsent(2, RDKafkaErrorCode::UnknownTopic);
        ticket.failed(RDKafkaErrorCode::UnknownTopicOrPartition, Fate::NotStored);
        let failure = Failure { code: RDKafkaErrorCode::UnknownTopic, stored: 0, doubtful: 0, total: 3 };
        assert_eq!(answered.try_recv().unwrap(), Err(failure));
    }
}
