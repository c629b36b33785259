//! Sockets of which the test writes and reads every byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Everything that a test waits for must have happened by then; only a test that fails gets there.
const PATIENCE: Duration = Duration::from_secs(20);

/// One end of a connection.
pub(crate) struct Wire(pub(crate) TcpStream);

impl Wire {
    pub(crate) async fn to(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.unwrap())
    }

    pub(crate) async fn from(listener: &TcpListener) -> Self {
        Self(within("a connection", listener.accept()).await.unwrap().0)
    }

    pub(crate) async fn write(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until what came so far ends with this text.
    pub(crate) async fn read_until(&mut self, end: &str) -> String {
        let mut text = Vec::new();
        while !text.ends_with(end.as_bytes()) {
            let mut next = [0];
            let read = within(end, self.0.read(&mut next)).await.unwrap();
            assert!(read == 1, "the connection ended after {:?}", String::from_utf8_lossy(&text));
            text.push(next[0]);
        }
        String::from_utf8(text).unwrap()
    }

    /// Reads until the other side closes.
    pub(crate) async fn read_to_end(&mut self) -> String {
        let mut text = String::new();
        within("the end of the connection", self.0.read_to_string(&mut text)).await.unwrap();
        text
    }
}

/// A listener on a free port.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

/// Waits for what must happen.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(output) => output,
        Err(_) => panic!("waited {PATIENCE:?} for {what}"),
    }
}
