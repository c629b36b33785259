//! The admin address, as a tool reads it.

use std::collections::HashMap;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde_json::Value;

use crate::producer::{Answer, Producer};

/// A client of one admin address.
#[derive(Clone, Debug)]
pub struct Admin {
    url: String,
}

/// How a Trigger stands, summed over its partitions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TriggerStatus {
    /// `active`, `behind`, `paused`, `starting` or `elsewhere`
    pub state: String,
    /// Records of its topic that it has not looked at or not finished.
    pub lag: u64,
    /// Attempts under way.
    pub in_flight: u64,
    /// Events that wait for their turn.
    pub queued: u64,
    /// Events that wait for their next attempt.
    pub retrying: u64,
    /// Events that the filter let through since the process started; so all that follow.
    pub matched: u64,
    /// Events that the subscriber took.
    pub delivered: u64,
    /// Events that the dead letter sink took.
    pub dead_lettered: u64,
    /// Events that were parked.
    pub parked: u64,
    /// The `namespace/name` of its Broker.
    pub broker: String,
    /// The partitions in which the process that was asked delivers for it.
    pub partitions: Vec<u64>,
}

impl TriggerStatus {
    /// Takes in how the same Trigger stands in other partitions.
    pub fn add(&mut self, other: &Self) {
        if self.is_ready() && other.state != "elsewhere" || self.state == "elsewhere" {
            self.state.clone_from(&other.state);
        }
        self.lag += other.lag;
        self.in_flight += other.in_flight;
        self.queued += other.queued;
        self.retrying += other.retrying;
        self.matched += other.matched;
        self.delivered += other.delivered;
        self.dead_lettered += other.dead_lettered;
        self.parked += other.parked;
        self.partitions.extend(&other.partitions);
    }

    /// Whether it delivers by its current routes.
    pub fn is_ready(&self) -> bool {
        !matches!(&*self.state, "starting" | "elsewhere")
    }

    /// Whether nothing more will happen until another event is accepted.
    pub fn is_settled(&self) -> bool {
        self.is_ready() && self.lag == 0 && self.in_flight == 0 && self.queued == 0 && self.retrying == 0
    }
}

impl Admin {
    /// A client of `http://HOST:PORT`.
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into() }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// Asks for a path.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn ask(&self, path: &str) -> Result<Answer, String> {
        let client = Producer::new(format!("{}{path}", self.url));
        client.request(Method::GET, HeaderMap::new(), Bytes::new()).await
    }

    /// Asks for a path that has JSON.
    ///
    /// # Errors
    /// When there is no answer, or another one.
    pub async fn json(&self, path: &str) -> Result<Value, String> {
        let answer = self.ask(path).await?;
        if answer.status != StatusCode::OK {
            return Err(format!("{path} answered {}: {}", answer.status, answer.body));
        }
        serde_json::from_str(&answer.body).map_err(|error| format!("{path}: {error}: {}", answer.body))
    }

    /// The sum of a metric over all label sets that contain `labels`, which is text such as `trigger="a"`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn metric(&self, name: &str, labels: &str) -> Result<f64, String> {
        let answer = self.ask("/metrics").await?;
        let samples = answer.body.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (metric, of) = series.split_once('{').unwrap_or((series, ""));
            (metric == name && of.contains(labels)).then(|| value.parse::<f64>().ok())?
        });
        let samples: Vec<f64> = samples.collect();
        if samples.is_empty() {
            Err(format!("no sample of {name} with {labels}"))
        } else {
            Ok(samples.iter().sum())
        }
    }

    /// How all Triggers stand, by `namespace/name`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn triggers(&self) -> Result<Vec<(String, TriggerStatus)>, String> {
        let json = self.json("/v1/triggers").await?;
        let list = json.as_array().ok_or_else(|| format!("/v1/triggers has no list: {json}"))?;
        list.iter().map(|trigger| read(trigger).ok_or_else(|| format!("cannot read {trigger}"))).collect()
    }

    /// The same; a Trigger is `starting` while the process does not deliver for it in every partition.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn whole_triggers(&self) -> Result<Vec<(String, TriggerStatus)>, String> {
        let (mut triggers, partitions) = (self.triggers().await?, self.partitions().await?);
        mark_partial(&mut triggers, &partitions);
        Ok(triggers)
    }

    /// How many partitions each Broker's topic has, by `namespace/name`.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn partitions(&self) -> Result<HashMap<String, usize>, String> {
        let json = self.json("/v1/brokers").await?;
        let list = json.as_array().ok_or_else(|| format!("/v1/brokers has no list: {json}"))?;
        let read = |broker: &Value| {
            let count = usize::try_from(broker.get("partitions")?.as_u64()?).ok()?;
            Some((broker.get("broker")?.as_str()?.to_owned(), count))
        };
        list.iter().map(|broker| read(broker).ok_or_else(|| format!("cannot read {broker}"))).collect()
    }

    /// The ids of all parked events of a Broker of the namespace `default`, page by page.
    ///
    /// # Errors
    /// When there is no answer, or one that cannot be read.
    pub async fn parked(&self, broker: &str) -> Result<Vec<String>, String> {
        let mut ids = Vec::new();
        let mut from = String::new();
        loop {
            let page = self.json(&format!("/v1/parked?broker=default/{broker}&limit=1000{from}")).await?;
            let events = page["events"].as_array().ok_or_else(|| format!("{page} has no events"))?;
            ids.extend(events.iter().filter_map(|event| Some(event["event"]["id"].as_str()?.to_owned())));
            match page["next"].as_u64() {
                Some(next) => from = format!("&from={next}"),
                None => return Ok(ids),
            }
        }
    }
}

fn read(trigger: &Value) -> Option<(String, TriggerStatus)> {
    let count = |name: &str| trigger.get(name).and_then(Value::as_u64);
    let cursors = trigger.get("cursors")?.as_array()?.iter();
    let partitions = cursors.map(|cursor| cursor.get("partition")?.as_u64());
    let status = TriggerStatus {
        state: trigger.get("state")?.as_str()?.to_owned(),
        lag: count("lag")?,
        in_flight: count("in_flight")?,
        queued: count("queued")?,
        retrying: count("retrying")?,
        matched: count("matched")?,
        delivered: count("delivered")?,
        dead_lettered: count("dead_lettered")?,
        parked: count("parked")?,
        broker: trigger.get("broker")?.as_str()?.to_owned(),
        partitions: partitions.collect::<Option<_>>()?,
    };
    Some((trigger.get("trigger")?.as_str()?.to_owned(), status))
}

/// Calls those Triggers `starting` that are not delivered for in each partition once.
pub(crate) fn mark_partial(triggers: &mut [(String, TriggerStatus)], partitions: &HashMap<String, usize>) {
    for (_, status) in triggers {
        if partitions.get(&status.broker) != Some(&status.partitions.len()) {
            status.state = "starting".to_owned();
        }
    }
}
