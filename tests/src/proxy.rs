//! A TCP proxy that cuts connections, refuses them, and slows them down.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Forwards connections to a server. They end when it is dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    target: Arc<Mutex<Option<String>>>,
    _server: JoinSet<()>,
}

/// How connections fare.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    /// Connections that began under another number end.
    cuts: u64,
    /// How long each piece of at most [`PIECE`] bytes is held back.
    delay: Duration,
    /// Whether new connections are closed at once.
    is_closed: bool,
}

/// What is forwarded in one piece, in bytes.
const PIECE: usize = 16 * 1024;

impl Proxy {
    /// Starts on any free port; connections end at once until it knows [where to](Self::forward).
    ///
    /// # Panics
    /// When the machine has no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("the machine has a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (weather, forecast) = watch::channel(Weather::default());
        let target: Arc<Mutex<Option<String>>> = Arc::default();
        let mut server = JoinSet::new();
        server.spawn(serve(listener, forecast, Arc::clone(&target)));
        Self { address, weather, target, _server: server }
    }

    /// Where it listens, as `HOST:PORT`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Forwards new connections to `HOST:PORT`.
    pub fn forward(&self, target: String) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = Some(target);
    }

    /// Ends all connections; new ones are taken.
    pub fn cut(&self) {
        self.weather.send_modify(|weather| weather.cuts += 1);
    }

    /// Ends all connections and takes no new ones until [`open`](Self::open).
    pub fn close(&self) {
        self.weather.send_modify(|weather| {
            weather.cuts += 1;
            weather.is_closed = true;
        });
    }

    /// Takes connections again.
    pub fn open(&self) {
        self.weather.send_modify(|weather| weather.is_closed = false);
    }

    /// From now on holds back each piece for so long, both ways; zero is not at all.
    pub fn slow(&self, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay = delay);
    }
}

async fn serve(
    listener: TcpListener,
    forecast: watch::Receiver<Weather>,
    target: Arc<Mutex<Option<String>>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await.expect("a listener goes on accepting");
        while connections.try_join_next().is_some() {}
        let target = target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let weather = *forecast.borrow();
        if let (Some(target), false) = (target, weather.is_closed) {
            let mut forecast = forecast.clone();
            connections.spawn(async move {
                let cut = {
                    let mut forecast = forecast.clone();
                    async move { forecast.wait_for(|now| now.cuts != weather.cuts).await.is_ok() }
                };
                tokio::select! {
                    _ = cut => {}
                    // However it ends, both sides see their connection close.
                    _ = forward(client, &target, &mut forecast) => {}
                }
            });
        }
    }
}

async fn forward(client: TcpStream, target: &str, forecast: &mut watch::Receiver<Weather>) -> io::Result<()> {
    let server = TcpStream::connect(target).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let forecast = &*forecast;
    tokio::select! {
        ended = pieces(from_client, to_server, forecast) => ended,
        ended = pieces(from_server, to_client, forecast) => ended,
    }
}

async fn pieces(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    forecast: &watch::Receiver<Weather>,
) -> io::Result<()> {
    let mut piece = vec![0; PIECE];
    loop {
        let read = from.read(&mut piece).await?;
        if read == 0 {
            return Ok(());
        }
        let delay = forecast.borrow().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        to.write_all(&piece[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn echo() -> (Proxy, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Proxy::start().await;
        proxy.forward(listener.local_addr().unwrap().to_string());
        let mut server = JoinSet::new();
        server.spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut byte = [0];
                while stream.read_exact(&mut byte).await.is_ok() && stream.write_all(&byte).await.is_ok() {}
            }
        });
        (proxy, server)
    }

    async fn asks(stream: &mut TcpStream) -> io::Result<u8> {
        stream.write_all(b"x").await?;
        stream.read_u8().await
    }

    #[tokio::test]
    async fn it_forwards_cuts_closes_and_opens() {
        let (proxy, _server) = echo().await;
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(asks(&mut stream).await.unwrap(), b'x');
        proxy.cut();
        assert!(stream.read_u8().await.is_err());
        drop(stream);
        proxy.close();
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert!(stream.read_u8().await.is_err());
        proxy.open();
        proxy.slow(Duration::from_millis(1));
        let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
        assert_eq!(asks(&mut stream).await.unwrap(), b'x');
    }
}
