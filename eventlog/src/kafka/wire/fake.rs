//! A broker of the tests: as much of Kafka's protocol as they need, over whatever they like.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsRequest, ApiVersionsResponse, ResponseHeader};
use kafka_protocol::protocol::{Encodable, HeaderVersion, Request};
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::connection::Channel;

/// What a client has asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) key: i16,
    pub(super) version: i16,
    correlation: i32,
    /// On which of the connections, counted from 1.
    pub(super) connection: usize,
}

/// What becomes of it.
pub(super) enum Reply {
    Answer(Vec<u8>),
    /// Nothing, and nothing that is asked later either.
    Silence,
    Close,
}

impl Asked {
    /// The answer to a request of that kind.
    pub(super) fn answer<R: Request>(&self, answer: &R::Response) -> Reply {
        assert_eq!(self.key, R::KEY);
        self.answer_as::<R>(answer, self.correlation)
    }

    /// The same to another request.
    pub(super) fn answer_as<R: Request>(&self, answer: &R::Response, correlation: i32) -> Reply {
        let mut body = BytesMut::new();
        let header = ResponseHeader::default().with_correlation_id(correlation);
        header.encode(&mut body, R::Response::header_version(self.version)).expect("a header is encoded");
        answer.encode(&mut body, self.version).expect("an answer is encoded");
        let mut frame = BytesMut::new();
        frame.put_u32(u32::try_from(body.len()).expect("it is short"));
        frame.extend_from_slice(&body);
        Reply::Answer(frame.to_vec())
    }
}

type Handler = Arc<dyn Fn(Asked) -> Reply + Send + Sync>;

/// A broker that speaks these requests, each up to a version, and ends with its value.
pub(super) struct Fake {
    pub(super) port: u16,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Fake {
    pub(super) async fn start(
        apis: &'static [(i16, i16)],
        tls: Option<ServerConfig>,
        handler: impl Fn(Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let acceptor = tls.map(|config| TlsAcceptor::from(Arc::new(config)));
        let handler: Handler = Arc::new(handler);
        let mut tasks = JoinSet::new();
        let counted = Arc::clone(&accepted);
        tasks.spawn(async move {
            let mut served = JoinSet::new();
            while let Ok((tcp, _)) = listener.accept().await {
                let connection = counted.fetch_add(1, Ordering::SeqCst) + 1;
                let (acceptor, handler) = (acceptor.clone(), Arc::clone(&handler));
                served.spawn(async move {
                    if let Some(channel) = accept(tcp, acceptor).await {
                        serve(channel, connection, apis, &handler).await;
                    }
                });
            }
        });
        Self { port, accepted, _tasks: tasks }
    }

    pub(super) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// How many connections there were.
    pub(super) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

async fn accept(tcp: TcpStream, acceptor: Option<TlsAcceptor>) -> Option<Box<dyn Channel>> {
    match acceptor {
        Some(acceptor) => Some(Box::new(acceptor.accept(tcp).await.ok()?)),
        None => Some(Box::new(tcp)),
    }
}

async fn serve(
    mut channel: Box<dyn Channel>,
    connection: usize,
    apis: &[(i16, i16)],
    handler: &Handler,
) -> Option<()> {
    loop {
        let length = channel.read_u32().await.ok()?;
        // What is longer is no request, but TLS.
        let length = usize::try_from(length).ok().filter(|length| *length < 1 << 20)?;
        let mut frame = vec![0; length];
        channel.read_exact(&mut frame).await.ok()?;
        let number = |at: usize| i16::from_be_bytes([frame[at], frame[at + 1]]);
        let correlation = i32::from_be_bytes([frame[4], frame[5], frame[6], frame[7]]);
        let asked = Asked { key: number(0), version: number(2), correlation, connection };
        let reply = match asked.key {
            ApiVersionsRequest::KEY => asked.answer::<ApiVersionsRequest>(&versions(apis)),
            _ => handler(asked),
        };
        match reply {
            Reply::Answer(frame) => {
                channel.write_all(&frame).await.ok()?;
                channel.flush().await.ok()?;
            }
            Reply::Silence => std::future::pending().await,
            Reply::Close => return None,
        }
    }
}

fn versions(apis: &[(i16, i16)]) -> ApiVersionsResponse {
    let api = |&(key, version)| {
        ApiVersion::default().with_api_key(key).with_min_version(0).with_max_version(version)
    };
    ApiVersionsResponse::default().with_api_keys(apis.iter().map(api).collect())
}
