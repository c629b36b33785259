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
    /// A broker cannot be reached where the cluster says that it is.
    #[error(
        "broker {node} is advertised at {address}, where it could not be reached: {reason} (its \
         advertised.listeners has to name an address that is reachable from here)"
    )]
    Advertised {
        /// Its number.
        node: i32,
        /// Where the cluster says that it is.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The connection could not be encrypted, or its other end is not who it should be.
    #[error("could not secure the connection to {address}: {reason}")]
    Tls {
        /// Whom it goes to.
        address: String,
        /// What the handshake failed of.
        reason: String,
    },
    /// The connection ended before it was encrypted, and nobody has said why: so does a broker that goes.
    #[error("could not secure the connection to {address}: {reason}")]
    Unsecured {
        /// Whom it goes to.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// The broker does not take us for whom we say to be.
    #[error("{address} refused to authenticate {user} by {mechanism}: {reason}")]
    Refused {
        /// Whom we asked.
        address: String,
        /// How, as IANA calls it.
        mechanism: &'static str,
        /// Whom we said to be.
        user: String,
        /// What the broker said.
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
