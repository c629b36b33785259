//! `trigon parked`: events that neither their subscriber nor a dead letter sink took, listed, shown and sent again.

use std::str::FromStr;

use bytes::Bytes;
use clap::{Args, Subcommand};
use serde::Deserialize;
use trigon_core::binding::json;
use trigon_core::name::{BrokerId, TriggerId};

use crate::admin::parked::RedriveOrder;
use crate::admin::view::{BrokerView, ParkedPage, ParkedView, RedriveLine};
use crate::failure::Failure;
use crate::remote::{Remote, RemoteArguments, encoded};
use crate::shown;
use crate::table::{Cell, Table};
use crate::terminal::{BAD, BOLD, DIM, GOOD, OutputFormat, Terminal, styled};
use crate::values;

/// What to do with parked events.
#[derive(Debug, Subcommand)]
pub(crate) enum ParkedCommand {
    /// List parked events, those parked last first
    List(ListArguments),
    /// Show one parked event, with its data and why it failed
    Show(ShowArguments),
    /// Send parked events to their Triggers again
    Redrive(RedriveArguments),
}

/// Which events are meant.
#[derive(Debug, Args)]
pub(crate) struct Meant {
    /// Those of this Broker
    #[arg(long, short, value_name = "NAMESPACE/NAME", env = "TRIGON_PARKED_BROKER")]
    broker: Option<BrokerId>,
    /// Those of this Trigger
    #[arg(long, short, value_name = "NAMESPACE/NAME", env = "TRIGON_PARKED_TRIGGER")]
    trigger: Option<TriggerId>,
    /// Those whose event has this id
    #[arg(long, env = "TRIGON_PARKED_ID")]
    id: Option<String>,
}

/// Which events to list.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trigon parked list
  trigon parked list --trigger default/orders --limit 10
  trigon parked list --output json | jq -r .reason | sort | uniq -c")]
pub(crate) struct ListArguments {
    #[command(flatten)]
    meant: Meant,
    /// At most so many
    #[arg(long, short = 'n', value_name = "N", env = "TRIGON_PARKED_LIMIT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    /// For people, or one JSON object per event
    #[arg(long, short, env = "TRIGON_OUTPUT", default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Which event to show.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trigon parked show default/default/17
  trigon parked show default/default/17 --output json | jq .event.data")]
pub(crate) struct ShowArguments {
    /// The event, as the list names it
    #[arg(value_name = "NAMESPACE/BROKER/OFFSET", env = "TRIGON_PARKED_EVENT")]
    event: ParkedName,
    /// For people, or a JSON object
    #[arg(long, short, env = "TRIGON_OUTPUT", default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Which events to send again.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trigon parked redrive default/default/17
  trigon parked redrive --trigger default/orders --rate 50
  trigon parked redrive --all

An event goes to the Trigger that it was parked for and to no other, with all its retries. When it fails again, it is
parked again. Stopping the command stops the sending.")]
pub(crate) struct RedriveArguments {
    /// One event, as the list names it
    #[arg(value_name = "NAMESPACE/BROKER/OFFSET", env = "TRIGON_PARKED_EVENT", conflicts_with_all = ["broker", "trigger", "id", "all"])]
    event: Option<ParkedName>,
    #[command(flatten)]
    meant: Meant,
    /// All of them, or all of --broker
    #[arg(long, env = "TRIGON_PARKED_ALL")]
    all: bool,
    /// At most so many per second [default: as fast as the log takes them]
    #[arg(long, short, env = "TRIGON_PARKED_RATE", value_parser = values::rate)]
    rate: Option<f64>,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// A parked event: its Broker and its offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ParkedName {
    broker: BrokerId,
    offset: u64,
}

impl FromStr for ParkedName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.rsplit_once('/').and_then(|(broker, offset)| {
            Some(Self { broker: broker.parse().ok()?, offset: offset.parse().ok()? })
        });
        parts.ok_or_else(|| "write it as trigon parked list does, for instance default/default/17".to_owned())
    }
}

/// Does what is asked.
///
/// # Errors
/// When trigon cannot be reached or refuses, or events could not be sent again.
pub(crate) async fn run(command: &ParkedCommand, terminal: &Terminal) -> Result<(), Failure> {
    match command {
        ParkedCommand::List(arguments) => list(arguments, terminal).await,
        ParkedCommand::Show(arguments) => show(arguments, terminal).await,
        ParkedCommand::Redrive(arguments) => redrive(arguments, terminal).await,
    }
}

async fn list(arguments: &ListArguments, terminal: &Terminal) -> Result<(), Failure> {
    let remote = Remote::new(&arguments.remote)?;
    let brokers = match &arguments.meant.broker {
        Some(broker) => vec![broker.to_string()],
        None => {
            remote.get::<Vec<BrokerView>>("/v1/brokers").await?.into_iter().map(|view| view.broker).collect()
        }
    };
    let mut left = usize::try_from(arguments.limit).unwrap_or(usize::MAX);
    let mut rows = Vec::new();
    for broker in &brokers {
        let mut from = None;
        while left > 0 {
            let page: ParkedPage = remote.get(&path(broker, &arguments.meant, from, left)).await?;
            left = left.saturating_sub(page.events.len());
            match arguments.output {
                OutputFormat::Json => {
                    page.events.iter().try_for_each(|view| terminal.print(json_line(view)))?
                }
                OutputFormat::Text => rows.extend(page.events.iter().map(Row::of)),
            }
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
    if arguments.output == OutputFormat::Json {
        return Ok(());
    }
    if rows.is_empty() {
        return terminal.note("nothing is parked");
    }
    terminal.print(table(rows))?;
    if left == 0 { terminal.note("there may be more; --limit shows them") } else { Ok(()) }
}

fn path(broker: &str, meant: &Meant, from: Option<u64>, limit: usize) -> String {
    let given = [
        ("broker", Some(broker.to_owned())),
        ("trigger", meant.trigger.as_ref().map(ToString::to_string)),
        ("id", meant.id.clone()),
        ("from", from.map(|offset| offset.to_string())),
        ("limit", Some(limit.to_string())),
    ];
    let given = given.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", encoded(&value?))));
    format!("/v1/parked?{}", given.collect::<Vec<_>>().join("&"))
}

async fn show(arguments: &ShowArguments, terminal: &Terminal) -> Result<(), Failure> {
    let ParkedName { broker, offset } = &arguments.event;
    let path = format!("/v1/parked/{}/{}/{offset}", encoded(&broker.namespace), encoded(&broker.name));
    let view: ParkedView = Remote::new(&arguments.remote)?.get(&path).await?;
    match arguments.output {
        OutputFormat::Json => terminal.print(json_line(&view)),
        OutputFormat::Text => terminal.print(text(view)?),
    }
}

async fn redrive(arguments: &RedriveArguments, terminal: &Terminal) -> Result<(), Failure> {
    let Meant { broker, trigger, id } = &arguments.meant;
    if arguments.event.is_none() && trigger.is_none() && id.is_none() && !arguments.all {
        let message = "say which events: one as the list names it, --trigger, --id, or --all for all of them";
        return Err(Failure::Usage(message.to_owned()));
    }
    let one = arguments.event.as_ref();
    let order = RedriveOrder {
        broker: one.map(|event| &event.broker).or(broker.as_ref()).map(ToString::to_string),
        trigger: trigger.as_ref().map(ToString::to_string),
        id: id.clone(),
        offset: one.map(|event| event.offset),
        all: arguments.all,
        rate: arguments.rate,
    };
    let mut lines = Remote::new(&arguments.remote)?.post("/v1/parked/redrive", &order, 0).await?;
    let line = lines.next().await?;
    let done: RedriveLine = serde_json::from_slice(&line)
        .map_err(|error| Failure::of("could not read what became of the events", &error))?;
    terminal.print(format_args!("{} {}\n", styled(GOOD, "sent again"), done.sent))?;
    if done.orphaned > 0 {
        terminal.note(format_args!("{} stay parked: their Trigger is gone", done.orphaned))?;
    }
    if done.undecodable > 0 {
        let records = done.undecodable;
        terminal.note(format_args!("{records} stay parked: they are records that are not CloudEvents"))?;
    }
    match done.error {
        Some(error) => Err(Failure::Failed(format!("stopped after {}: {error}", done.sent))),
        None => Ok(()),
    }
}

fn json_line(view: &ParkedView) -> String {
    format!("{}\n", serde_json::to_string(view).expect("texts and numbers are JSON"))
}

/// Whose a record is that is not a CloudEvent.
const NO_TRIGGER: &str = "no trigger";

/// What the list shows of an event.
struct Row {
    name: String,
    parked_at: String,
    trigger: String,
    glance: Glance,
    reason: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Glance {
    id: String,
    #[serde(rename = "type")]
    event_type: String,
}

impl Row {
    fn of(view: &ParkedView) -> Self {
        let ParkedView { id, trigger, parked_at, reason, event, .. } = view;
        // An event without these would not have been accepted.
        let glance = serde_json::from_str(event.get()).unwrap_or_default();
        let (name, parked_at) = (id.clone(), parked_at.clone());
        let trigger = trigger.clone().unwrap_or_else(|| NO_TRIGGER.to_owned());
        Self { name, parked_at, trigger, glance, reason: shown::plain(reason) }
    }
}

fn table(rows: Vec<Row>) -> String {
    let mut table = Table::new(&["EVENT", "PARKED", "TRIGGER", "TYPE", "ID", "REASON"]);
    for row in rows {
        table.row([
            Cell::text(row.name),
            Cell::styled(DIM, row.parked_at),
            Cell::text(row.trigger),
            Cell::text(row.glance.event_type),
            Cell::text(row.glance.id),
            Cell::styled(BAD, row.reason),
        ]);
    }
    table.text()
}

fn text(view: ParkedView) -> Result<String, Failure> {
    let event = json::parse(&Bytes::from(String::from(Box::<str>::from(view.event))))
        .map_err(|error| Failure::of("could not read the event", &error))?;
    let answer = event.attribute("knativeerrordata").map(shown::answer).unwrap_or_default();
    let headers = shown::headers(&view.headers);
    Ok(format!(
        "{} parked {} for {}\n  {}\n{answer}{headers}  {}\n{}",
        styled(BOLD, view.id),
        view.parked_at,
        styled(BOLD, view.trigger.as_deref().unwrap_or(NO_TRIGGER)),
        styled(BAD, shown::plain(&view.reason)),
        styled(DIM, format_args!("accepted as {}/{}", view.partition, view.offset)),
        shown::event(&event)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parked_event_is_named_by_its_broker_and_its_offset() {
        let name: ParkedName = "default/shop/17".parse().unwrap();
        assert_eq!(name, ParkedName { broker: BrokerId::new("default", "shop"), offset: 17 });
        for text in ["17", "default/17", "default/shop/x", ""] {
            assert!(text.parse::<ParkedName>().is_err(), "{text}");
        }
    }
}
