//! A Broker's feed as lines of JSON, for as long as somebody reads them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::stream;
use tokio::time::{Interval, MissedTickBehavior, interval_at};
use trigon_core::binding::record::Audience;
use trigon_core::filter::Filter;
use trigon_core::name::BrokerId;
use trigon_runtime::shutdown::Drain;

use super::view::FeedLine;
use super::{Admin, Refused};
use crate::feed::{Entry, Feed};
use crate::shown;
use crate::values::Since;

/// When nothing else is sent for this long, an empty line is: a reader that has gone is noticed by it.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Answers with the events of a Broker.
///
/// # Errors
/// When there is no such Broker, the question is wrong, or the log cannot be read.
pub(super) async fn feed(
    State(admin): State<Admin>,
    Path((namespace, name)): Path<(String, String)>,
    Query(question): Query<Vec<(String, String)>>,
) -> Result<Response, Refused> {
    let (since, filter) = read(question)?;
    let id = BrokerId::new(namespace, name);
    let topic = admin.table.load().brokers.get(&id).map(|broker| broker.topic.clone());
    let topic = topic.ok_or_else(|| Refused::Absent(format!("there is no broker {id}")))?;
    let since = since.map(|since| since.timestamp(shown::now()));
    let feed = Feed::open(&admin.log, &topic, since).await?;
    let mut heartbeat = interval_at(tokio::time::Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let lines = Lines { broker: id.to_string(), feed, filter, heartbeat, drain: admin.drain };
    let body = stream::unfold(lines, |mut lines| async {
        let line = lines.next().await?;
        Some((Ok::<_, Infallible>(line), lines))
    });
    let headers = [(CONTENT_TYPE, "application/x-ndjson")];
    Ok((headers, Body::from_stream(body)).into_response())
}

fn read(question: Vec<(String, String)>) -> Result<(Option<Since>, Filter), Refused> {
    let mut since = None;
    let mut attributes = BTreeMap::new();
    for (name, value) in question {
        if name == "since" {
            let read: Result<Since, _> = value.parse();
            since = Some(read.map_err(|error| Refused::Question(format!("since: {error}")))?);
        } else if let Some(attribute) = name.strip_prefix("filter.") {
            attributes.insert(attribute.to_owned(), value);
        } else {
            return Err(Refused::Question(format!(
                "{name:?} is not asked for here, only since and filter.NAME are"
            )));
        }
    }
    let filter =
        Filter::attributes(&attributes).map_err(|error| Refused::Question(format!("filter: {error}")))?;
    Ok((since, filter))
}

struct Lines {
    broker: String,
    feed: Feed,
    filter: Filter,
    heartbeat: Interval,
    drain: Drain,
}

impl Lines {
    /// The next line; `None` when the process drains or the topic is gone.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let entry = tokio::select! {
                biased;
                () = self.drain.draining() => return None,
                entry = self.feed.next() => entry?,
                _ = self.heartbeat.tick() => return Some(Bytes::from_static(b"\n")),
            };
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    tracing::warn!(broker = self.broker, %error, "a feed has ended");
                    return None;
                }
            };
            if let Some(line) = self.line(entry) {
                let mut text = serde_json::to_vec(&line).expect("texts and numbers are JSON");
                text.push(b'\n');
                self.heartbeat.reset();
                return Some(text.into());
            }
        }
    }

    /// What to say of an entry; nothing when the filter says no.
    fn line(&self, entry: Entry) -> Option<FeedLine> {
        let line = FeedLine { broker: self.broker.clone(), ..FeedLine::default() };
        Some(match entry {
            Entry::Missed { partition, records } => {
                FeedLine { partition: partition.0, missed: Some(records), ..line }
            }
            Entry::Record { position, accepted, content } => {
                let (partition, offset) = (position.partition.0, Some(position.offset.0));
                let line = FeedLine { partition, offset, accepted: Some(shown::rfc3339(accepted)), ..line };
                match content {
                    Err(reason) => FeedLine { undecodable: Some(reason.to_string()), ..line },
                    Ok(envelope) if !self.filter.matches(&envelope.event) => return None,
                    Ok(envelope) => {
                        let only = match envelope.audience {
                            Audience::Matching => None,
                            Audience::Only(trigger) => Some(trigger.to_string()),
                        };
                        FeedLine { only, event: Some(shown::event_json(&envelope.event)), ..line }
                    }
                }
            }
        })
    }
}
