//! What can go wrong between us and a broker.

use std::time::Duration;

use crate::LogError;

/// Why a request has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(in crate::kafka) enum WireError {
    /// Nobody listens there, or it is not let through.
    #[error("could not connect to {address}: {reason}")]
    Unreachable {
        /// Whom we tried.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The connection ended before the answer.
    #[error("lost the connection to {address}: {reason}")]
    Broken {
        /// Whom it went to.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The answer took too long.
    #[error("{address} did not answer {request} within {deadline:?}")]
    Deadline {
        /// Whom we asked.
        address: String,
        /// The name of the request, as Kafka's protocol calls it.
        request: &'static str,
        /// How long we waited.
        deadline: Duration,
    },
    /// The broker speaks no version of the request that we do.
    #[error("{address} is too old, or too new, for {request}")]
    Unsupported {
        /// Whom we asked.
        address: String,
        /// The name of the request.
        request: &'static str,
    },
    /// What came was not Kafka's protocol.
    #[error("{address} answered {request} with something else: {reason}")]
    Malformed {
        /// Whom we asked.
        address: String,
        /// The name of the request.
        request: &'static str,
        /// What the decoder said.
        reason: String,
    },
}

impl From<WireError> for LogError {
    fn from(error: WireError) -> Self {
        Self::Failed(error.to_string())
    }
}
