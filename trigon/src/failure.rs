//! How a command ends that did not succeed: what was tried, why it failed, what to do, and the exit status.

use std::error::Error;
use std::fmt::{self, Write};
use std::process::ExitCode;

/// Why a command ends early.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// It was started wrongly: exit status 2.
    Usage(String),
    /// It did not do what it was asked: exit status 1.
    Failed(String),
    /// The same, and the reasons are printed already.
    Reported,
    /// A filter was tried on real events and matches none of them, which is said already: exit status 3.
    MatchesNothing,
    /// It could not find out what it was asked, where exit status 1 is an answer: exit status 2.
    Unanswered(String),
    /// Nobody reads its output any more, which is how `| head` ends it: exit status 0.
    OutputClosed,
}

impl Failure {
    /// What was tried, and the error with all its sources.
    pub(crate) fn of(tried: impl fmt::Display, error: &(dyn Error + 'static)) -> Self {
        Self::Failed(format!("{tried}: {}", Chain(error)))
    }

    /// The message for standard error, where there is one.
    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::Usage(message) | Self::Failed(message) | Self::Unanswered(message) => Some(message),
            Self::Reported | Self::MatchesNothing | Self::OutputClosed => None,
        }
    }

    /// The exit status of the process.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) | Self::Unanswered(_) => ExitCode::from(2),
            Self::Failed(_) | Self::Reported => ExitCode::FAILURE,
            Self::MatchesNothing => ExitCode::from(3),
            Self::OutputClosed => ExitCode::SUCCESS,
        }
    }
}

/// An error and its sources, joined by colons; a source that only repeats what is said already is left out.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = String::new();
        let mut next = Some(self.0);
        while let Some(error) = next {
            let message = error.to_string();
            if !said.contains(&message) {
                let separator = if said.is_empty() { "" } else { ": " };
                write!(said, "{separator}{message}")?;
            }
            next = error.source();
        }
        f.write_str(&said)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("could not open the log")]
    struct Outer(#[source] io::Error);

    #[test]
    fn a_failure_says_what_was_tried_and_every_cause_once() {
        let failure = Failure::of("starting", &Outer(io::Error::other("the disk is full")));
        assert_eq!(failure.message(), Some("starting: could not open the log: the disk is full"));
    }

    #[test]
    fn exit_statuses_tell_what_happened() {
        let code = |failure: Failure| format!("{:?}", failure.exit_code());
        assert_eq!(code(Failure::Usage(String::new())), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(Failure::Unanswered(String::new())), format!("{:?}", ExitCode::from(2)));
        assert_eq!(code(Failure::Failed(String::new())), format!("{:?}", ExitCode::from(1)));
        assert_eq!(code(Failure::Reported), format!("{:?}", ExitCode::from(1)));
        assert_eq!(code(Failure::MatchesNothing), format!("{:?}", ExitCode::from(3)));
        assert_eq!(code(Failure::OutputClosed), format!("{:?}", ExitCode::from(0)));
    }
}
