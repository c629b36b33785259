//! What the author of a filter may not expect.

use std::fmt;

/// One such thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// None of the events, of which there are some, would have matched.
    MatchesNothing,
    /// All events would have matched, although the filter asks for something.
    MatchesEverything,
    /// A CESQL expression failed, and so did not pass.
    Errors {
        /// With how many events.
        events: u64,
        /// What was wrong the first time, with line and column in the expression.
        first: String,
    },
    /// None of the events has an attribute that the filter speaks of.
    UnknownAttribute {
        /// Its name.
        name: String,
        /// One with a similar name that some of them have.
        nearest: Option<String>,
    },
}

impl Warning {
    /// What programs call it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::MatchesNothing => "matches_nothing",
            Self::MatchesEverything => "matches_everything",
            Self::Errors { .. } => "errors",
            Self::UnknownAttribute { .. } => "unknown_attribute",
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MatchesNothing => f.write_str("matches none of these events"),
            Self::MatchesEverything => {
                f.write_str("matches all of these events; without a filter it would do the same")
            }
            Self::Errors { events, first } => {
                let noun = if *events == 1 { "event" } else { "events" };
                write!(f, "the expression fails with {events} {noun}, the first time with {first}")
            }
            Self::UnknownAttribute { name, nearest } => {
                write!(f, "no event has the attribute {name:?}")?;
                nearest.iter().try_for_each(|near| write!(f, "; did you mean {near:?}?"))
            }
        }
    }
}
