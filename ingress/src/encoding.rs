//! Content codings of request bodies: gzip and deflate, within a bound on the inflated size.
//!
//! Inflating stops one byte beyond the bound, so a body that would inflate to gigabytes costs as much as one
//! that is only just too large.

use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};

/// How a body is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Not at all.
    Identity,
    /// RFC 1952.
    Gzip,
    /// RFC 1950, and the bare RFC 1951 that some senders mean by it.
    Deflate,
}

/// The codings that are taken, for the header `Accept-Encoding` of a refusal.
pub const CODINGS: &str = "gzip, deflate";

/// A coding, or a list of them, that is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownCoding(pub String);

/// Why a body could not be inflated.
#[derive(Debug)]
pub enum InflateError {
    /// It is larger than the bound.
    TooLarge,
    /// It is not what its header says.
    Corrupt(io::Error),
}

/// How the body of a request with these headers is encoded.
///
/// # Errors
/// When it is encoded in another way, or more than once.
pub fn coding_of(headers: &HeaderMap) -> Result<Coding, UnknownCoding> {
    let mut values = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = values.next() else { return Ok(Coding::Identity) };
    if values.next().is_some() {
        let all = headers.get_all(CONTENT_ENCODING).iter().map(lossy).collect::<Vec<_>>();
        return Err(UnknownCoding(all.join(", ")));
    }
    let is = |name: &str| value.as_bytes().trim_ascii().eq_ignore_ascii_case(name.as_bytes());
    if is("identity") || is("") {
        Ok(Coding::Identity)
    } else if is("gzip") || is("x-gzip") {
        Ok(Coding::Gzip)
    } else if is("deflate") {
        Ok(Coding::Deflate)
    } else {
        Err(UnknownCoding(lossy(value)))
    }
}

/// Undoes the coding of a body.
///
/// # Errors
/// When the body is larger than `limit` bytes then, or is not encoded like that.
pub fn inflate(coding: Coding, body: Bytes, limit: usize) -> Result<Bytes, InflateError> {
    match coding {
        Coding::Identity => Ok(body),
        Coding::Gzip => read_within(MultiGzDecoder::new(&*body), limit),
        Coding::Deflate if has_zlib_header(&body) => read_within(ZlibDecoder::new(&*body), limit),
        Coding::Deflate => read_within(DeflateDecoder::new(&*body), limit),
    }
}

fn read_within(inflating: impl Read, limit: usize) -> Result<Bytes, InflateError> {
    let mut inflated = Vec::new();
    let beyond = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    inflating.take(beyond).read_to_end(&mut inflated).map_err(InflateError::Corrupt)?;
    if inflated.len() > limit { Err(InflateError::TooLarge) } else { Ok(inflated.into()) }
}

// RFC 1950, 2.2: the method is 8 and the first two bytes are a multiple of 31.
fn has_zlib_header(body: &[u8]) -> bool {
    match *body {
        [method, flags, ..] => method & 0x0f == 8 && u16::from_be_bytes([method, flags]).is_multiple_of(31),
        _ => false,
    }
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

    use super::*;

    fn gzip(data: &[u8]) -> Bytes {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap().into()
    }

    fn headers(values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (CONTENT_ENCODING, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_coding_is_read_from_the_header() {
        assert_eq!(coding_of(&headers(&[])), Ok(Coding::Identity));
        assert_eq!(coding_of(&headers(&["identity"])), Ok(Coding::Identity));
        assert_eq!(coding_of(&headers(&["GZip"])), Ok(Coding::Gzip));
        assert_eq!(coding_of(&headers(&["deflate"])), Ok(Coding::Deflate));
        assert_eq!(coding_of(&headers(&["br"])), Err(UnknownCoding("br".into())));
        assert_eq!(coding_of(&headers(&["gzip, gzip"])), Err(UnknownCoding("gzip, gzip".into())));
        assert_eq!(coding_of(&headers(&["gzip", "gzip"])), Err(UnknownCoding("gzip, gzip".into())));
    }

    #[test]
    fn every_coding_is_undone() {
        let mut zlib = ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(b"event").unwrap();
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(b"event").unwrap();
        for (coding, body) in [
            (Coding::Identity, Bytes::from_static(b"event")),
            (Coding::Gzip, gzip(b"event")),
            (Coding::Deflate, zlib.finish().unwrap().into()),
            (Coding::Deflate, bare.finish().unwrap().into()),
        ] {
            assert_eq!(inflate(coding, body, 5).unwrap(), "event", "{coding:?}");
        }
    }

    #[test]
    fn inflating_stops_just_beyond_the_bound() {
        // What is behind the bound is not even looked at: here it is not gzip any more.
        let mut bomb = gzip(&vec![0; 1 << 20]).to_vec();
        let cut = bomb.len() - 8;
        bomb[cut..].fill(0xff);
        assert!(matches!(inflate(Coding::Gzip, bomb.into(), 1000), Err(InflateError::TooLarge)));
        assert!(matches!(inflate(Coding::Gzip, gzip(b"event"), 4), Err(InflateError::TooLarge)));
    }

    #[test]
    fn a_torn_or_foreign_body_is_corrupt() {
        let whole = gzip(b"event");
        for body in [whole.slice(..whole.len() - 1), Bytes::from_static(b"event"), Bytes::new()] {
            assert!(matches!(inflate(Coding::Gzip, body, 100), Err(InflateError::Corrupt(_))));
        }
        let torn = Bytes::from_static(&[0x78, 0x9c, 0x4b]);
        assert!(matches!(inflate(Coding::Deflate, torn, 100), Err(InflateError::Corrupt(_))));
    }
}
