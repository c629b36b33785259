//! A running Trigon, asked by the tools by way of its admin address.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use clap::Args;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use trigon_runtime::body::read_all;

use crate::client::{Client, Refusal};
use crate::failure::Failure;

/// Where the running Trigon is.
#[derive(Clone, Debug, Args)]
pub(crate) struct RemoteArguments {
    /// The admin address of the running trigon
    #[arg(long, value_name = "ADDR", env = "TRIGON_ADMIN", default_value = "127.0.0.1:8081", value_parser = admin_address)]
    admin: Uri,
}

/// The largest answer that is read as a whole.
const MAX_ANSWER: usize = 64 << 20;

/// The longest line of a stream: an event of 16 MiB in base64.
const MAX_LINE: usize = 32 << 20;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a segment of a path and a part of a query leave as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A running Trigon.
pub(crate) struct Remote {
    client: Client,
    address: Uri,
}

/// Lines that come as they happen.
pub(crate) struct Lines {
    body: Incoming,
    buffer: BytesMut,
    /// So much of the buffer is known to hold no end of a line.
    searched: usize,
    address: String,
}

impl Remote {
    /// Prepares to ask; nothing is sent yet.
    ///
    /// # Errors
    /// When the client cannot be set up.
    pub(crate) fn new(arguments: &RemoteArguments) -> Result<Self, Failure> {
        Ok(Self { client: Client::new(&arguments.admin, TIMEOUT)?, address: arguments.admin.clone() })
    }

    /// Asks for a JSON value.
    ///
    /// # Errors
    /// When there is no answer, or another one.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let request = self.request(Method::GET, path, Bytes::new());
        self.value(path, request).await
    }

    /// Sends a JSON value and reads the lines that come of it.
    ///
    /// # Errors
    /// When there is no answer, or another one.
    pub(crate) async fn post(&self, path: &str, value: &impl Serialize) -> Result<Lines, Failure> {
        let body = serde_json::to_vec(value).expect("texts and numbers are JSON");
        let mut request = self.request(Method::POST, path, body.into());
        let json = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(http::header::CONTENT_TYPE, json);
        self.lines_of(request).await
    }

    /// Asks for lines that come as they happen.
    ///
    /// # Errors
    /// When there is no answer, or another one.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        self.lines_of(self.request(Method::GET, path, Bytes::new())).await
    }

    async fn lines_of(&self, request: Request<Full<Bytes>>) -> Result<Lines, Failure> {
        let body = self.answer(request).await?;
        Ok(Lines { body, buffer: BytesMut::new(), searched: 0, address: self.authority().to_owned() })
    }

    fn request(&self, method: Method, path: &str, body: Bytes) -> Request<Full<Bytes>> {
        let uri = Uri::builder()
            .scheme(self.address.scheme_str().unwrap_or("http"))
            .authority(self.authority())
            .path_and_query(path)
            .build()
            .expect("paths are percent-encoded");
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        request
    }

    async fn value<T: DeserializeOwned>(
        &self,
        path: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<T, Failure> {
        let body = self.answer(request).await?;
        let tried = || format!("could not read the answer of {} to {path}", self.authority());
        let body = read_all(body, MAX_ANSWER).await.map_err(|error| Failure::of(tried(), &error))?;
        serde_json::from_slice(&body).map_err(|error| Failure::of(tried(), &error))
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Incoming, Failure> {
        let path = request.uri().path().to_owned();
        let response = self.client.send(request).await.map_err(|unreachable| {
            Failure::Failed(format!(
                "{unreachable}; is trigon standalone running? --admin sets another address"
            ))
        })?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        // The admin port knows every path and method that is asked for here; the ingress knows POST alone.
        let is_elsewhere = response.status() == StatusCode::METHOD_NOT_ALLOWED;
        let hint = if is_elsewhere { "; is this the admin address? --admin sets another one" } else { "" };
        let refusal = Refusal::read(response).await;
        Err(Failure::Failed(format!("{} refused {path}: {refusal}{hint}", self.authority())))
    }

    fn authority(&self) -> &str {
        self.address.authority().map_or("", |authority| authority.as_str())
    }
}

impl Lines {
    /// Waits for the next line that is not empty. Cancel safe.
    ///
    /// # Errors
    /// When the stream ends, which it does only with the process at its other end.
    pub(crate) async fn next(&mut self) -> Result<Bytes, Failure> {
        loop {
            let mut unsearched = self.buffer[self.searched..].iter();
            while let Some(more) = unsearched.position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + more).freeze();
                self.buffer.advance(1);
                self.searched = 0;
                unsearched = self.buffer.iter();
                if !line.is_empty() {
                    return Ok(line);
                }
            }
            self.searched = self.buffer.len();
            let ended =
                || Failure::Failed(format!("the stream from {} ended: trigon has stopped", self.address));
            if self.buffer.len() > MAX_LINE {
                return Err(Failure::Failed(format!(
                    "{} sent a line of more than {MAX_LINE} bytes",
                    self.address
                )));
            }
            let frame = self.body.frame().await.ok_or_else(ended)?.map_err(|_| ended())?;
            if let Ok(data) = frame.into_data() {
                self.buffer.extend_from_slice(&data);
            }
        }
    }
}

/// A segment of a path, or a name or value of a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, KEPT).to_string()
}

/// A host and port, or an `http` URL.
fn admin_address(text: &str) -> Result<Uri, String> {
    let wrong = || "write HOST:PORT, for instance 127.0.0.1:8081".to_owned();
    let text = if text.starts_with(':') { format!("127.0.0.1{text}") } else { text.to_owned() };
    let full = if text.contains("://") { text } else { format!("http://{text}") };
    let uri: Uri = full.parse().map_err(|_| wrong())?;
    let has_host = uri.host().is_some_and(|host| !host.is_empty());
    if has_host && matches!(uri.scheme_str(), Some("http" | "https")) { Ok(uri) } else { Err(wrong()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_a_host_and_a_port_or_a_url() {
        for (text, uri) in [
            ("127.0.0.1:8081", "http://127.0.0.1:8081"),
            (":8081", "http://127.0.0.1:8081"),
            ("trigon.local:80", "http://trigon.local:80"),
            ("https://trigon.example", "https://trigon.example"),
        ] {
            assert_eq!(admin_address(text).unwrap(), uri, "{text}");
        }
        for text in ["", "ftp://x", "a b:1"] {
            assert_eq!(
                admin_address(text),
                Err("write HOST:PORT, for instance 127.0.0.1:8081".to_owned()),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_named_with_what_to_do() {
        // Bound and dropped: nobody listens there.
        let address = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let arguments = RemoteArguments { admin: admin_address(&address.to_string()).unwrap() };
        let failure = Remote::new(&arguments).unwrap().get::<u8>("/v1/brokers").await.unwrap_err();
        let message = format!(
            "could not reach {address}: connection refused; is trigon standalone running? --admin sets another address"
        );
        assert_eq!(failure, Failure::Failed(message));
    }

    #[tokio::test]
    async fn an_address_that_only_takes_events_is_told_with_what_to_do() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let ingress = async {
            let (mut asking, _) = listener.accept().await.unwrap();
            let answer =
                b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 21\r\n\r\nsend events with POST";
            tokio::io::AsyncReadExt::read_u8(&mut asking).await.unwrap();
            tokio::io::AsyncWriteExt::write_all(&mut asking, answer).await.unwrap();
            asking
        };
        let arguments = RemoteArguments { admin: admin_address(&address.to_string()).unwrap() };
        let remote = Remote::new(&arguments).unwrap();
        let (answer, _asking) = tokio::join!(remote.get::<u8>("/v1/brokers"), ingress);
        let message = format!(
            "{address} refused /v1/brokers: 405 Method Not Allowed: send events with POST; is this the admin address? \
             --admin sets another one"
        );
        assert_eq!(answer, Err(Failure::Failed(message)));
    }
}
