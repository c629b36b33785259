//! ISO-8601 durations, as `PT0.2S`: exact to the nanosecond, where the upstream parser keeps one decimal digit and
//! so turns `PT0.05S` into nothing (VAL-16, X-22).
//!
//! A year is 365.2425 days and a month a twelfth of that: deliveries know no calendar.

use std::time::Duration;

const SECOND: u128 = 1_000_000_000;
const DAY: u128 = 86_400 * SECOND;
const YEAR: u128 = 31_556_952 * SECOND;

/// The designators before the `T`, largest first, with their nanoseconds.
const DATE: [(char, u128); 4] = [('Y', YEAR), ('M', YEAR / 12), ('W', 7 * DAY), ('D', DAY)];

/// The designators after the `T`.
const TIME: [(char, u128); 3] = [('H', 3_600 * SECOND), ('M', 60 * SECOND), ('S', SECOND)];

/// Why a text is not a duration that Trigon takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DurationError {
    /// It is something else.
    #[error("{text:?} is not an ISO-8601 duration; write {suggestion}")]
    Syntax {
        /// The text.
        text: String,
        /// What was probably meant, or an example.
        suggestion: String,
    },
    /// It has a minus sign.
    #[error("{0:?} is negative; write a duration of zero or more, such as \"PT1S\"")]
    Negative(String),
    /// It overflows.
    #[error("{0:?} is longer than a duration can be; write less than 500 years")]
    TooLong(String),
}

/// Reads a duration; digits below the nanosecond are cut off.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let syntax = || DurationError::Syntax { text: text.to_owned(), suggestion: suggestion(text) };
    let too_long = || DurationError::TooLong(text.to_owned());
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let body = unsigned.strip_prefix('P').ok_or_else(syntax)?;
    let nanoseconds = if body == "0" {
        0
    } else {
        let (date, time) = match body.split_once('T') {
            Some((_, "")) => return Err(syntax()),
            Some((date, time)) => (date, time),
            None if body.is_empty() => return Err(syntax()),
            None => (body, ""),
        };
        let date = sum(date, &DATE, time.is_empty()).map_err(|error| error.into_error(syntax, too_long))?;
        let time = sum(time, &TIME, true).map_err(|error| error.into_error(syntax, too_long))?;
        date.checked_add(time).ok_or_else(too_long)?
    };
    if negative && nanoseconds > 0 {
        return Err(DurationError::Negative(text.to_owned()));
    }
    u64::try_from(nanoseconds).map(Duration::from_nanos).map_err(|_| too_long())
}

enum SumError {
    Syntax,
    TooLong,
}

impl SumError {
    fn into_error(
        self,
        syntax: impl Fn() -> DurationError,
        too_long: impl Fn() -> DurationError,
    ) -> DurationError {
        match self {
            Self::Syntax => syntax(),
            Self::TooLong => too_long(),
        }
    }
}

/// Adds numbers with designators up. Each designator comes at most once and in order; the last number of the
/// duration may have a fraction.
fn sum(mut text: &str, designators: &[(char, u128)], may_have_fraction: bool) -> Result<u128, SumError> {
    let mut left = designators;
    let mut total = 0_u128;
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit()).ok_or(SumError::Syntax)?;
        let (whole, rest) = text.split_at(end);
        let (fraction, rest) = match rest.strip_prefix(['.', ',']) {
            Some(rest) => {
                let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or(SumError::Syntax)?;
                if end == 0 {
                    return Err(SumError::Syntax);
                }
                rest.split_at(end)
            }
            None => ("", rest),
        };
        let mut after = rest.chars();
        let designator = after.next().ok_or(SumError::Syntax)?;
        text = after.as_str();
        let is_last = may_have_fraction && text.is_empty();
        if whole.is_empty() || !(fraction.is_empty() || is_last) {
            return Err(SumError::Syntax);
        }
        let place = left.iter().position(|(known, _)| *known == designator).ok_or(SumError::Syntax)?;
        let (_, unit) = left[place];
        left = &left[place + 1..];
        let whole: u128 = whole.parse().map_err(|_| SumError::TooLong)?;
        let part = whole.checked_mul(unit).ok_or(SumError::TooLong)?;
        total = total
            .checked_add(part)
            .and_then(|total| total.checked_add(share(fraction, unit)))
            .ok_or(SumError::TooLong)?;
    }
    Ok(total)
}

/// The decimal fraction of a unit, cut off below the nanosecond.
fn share(fraction: &str, unit: u128) -> u128 {
    // 18 digits times a year in nanoseconds stay below 2^127, and later digits are below the nanosecond.
    let digits = &fraction[..fraction.len().min(18)];
    let scale = digits.bytes().fold(1_u128, |scale, _| scale * 10);
    digits.bytes().fold(0_u128, |value, digit| value * 10 + u128::from(digit - b'0')) * unit / scale
}

/// How `30s`, `500ms`, `1.5h` or `30` would be written in ISO-8601.
fn suggestion(text: &str) -> String {
    let example =
        || "seconds as \"PT30S\", minutes as \"PT5M\", hours as \"PT1H\", days as \"P7D\"".to_owned();
    let lower = text.trim().to_ascii_lowercase();
    let upper = lower.to_ascii_uppercase();
    if upper != text && parse(&upper).is_ok() {
        return format!("\"{upper}\"");
    }
    let end = lower.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(lower.len());
    let (number, unit) = lower.split_at(end);
    if number.len() > 12 || number.parse::<f64>().is_err() {
        return example();
    }
    match unit.trim() {
        "" | "s" | "sec" | "secs" | "second" | "seconds" => format!("\"PT{number}S\""),
        "ms" => match number.parse::<u64>() {
            Ok(milliseconds) => {
                let seconds = format!("{}.{:03}", milliseconds / 1_000, milliseconds % 1_000);
                format!("\"PT{}S\"", seconds.trim_end_matches('0').trim_end_matches('.'))
            }
            Err(_) => example(),
        },
        "m" | "min" | "mins" | "minute" | "minutes" => format!("\"PT{number}M\""),
        "h" | "hour" | "hours" => format!("\"PT{number}H\""),
        "d" | "day" | "days" => format!("\"P{number}D\""),
        _ => example(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// VAL-12, VAL-16
    #[test]
    fn durations_are_read_by_the_grammar() {
        for (text, seconds) in [
            ("PT1S", 1.0),
            ("PT1M", 60.0),
            ("PT1H", 3_600.0),
            ("P1D", 86_400.0),
            ("P1W", 604_800.0),
            ("P1M", 2_629_746.0),
            ("P1Y", 31_556_952.0),
            ("P1Y2M3W4DT5H6M7S", 31_556_952.0 + 5_259_492.0 + 1_814_400.0 + 345_600.0 + 18_367.0),
            ("P1DT12H", 129_600.0),
            ("+PT2S", 2.0),
            ("PT2.5S", 2.5),
            ("PT2,5S", 2.5),
            ("PT0.5H", 1_800.0),
            ("P0.5D", 43_200.0),
            ("P0", 0.0),
            ("P0D", 0.0),
            ("PT0S", 0.0),
            ("-PT0S", 0.0),
            ("PT0.000S", 0.0),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    /// the upstream parser reads the first as 0.2 s and the others as nothing.
    #[test]
    fn fractions_are_exact_to_the_nanosecond() {
        assert_eq!(parse("PT0.25S"), Ok(Duration::from_millis(250)));
        assert_eq!(parse("PT0.05S"), Ok(Duration::from_millis(50)));
        assert_eq!(parse("PT0.001S"), Ok(Duration::from_millis(1)));
        assert_eq!(parse("PT0,000000001S"), Ok(Duration::from_nanos(1)));
        assert_eq!(parse("PT0.0000000019S"), Ok(Duration::from_nanos(1)));
        let digits = "9".repeat(1_000);
        assert_eq!(parse(&format!("PT1.{digits}S")), Ok(Duration::from_nanos(1_999_999_999)));
    }

    /// VAL-16
    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            " ",
            "P",
            "PT",
            "P1DT",
            "1S",
            "T1S",
            "PTS",
            "PT1",
            "P1",
            "P00",
            "PT1X",
            "PT1S2S",
            "PT1S1M",
            "P1H",
            "PT1D",
            "PT.5S",
            "PT5.S",
            "PT1.5M2S",
            "P0.5DT1H",
            "PT1S ",
            " PT1S",
            "pt1s",
            "PT-1S",
            "--PT1S",
            "PT1.5",
            "PT1..5S",
            "invalid time",
            "30s",
            "5m",
            "10",
            "PT１S",
        ] {
            assert!(matches!(parse(text), Err(DurationError::Syntax { .. })), "{text:?}");
        }
        assert_eq!(parse("-PT1S"), Err(DurationError::Negative("-PT1S".to_owned())));
        for text in ["P600Y", "PT99999999999999999999S", &format!("P{}D", "9".repeat(60))] {
            assert_eq!(parse(text), Err(DurationError::TooLong(text.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_duration_of_another_notation_is_answered_with_the_right_one() {
        for (text, right) in [
            ("30s", "\"PT30S\""),
            ("30", "\"PT30S\""),
            ("1.5h", "\"PT1.5H\""),
            ("5 minutes", "\"PT5M\""),
            ("7d", "\"P7D\""),
            ("200ms", "\"PT0.2S\""),
            ("2000ms", "\"PT2S\""),
            ("pt5s", "\"PT5S\""),
        ] {
            assert_eq!(suggestion(text), right, "{text}");
        }
        assert!(suggestion("soon").contains("PT30S"));
    }
}
