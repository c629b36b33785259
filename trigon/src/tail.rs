//! `trigon tail`: shows events as they are accepted.

use bytes::Bytes;
use clap::Args;
use futures::stream::{self, StreamExt};
use trigon_core::binding::json;
use trigon_core::name::BrokerId;
use trigon_core::record::Timestamp;

use crate::admin::view::{BrokerView, FeedLine};
use crate::failure::Failure;
use crate::remote::{Lines, Remote, RemoteArguments, encoded};
use crate::shown;
use crate::terminal::{BAD, BOLD, DIM, OutputFormat, Terminal, styled};
use crate::values::{Pair, Since};

/// Which events to show.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct TailArguments {
    /// The Broker [default: all]
    #[arg(long, short, value_name = "NAMESPACE/NAME", env = "TRIGON_TAIL_BROKER")]
    broker: Option<BrokerId>,
    /// Only events that have this attribute with this value, or with any when VALUE is empty; may be repeated
    #[arg(long = "filter", short, value_name = "NAME=VALUE", env = "TRIGON_TAIL_FILTER")]
    filters: Vec<Pair>,
    /// Begin with events accepted since: how long ago, or a time [default: now]
    #[arg(long, short, value_name = "DURATION|TIME", env = "TRIGON_TAIL_SINCE", value_parser = since)]
    since: Option<String>,
    /// For people, or one JSON object per event
    #[arg(long, short, env = "TRIGON_OUTPUT", default_value = "text")]
    output: OutputFormat,
    #[command(flatten)]
    remote: RemoteArguments,
}

const EXAMPLES: &str = "\
Examples:
  trigon tail
  trigon tail --broker default/default --filter type=order.created --since 10m
  trigon tail --since 2026-11-21T03:00:00Z --output json | jq .event.data";

/// Shows events until it is interrupted.
///
/// # Errors
/// When trigon cannot be reached, refuses or stops, or nobody reads the output any more.
pub(crate) async fn run(arguments: &TailArguments, terminal: &Terminal) -> Result<(), Failure> {
    let remote = Remote::new(&arguments.remote)?;
    let brokers = match &arguments.broker {
        Some(broker) => vec![broker.clone()],
        None => brokers(&remote).await?,
    };
    let mut feeds = Vec::new();
    for broker in &brokers {
        feeds.push(lines(remote.lines(&path(broker, arguments)).await?).boxed());
    }
    if arguments.output == OutputFormat::Text {
        let names: Vec<_> = brokers.iter().map(ToString::to_string).collect();
        terminal.note(styled(DIM, format_args!("events of {}", names.join(", "))))?;
    }
    let mut feeds = stream::select_all(feeds);
    while let Some(line) = feeds.next().await {
        let line = line?;
        match arguments.output {
            OutputFormat::Json => terminal.print(format_args!("{}\n", String::from_utf8_lossy(&line)))?,
            OutputFormat::Text => terminal.print(text(&line)?)?,
        }
    }
    Ok(())
}

async fn brokers(remote: &Remote) -> Result<Vec<BrokerId>, Failure> {
    let views: Vec<BrokerView> = remote.get("/v1/brokers").await?;
    let ids: Result<Vec<BrokerId>, _> = views.iter().map(|view| view.broker.parse()).collect();
    let ids = ids.map_err(|error| Failure::of("could not read the list of brokers", &error))?;
    if ids.is_empty() {
        return Err(Failure::Failed("there is no broker: add one to the routes folder".to_owned()));
    }
    Ok(ids)
}

/// The lines of one feed, up to the failure that ends it.
fn lines(lines: Lines) -> impl stream::Stream<Item = Result<Bytes, Failure>> {
    stream::unfold(Some(lines), |lines| async {
        let mut lines = lines?;
        match lines.next().await {
            Ok(line) => Some((Ok(line), Some(lines))),
            Err(failure) => Some((Err(failure), None)),
        }
    })
}

fn path(broker: &BrokerId, arguments: &TailArguments) -> String {
    let since = arguments.since.iter().map(|since| format!("since={}", encoded(since)));
    let filters = arguments.filters.iter();
    let filters = filters.map(|pair| format!("filter.{}={}", encoded(&pair.name), encoded(&pair.value)));
    let query: Vec<_> = since.chain(filters).collect();
    let mark = if query.is_empty() { "" } else { "?" };
    let (namespace, name) = (encoded(&broker.namespace), encoded(&broker.name));
    format!("/v1/brokers/{namespace}/{name}/events{mark}{}", query.join("&"))
}

/// Several lines for people.
fn text(line: &[u8]) -> Result<String, Failure> {
    let unread =
        |error: &(dyn std::error::Error + 'static)| Failure::of("could not read a line of the feed", error);
    let line: FeedLine = serde_json::from_slice(line).map_err(|error| unread(&error))?;
    let time = line.accepted.as_deref().and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let time = time.map(|time| shown::time_of_day(Timestamp(time.as_millisecond()))).unwrap_or_default();
    let place = match line.offset {
        Some(offset) => format!("{}/{offset}", line.partition),
        None => line.partition.to_string(),
    };
    let only = line.only.map(|trigger| format!(" for {trigger} only")).unwrap_or_default();
    let mut text = format!("{} {} {}{only}\n", styled(DIM, time), line.broker, styled(DIM, place));
    if let Some(event) = line.event {
        let json = Bytes::from(String::from(Box::<str>::from(event)));
        let event = json::parse(&json).map_err(|error| unread(&error))?;
        text.push_str(&format!("  {}\n{}", styled(BOLD, event.event_type()), shown::event(&event)));
    }
    if let Some(reason) = line.undecodable {
        text.push_str(&format!("  {}\n", styled(BAD, format_args!("this is not an event: {reason}"))));
    }
    if let Some(missed) = line.missed {
        let missed = format_args!("missed {missed}: retention removed them before they were read");
        text.push_str(&format!("  {}\n", styled(BAD, missed)));
    }
    text.push('\n');
    Ok(text)
}

/// The text as it was given, once it is known to be one that the other side reads.
fn since(text: &str) -> Result<String, crate::values::ValueError> {
    text.parse::<Since>().map(|_| text.to_owned())
}
