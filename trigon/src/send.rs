//! `trigon send`: sends an event to a Broker, or many at a rate.

use std::time::Duration;

use clap::Args;
use futures::StreamExt;
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use trigon_core::binding::http::encode;
use trigon_core::delivery::Format;
use trigon_core::event::Event;

use crate::client::{Client, Refusal};
use crate::failure::Failure;
use crate::terminal::{GOOD, Terminal, styled};
use crate::values::{self, DataSource, Pair};

mod tally;
mod template;

use tally::{Outcome, Tally};
use template::Template;

/// Where to send, what, and how often.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SendArguments {
    /// Where the Broker takes events; http:// may be left out
    #[arg(value_name = "URL", env = "TRIGON_SEND_URL", value_parser = broker_url)]
    url: Uri,
    /// The event's type
    #[arg(long = "type", short = 't', value_name = "TYPE", env = "TRIGON_SEND_TYPE")]
    event_type: String,
    /// The event's source, a URI or a path
    #[arg(long, short, env = "TRIGON_SEND_SOURCE")]
    source: String,
    // Of a plain {n}, clap makes a line break: the escape sequence in it shows nothing and keeps it whole.
    #[arg(
        long,
        env = "TRIGON_SEND_ID",
        help = "The event's id; {\u{1b}[0mn} stands for the event's number [default: a random UUID]"
    )]
    id: Option<String>,
    /// The event's subject
    #[arg(long, env = "TRIGON_SEND_SUBJECT")]
    subject: Option<String>,
    /// Another attribute; may be repeated
    #[arg(long = "ext", short = 'e', value_name = "NAME=VALUE", env = "TRIGON_SEND_EXT")]
    extensions: Vec<Pair>,
    #[arg(
        long,
        short,
        value_name = "DATA",
        help = "The event's data: a text, @FILE, or - for standard input; {\u{1b}[0mn} stands for the event's number",
        env = "TRIGON_SEND_DATA",
        allow_hyphen_values = true,
        value_parser = |text: &str| Ok::<_, std::convert::Infallible>(DataSource::from(text))
    )]
    data: Option<DataSource>,
    /// The media type of the data [default: application/json if it is JSON, else by its bytes]
    #[arg(long, value_name = "TYPE", env = "TRIGON_SEND_CONTENT_TYPE")]
    content_type: Option<String>,
    /// Send the event as one JSON object, not as headers and body
    #[arg(long, env = "TRIGON_SEND_STRUCTURED")]
    structured: bool,
    /// How many events to send
    #[arg(
        long,
        short = 'n',
        value_name = "N",
        env = "TRIGON_SEND_COUNT",
        default_value_t = 1,
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    count: u64,
    /// How many events to send per second [default: as fast as they are taken]
    #[arg(long, short, env = "TRIGON_SEND_RATE", value_parser = values::rate)]
    rate: Option<f64>,
    /// How many requests may be under way at once
    #[arg(
        long,
        value_name = "N",
        env = "TRIGON_SEND_CONCURRENCY",
        default_value_t = 32,
        value_parser = clap::value_parser!(u16).range(1..)
    )]
    concurrency: u16,
    /// How long to wait for an answer
    #[arg(long, value_name = "DURATION", env = "TRIGON_SEND_TIMEOUT", default_value = "30s", value_parser = values::duration)]
    timeout: Duration,
}

const EXAMPLES: &str = "\
Examples:
  trigon send http://127.0.0.1:8080/default/default --type order.created --source /shop --data '{\"id\": 7}'
  trigon send 127.0.0.1:8080/default/default -t file.added -s /disk --subject a.png --data @a.png
  trigon send 127.0.0.1:8080/default/default -t t -s s -e partitionkey=k --data - < data.json
  trigon send 127.0.0.1:8080/default/default -t load -s me --id 'e{\u{1b}[0mn}' --data '{\"n\": {\u{1b}[0mn}}' -n 10000 --rate 500";

/// How often the line of progress is renewed.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);

/// Sends what the arguments say.
///
/// # Errors
/// When the event is not valid, or was not accepted.
pub(crate) async fn run(arguments: &SendArguments, terminal: &Terminal) -> Result<(), Failure> {
    let template = Template::new(arguments)?;
    let sender = Sender {
        client: Client::new(&arguments.url, arguments.timeout)?,
        url: arguments.url.clone(),
        format: if arguments.structured { Format::Json } else { Format::Binary },
    };
    match arguments.count {
        1 => send_one(&sender, &template, terminal).await,
        _ => send_many(&sender, &template, arguments, terminal).await,
    }
}

async fn send_one(sender: &Sender, template: &Template, terminal: &Terminal) -> Result<(), Failure> {
    let event = template.event(1)?;
    let refused = |reason: String| {
        Failure::Failed(format!("could not send event {} to {}: {reason}", event.id(), sender.url))
    };
    match sender.send(&event).await {
        Outcome::Accepted { status, .. } => {
            terminal.print(format_args!("{}  {}\n", event.id(), styled(GOOD, status)))
        }
        Outcome::Refused(refusal) => Err(refused(refusal.to_string())),
        Outcome::Unreachable(unreachable) => {
            let hint = "is trigon standalone running, and is this the address it printed?";
            Err(refused(format!("{unreachable}; {hint}")))
        }
    }
}

async fn send_many(
    sender: &Sender,
    template: &Template,
    arguments: &SendArguments,
    terminal: &Terminal,
) -> Result<(), Failure> {
    let start = Instant::now();
    let mut sent = futures::stream::iter(1..=arguments.count)
        .map(|n| async move {
            if let Some(rate) = arguments.rate {
                sleep_until(start + due(n, rate)).await;
            }
            let event = template.event(n)?;
            Ok::<_, Failure>(sender.send(&event).await)
        })
        .buffer_unordered(usize::from(arguments.concurrency));
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut progress = interval(PROGRESS_INTERVAL);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut tally = Tally::default();
    loop {
        tokio::select! {
            biased;
            _ = interrupted.as_mut() => break,
            _ = progress.tick() => terminal.progress(tally.progress(arguments.count, start.elapsed()))?,
            outcome = sent.next() => match outcome {
                Some(outcome) => tally.count(outcome?),
                None => break,
            },
        }
    }
    terminal.progress("")?;
    terminal.print(tally.summary(start.elapsed()))?;
    if tally.accepted() == arguments.count { Ok(()) } else { Err(Failure::Reported) }
}

/// When the `n`-th event is due at this rate, counted from 1.
fn due(n: u64, rate: f64) -> Duration {
    #[expect(clippy::cast_precision_loss, reason = "2⁵³ events take longer than anybody waits")]
    Duration::try_from_secs_f64((n - 1) as f64 / rate).unwrap_or(Duration::MAX / 4)
}

struct Sender {
    client: Client,
    url: Uri,
    format: Format,
}

impl Sender {
    async fn send(&self, event: &Event) -> Outcome {
        let (headers, body) = encode(event, self.format);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        *request.headers_mut() = headers;
        request.headers_mut().insert(http::header::USER_AGENT, HeaderValue::from_static("trigon-send"));
        let start = Instant::now();
        match self.client.send(request).await {
            Ok(response) if response.status().is_success() => {
                Outcome::Accepted { status: response.status(), latency: start.elapsed() }
            }
            Ok(response) => Outcome::Refused(Refusal::read(response).await),
            Err(unreachable) => Outcome::Unreachable(unreachable),
        }
    }
}

/// An `http` or `https` URL; without a scheme it is `http`.
fn broker_url(text: &str) -> Result<Uri, String> {
    let wrong = || "write a URL such as http://127.0.0.1:8080/default/default".to_owned();
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let uri: Uri = full.parse().map_err(|_| wrong())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if is_http && uri.host().is_some_and(|host| !host.is_empty()) { Ok(uri) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_of_the_url_may_be_left_out() {
        assert_eq!(broker_url("localhost:8080/a/b").unwrap(), "http://localhost:8080/a/b");
        assert_eq!(broker_url("https://example.com/a/b").unwrap(), "https://example.com/a/b");
        for text in ["", "ftp://x/a", "http://", "a b"] {
            assert!(broker_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn events_are_due_at_their_rate_from_the_first_on() {
        assert_eq!(due(1, 4.0), Duration::ZERO);
        assert_eq!(due(3, 4.0), Duration::from_millis(500));
    }
}
