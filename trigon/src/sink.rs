//! `trigon sink`: a subscriber that prints what it gets and answers as it is told.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use clap::Args;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use trigon_core::binding::http::{decode, encode};
use trigon_core::delivery::Format;
use trigon_core::event::EventBuilder;
use trigon_runtime::body::read_all;
use trigon_runtime::server::{ServerMetrics, ServerSettings, serve};
use trigon_runtime::shutdown::{Drain, DrainSettings, Shutdown};
use uuid::Uuid;

use crate::failure::Failure;
use crate::listen::listen;
use crate::shown;
use crate::terminal::{BOLD, OutputFormat, Terminal, styled};
use crate::values;

mod received;

use received::Received;

/// Where to listen, and how to answer.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SinkArguments {
    /// Where to listen
    #[arg(long, value_name = "ADDR", env = "TRIGON_SINK_LISTEN", default_value = "127.0.0.1:9000", value_parser = values::listen_address)]
    pub(crate) listen: SocketAddr,
    /// The HTTP status to answer with
    #[arg(long, env = "TRIGON_SINK_STATUS", default_value = "200", value_parser = values::status)]
    pub(crate) status: StatusCode,
    /// How long to wait before each answer
    #[arg(long, value_name = "DURATION", env = "TRIGON_SINK_DELAY", default_value = "0s", value_parser = values::duration)]
    pub(crate) delay: Duration,
    /// Answer the first N requests with 503, to see retries
    #[arg(long, value_name = "N", env = "TRIGON_SINK_FAIL_FIRST", default_value_t = 0)]
    pub(crate) fail_first: u64,
    /// Answer with an event of this type, which goes back to the Broker
    #[arg(long, value_name = "TYPE", env = "TRIGON_SINK_REPLY_TYPE")]
    pub(crate) reply_type: Option<String>,
    /// The source of the answered event
    #[arg(long, value_name = "SOURCE", env = "TRIGON_SINK_REPLY_SOURCE", default_value = "/trigon/sink")]
    pub(crate) reply_source: String,
    /// The data of the answered event [default: the data that was got]
    #[arg(long, value_name = "TEXT", env = "TRIGON_SINK_REPLY_DATA")]
    pub(crate) reply_data: Option<String>,
    /// For people, or one JSON object per request
    #[arg(long, short, env = "TRIGON_OUTPUT", default_value = "text")]
    pub(crate) output: OutputFormat,
}

const EXAMPLES: &str = "\
Examples:
  trigon sink
  trigon sink --listen 127.0.0.1:9001 --output json | jq .event.type
  trigon sink --fail-first 3                  watch an event come again after its retries
  trigon sink --status 500                    watch events go to the dead letter sink, or be parked
  trigon sink --reply-type order.confirmed    answer each event with another one

A Trigger sends its events here with:
  spec:
    subscriber:
      uri: http://127.0.0.1:9000/";

/// The largest body that is taken.
const MAX_BODY: usize = 64 << 20;

/// How long requests may go on after the first Ctrl-C.
const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// Serves until it is told to stop.
///
/// # Errors
/// When the address cannot be listened on, the reply is not valid, or nobody reads the output any more.
pub(crate) async fn run(arguments: SinkArguments, terminal: &Terminal) -> Result<(), Failure> {
    let (listener, address) = listen(arguments.listen, "--listen").await?;
    let (sink, mut failed) = Sink::new(arguments, terminal.clone())?;
    terminal.note(format_args!("listening on {}", styled(BOLD, format_args!("http://{address}/"))))?;
    let shutdown = Shutdown::new(DrainSettings { deadline: DRAIN_DEADLINE, ..DrainSettings::default() });
    tokio::select! {
        ended = sink.serve(listener, shutdown.watch()) => ended,
        Some(failure) = failed.recv() => Err(failure),
        Err(error) = shutdown.follow_signals() => Err(Failure::of("could not wait for signals", &error)),
    }
}

/// Serves a sink with the default answers beside something else, for as long as the future is polled.
///
/// # Errors
/// When the address cannot be listened on, or nobody reads the output any more.
pub(crate) async fn beside(address: SocketAddr, terminal: &Terminal) -> Result<Infallible, Failure> {
    let (listener, _) = listen(address, "--sink").await?;
    let (sink, mut failed) = Sink::new(SinkArguments::listening_on(address), terminal.clone())?;
    tokio::select! {
        ended = sink.serve(listener, Drain::never()) => {
            ended?;
            Err(Failure::Failed("the sink has ended by itself".to_owned()))
        }
        Some(failure) = failed.recv() => Err(failure),
    }
}

impl SinkArguments {
    fn listening_on(listen: SocketAddr) -> Self {
        Self {
            listen,
            status: StatusCode::OK,
            delay: Duration::ZERO,
            fail_first: 0,
            reply_type: None,
            reply_source: String::new(),
            reply_data: None,
            output: OutputFormat::Text,
        }
    }
}

#[derive(Clone)]
struct Sink {
    shared: Arc<Shared>,
}

struct Shared {
    arguments: SinkArguments,
    terminal: Terminal,
    requests: AtomicU64,
    failed: mpsc::Sender<Failure>,
}

impl Sink {
    /// A sink, and the failure that ends it.
    fn new(arguments: SinkArguments, terminal: Terminal) -> Result<(Self, mpsc::Receiver<Failure>), Failure> {
        // One place is enough: the first failure ends the process.
        let (failed, receiver) = mpsc::channel(1);
        let sink =
            Self { shared: Arc::new(Shared { arguments, terminal, requests: AtomicU64::new(0), failed }) };
        sink.reply(None)?;
        Ok((sink, receiver))
    }

    async fn serve(self, listener: TcpListener, drain: Drain) -> Result<(), Failure> {
        let router = Router::new().fallback(receive).with_state(self);
        serve("sink", listener, router, ServerSettings::default(), drain, ServerMetrics::default())
            .await
            .map_err(|error| Failure::of("could not go on listening", &error))
    }

    fn status(&self) -> StatusCode {
        let before = self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let fails = before < self.shared.arguments.fail_first;
        if fails { StatusCode::SERVICE_UNAVAILABLE } else { self.shared.arguments.status }
    }

    /// The head and body of the reply; nothing when none is asked for.
    fn reply(&self, data: Option<&Bytes>) -> Result<Option<(http::HeaderMap, Bytes)>, Failure> {
        let arguments = &self.shared.arguments;
        let Some(reply_type) = &arguments.reply_type else { return Ok(None) };
        let mut builder = EventBuilder::new()
            .spec_version("1.0")
            .attribute("id", Uuid::new_v4().to_string())
            .attribute("source", arguments.reply_source.as_str())
            .attribute("type", reply_type.as_str());
        let data = arguments.reply_data.as_ref().map(|text| Bytes::from(text.clone())).or(data.cloned());
        if let Some(data) = data {
            if serde_json::from_slice::<serde::de::IgnoredAny>(&data).is_ok() {
                builder = builder.attribute("datacontenttype", "application/json");
            }
            builder = builder.data(data);
        }
        let reply = builder.build();
        let reply = reply
            .map_err(|invalid| Failure::Usage(format!("the reply is not a valid CloudEvent: {invalid}")))?;
        Ok(Some(encode(&reply, Format::Binary)))
    }

    async fn answer(&self, request: Request) -> Result<Response, Failure> {
        let (head, body) = request.into_parts();
        let (status, content) = match read_all(body, MAX_BODY).await {
            Ok(body) => (self.status(), decode(&head.headers, body).map_err(|error| error.to_string())),
            Err(error) => (StatusCode::BAD_REQUEST, Err(error.to_string())),
        };
        // A subscriber that takes what is not an event would hide a mistake of whoever sends it.
        let status = if content.is_ok() { status } else { StatusCode::BAD_REQUEST };
        let received = Received { at: shown::now(), head: &head, content, answered: status };
        let output = match self.shared.arguments.output {
            OutputFormat::Text => received.text(),
            OutputFormat::Json => received.json(),
        };
        self.shared.terminal.print(output)?;
        tokio::time::sleep(self.shared.arguments.delay).await;
        let mut response = Response::new(Body::empty());
        if status.is_success()
            && let Some((headers, body)) = self.reply(received.data())?
        {
            *response.headers_mut() = headers;
            *response.body_mut() = Body::from(body);
        }
        *response.status_mut() = status;
        Ok(response)
    }
}

async fn receive(State(sink): State<Sink>, request: Request) -> Response {
    sink.answer(request).await.unwrap_or_else(|failure| {
        // When the channel is full, an earlier failure ends the process already.
        drop(sink.shared.failed.try_send(failure));
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    })
}

#[cfg(test)]
pub(crate) mod tests;
