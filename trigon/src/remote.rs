//! A running Trigon, asked by the tools by way of its admin addresses: one of a process that does everything, or
//! those of several that share the work.

use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use clap::Args;
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::sleep;
use trigon_runtime::body::read_all;

use crate::client::{Client, Refusal};
use crate::failure::Failure;

/// Where the running Trigon is.
#[derive(Clone, Debug, Args)]
pub(crate) struct RemoteArguments {
    /// The admin address of the running trigon; of several processes those of all, with commas or by repeating it
    #[arg(long, value_name = "ADDR,…", env = "TRIGON_ADMIN", default_value = "127.0.0.1:8081", value_delimiter = ',', value_parser = admin_address)]
    admin: Vec<Uri>,
}

/// The largest answer that is read as a whole.
const MAX_ANSWER: usize = 64 << 20;

/// The longest line of a stream: an event of 16 MiB in base64.
const MAX_LINE: usize = 32 << 20;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How long a process that is busy is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// What a segment of a path and a part of a query leave as it is.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A running Trigon: one process, or several that are asked together.
pub(crate) struct Remote {
    processes: Vec<Process>,
}

/// One process of a running Trigon.
struct Process {
    client: Client,
    address: Uri,
}

/// Why a process has not answered.
struct Unanswered {
    failure: Failure,
    /// Whether another process may answer.
    ask_others: bool,
    /// Whether it may answer later.
    is_busy: bool,
}

/// What those answered who did, and what is to be said of the others.
#[derive(Debug)]
pub(crate) struct Answers<T> {
    /// At least one.
    pub(crate) values: Vec<T>,
    /// Processes that could not be reached or could not answer: what is shown may lack theirs.
    pub(crate) unreached: Vec<String>,
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
        let process =
            |address: &Uri| Ok(Process { client: Client::new(address, TIMEOUT)?, address: address.clone() });
        Ok(Self { processes: arguments.admin.iter().map(process).collect::<Result<_, Failure>>()? })
    }

    /// Asks one after the other for a JSON value, until one answers.
    ///
    /// # Errors
    /// When none does; the failure of the first one.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        let mut first = None;
        for process in &self.processes {
            match process.get(path).await {
                Ok(value) => return Ok(value),
                Err(unanswered) => first = first.or(Some(unanswered.failure)),
            }
        }
        Err(first.unwrap_or_else(nobody))
    }

    /// Asks all for a JSON value. A process that does not know, because others do that work, is left out.
    ///
    /// # Errors
    /// When none answers; the failure of the first one.
    pub(crate) async fn get_all<T: DeserializeOwned>(&self, path: &str) -> Result<Answers<T>, Failure> {
        let mut answers = Answers { values: Vec::new(), unreached: Vec::new() };
        let mut first = None;
        for process in &self.processes {
            match process.get(path).await {
                Ok(value) => answers.values.push(value),
                Err(Unanswered { failure, ask_others, .. }) => {
                    if !ask_others {
                        answers.unreached.extend(failure.message().map(str::to_owned));
                    }
                    first = first.or(Some(failure));
                }
            }
        }
        match first {
            Some(failure) if answers.values.is_empty() => Err(failure),
            _ => Ok(answers),
        }
    }

    /// Sends a JSON value to the first that takes it, and reads the lines that come of it. One that is busy is asked
    /// again, `patience` times with [`PAUSE`] before each.
    ///
    /// # Errors
    /// When none takes it. One that cannot be reached is not passed over: it may have begun.
    pub(crate) async fn post(
        &self,
        path: &str,
        value: &impl Serialize,
        mut patience: u32,
    ) -> Result<Lines, Failure> {
        let mut last = None;
        for process in &self.processes {
            loop {
                match process.post(path, value).await {
                    Err(Unanswered { is_busy: true, .. }) if patience > 0 => {
                        patience -= 1;
                        sleep(PAUSE).await;
                    }
                    Err(Unanswered { failure, ask_others: true, .. }) => {
                        last = Some(failure);
                        break;
                    }
                    answered => return answered.map_err(|unanswered| unanswered.failure),
                }
            }
        }
        Err(last.unwrap_or_else(nobody))
    }

    /// Sends JSON to one after the other, until one answers with a JSON value.
    ///
    /// # Errors
    /// When none does; the failure of the first one.
    pub(crate) async fn ask<T: DeserializeOwned>(&self, path: &str, json: &Bytes) -> Result<T, Failure> {
        let mut first = None;
        for process in &self.processes {
            match process.ask(path, json.clone()).await {
                Ok(value) => return Ok(value),
                Err(unanswered) => first = first.or(Some(unanswered.failure)),
            }
        }
        Err(first.unwrap_or_else(nobody))
    }

    /// Asks one after the other for lines that come as they happen, until one answers.
    ///
    /// # Errors
    /// When none does; the failure of the first one.
    pub(crate) async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        let mut first = None;
        for process in &self.processes {
            match process.lines(path).await {
                Ok(lines) => return Ok(lines),
                Err(unanswered) => first = first.or(Some(unanswered.failure)),
            }
        }
        Err(first.unwrap_or_else(nobody))
    }
}

fn nobody() -> Failure {
    Failure::Usage("--admin names nobody to ask".to_owned())
}

impl Process {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Unanswered> {
        let request = self.request(Method::GET, path, Bytes::new());
        self.value(path, request).await
    }

    async fn ask<T: DeserializeOwned>(&self, path: &str, json: Bytes) -> Result<T, Unanswered> {
        let request = self.posted(path, json);
        self.value(path, request).await
    }

    async fn post(&self, path: &str, value: &impl Serialize) -> Result<Lines, Unanswered> {
        let body = serde_json::to_vec(value).expect("texts and numbers are JSON");
        self.lines_of(self.posted(path, body.into())).await
    }

    fn posted(&self, path: &str, json: Bytes) -> Request<Full<Bytes>> {
        let mut request = self.request(Method::POST, path, json);
        let media_type = http::HeaderValue::from_static("application/json");
        request.headers_mut().insert(http::header::CONTENT_TYPE, media_type);
        request
    }

    async fn lines(&self, path: &str) -> Result<Lines, Unanswered> {
        self.lines_of(self.request(Method::GET, path, Bytes::new())).await
    }

    async fn lines_of(&self, request: Request<Full<Bytes>>) -> Result<Lines, Unanswered> {
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
    ) -> Result<T, Unanswered> {
        let body = self.answer(request).await?;
        let tried = || format!("could not read the answer of {} to {path}", self.authority());
        let body = read_all(body, MAX_ANSWER).await.map_err(|error| Failure::of(tried(), &error))?;
        Ok(serde_json::from_slice(&body).map_err(|error| Failure::of(tried(), &error))?)
    }

    async fn answer(&self, request: Request<Full<Bytes>>) -> Result<Incoming, Unanswered> {
        let path = request.uri().path().to_owned();
        let response = self.client.send(request).await.map_err(|unreachable| {
            Failure::Failed(format!("{unreachable}; is trigon running there? --admin sets another address"))
        })?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        // The admin port knows every path and method that is asked for here; the ingress knows POST alone.
        let is_elsewhere = response.status() == StatusCode::METHOD_NOT_ALLOWED;
        let hint = if is_elsewhere { "; is this the admin address? --admin sets another one" } else { "" };
        let ask_others = response.status() == StatusCode::MISDIRECTED_REQUEST;
        let is_busy = response.status() == StatusCode::TOO_MANY_REQUESTS;
        let refusal = Refusal::read(response).await;
        let message = if ask_others {
            format!("{}: {}", self.authority(), refusal.reason)
        } else {
            format!("{} refused {path}: {refusal}{hint}", self.authority())
        };
        Err(Unanswered { failure: Failure::Failed(message), ask_others, is_busy })
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

impl From<Failure> for Unanswered {
    fn from(failure: Failure) -> Self {
        Self { failure, ask_others: false, is_busy: false }
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
        let arguments = RemoteArguments { admin: vec![admin_address(&address.to_string()).unwrap()] };
        let failure = Remote::new(&arguments).unwrap().get::<u8>("/v1/brokers").await.unwrap_err();
        let message = format!(
            "could not reach {address}: connection refused; is trigon running there? --admin sets another address"
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
        let arguments = RemoteArguments { admin: vec![admin_address(&address.to_string()).unwrap()] };
        let remote = Remote::new(&arguments).unwrap();
        let (answer, _asking) = tokio::join!(remote.get::<u8>("/v1/brokers"), ingress);
        let message = format!(
            "{address} refused /v1/brokers: 405 Method Not Allowed: send events with POST; is this the admin address? \
             --admin sets another one"
        );
        assert_eq!(answer, Err(Failure::Failed(message)));
    }
}
