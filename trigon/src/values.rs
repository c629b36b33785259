//! What arguments may hold, as typed values: addresses, sizes, durations, moments, pairs, texts from files.

use std::fmt;
use std::io::Read;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use jiff::{Span, SpanRelativeTo};
use trigon_core::record::Timestamp;

/// Why an argument cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct ValueError(String);

/// Where to listen: `ADDRESS:PORT`, `localhost:PORT`, or `:PORT` for all addresses of the machine.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, ValueError> {
    let full = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None if text.starts_with(':') => format!("0.0.0.0{text}"),
        None => text.to_owned(),
    };
    full.parse().map_err(|_| ValueError("write ADDRESS:PORT, for instance 127.0.0.1:8080".to_owned()))
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ByteSize(pub(crate) usize);

const UNITS: [(&str, usize); 9] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
    ("", 1),
];

impl FromStr for ByteSize {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError("write a size such as 1MiB, 64KiB or 1048576".to_owned());
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: usize = number.parse().map_err(|_| wrong())?;
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit.trim_start()).ok_or_else(wrong)?;
        number.checked_mul(*factor).map(Self).ok_or_else(wrong)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary =
            UNITS.iter().take(3).rev().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        match binary {
            Some((unit, factor)) => write!(f, "{}{unit}", self.0 / factor),
            None => write!(f, "{}B", self.0),
        }
    }
}

/// A duration of zero or more, as `300ms`, `10s`, `5m`, `2h30m`, `1d` or `PT10S`.
pub(crate) fn duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = || ValueError("write a duration such as 300ms, 10s, 5m, 2h30m or 1d".to_owned());
    let span: Span = text.parse().map_err(|_| wrong())?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(signed).map_err(|_| wrong())
}

/// A moment in the past: a time, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// This long ago.
    Ago(Duration),
    /// At this time.
    Time(Timestamp),
}

impl Since {
    /// The moment, seen from `now`.
    pub(crate) fn timestamp(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(ago) => {
                Timestamp(now.0.saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX)))
            }
            Self::Time(time) => time,
        }
    }
}

impl FromStr for Since {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Ok(ago) = duration(text) {
            return Ok(Self::Ago(ago));
        }
        let time: jiff::Timestamp = text.parse().map_err(|_| {
            ValueError("write how long ago, such as 10m, or a time such as 2026-11-21T03:00:00Z".to_owned())
        })?;
        Ok(Self::Time(Timestamp(time.as_millisecond())))
    }
}

/// `NAME=VALUE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// Before the first `=`.
    pub(crate) name: String,
    /// After it; may be empty.
    pub(crate) value: String,
}

impl FromStr for Pair {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                Ok(Self { name: name.to_owned(), value: value.to_owned() })
            }
            _ => Err(ValueError("write NAME=VALUE".to_owned())),
        }
    }
}

/// Data on the command line: a text, `@FILE`, or `-` for standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataSource {
    /// The text itself.
    Text(String),
    /// What the file holds.
    File(PathBuf),
    /// What comes until the end of standard input.
    Input,
}

impl From<&str> for DataSource {
    fn from(text: &str) -> Self {
        match (text, text.strip_prefix('@')) {
            // As curl has it, too.
            ("-" | "@-", _) => Self::Input,
            (_, Some(path)) => Self::File(path.into()),
            (text, None) => Self::Text(text.to_owned()),
        }
    }
}

impl DataSource {
    /// Reads it, blocking.
    pub(crate) fn read(&self) -> std::io::Result<Bytes> {
        match self {
            Self::Text(text) => Ok(Bytes::from(text.clone())),
            Self::File(path) => std::fs::read(path).map(Bytes::from),
            Self::Input => {
                let mut data = Vec::new();
                std::io::stdin().read_to_end(&mut data)?;
                Ok(data.into())
            }
        }
    }
}

impl fmt::Display for DataSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("the data"),
            Self::File(path) => path.display().fmt(f),
            Self::Input => f.write_str("standard input"),
        }
    }
}

/// An HTTP status code, 200 to 599: an answer that ends an exchange.
pub(crate) fn status(text: &str) -> Result<http::StatusCode, ValueError> {
    text.parse::<u16>()
        .ok()
        .filter(|code| (200..=599).contains(code))
        .and_then(|code| http::StatusCode::from_u16(code).ok())
        .ok_or_else(|| ValueError("write an HTTP status from 200 to 599".to_owned()))
}

/// More than zero, at most a million per second: finer than that, a timer cannot tell.
pub(crate) fn rate(text: &str) -> Result<f64, ValueError> {
    text.parse::<f64>()
        .ok()
        .filter(|rate| *rate > 0.0 && *rate <= 1e6)
        .ok_or_else(|| ValueError("write a number per second, above 0 and up to 1000000".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_leave_the_host_out() {
        for (text, address) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("localhost:0", "127.0.0.1:0"),
            (":8080", "0.0.0.0:8080"),
            ("[::1]:80", "[::1]:80"),
        ] {
            assert_eq!(listen_address(text).unwrap(), address.parse().unwrap(), "{text}");
        }
        for text in ["8080", "example.com:80", ":99999", ""] {
            let error = listen_address(text).unwrap_err().to_string();
            assert_eq!(error, "write ADDRESS:PORT, for instance 127.0.0.1:8080", "{text}");
        }
    }

    #[test]
    fn sizes_have_binary_and_decimal_units_and_are_shown_in_the_largest_that_divides_them() {
        for (text, bytes, shown) in [
            ("1MiB", 1 << 20, "1MiB"),
            ("64 KiB", 65_536, "64KiB"),
            ("1048576", 1 << 20, "1MiB"),
            ("1500B", 1_500, "1500B"),
            ("2MB", 2_000_000, "2000000B"),
            ("0", 0, "0B"),
        ] {
            let size: ByteSize = text.parse().unwrap();
            assert_eq!((size.0, size.to_string().as_str()), (bytes, shown), "{text}");
        }
        for text in ["", "MiB", "-1", "1.5MiB", "1TiBB", "99999999999999999999", "99999999999GiB"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_read_in_short_and_in_iso_form() {
        for (text, milliseconds) in [
            ("300ms", 300),
            ("10s", 10_000),
            ("2h30m", 9_000_000),
            ("1d", 86_400_000),
            ("PT1.5S", 1_500),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "10", "-5s", "soon"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn since_is_a_time_or_how_long_ago() {
        let now = Timestamp(1_000_000);
        assert_eq!("10s".parse::<Since>().unwrap().timestamp(now), Timestamp(990_000));
        let time: Since = "1970-01-01T00:00:05Z".parse().unwrap();
        assert_eq!(time.timestamp(now), Timestamp(5_000));
        assert!("yesterday".parse::<Since>().is_err());
    }

    #[test]
    fn a_pair_is_cut_at_the_first_equals_sign() {
        let pair: Pair = "a=b=c".parse().unwrap();
        assert_eq!((pair.name.as_str(), pair.value.as_str()), ("a", "b=c"));
        assert!("a".parse::<Pair>().is_err());
        assert!("=b".parse::<Pair>().is_err());
    }

    #[test]
    fn data_is_a_text_a_file_or_standard_input() {
        assert_eq!(DataSource::from("-"), DataSource::Input);
        assert_eq!(DataSource::from("@-"), DataSource::Input);
        assert_eq!(DataSource::from("@a.json"), DataSource::File("a.json".into()));
        assert_eq!(DataSource::from("-x"), DataSource::Text("-x".to_owned()));
    }
}
