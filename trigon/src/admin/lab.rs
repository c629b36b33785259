//! The filter lab: Triggers as they are written, tried on the last events of a Broker beside those in force.
//!
//! Nothing is changed and nothing delivered. [`LABS`] run at a time; each reads the log as any reader does and holds
//! no more of it than [`Newest`] does and [`SLICE`] beside. Triggers are read and events looked at on threads that
//! may block, [`TURN`] at a time, so that neither holds up anything else.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use trigon_core::binding::record::{Audience, Envelope};
use trigon_core::lab::{Change, Lab, Placed};
use trigon_core::name::{BrokerId, Installation, Position, TriggerId};
use trigon_core::record::{Record, Timestamp};
use trigon_core::routing::{Broker, RoutingTable};
use trigon_crds::{MAX_FILE, load_triggers};
use trigon_eventlog::{LogError, SharedLog};
use trigon_runtime::body::read_all;

use super::{Admin, Refused};
use crate::newest::Newest;
use crate::shown;

pub(crate) mod view;

use view::{ComparisonView, LabView};

/// How many events are looked at when it is not said.
pub(crate) const DEFAULT_LAST: u64 = 10_000;

/// How many events may be looked at.
pub(crate) const MAX_LAST: u64 = 1_000_000;

/// How many Triggers may be tried at once.
pub(crate) const MAX_TRIGGERS: usize = 100;

/// So many labs of a process run at a time.
const LABS: usize = 1;

/// How long the Triggers may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// So many bytes of records are taken from the log before they are looked at, and at least one record.
const SLICE: usize = 1 << 20;

/// After this long, and at least one event, a lab looks up: if its reader has gone, it ends.
const TURN: Duration = Duration::from_millis(20);

/// While a lab runs, an empty line is written this often: a reader that has gone is noticed by it, and the lab ends.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What is asked beside the Triggers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabQuestion {
    #[serde(default = "default_last")]
    last: u64,
}

fn default_last() -> u64 {
    DEFAULT_LAST
}

/// The route of the lab.
pub(super) fn router() -> Router<Admin> {
    Router::new()
        .route("/v1/brokers/{namespace}/{name}/lab", post(run))
        .layer(Extension(Arc::new(Semaphore::new(LABS))))
}

/// Compares the Triggers in the body, which are YAML or JSON as files of routes have them, and answers with empty
/// lines until a [`LabView`] ends it.
async fn run(
    State(admin): State<Admin>,
    Path((namespace, name)): Path<(String, String)>,
    Query(question): Query<LabQuestion>,
    Extension(labs): Extension<Arc<Semaphore>>,
    body: Body,
) -> Result<Response, Refused> {
    let last = question.last;
    if !(1..=MAX_LAST).contains(&last) {
        return Err(Refused::Question(format!("last is {last}: write a number from 1 to {MAX_LAST}")));
    }
    let broker = admin.broker_named(&BrokerId::new(namespace, name))?;
    // Before anything is read: the body and what becomes of it are bounded by it.
    let permit = labs.try_acquire_owned().map_err(|_| Refused::Busy)?;
    let (written, permit) = written(body, permit).await?;
    let work = Work::new(&admin.table.load(), &broker, last, &written, permit)?;
    let (log, drain) = (Arc::clone(&admin.log), admin.drain);
    let comparing: BoxFuture<'static, LabView> = Box::pin(async move {
        let broker = work.view.broker.clone();
        tokio::select! {
            biased;
            () = drain.draining() => LabView { broker, error: Some("trigon is stopping".to_owned()), ..LabView::default() },
            view = work.run(&log) => view,
        }
    });
    let lines = stream::unfold(Some(comparing), |comparing| async {
        let mut comparing = comparing?;
        tokio::select! {
            view = &mut comparing => {
                let mut text = serde_json::to_vec(&view).expect("texts and numbers are JSON");
                text.push(b'\n');
                Some((Ok::<_, Infallible>(Bytes::from(text)), None))
            }
            () = sleep(HEARTBEAT) => Some((Ok(Bytes::from_static(b"\n")), Some(comparing))),
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// The table of the Triggers in the body, whatever their Brokers. The permit is held until they are read, even when
/// nobody waits for them any more.
async fn written(
    body: Body,
    permit: OwnedSemaphorePermit,
) -> Result<(RoutingTable, OwnedSemaphorePermit), Refused> {
    let wrong = |reason: String| Refused::Question(format!("could not read the Triggers: {reason}"));
    let read = timeout(BODY_TIMEOUT, read_all(body, MAX_FILE)).await;
    let read = read.map_err(|_| wrong(format!("they took longer than {BODY_TIMEOUT:?}")))?;
    let bytes = read.map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes.into()).map_err(|error| wrong(error.to_string()))?;
    let files = [("body".to_owned(), text)];
    let loading = spawn_blocking(move || (load_triggers(&Installation::default(), &files), permit));
    let (loaded, permit) = loading.await.map_err(|error| wrong(error.to_string()))?;
    let table = loaded.map_err(|problems| {
        let first = problems.first().map(ToString::to_string).unwrap_or_default();
        let more =
            if problems.len() > 1 { format!("; and {} more", problems.len() - 1) } else { String::new() };
        wrong(format!("{first}{more}"))
    })?;
    Ok((table, permit))
}

/// A lab that is set up.
struct Work {
    broker: Arc<Broker>,
    /// The names of the Triggers, and whether their filters are those in force, in the lab's order.
    triggers: Vec<(String, bool)>,
    view: LabView,
    tally: Tally,
}

/// What was found so far. It goes to the thread that looks at events and comes back, and so does the permit.
struct Tally {
    lab: Lab,
    /// When the first and the last event that was looked at were accepted.
    accepted: Option<(Timestamp, Timestamp)>,
    undecodable: u64,
    sent_again: u64,
    _permit: OwnedSemaphorePermit,
}

/// Records, oldest first.
type Slice = VecDeque<(Position, Record)>;

impl Work {
    fn new(
        in_force: &RoutingTable,
        broker: &Arc<Broker>,
        last: u64,
        written: &RoutingTable,
        permit: OwnedSemaphorePermit,
    ) -> Result<Self, Refused> {
        let wanted = written.brokers.get(&broker.id).map(|broker| &*broker.triggers).unwrap_or_default();
        if wanted.is_empty() {
            return Err(Refused::Question(format!("there is no Trigger of broker {} among them", broker.id)));
        }
        if wanted.len() > MAX_TRIGGERS {
            let count = wanted.len();
            return Err(Refused::Question(format!(
                "they are {count} Triggers: send at most {MAX_TRIGGERS} at once"
            )));
        }
        let running = |id: &TriggerId| {
            let (of, trigger) = in_force.trigger(id)?;
            (of.id == broker.id).then(|| trigger.filter.clone())
        };
        let changes: Vec<_> = wanted
            .iter()
            .map(|trigger| Change { filter: trigger.filter.clone(), running: running(&trigger.id) })
            .collect();
        let is_unchanged = |change: &Change| change.running.as_ref() == Some(&change.filter);
        let names = wanted.iter().map(|trigger| trigger.id.to_string());
        let others = written.brokers.values().filter(|other| other.id != broker.id);
        let skipped = others.flat_map(|other| &other.triggers).map(|trigger| trigger.id.to_string());
        Ok(Self {
            broker: Arc::clone(broker),
            triggers: names.zip(changes.iter().map(is_unchanged)).collect(),
            view: LabView {
                broker: broker.id.to_string(),
                last,
                skipped: skipped.collect(),
                ..LabView::default()
            },
            tally: Tally {
                lab: Lab::new(changes),
                accepted: None,
                undecodable: 0,
                sent_again: 0,
                _permit: permit,
            },
        })
    }

    async fn run(self, log: &SharedLog) -> LabView {
        let Self { broker, triggers, mut view, mut tally } = self;
        let mut error = None;
        match Newest::open(log, &broker.topic, view.last).await {
            Err(unopened) => error = Some(unopened),
            Ok(mut newest) => {
                let mut has_more = true;
                while has_more {
                    let mut slice = Slice::new();
                    has_more = fill(&mut slice, &mut newest).await.unwrap_or_else(|failed| {
                        error = Some(failed);
                        false
                    });
                    while !slice.is_empty() {
                        (tally, slice) = match spawn_blocking(|| tally.look(slice)).await {
                            Ok(looked) => looked,
                            Err(ended) => {
                                let error = Some(format!("the lab could not go on: {ended}"));
                                return LabView { error, ..view };
                            }
                        };
                    }
                }
                (view.missed, view.all) = (newest.missed(), newest.is_whole());
            }
        }
        let Tally { lab, accepted, undecodable, sent_again, .. } = tally;
        view.error = error.map(|error| format!("the log does not answer: {error}"));
        (view.undecodable, view.sent_again) = (undecodable, sent_again);
        view.from = accepted.map(|(first, _)| shown::rfc3339(first));
        view.to = accepted.map(|(_, last)| shown::rfc3339(last));
        view.events = lab.events();
        let found = lab.finish().into_iter().zip(triggers);
        view.triggers =
            found.map(|(found, (name, same))| ComparisonView::of(name, same, view.events, found)).collect();
        view
    }
}

/// Takes the next records, and tells whether there may be more. Those before an error are taken.
async fn fill(slice: &mut Slice, newest: &mut Newest) -> Result<bool, LogError> {
    let mut bytes = 0;
    while bytes < SLICE {
        let Some((position, record)) = newest.next().await? else { return Ok(false) };
        bytes += record.size() + size_of_val(&record);
        slice.push_back((position, record));
    }
    Ok(true)
}

impl Tally {
    /// Looks at records for a turn, and gives back those that are left.
    fn look(mut self, mut slice: Slice) -> (Self, Slice) {
        let start = Instant::now();
        while let Some((position, record)) = slice.pop_front() {
            let accepted = record.timestamp;
            match Envelope::decode(&record) {
                Err(_) => self.undecodable += 1,
                // It came before, and this time no filter is asked.
                Ok(Envelope { audience: Audience::Only(_), .. }) => self.sent_again += 1,
                Ok(Envelope { event, .. }) => {
                    self.lab.show(Placed { position, accepted, event: &event });
                    let (first, _) = *self.accepted.get_or_insert((accepted, accepted));
                    self.accepted = Some((first, accepted));
                }
            }
            if start.elapsed() >= TURN {
                break;
            }
        }
        (self, slice)
    }
}

#[cfg(test)]
mod tests;
