//! The HTTP client of the tools: one request at a time, and errors that say where it could not go.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use trigon_runtime::body::read_prefix;
use trigon_runtime::http_client::{ClientSettings, HttpClient, Trust, client};
use trigon_runtime::tasks::TaskGroup;

use crate::failure::{Chain, Failure};

/// A client and the tasks of its connections, which end with it.
pub(crate) struct Client {
    http: HttpClient,
    timeout: Duration,
    _connections: TaskGroup,
}

/// A request without an answer.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("could not reach {authority}: {reason}")]
pub(crate) struct Unreachable {
    /// The host and port that were tried.
    pub(crate) authority: String,
    /// In words: `connection refused`.
    pub(crate) reason: String,
}

/// An answer other than success.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status.
    pub(crate) status: StatusCode,
    /// What the server says about it, in one line.
    pub(crate) reason: String,
}

/// How much of an answer that refuses is read.
const MAX_REASON: usize = 4 * 1024;

impl Client {
    /// A client for that server; an answer's head may take as long as `timeout`.
    ///
    /// # Errors
    /// When TLS is needed and cannot be set up.
    pub(crate) fn new(server: &Uri, timeout: Duration) -> Result<Self, Failure> {
        let connections = TaskGroup::new();
        // Certificate authorities are looked for where they are needed: a container may have none.
        let trust = if server.scheme_str() == Some("https") { Trust::Native } else { Trust::Nobody };
        let settings = ClientSettings { trust, ..ClientSettings::default() };
        let http = client(&settings, connections.spawner("connection"))
            .map_err(|error| Failure::of("could not set up the HTTP client", &error))?;
        Ok(Self { http, timeout, _connections: connections })
    }

    /// Sends a request and waits for the head of its answer.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, Unreachable> {
        let authority = request.uri().authority().map_or_else(String::new, ToString::to_string);
        match tokio::time::timeout(self.timeout, self.http.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(Unreachable { authority, reason: reason(&error) }),
            Err(_) => Err(Unreachable { authority, reason: format!("no answer within {:?}", self.timeout) }),
        }
    }
}

impl Refusal {
    /// Reads why a server refused.
    pub(crate) async fn read(response: Response<Incoming>) -> Self {
        let status = response.status();
        let text = match read_prefix(response.into_body(), MAX_REASON).await {
            Ok(prefix) => String::from_utf8_lossy(&prefix.bytes).trim().to_owned(),
            Err(error) => format!("its answer broke off: {error}"),
        };
        Self { status, reason: text.lines().collect::<Vec<_>>().join(" ") }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.status.fmt(f)?;
        if self.reason.is_empty() { Ok(()) } else { write!(f, ": {}", self.reason) }
    }
}

/// What the operating system said, where it said something: the layers above only repeat that they failed.
fn reason(error: &(dyn Error + 'static)) -> String {
    let mut next = Some(error);
    let mut innermost = None;
    while let Some(error) = next {
        innermost = error.downcast_ref::<io::Error>().or(innermost);
        next = error.source();
    }
    match innermost.map(io::Error::kind) {
        Some(kind) if kind != io::ErrorKind::Other && kind != io::ErrorKind::InvalidInput => kind.to_string(),
        _ => Chain(error).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refused_connection_is_named_with_its_address() {
        // Bound and dropped: nobody listens there.
        let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let uri: Uri = format!("http://{address}/x").parse().unwrap();
        let client = Client::new(&uri, Duration::from_secs(5)).unwrap();
        let error = client.send(Request::get(uri).body(Full::default()).unwrap()).await.unwrap_err();
        assert_eq!(error.to_string(), format!("could not reach {address}: connection refused"));
    }
}
