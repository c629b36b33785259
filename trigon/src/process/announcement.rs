//! What a process says when it serves: its Brokers and Triggers, where everything is, and what to try next.

use std::fmt;
use std::sync::Arc;

use trigon_core::routing::{Broker, RoutingTable, Trigger, TriggerState};

use crate::admin::view::broker_url;
use crate::routes::Source;
use crate::store::Whereabouts;
use crate::terminal::{BAD, BOLD, DIM, NAME, styled};

/// What there is to say.
#[derive(Clone, Debug)]
pub(crate) struct Announcement {
    /// Which process says it.
    pub(crate) role: Role,
    /// Where events are taken, if they are: `http://127.0.0.1:8080`.
    pub(crate) ingress: Option<String>,
    /// Where the admin port is.
    pub(crate) admin: String,
    /// Where the routes come from.
    pub(crate) source: Source,
    /// Where the log is.
    pub(crate) store: Whereabouts,
    /// The routes.
    pub(crate) table: Arc<RoutingTable>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Everything.
    Standalone,
    /// It takes events.
    Ingress,
    /// It delivers them.
    Dispatcher,
}

/// Where the tools look for the admin port by themselves.
const DEFAULT_ADMIN: &str = "http://127.0.0.1:8081";

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for broker in self.table.brokers.values() {
            self.broker(f, broker)?;
        }
        if self.table.brokers.is_empty() {
            let consequence = match self.role {
                Role::Standalone | Role::Ingress => "every event is refused",
                Role::Dispatcher => "nothing is delivered",
            };
            writeln!(f, "{}\n", styled(BAD, format_args!("there is no broker yet: {consequence}")))?;
        }
        let routes = match &self.source {
            Source::Folder(folder) => format!("{}, reloaded when it changes", folder.display()),
            Source::BuiltIn => "built in; put Broker and Trigger YAML into ./trigon.d for others".to_owned(),
        };
        writeln!(f, "{} {routes}", styled(DIM, "routes"))?;
        match &self.store {
            Whereabouts::Folder(folder) => writeln!(f, "{} {}", styled(DIM, "data  "), folder.display())?,
            Whereabouts::Kafka(brokers) => writeln!(f, "{} {}", styled(DIM, "kafka "), brokers.join(","))?,
        }
        if let (Role::Ingress, Some(ingress)) = (self.role, &self.ingress) {
            writeln!(f, "{} {ingress}/", styled(DIM, "events"))?;
        }
        writeln!(f, "{} {}/", styled(DIM, "admin "), self.admin)?;
        self.next(f)
    }
}

impl Announcement {
    fn broker(&self, f: &mut fmt::Formatter<'_>, broker: &Broker) -> fmt::Result {
        write!(f, "broker {}", styled(BOLD, &broker.id))?;
        match &self.ingress {
            Some(ingress) => writeln!(f, "  {}", styled(NAME, broker_url(ingress, &broker.id)))?,
            None => writeln!(f)?,
        }
        if broker.triggers.is_empty() {
            writeln!(f, "  {}", styled(DIM, "no triggers: events are kept, and delivered to nobody"))?;
        }
        if self.role != Role::Ingress {
            for trigger in &broker.triggers {
                line(f, trigger)?;
            }
        }
        writeln!(f)
    }

    fn next(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(broker) = self.table.brokers.keys().next() else { return Ok(()) };
        let admin = match self.admin.strip_prefix("http://") {
            Some(address) if self.admin != DEFAULT_ADMIN => format!(" --admin {address}"),
            _ => String::new(),
        };
        writeln!(f, "\nTry, in other terminals:")?;
        let Some(ingress) = &self.ingress else {
            return writeln!(f, "  trigon triggers{admin}");
        };
        let url = broker_url(ingress, broker);
        writeln!(f, "  trigon tail{admin}")?;
        writeln!(f, "  trigon send {url} --type hello --source me --data '{{\"n\": 1}}'")
    }
}

fn line(f: &mut fmt::Formatter<'_>, trigger: &Trigger) -> fmt::Result {
    let paused = match trigger.state {
        TriggerState::Active => String::new(),
        TriggerState::Paused => format!(" {}", styled(BAD, "paused")),
    };
    writeln!(f, "  trigger {}{paused}", styled(BOLD, &trigger.id))?;
    writeln!(f, "    {} {}", styled(DIM, "when"), trigger.filter)?;
    writeln!(f, "    {} {}", styled(DIM, "to  "), trigger.subscriber.text)?;
    let rest = match &trigger.delivery.dead_letter_sink {
        Some(sink) => sink.text.clone(),
        None => "parked".to_owned(),
    };
    let retries = match trigger.delivery.retry {
        0 => "without a retry".to_owned(),
        1 => "after 1 retry".to_owned(),
        n => format!("after {n} retries"),
    };
    writeln!(f, "    {} {rest}, {retries}", styled(DIM, "else"))
}

#[cfg(test)]
mod tests {
    use trigon_core::name::Installation;

    use super::*;

    fn announcement(source: Source, table: RoutingTable) -> String {
        let said = Announcement {
            role: Role::Standalone,
            ingress: Some("http://127.0.0.1:8080".to_owned()),
            admin: "http://127.0.0.1:9999".to_owned(),
            source,
            store: Whereabouts::Folder("./trigon-data".into()),
            table: Arc::new(table),
        };
        anstream::adapter::strip_str(&said.to_string()).to_string()
    }

    fn table(text: &str) -> RoutingTable {
        trigon_crds::load(
            &Installation::default(),
            &[("a.yaml".to_owned(), text.to_owned())],
            &trigon_crds::uris_only,
        )
        .unwrap()
    }

    #[test]
    fn each_broker_has_its_url_and_each_trigger_its_filter_in_words_and_its_subscriber() {
        let text = announcement(
            Source::Folder("./trigon.d".into()),
            table(
                "
apiVersion: eventing.knative.dev/v1
kind: Broker
metadata: {name: shop}
---
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: orders}
spec:
  broker: shop
  filter: {attributes: {type: order.created}}
  subscriber: {uri: 'http://127.0.0.1:9000/'}
  delivery: {retry: 2}
",
            ),
        );
        for part in [
            "broker default/shop  http://127.0.0.1:8080/default/shop\n",
            "  trigger default/orders\n    when type is \"order.created\"\n    to   http://127.0.0.1:9000/\n",
            "    else parked, after 2 retries\n",
            "routes ./trigon.d, reloaded when it changes\n",
            "admin  http://127.0.0.1:9999/\n",
            "  trigon tail --admin 127.0.0.1:9999\n",
            "  trigon send http://127.0.0.1:8080/default/shop --type hello",
        ] {
            assert!(text.contains(part), "{part:?} in\n{text}");
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let text = announcement(Source::BuiltIn, trigon_crds::built_in(&Installation::default()));
        assert!(
            text.contains("broker default/default  http://127.0.0.1:8080/default/default\n  no triggers"),
            "{text}"
        );
        assert!(text.contains("put Broker and Trigger YAML into ./trigon.d"), "{text}");
        let text = announcement(Source::Folder("x".into()), RoutingTable::default());
        assert!(text.starts_with("there is no broker yet"), "{text}");
    }
}
