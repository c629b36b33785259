//! As much of HTTP/1.1 as a load generator and its sink need, so that they cost little beside what they measure.
//!
//! Messages have a `content-length` or no body; anything else is an error. Not for use against strangers.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that reads one message after the other.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    /// How much of the buffer belongs to the message that was read last.
    used: usize,
    /// Where its body begins.
    body: usize,
}

/// The head of a message; its body was read, and stays until the next one.
#[derive(Debug)]
pub(crate) struct Head<'a>(&'a str);

const READ: usize = 16 * 1024;
const HEAD_MAX: usize = 64 * 1024;

impl Wire {
    /// A connection on which nothing was read.
    ///
    /// # Errors
    /// When the socket takes no options.
    pub(crate) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(READ), used: 0, body: 0 })
    }

    /// Sends a whole message.
    ///
    /// # Errors
    /// When the other side is gone.
    pub(crate) async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(message).await
    }

    /// Reads the next message; `None` when the other side has closed before it began.
    ///
    /// # Errors
    /// When it breaks off or is not understood.
    pub(crate) async fn read(&mut self) -> io::Result<Option<Head<'_>>> {
        self.buffer.drain(..self.used);
        (self.used, self.body) = (0, 0);
        let mut searched = 0;
        let head = loop {
            if let Some(at) = self.buffer[searched..].windows(4).position(|four| four == b"\r\n\r\n") {
                break searched + at + 4;
            }
            searched = self.buffer.len().saturating_sub(3);
            if self.buffer.len() > HEAD_MAX {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the head of a message is too long"));
            }
            if self.fill().await? == 0 {
                return if self.buffer.is_empty() {
                    Ok(None)
                } else {
                    Err(io::ErrorKind::UnexpectedEof.into())
                };
            }
        };
        let length = parse(&self.buffer[..head])?.content_length()?;
        while self.buffer.len() < head + length {
            if self.fill().await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        (self.used, self.body) = (head + length, head);
        parse(&self.buffer[..head]).map(Some)
    }

    /// The body of the message that was read last.
    pub(crate) fn body(&self) -> &[u8] {
        &self.buffer[self.body..self.used]
    }

    async fn fill(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ);
        self.stream.read_buf(&mut self.buffer).await
    }
}

fn parse(head: &[u8]) -> io::Result<Head<'_>> {
    let text = std::str::from_utf8(head);
    text.map(Head)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "the head of a message is not text"))
}

impl Head<'_> {
    /// The status of an answer.
    pub(crate) fn status(&self) -> Option<u16> {
        self.0.split(' ').nth(1)?.parse().ok()
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0.split("\r\n").skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The path of a request.
    pub(crate) fn path(&self) -> &str {
        self.0.split(' ').nth(1).unwrap_or_default()
    }

    fn content_length(&self) -> io::Result<usize> {
        if self.header("transfer-encoding").is_some() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message has a transfer-encoding"));
        }
        let length = self.header("content-length").map_or(Ok(0), str::parse);
        length
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a message has no valid content-length"))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn messages_are_told_apart_however_they_are_cut() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut writer = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut wire = Wire::new(listener.accept().await.unwrap().0).unwrap();
        let text =
            b"POST /a HTTP/1.1\r\nContent-Length: 3\r\nce-id: 7\r\n\r\nabcHTTP/1.1 202 Accepted\r\n\r\n";
        for byte in text {
            writer.write_all(&[*byte]).await.unwrap();
        }
        let first = wire.read().await.unwrap().unwrap();
        assert_eq!((first.path(), first.header("CE-ID")), ("/a", Some("7")));
        assert_eq!(wire.body(), b"abc");
        assert_eq!(wire.read().await.unwrap().unwrap().status(), Some(202));
        drop(writer);
        assert!(wire.read().await.unwrap().is_none());
    }
}
