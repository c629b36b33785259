//! One connection to one broker.
//!
//! Requests are pipelined; Kafka answers them one after the other, in their order. A connection that has failed
//! once, or let a deadline pass, is of no use any more: its answers could be anybody's.

use std::any::type_name;
use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiVersionsRequest, RequestHeader, ResponseHeader};
use kafka_protocol::protocol::{
    Decodable, Encodable, HeaderVersion, Message, Request, StrBytes, VersionRange,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::error::WireError;
use super::sasl::authenticate;
use super::tls::{is_of_tls, secured};
use crate::kafka::security::Security;

/// Requests on one connection that wait for their answers; more wait to be sent.
const PIPELINED: usize = 1024;

/// The largest answer that is taken, in bytes.
const MAX_ANSWER: usize = 128 << 20;

/// What stands where an answer's length should when the other side speaks TLS: an alert of whatever version.
const TLS_ALERT: usize = 0x1503;

/// What Kafka shows as our name.
const CLIENT_ID: &str = "trigon";

/// Both directions of a connection, whatever secures it.
pub(super) trait Channel: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Channel for T {}

/// A connection on which requests are answered.
#[derive(Debug)]
pub(in crate::kafka) struct Connection {
    address: Arc<str>,
    outgoing: mpsc::Sender<Outgoing>,
    correlation: AtomicI32,
    versions: HashMap<i16, VersionRange>,
    /// For how long the broker answers us, from when it was opened; `None` is for ever.
    lifetime: Option<Duration>,
    /// Why it ended.
    ended: Arc<OnceLock<Ended>>,
    tasks: Mutex<JoinSet<()>>,
}

/// Why a connection ended.
#[derive(Clone, Debug)]
struct Ended {
    reason: String,
    /// Whether that is what TLS has said.
    is_of_tls: bool,
}

struct Outgoing {
    frame: Bytes,
    answer: oneshot::Sender<Bytes>,
}

impl Connection {
    /// Connects, asks the broker what it speaks, and says who we are.
    pub(super) async fn open(
        address: &str,
        security: &Security,
        deadline: Duration,
    ) -> Result<Self, WireError> {
        let opening = async {
            let tcp = connect(address, deadline).await?;
            tcp.set_nodelay(true).map_err(|error| unreachable(address, &error))?;
            let channel: Box<dyn Channel> = match &security.tls {
                Some(tls) => Box::new(secured(tcp, address, tls).await?),
                None => Box::new(tcp),
            };
            let mut connection = Self::over(address, channel);
            let agreed = connection.agree(deadline).await;
            agreed.map_err(|error| match error {
                // A server that wants a certificate of ours says so only after its side of the handshake.
                WireError::Broken { address, reason } if security.tls.is_some() => {
                    match connection.ended.get().is_some_and(|ended| ended.is_of_tls) {
                        true => WireError::Tls { address, reason },
                        false => WireError::Unsecured { address, reason },
                    }
                }
                error => error,
            })?;
            if let Some(sasl) = &security.sasl {
                connection.lifetime = authenticate(&connection, sasl, deadline).await?;
            }
            Ok(connection)
        };
        match timeout(deadline, opening).await {
            Ok(opened) => opened,
            Err(_) => Err(WireError::Unreachable {
                address: address.to_owned(),
                reason: format!("no answer within {deadline:?}"),
            }),
        }
    }

    fn over(address: &str, channel: Box<dyn Channel>) -> Self {
        let (reading, writing) = tokio::io::split(channel);
        let (outgoing, requests) = mpsc::channel(PIPELINED);
        let (sent, awaited) = mpsc::channel(PIPELINED);
        let ended = Arc::new(OnceLock::new());
        let mut tasks = JoinSet::new();
        let (first, second) = (Arc::clone(&ended), Arc::clone(&ended));
        tasks.spawn(async move { first.get_or_init_with(write(writing, requests, sent).await) });
        tasks.spawn(async move { second.get_or_init_with(read(reading, awaited).await) });
        Self {
            address: address.into(),
            outgoing,
            correlation: AtomicI32::new(0),
            versions: HashMap::new(),
            lifetime: None,
            ended,
            tasks: Mutex::new(tasks),
        }
    }

    /// Asks the broker which versions it speaks.
    async fn agree(&mut self, deadline: Duration) -> Result<(), WireError> {
        // Version 0 is answered by every broker, also by one that is newer than this client.
        let answer = self.call_as(&ApiVersionsRequest::default(), 0, deadline).await?;
        self.versions = answer
            .api_keys
            .iter()
            .map(|api| (api.api_key, VersionRange { min: api.min_version, max: api.max_version }))
            .collect();
        Ok(())
    }

    /// Sends a request in the newest version that both sides speak, and waits for its answer.
    ///
    /// Not cancel safe in one respect: a request that was sent is carried out whether its answer is awaited or not.
    pub(in crate::kafka) async fn call<R: Request>(
        &self,
        request: &R,
        deadline: Duration,
    ) -> Result<R::Response, WireError> {
        self.call_as(request, self.version::<R>()?, deadline).await
    }

    /// The version in which [`call`](Self::call) sends a request.
    pub(in crate::kafka) fn version<R: Request>(&self) -> Result<i16, WireError> {
        let unsupported =
            || WireError::Unsupported { address: self.address.to_string(), request: name::<R>() };
        let theirs = self.versions.get(&R::KEY).ok_or_else(unsupported)?;
        let common = R::VERSIONS.intersect(theirs).intersect(&<R::Response as Message>::VERSIONS);
        if common.is_empty() { Err(unsupported()) } else { Ok(common.max) }
    }

    /// Whether requests may still be answered.
    pub(in crate::kafka) fn is_open(&self) -> bool {
        self.ended.get().is_none()
    }

    /// For how long the broker answers us, from when it was opened; `None` is for ever.
    pub(super) fn lifetime(&self) -> Option<Duration> {
        self.lifetime
    }

    /// Whom it goes to, as `HOST:PORT`.
    pub(in crate::kafka) fn address(&self) -> &str {
        &self.address
    }

    async fn call_as<R: Request>(
        &self,
        request: &R,
        version: i16,
        deadline: Duration,
    ) -> Result<R::Response, WireError> {
        let correlation = self.correlation.fetch_add(1, Ordering::Relaxed);
        let frame = encode(request, version, correlation).map_err(|reason| self.malformed::<R>(reason))?;
        let (answer, answered) = oneshot::channel();
        let exchange = async {
            self.outgoing.send(Outgoing { frame, answer }).await.map_err(|_| self.broken())?;
            answered.await.map_err(|_| self.broken())
        };
        let Ok(frame) = timeout(deadline, exchange).await else {
            self.give_up(format!("{} took longer than {deadline:?}", name::<R>()));
            let address = self.address.to_string();
            return Err(WireError::Deadline { address, request: name::<R>(), deadline });
        };
        decode::<R>(frame?, version, correlation).map_err(|reason| {
            self.give_up(format!("{} was answered with something else", name::<R>()));
            self.malformed::<R>(reason)
        })
    }

    fn give_up(&self, reason: String) {
        self.ended.get_or_init(|| Ended { reason, is_of_tls: false });
        self.tasks.lock().unwrap_or_else(std::sync::PoisonError::into_inner).abort_all();
    }

    fn broken(&self) -> WireError {
        // The task that ends first says why, and may be about to.
        let reason =
            self.ended.get().map_or_else(|| "it was closed".to_owned(), |ended| ended.reason.clone());
        WireError::Broken { address: self.address.to_string(), reason }
    }

    fn malformed<R: Request>(&self, reason: String) -> WireError {
        WireError::Malformed { address: self.address.to_string(), request: name::<R>(), reason }
    }
}

trait FirstReason {
    fn get_or_init_with(&self, ended: io::Result<()>);
}

impl FirstReason for OnceLock<Ended> {
    fn get_or_init_with(&self, ended: io::Result<()>) {
        self.get_or_init(|| {
            let error = ended.err();
            let is_of_tls = error.as_ref().is_some_and(is_of_tls);
            let reason = error.map_or_else(|| "it was closed".to_owned(), |error| error.to_string());
            Ended { reason, is_of_tls }
        });
    }
}

/// Connects to the first of a name's addresses that answers; none of them may use up the time of the others.
async fn connect(address: &str, deadline: Duration) -> Result<TcpStream, WireError> {
    let found = lookup_host(address).await.map_err(|error| unreachable(address, &error))?;
    let found: Vec<_> = found.collect();
    let share = deadline / u32::try_from(found.len() + 1).unwrap_or(u32::MAX);
    let mut last = io::Error::other("the name has no address");
    for one in found {
        match timeout(share, TcpStream::connect(one)).await {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::Error::other(format!("{one} did not answer within {share:?}")),
        }
    }
    Err(unreachable(address, &last))
}

fn unreachable(address: &str, error: &io::Error) -> WireError {
    WireError::Unreachable { address: address.to_owned(), reason: error.to_string() }
}

/// `Fetch`, of `kafka_protocol::messages::fetch_request::FetchRequest`.
fn name<R>() -> &'static str {
    let full = type_name::<R>();
    let last = full.rsplit("::").next().unwrap_or(full);
    last.strip_suffix("Request").unwrap_or(last)
}

fn encode<R: Request>(request: &R, version: i16, correlation: i32) -> Result<Bytes, String> {
    let header = RequestHeader::default()
        .with_request_api_key(R::KEY)
        .with_request_api_version(version)
        .with_correlation_id(correlation)
        .with_client_id(Some(StrBytes::from_static_str(CLIENT_ID)));
    let mut frame = BytesMut::with_capacity(256);
    frame.extend_from_slice(&[0; 4]);
    let encoded = header
        .encode(&mut frame, R::header_version(version))
        .and_then(|()| request.encode(&mut frame, version));
    encoded.map_err(|error| error.to_string())?;
    let length = u32::try_from(frame.len() - 4).map_err(|error| error.to_string())?;
    frame[..4].copy_from_slice(&length.to_be_bytes());
    Ok(frame.freeze())
}

fn decode<R: Request>(mut frame: Bytes, version: i16, correlation: i32) -> Result<R::Response, String> {
    let header = ResponseHeader::decode(&mut frame, R::Response::header_version(version))
        .map_err(|error| error.to_string())?;
    if header.correlation_id != correlation {
        return Err(format!("the answer {} where {correlation} was due", header.correlation_id));
    }
    R::Response::decode(&mut frame, version).map_err(|error| error.to_string())
}

async fn write(
    mut socket: WriteHalf<Box<dyn Channel>>,
    mut requests: mpsc::Receiver<Outgoing>,
    sent: mpsc::Sender<oneshot::Sender<Bytes>>,
) -> io::Result<()> {
    while let Some(Outgoing { frame, answer }) = requests.recv().await {
        // The reader has to know whose answer comes before it can come.
        if sent.send(answer).await.is_err() {
            break;
        }
        socket.write_all(&frame).await?;
        if requests.is_empty() {
            socket.flush().await?;
        }
    }
    Ok(())
}

/// The broker says nothing when it ends a connection, also not when it wanted to know who we are.
fn closed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => io::Error::other(
            "it closed the connection, as it does when it goes and when it wants SASL or TLS first",
        ),
        _ => error,
    }
}

async fn read(
    mut socket: ReadHalf<Box<dyn Channel>>,
    mut awaited: mpsc::Receiver<oneshot::Sender<Bytes>>,
) -> io::Result<()> {
    loop {
        let length = socket.read_u32().await.map_err(closed)?;
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length >> 16 == TLS_ALERT {
            return Err(io::Error::other("what listens there speaks TLS"));
        }
        if length > MAX_ANSWER {
            return Err(io::Error::other(format!("an answer of {length} bytes, more than {MAX_ANSWER}")));
        }
        let mut frame = BytesMut::with_capacity(length);
        while frame.len() < length {
            let mut rest = (&mut socket).take((length - frame.len()) as u64);
            if rest.read_buf(&mut frame).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let Some(answer) = awaited.recv().await else { return Ok(()) };
        // Whoever asked may have left.
        answer.send(frame.freeze()).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests;
