//! How connections to Kafka are encrypted and who we are on them.
//!
//! One value serves both clients: our own connections and librdkafka's. Nothing secret is ever shown.

use std::fmt;

/// Encryption and identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Security {
    /// `None` is plain text.
    pub tls: Option<Tls>,
    /// `None` is nobody in particular, or whom the client's certificate names.
    pub sasl: Option<Sasl>,
}

/// How connections are encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The authorities that brokers' certificates are checked against, as PEM; `None` is those of the system.
    pub ca: Option<String>,
    /// Our own certificate.
    pub identity: Option<Identity>,
    /// Whether a broker's certificate must name its host. Default yes.
    pub host_names: HostNames,
}

/// Whether certificates must name the host that was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HostNames {
    /// `ssl.endpoint.identification.algorithm=https`.
    #[default]
    Checked,
    /// `ssl.endpoint.identification.algorithm=none`.
    Unchecked,
}

/// A client's certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The certificate chain as PEM, ours first.
    pub certificate: String,
    /// The private key as PEM, not encrypted.
    pub key: Secret,
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sasl {
    /// `PLAIN`, RFC 4616.
    Plain(Login),
    /// `SCRAM-SHA-256`, RFC 7677.
    ScramSha256(Login),
    /// `SCRAM-SHA-512`.
    ScramSha512(Login),
    /// `OAUTHBEARER`, RFC 7628.
    OauthBearer(Token),
}

/// A user and a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
}

/// A bearer token, as an issuer gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub token: Secret,
}

/// Text that is never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Hides a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who needs it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
