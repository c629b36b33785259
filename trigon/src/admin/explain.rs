//! Why an event goes to a Trigger or does not, and where it stands: for an event of the log, or for one that is sent
//! along.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::{Query, State};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use trigon_core::binding::json;
use trigon_core::binding::record::Audience;
use trigon_core::event::Event;
use trigon_core::filter::{Explanation, Filter};
use trigon_core::name::{BrokerId, TopicPartition, TriggerId};
use trigon_core::routing::{Broker, Trigger, TriggerState};
use trigon_core::suggest::nearest;
use trigon_dispatcher::parked::Lookup;
use trigon_dispatcher::partition::Whereabouts;

use super::explained::{ExplainedEvent, ExplainedPage, ExplainedTrigger, SearchedView};
use super::search::{Found, Looked, RECORDS, Search, Wanted, search, without_data};
use super::standing::{Known, StandingView};
use super::{Admin, Refused};
use crate::failure::Chain;
use crate::shown;

/// An answer has explanations of so many bytes, or one.
const ANSWER_BYTES: usize = 16 << 20;

/// Which event is meant, and which Triggers.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ExplainQuestion {
    /// The event of the log with this `id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id: Option<String>,
    /// Of this `source`; without it, of any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) source: Option<String>,
    /// This Trigger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trigger: Option<String>,
    /// All Triggers of this Broker; beside a Trigger, where to look for its events.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) broker: Option<String>,
}

/// Explains the events of the log that have an id.
pub(super) async fn by_id(
    State(admin): State<Admin>,
    Query(question): Query<ExplainQuestion>,
) -> Result<Json<ExplainedPage>, Refused> {
    admin.dispatcher()?;
    let Some(id) = question.id.clone() else {
        return Err(Refused::Question(
            "say which event: id, and source where several have that id".to_owned(),
        ));
    };
    let (broker, triggers) = admin.asked(&question)?;
    let wanted = Wanted { id, source: question.source };
    let search = search(&admin.log, &broker.topic, &wanted, RECORDS).await?;
    admin.explain(&broker, triggers, search).await.map(Json)
}

/// Explains on a thread where nothing waits: all clauses of all Triggers, with what each nearly agrees with, are more
/// than a delivery costs.
async fn computed<T: Send + 'static>(explain: impl FnOnce() -> T + Send + 'static) -> Result<T, Refused> {
    let explained = tokio::task::spawn_blocking(explain).await;
    explained.map_err(|error| Refused::Failed(format!("could not explain: {}", Chain(&error))))
}

/// Explains an event that is sent along, in the JSON format.
pub(super) async fn sent_along(
    State(admin): State<Admin>,
    Query(question): Query<ExplainQuestion>,
    body: Bytes,
) -> Result<Json<ExplainedPage>, Refused> {
    if question.id.is_some() || question.source.is_some() {
        return Err(Refused::Question(
            "id and source are for events of the log, asked for with GET".to_owned(),
        ));
    }
    let (broker, triggers) = admin.asked(&question)?;
    let event = json::parse(&body).map_err(|error| Refused::Question(format!("the event: {error}")))?;
    let broker = Some(broker.id.to_string());
    let event = computed(move || {
        let all = triggers.iter().map(|trigger| (trigger.id.to_string(), &trigger.filter));
        ExplainedEvent::of(&event, all, &mut Room::default())
    });
    Ok(Json(ExplainedPage { broker, events: vec![event.await?], ..ExplainedPage::default() }))
}

impl Admin {
    /// The Broker and the Triggers that are meant.
    fn asked(&self, question: &ExplainQuestion) -> Result<(Arc<Broker>, Vec<Arc<Trigger>>), Refused> {
        let wrong =
            |field: &str, error: &dyn std::fmt::Display| Refused::Question(format!("{field}: {error}"));
        let trigger: Option<Result<TriggerId, _>> = question.trigger.as_deref().map(str::parse);
        let trigger = trigger.transpose().map_err(|error| wrong("trigger", &error))?;
        let broker: Option<Result<BrokerId, _>> = question.broker.as_deref().map(str::parse);
        let broker = broker.transpose().map_err(|error| wrong("broker", &error))?;
        let table = self.table.load();
        match (broker, trigger) {
            (None, None) => {
                Err(Refused::Question("say which trigger, or which broker for all of its".to_owned()))
            }
            (Some(broker), trigger) => {
                let found = table.brokers.get(&broker);
                let found = found.ok_or_else(|| Refused::Absent(format!("there is no broker {broker}")))?;
                let is_meant = |known: &&Arc<Trigger>| trigger.as_ref().is_none_or(|id| known.id == *id);
                Ok((Arc::clone(found), found.triggers.iter().filter(is_meant).cloned().collect()))
            }
            (None, Some(id)) => {
                let all = || {
                    table.brokers.values().flat_map(|broker| broker.triggers.iter().map(move |t| (broker, t)))
                };
                let found = all().find(|(_, trigger)| trigger.id == id);
                let (broker, trigger) = found.ok_or_else(|| {
                    let names: Vec<_> = all().map(|(_, trigger)| trigger.id.to_string()).collect();
                    let near = nearest(&id.to_string(), names.iter().map(String::as_str));
                    let hint = near.map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                    Refused::Absent(format!("there is no trigger {id}{hint}"))
                })?;
                Ok((Arc::clone(broker), vec![Arc::clone(trigger)]))
            }
        }
    }

    async fn explain(
        &self,
        broker: &Broker,
        triggers: Vec<Arc<Trigger>>,
        search: Search,
    ) -> Result<ExplainedPage, Refused> {
        let dispatcher = self.dispatcher()?;
        let is_ready = dispatcher.is_ready();
        // First the lanes and then the parked topic: what is parked between the two is found there.
        let at: Vec<Vec<Option<Whereabouts>>> = search
            .found
            .iter()
            .map(|found| {
                let partition =
                    TopicPartition { topic: broker.topic.clone(), partition: found.position.partition };
                let of = |trigger: &Arc<Trigger>| {
                    let at = dispatcher.whereabouts(&partition, found.position.offset, &trigger.id);
                    // Before it has its partitions, nobody knows whose they are.
                    if is_ready { at } else { at.or(Some(Whereabouts::Starting)) }
                };
                triggers.iter().map(of).collect()
            })
            .collect();
        let mut notes = Vec::new();
        let positions: BTreeSet<_> = search.found.iter().map(|found| found.position).collect();
        let parked = match dispatcher.parked().lookup(broker, &positions).await {
            Ok(parked) => parked,
            Err(error) => {
                notes.push(Chain(&error).to_string());
                Lookup::default()
            }
        };
        let name = broker.id.to_string();
        let page = ExplainedPage {
            broker: Some(name.clone()),
            more: search.more,
            searched: search.looked.iter().map(SearchedView::of).collect(),
            notes,
            ..ExplainedPage::default()
        };
        let events = computed(move || explained(&name, &triggers, &search.found, at, &parked));
        Ok(ExplainedPage { events: events.await?, ..page })
    }
}

/// Puts together what is known of each event for each Trigger; `at` has a row per event.
fn explained(
    broker: &str,
    triggers: &[Arc<Trigger>],
    found: &[Found],
    at: Vec<Vec<Option<Whereabouts>>>,
    parked: &Lookup,
) -> Vec<ExplainedEvent> {
    let mut room = Room::default();
    let explain = |(found, at): (&Found, Vec<_>)| {
        let all = triggers.iter().map(|trigger| (trigger.id.to_string(), &trigger.filter));
        let mut event = ExplainedEvent::of(&found.event, all, &mut room);
        event.place(found);
        for ((explained, trigger), at) in event.triggers.iter_mut().zip(triggers).zip(at) {
            let known = Known {
                matches: explained.matches,
                is_addressed: event.only.is_some(),
                is_paused: trigger.state == TriggerState::Paused,
                has_sink: trigger.delivery.dead_letter_sink.is_some(),
                parked: parked.get(found.position, &trigger.id),
                is_parked_whole: parked.is_whole,
                broker,
                now: shown::now(),
            };
            explained.standing = Some(StandingView::of(at, known));
        }
        event
    };
    found.iter().zip(at).map(explain).collect()
}

/// How much an answer has room for.
pub(crate) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(ANSWER_BYTES)
    }
}

impl Room {
    /// Whether there was room for that.
    fn take(&mut self, explanation: &Explanation) -> bool {
        let bytes = serde_json::to_vec(explanation).expect("texts and numbers are JSON").len();
        let fits = bytes <= self.0 || self.0 == ANSWER_BYTES;
        self.0 = self.0.saturating_sub(bytes);
        fits
    }
}

impl ExplainedEvent {
    /// What these filters, each with the name of its Trigger, make of an event.
    pub(crate) fn of<'a>(
        event: &Event,
        filters: impl IntoIterator<Item = (String, &'a Filter)>,
        room: &mut Room,
    ) -> Self {
        let mut explained = Self {
            partition: None,
            offset: None,
            accepted: None,
            only: None,
            event: raw(event),
            data_bytes: event.data().map(Bytes::len),
            triggers: Vec::new(),
            omitted: 0,
        };
        for (trigger, filter) in filters {
            // Those that are told are the first ones, in their order.
            let explanation = (explained.omitted == 0).then(|| filter.explain(event));
            let Some(explanation) = explanation.filter(|explanation| room.take(explanation)) else {
                explained.omitted += 1;
                continue;
            };
            let (matches, filter) = (explanation.passes, filter.to_string());
            explained.triggers.push(ExplainedTrigger {
                trigger,
                matches,
                filter,
                explanation,
                other_filter: None,
                standing: None,
            });
        }
        explained
    }

    /// Adds where it stands in the log, and for whom it is.
    fn place(&mut self, found: &Found) {
        self.partition = Some(found.position.partition.0);
        self.offset = Some(found.position.offset.0);
        self.accepted = Some(shown::rfc3339(found.accepted));
        self.data_bytes = found.data;
        if let Audience::Only(only) = &found.audience {
            let only = only.to_string();
            for explained in &mut self.triggers {
                explained.matches = explained.trigger == only;
            }
            self.only = Some(only);
        }
    }
}

impl SearchedView {
    fn of(looked: &Looked) -> Self {
        Self {
            partition: looked.partition.0,
            from: looked.from.0,
            to: looked.extent.end.0,
            start: looked.extent.start.0,
            trouble: looked.trouble.clone(),
        }
    }
}

fn raw(event: &Event) -> Box<RawValue> {
    shown::event_json(&without_data(event))
}
