//! Reading bodies within a bound.
//!
//! A body of one frame, as most are, is returned without copying.

use bytes::{Bytes, BytesMut};
use http_body::Body;
use http_body_util::BodyExt;

/// Why a body was not read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError<E> {
    /// It is larger than the bound; the rest was not read.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// The bound in bytes.
        limit: usize,
    },
    /// The connection broke, or what came is not HTTP.
    #[error("the body could not be read")]
    Broken(#[source] E),
}

/// The beginning of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix {
    /// The bytes.
    pub bytes: Bytes,
    /// Whether that is all there was.
    pub complete: bool,
}

/// Reads a whole body of at most `limit` bytes. Stops reading as soon as it is known to be larger.
///
/// # Errors
/// When the body is larger, or breaks off.
pub async fn read_all<B>(body: B, limit: usize) -> Result<Bytes, BodyError<B::Error>>
where
    B: Body<Data = Bytes> + Unpin,
{
    if usize::try_from(body.size_hint().lower()).map_or(true, |least| least > limit) {
        return Err(BodyError::TooLarge { limit });
    }
    let prefix = read_prefix(body, limit).await.map_err(BodyError::Broken)?;
    if prefix.complete { Ok(prefix.bytes) } else { Err(BodyError::TooLarge { limit }) }
}

/// Reads at most `limit` bytes of a body and leaves the rest.
///
/// # Errors
/// When the body breaks off.
pub async fn read_prefix<B>(mut body: B, limit: usize) -> Result<Prefix, B::Error>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut complete = true;
    while let Some(frame) = body.frame().await {
        // A frame without data holds trailers, which mean nothing here.
        let Ok(mut data) = frame?.into_data() else { continue };
        let room = limit - first.len().max(joined.len());
        complete = data.len() <= room;
        data.truncate(room);
        if first.is_empty() {
            first = data;
        } else {
            if joined.is_empty() {
                let rest = usize::try_from(body.size_hint().lower()).unwrap_or(limit);
                joined.reserve((first.len() + data.len()).saturating_add(rest).min(limit));
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
        if !complete {
            break;
        }
    }
    Ok(Prefix { bytes: if joined.is_empty() { first } else { joined.freeze() }, complete })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body::Frame;
    use http_body_util::{Full, StreamBody};

    use super::*;

    fn frames(parts: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> + Unpin {
        let frames: Vec<_> =
            parts.iter().map(|part| Ok(Frame::data(Bytes::from_static(part.as_bytes())))).collect();
        StreamBody::new(stream::iter(frames))
    }

    #[tokio::test]
    async fn a_body_of_one_frame_is_not_copied() {
        let sent = Bytes::from(vec![7; 100]);
        let read = read_all(Full::new(sent.clone()), 100).await.unwrap();
        assert_eq!(read.as_ptr(), sent.as_ptr());
        assert_eq!(read, sent);
    }

    #[tokio::test]
    async fn frames_are_joined_up_to_the_bound() {
        assert_eq!(read_all(frames(&["ab", "", "cd", "e"]), 5).await.unwrap(), "abcde");
        assert_eq!(read_all(frames(&[]), 0).await.unwrap(), "");
        for bound in [0, 1, 2, 3, 4] {
            let refused = read_all(frames(&["ab", "cd", "e"]), bound).await;
            assert!(matches!(refused, Err(BodyError::TooLarge { limit }) if limit == bound));
        }
    }

    #[tokio::test]
    async fn a_body_that_announces_too_much_is_refused_unread() {
        let refused = read_all(Full::new(Bytes::from_static(b"abc")), 2).await;
        assert!(matches!(refused, Err(BodyError::TooLarge { limit: 2 })));
    }

    #[tokio::test]
    async fn a_prefix_says_whether_there_is_more() {
        let prefix = read_prefix(frames(&["ab", "cd"]), 3).await.unwrap();
        assert_eq!(prefix, Prefix { bytes: "abc".into(), complete: false });
        let prefix = read_prefix(frames(&["ab", "cd"]), 4).await.unwrap();
        assert_eq!(prefix, Prefix { bytes: "abcd".into(), complete: true });
    }
}
