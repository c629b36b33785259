//! Parked events, listed, shown and sent again.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use bytestring::ByteString;
use futures::future::BoxFuture;
use futures::stream;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use trigon_core::name::{BrokerId, Offset, TriggerId};
use trigon_core::routing::Broker;
use trigon_dispatcher::parked::{
    Direction, PAGE_MAX, Page, Parked, ParkedError, ParkedEvent, Redriven, Selection,
};

use super::view::{ParkedPage, ParkedView, RedriveLine};
use super::{Admin, Refused};
use crate::failure::Chain;
use crate::shown;

/// While events are being sent again, an empty line is written this often: a reader that has gone is noticed by it,
/// and the sending ends.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Which parked events are meant.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ParkedQuestion {
    /// Those of this Broker; without it, of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broker: Option<String>,
    /// Those of this Trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<String>,
    /// Those whose event has this `id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The one at this offset; with a Broker only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    /// The `next` of the page before; with a Broker only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) from: Option<u64>,
    /// At most so many.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) limit: Option<usize>,
}

/// What is to be sent again.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RedriveOrder {
    /// Those of this Broker; without it, of all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broker: Option<String>,
    /// Those of this Trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<String>,
    /// Those whose event has this `id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// The one at this offset; with a Broker only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) offset: Option<u64>,
    /// All that are meant by `broker`, or all there are; must be said, lest a forgotten field means everything.
    pub(crate) all: bool,
    /// At most so many per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
}

/// A page holds at most so many bytes of events, or one event.
const PAGE_BYTES: usize = 16 << 20;

/// How many events a list has when it is not said.
const DEFAULT_LIMIT: usize = 100;

/// Lists parked events that have not been sent again, Broker by Broker, those parked last first.
pub(super) async fn list(
    State(admin): State<Admin>,
    Query(question): Query<ParkedQuestion>,
) -> Result<Json<ParkedPage>, Refused> {
    let dispatcher = admin.dispatcher()?;
    let brokers = admin.meant(question.broker.as_deref())?;
    let selection = selection(question.trigger.as_deref(), question.id, question.offset)?;
    let limit = question.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, PAGE_MAX);
    if question.broker.is_none() && (question.from.is_some() || question.offset.is_some()) {
        return Err(Refused::Question("from and offset need a broker".to_owned()));
    }
    let mut all = ParkedPage::default();
    for broker in &brokers {
        let (parked, from) = (dispatcher.parked(), question.from.map(Offset));
        let mut page = parked.list(broker, &selection, Direction::NewestFirst, from, limit).await?;
        cut(&mut page);
        all.events.extend(page.events.iter().map(|event| ParkedView::of(&broker.id, event)));
        all.next = page.next.map(|offset| offset.0).filter(|_| question.broker.is_some());
    }
    Ok(Json(all))
}

/// Ends a page where it gets too large; the next one goes on from there.
fn cut(page: &mut Page) {
    let mut bytes = 0;
    let fits = page.events.iter().take_while(|event| {
        let is_first = bytes == 0;
        bytes += event.envelope.event.size().max(1);
        is_first || bytes <= PAGE_BYTES
    });
    let fits = fits.count();
    if fits < page.events.len() {
        page.events.truncate(fits);
        page.next = page.events.last().map(|event| event.offset);
    }
}

/// Shows one parked event as a whole.
pub(super) async fn show(
    State(admin): State<Admin>,
    Path((namespace, name, offset)): Path<(String, String, u64)>,
) -> Result<Json<ParkedView>, Refused> {
    let dispatcher = admin.dispatcher()?;
    let id = BrokerId::new(namespace, name);
    let broker = admin.broker_named(&id)?;
    let event = dispatcher.parked().show(&broker, Offset(offset)).await?;
    let event = event.ok_or_else(|| Refused::Absent(format!("there is no parked event {id}/{offset}")))?;
    Ok(Json(ParkedView::of(&id, &event)))
}

/// Sends parked events again, and answers with empty lines until a [`RedriveLine`] ends it.
pub(super) async fn redrive(
    State(admin): State<Admin>,
    Json(order): Json<RedriveOrder>,
) -> Result<Response, Refused> {
    let dispatcher = admin.dispatcher()?;
    let brokers = admin.meant(order.broker.as_deref())?;
    let is_narrow = order.trigger.is_some() || order.id.is_some() || order.offset.is_some();
    if !is_narrow && !order.all {
        let reason = "say which events: all, or those of a trigger, an id or an offset";
        return Err(Refused::Question(reason.to_owned()));
    }
    if order.offset.is_some() && order.broker.is_none() {
        return Err(Refused::Question("offset needs a broker".to_owned()));
    }
    if order.rate.is_some_and(|rate| !rate.is_finite() || rate <= 0.0) {
        return Err(Refused::Question("rate: write a number per second above 0".to_owned()));
    }
    let selection = selection(order.trigger.as_deref(), order.id, order.offset)?;
    let sending: BoxFuture<'static, RedriveLine> =
        Box::pin(send_again(dispatcher.parked().clone(), brokers, selection, order.rate));
    let lines = stream::unfold(Some(sending), |sending| async {
        let mut sending = sending?;
        tokio::select! {
            line = &mut sending => {
                let mut text = serde_json::to_vec(&line).expect("texts and numbers are JSON");
                text.push(b'\n');
                Some((Ok::<_, Infallible>(Bytes::from(text)), None))
            }
            () = sleep(HEARTBEAT) => Some((Ok(Bytes::from_static(b"\n")), Some(sending))),
        }
    });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn send_again(
    parked: Parked,
    brokers: Vec<Arc<Broker>>,
    selection: Selection,
    rate: Option<f64>,
) -> RedriveLine {
    let mut line = RedriveLine::default();
    for broker in brokers {
        match parked.redrive(&broker, &selection, rate).await {
            Ok(done) => line.add(done),
            Err(error) => {
                if let ParkedError::Append { so_far, .. } = &error {
                    line.add(*so_far);
                }
                line.error = Some(Chain(&error).to_string());
                return line;
            }
        }
    }
    line
}

impl Admin {
    /// The Broker that is named, or all.
    fn meant(&self, broker: Option<&str>) -> Result<Vec<Arc<Broker>>, Refused> {
        match broker {
            None => Ok(self.table.load().brokers.values().cloned().collect()),
            Some(name) => {
                let id: BrokerId =
                    name.parse().map_err(|error| Refused::Question(format!("broker: {error}")))?;
                self.broker_named(&id).map(|broker| vec![broker])
            }
        }
    }

    pub(super) fn broker_named(&self, id: &BrokerId) -> Result<Arc<Broker>, Refused> {
        let broker = self.table.load().brokers.get(id).cloned();
        broker.ok_or_else(|| Refused::Absent(format!("there is no broker {id}")))
    }
}

fn selection(trigger: Option<&str>, id: Option<String>, offset: Option<u64>) -> Result<Selection, Refused> {
    let trigger: Option<Result<TriggerId, _>> = trigger.map(str::parse);
    let trigger = trigger.transpose().map_err(|error| Refused::Question(format!("trigger: {error}")))?;
    Ok(Selection { trigger, id, offset: offset.map(Offset) })
}

impl From<ParkedError> for Refused {
    fn from(error: ParkedError) -> Self {
        Self::Parked(error)
    }
}

impl ParkedView {
    fn of(broker: &BrokerId, parked: &ParkedEvent) -> Self {
        Self {
            id: format!("{broker}/{}", parked.offset),
            broker: broker.to_string(),
            trigger: parked.trigger.as_ref().map(ToString::to_string),
            partition: parked.original.partition.0,
            offset: parked.original.offset.0,
            parked_at: shown::rfc3339(parked.parked_at),
            reason: parked.reason.clone(),
            headers: parked.headers.iter().map(readable).collect(),
            event: shown::event_json(&parked.envelope.event),
        }
    }
}

fn readable((name, value): &(ByteString, Bytes)) -> (String, String) {
    (name.to_string(), String::from_utf8_lossy(value).into_owned())
}

impl RedriveLine {
    fn add(&mut self, done: Redriven) {
        self.sent += done.sent;
        self.orphaned += done.orphaned;
        self.undecodable += done.undecodable;
    }
}
