//! How connections to Kafka are encrypted and who we are on them.
//!
//! One value serves both clients: our own connections and librdkafka's. It is read from the keys of a Secret and
//! from properties, which [`parse`] takes together. Nothing secret is ever shown.

use std::collections::BTreeMap;
use std::fmt;

mod draft;
mod jaas;
pub mod properties;
pub mod secret;
#[cfg(test)]
mod tests;

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

/// Something that is wrong with what says how connections are secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecurityProblem {
    /// The key or the property; empty when it is none of them.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

/// Everything that is wrong with what says how connections are secured.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct SecurityError(pub Vec<SecurityProblem>);

/// What a Secret and properties say together.
///
/// `keys` are those of the Secret, where there is one; of the properties only those
/// [about security](properties::is_about_security) are looked at; `texts` holds what is in the
/// [files](properties::files) that they name, by property.
///
/// # Errors
/// Everything that is wrong, missing or contradicts itself, without a secret in it.
pub fn parse(
    keys: Option<&BTreeMap<String, String>>,
    properties: &BTreeMap<String, String>,
    texts: &BTreeMap<String, String>,
) -> Result<Security, SecurityError> {
    let of_properties = properties::draft(properties, texts);
    let read = match keys {
        Some(keys) => secret::draft(keys).merge(of_properties).finish(secret::NAMES),
        None => of_properties.finish(properties::NAMES),
    };
    read.map_err(SecurityError)
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

impl fmt::Display for SecurityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, SecurityProblem { key, message }) in self.0.iter().enumerate() {
            let before = if place == 0 { "" } else { "; " };
            let colon = if key.is_empty() { "" } else { ": " };
            write!(f, "{before}{key}{colon}{message}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
