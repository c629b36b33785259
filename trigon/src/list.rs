//! `trigon brokers` and `trigon triggers`: how everything stands in a running Trigon.

use clap::Args;

use crate::admin::view::{BrokerView, RoutesView, TriggerView};
use crate::failure::Failure;
use crate::merge;
use crate::remote::{Answers, Remote, RemoteArguments};
use crate::table::{Cell, Table};
use crate::terminal::{BAD, GOOD, OutputFormat, Terminal, styled};
use crate::values::ByteSize;

/// Which Brokers to list.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trigon brokers
  trigon brokers --output json | jq -r '.[].url'")]
pub(crate) struct BrokersArguments {
    /// For people, or a JSON array
    #[arg(long, short, env = "TRIGON_OUTPUT", default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Which Triggers to list.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  trigon triggers
  trigon triggers --broker default/default
  trigon triggers --admin 10.0.0.1:8082,10.0.0.2:8082
  trigon triggers --output json | jq '.[] | select(.lag > 1000) | .trigger'

Each dispatcher shows the partitions that it delivers from; ask all of them to see everything.
LAG counts events between what a Trigger has finished and the newest one, matching or not. DELIVERED and
DEAD-LETTERED begin with the process; PARKED are all that wait for `trigon parked redrive`.")]
pub(crate) struct TriggersArguments {
    /// Only those of this Broker
    #[arg(long, short, value_name = "NAMESPACE/NAME", env = "TRIGON_TRIGGERS_BROKER")]
    broker: Option<trigon_core::name::BrokerId>,
    /// For people, or a JSON array
    #[arg(long, short, env = "TRIGON_OUTPUT", default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    remote: RemoteArguments,
}

/// Lists the Brokers.
///
/// # Errors
/// When trigon cannot be reached.
pub(crate) async fn brokers(arguments: &BrokersArguments, terminal: &Terminal) -> Result<(), Failure> {
    let remote = Remote::new(&arguments.remote)?;
    let Answers { values, unreached } = remote.get_all::<Vec<BrokerView>>("/v1/brokers").await?;
    let brokers = merge::brokers(values);
    note_all(terminal, &unreached)?;
    match arguments.output {
        OutputFormat::Json => print_json(terminal, &brokers),
        OutputFormat::Text => {
            terminal.print(brokers_table(&brokers))?;
            let waiting = brokers.iter().filter_map(|broker| {
                Some(format!("{} takes no events yet: {}", broker.broker, broker.waiting.as_ref()?))
            });
            note_all(terminal, &waiting.collect::<Vec<_>>())?;
            let stalled = brokers.iter().flat_map(|broker| {
                broker.stalled.iter().map(|stall| format!("{} is stalled: {stall}", broker.broker))
            });
            note_all(terminal, &stalled.collect::<Vec<_>>())?;
            note_problems(&remote, terminal).await
        }
    }
}

/// Lists the Triggers.
///
/// # Errors
/// When trigon cannot be reached.
pub(crate) async fn triggers(arguments: &TriggersArguments, terminal: &Terminal) -> Result<(), Failure> {
    let remote = Remote::new(&arguments.remote)?;
    let Answers { values, unreached } = remote.get_all::<Vec<TriggerView>>("/v1/triggers").await?;
    let mut triggers = merge::triggers(values);
    note_all(terminal, &unreached)?;
    if let Some(broker) = &arguments.broker {
        let broker = broker.to_string();
        triggers.retain(|trigger| trigger.broker == broker);
    }
    match arguments.output {
        OutputFormat::Json => print_json(terminal, &triggers),
        OutputFormat::Text => {
            terminal.print(triggers_table(&triggers))?;
            note_all(terminal, &merge::partial(&triggers))?;
            let missed = triggers
                .iter()
                .filter_map(|trigger| Some(format!("{}: {}", trigger.trigger, trigger.missed_words()?)));
            note_all(terminal, &missed.collect::<Vec<_>>())?;
            note_problems(&remote, terminal).await
        }
    }
}

fn note_all(terminal: &Terminal, notes: &[String]) -> Result<(), Failure> {
    notes.iter().try_for_each(|note| terminal.note(styled(BAD, note)))
}

/// Says on standard error when what is listed is not what the files say.
async fn note_problems(remote: &Remote, terminal: &Terminal) -> Result<(), Failure> {
    let routes: RoutesView = remote.get("/v1/routes").await?;
    if routes.problems.is_empty() {
        return Ok(());
    }
    let how = if routes.partly { "is in force except for this" } else { "is not in force" };
    terminal.note(styled(BAD, format_args!("{} has changed and {how}:", routes.source)))?;
    for problem in &routes.problems {
        terminal.note(format_args!("  {problem}"))?;
    }
    Ok(())
}

fn print_json(terminal: &Terminal, views: &impl serde::Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(views).expect("texts and numbers are JSON");
    terminal.print(format_args!("{json}\n"))
}

fn brokers_table(brokers: &[BrokerView]) -> String {
    let mut table = Table::new(&["BROKER", "TRIGGERS", "PARTITIONS", "EVENTS", "ON DISK", "URL"]);
    for broker in brokers {
        table.row([
            Cell::text(&broker.broker),
            Cell::number(u64::try_from(broker.triggers).unwrap_or(u64::MAX)),
            Cell::number(broker.partitions.into()),
            Cell::number(broker.events),
            Cell::text(broker.bytes.map_or_else(|| "-".to_owned(), rough_size)),
            Cell::text(broker.url.as_deref().unwrap_or("-")),
        ]);
    }
    table.text()
}

fn triggers_table(triggers: &[TriggerView]) -> String {
    let mut table = Table::new(&[
        "TRIGGER",
        "BROKER",
        "STATE",
        "LAG",
        "QUEUED",
        "IN FLIGHT",
        "RETRYING",
        "DELIVERED",
        "DEAD-LETTERED",
        "PARKED",
        "SUBSCRIBER",
    ]);
    for trigger in triggers {
        let style = if trigger.state == "active" { GOOD } else { BAD };
        table.row([
            Cell::text(&trigger.trigger),
            Cell::text(&trigger.broker),
            Cell::styled(style, &trigger.state),
            Cell::number(trigger.lag),
            Cell::number(trigger.queued),
            Cell::number(trigger.in_flight),
            Cell::alarm(BAD, trigger.retrying),
            Cell::number(trigger.delivered),
            Cell::alarm(BAD, trigger.dead_lettered),
            Cell::alarm(BAD, trigger.waiting),
            Cell::text(&trigger.subscriber),
        ]);
    }
    table.text()
}

/// In the largest unit that leaves a whole number, cut.
pub(crate) fn rough_size(bytes: u64) -> String {
    let mut size = usize::try_from(bytes).unwrap_or(usize::MAX);
    let mut unit = 1;
    while size >= 10 * 1024 {
        size /= 1024;
        unit *= 1024;
    }
    ByteSize(size * unit).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_a_line_each_with_their_figures() {
        let trigger = TriggerView {
            trigger: "default/orders".to_owned(),
            broker: "default/shop".to_owned(),
            state: "active".to_owned(),
            subscriber: "http://127.0.0.1:9000/".to_owned(),
            lag: 7,
            retrying: 3,
            delivered: 1_000,
            waiting: 2,
            ..TriggerView::default()
        };
        let text = anstream::adapter::strip_str(&triggers_table(&[trigger])).to_string();
        let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(
            rows[1],
            [
                "default/orders",
                "default/shop",
                "active",
                "7",
                "0",
                "0",
                "3",
                "1000",
                "0",
                "2",
                "http://127.0.0.1:9000/"
            ]
        );
    }

    #[test]
    fn sizes_are_cut_to_three_or_four_digits() {
        for (bytes, shown) in
            [(0, "0B"), (9_999, "9999B"), (20_500, "20KiB"), (64 << 20, "64MiB"), (5 << 30, "5GiB")]
        {
            assert_eq!(rough_size(bytes), shown, "{bytes}");
        }
    }
}
