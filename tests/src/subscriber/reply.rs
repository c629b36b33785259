//! What a subscriber answers.

use std::future::pending;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};

use crate::event::Event;

/// An answer, or none.
#[derive(Clone, Debug)]
pub struct Reply {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
    wait: Wait,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    For(Duration),
    Forever,
}

impl Reply {
    /// An answer with that status and nothing else.
    pub fn status(status: u16) -> Self {
        Self { status, headers: HeaderMap::new(), body: Bytes::new(), wait: Wait::For(Duration::ZERO) }
    }

    /// No answer: the connection stays open.
    pub fn never() -> Self {
        Self { wait: Wait::Forever, ..Self::status(200) }
    }

    /// 200 with an event in binary mode.
    pub fn event(event: &Event) -> Self {
        let (headers, body) = event.binary();
        Self { headers, body, ..Self::status(200) }
    }

    /// 200 with an event in structured mode.
    pub fn structured_event(event: &Event) -> Self {
        let (headers, body) = event.structured();
        Self { headers, body, ..Self::status(200) }
    }

    /// With another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With a header.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().expect("the test has a valid header name");
        self.headers.insert(name, value.parse().expect("the test has a valid header value"));
        self
    }

    /// With a body.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Bytes>) -> Self {
        self = self.header("content-type", content_type);
        self.body = body.into();
        self
    }

    /// After so long.
    #[must_use]
    pub fn after(mut self, delay: Duration) -> Self {
        self.wait = Wait::For(delay);
        self
    }

    /// Waits, and says whether the answer is 2xx.
    pub(super) async fn into_response(self) -> (bool, Response) {
        match self.wait {
            Wait::For(delay) if delay.is_zero() => {}
            Wait::For(delay) => tokio::time::sleep(delay).await,
            Wait::Forever => pending().await,
        }
        let status = StatusCode::from_u16(self.status).expect("the test has a valid status");
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = status;
        *response.headers_mut() = self.headers;
        (status.is_success(), response)
    }
}
