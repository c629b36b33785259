//! A producer of events, over connections that stay open.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;

use crate::event::Event;

/// Sends to one URL.
#[derive(Clone, Debug)]
pub struct Producer {
    client: Client<HttpConnector, Full<Bytes>>,
    url: String,
}

/// What a server answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, as text.
    pub body: String,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl Producer {
    /// A producer for that URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), url: url.into() }
    }

    /// The same by HTTP/2 without TLS.
    pub fn by_http2(url: impl Into<String>) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).http2_only(true).build_http(), url: url.into() }
    }

    /// Sends any request to the URL.
    ///
    /// # Errors
    /// When there is no answer.
    ///
    /// # Panics
    /// When the URL is none.
    pub async fn request(&self, method: Method, headers: HeaderMap, body: Bytes) -> Result<Answer, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.url.parse().expect("the test has a valid URL");
        *request.headers_mut() = headers;
        let response = self.client.request(request).await.map_err(|error| format!("{error:?}"))?;
        let (parts, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| format!("{error:?}"))?.to_bytes();
        let body = String::from_utf8_lossy(&body).into_owned();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// POSTs.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn post(&self, headers: HeaderMap, body: impl Into<Bytes>) -> Answer {
        self.request(Method::POST, headers, body.into()).await.expect("the server answers")
    }

    /// Sends an event in binary mode.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send(&self, event: &Event) -> Answer {
        let (headers, body) = event.binary();
        self.post(headers, body).await
    }

    /// Sends an event in structured mode.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn send_structured(&self, event: &Event) -> Answer {
        let (headers, body) = event.structured();
        self.post(headers, body).await
    }

    /// Sends an event in binary mode, which must be accepted.
    ///
    /// # Panics
    /// When it is not.
    pub async fn accept(&self, event: &Event) {
        let answer = self.send(event).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{event:?}: {}", answer.body);
    }

    /// Sends so many events with ids from `PREFIX-0` on, all of which must be accepted.
    ///
    /// # Panics
    /// When one is not.
    pub async fn accept_many(&self, prefix: &str, count: usize) {
        for n in 0..count {
            self.accept(&Event::new(format!("{prefix}-{n}"))).await;
        }
    }
}
