//! How a Kafka is set up, and the properties that its brokers get for it.

use std::fmt;

use crate::certificate::Identity;

/// How to start brokers. By default their clients need no proof of who they are, and may do everything.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) properties: Vec<(String, String)>,
    pub(super) tls: Option<Tls>,
    pub(super) mechanism: Option<Mechanism>,
    pub(super) users: Vec<(String, String)>,
    pub(super) access: Access,
    pub(super) advertised: Vec<String>,
    pub(super) has_metrics: bool,
}

/// Who may do what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody everything.
    #[default]
    Open,
    /// What ACLs allow; Kafka's own tools, as [`Kafka::tools`](super::Kafka::tools) runs them, may do everything.
    Listed,
}

/// How clients' connections are encrypted.
#[derive(Clone, Debug)]
pub(super) struct Tls {
    pub(super) identity: Identity,
    /// The authorities whose clients are let in, as PEM; `None` asks clients for no certificate.
    pub(super) clients: Option<String>,
}

/// How clients prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `PLAIN`
    Plain,
    /// `SCRAM-SHA-256`
    ScramSha256,
    /// `SCRAM-SHA-512`
    ScramSha512,
    /// `OAUTHBEARER` with tokens that nobody has signed, see [`unsecured_token`].
    OauthBearer,
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        })
    }
}

/// The name of the listener for clients; the others are the tests' own.
pub(super) const CLIENT: &str = "CLIENT";

impl Options {
    /// Sets a property of the brokers.
    #[must_use]
    pub fn property(mut self, name: &str, value: &str) -> Self {
        self.properties.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Encrypts clients' connections; the brokers show this certificate.
    #[must_use]
    pub fn tls(mut self, identity: &Identity) -> Self {
        self.tls = Some(Tls { identity: identity.clone(), clients: None });
        self
    }

    /// The same, and clients must show a certificate of one of these authorities.
    #[must_use]
    pub fn mutual_tls(mut self, identity: &Identity, authorities: &str) -> Self {
        self.tls = Some(Tls { identity: identity.clone(), clients: Some(authorities.to_owned()) });
        self
    }

    /// Clients must prove who they are.
    #[must_use]
    pub fn sasl(mut self, mechanism: Mechanism) -> Self {
        self.mechanism = Some(mechanism);
        self
    }

    /// Adds a user of PLAIN and SCRAM.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Clients may do only what ACLs allow.
    #[must_use]
    pub fn authorized(mut self) -> Self {
        self.access = Access::Listed;
        self
    }

    /// What the brokers tell clients to connect to, one `HOST:PORT` for each, instead of their own addresses.
    #[must_use]
    pub fn advertised(mut self, addresses: impl IntoIterator<Item = String>) -> Self {
        self.advertised = addresses.into_iter().collect();
        self
    }

    /// Lets [`Kafka::topic_bytes`](super::Kafka::topic_bytes) ask the brokers what they have counted.
    #[must_use]
    pub fn metrics(mut self) -> Self {
        self.has_metrics = true;
        self
    }

    /// The arguments that make `kafka-storage format` add the users.
    pub(super) fn format_arguments(&self) -> Vec<String> {
        let mechanism = match self.mechanism {
            Some(mechanism @ (Mechanism::ScramSha256 | Mechanism::ScramSha512)) => mechanism,
            Some(Mechanism::Plain | Mechanism::OauthBearer) | None => return Vec::new(),
        };
        let scram = |(name, password): &(String, String)| {
            ["--add-scram".to_owned(), format!("{mechanism}=[name={name},password={password}]")]
        };
        self.users.iter().flat_map(scram).collect()
    }

    /// The security protocol of the listener for clients.
    pub(super) fn protocol(&self) -> &'static str {
        match (&self.tls, self.mechanism) {
            (None, None) => "PLAINTEXT",
            (Some(_), None) => "SSL",
            (None, Some(_)) => "SASL_PLAINTEXT",
            (Some(_), Some(_)) => "SASL_SSL",
        }
    }

    /// The properties of the listener for clients and of who may do what; `folder` is where the broker keeps its
    /// PEM files.
    pub(super) fn security_properties(&self, folder: &str) -> Vec<(String, String)> {
        let mut properties = Vec::new();
        let mut set = |name: &str, value: String| properties.push((name.to_owned(), value));
        let of = |name: &str| format!("listener.name.client.{name}");
        if let Some(tls) = &self.tls {
            set(&of("ssl.keystore.type"), "PEM".to_owned());
            set(&of("ssl.keystore.location"), format!("{folder}/{KEYSTORE}"));
            if tls.clients.is_some() {
                set(&of("ssl.truststore.type"), "PEM".to_owned());
                set(&of("ssl.truststore.location"), format!("{folder}/{TRUSTSTORE}"));
                set(&of("ssl.client.auth"), "required".to_owned());
            }
        }
        if let Some(mechanism) = self.mechanism {
            set(&of("sasl.enabled.mechanisms"), mechanism.to_string());
            let name = mechanism.to_string().to_lowercase();
            set(&of(&format!("{name}.sasl.jaas.config")), self.login_module(mechanism));
        }
        if self.access == Access::Listed {
            let class = "org.apache.kafka.metadata.authorizer.StandardAuthorizer";
            set("authorizer.class.name", class.to_owned());
            // The brokers among themselves, and the tools: they come by the listeners without security.
            set("super.users", "User:ANONYMOUS".to_owned());
        }
        properties
    }

    fn login_module(&self, mechanism: Mechanism) -> String {
        let package = "org.apache.kafka.common.security";
        match mechanism {
            Mechanism::Plain => {
                let user = |(name, password): &(String, String)| format!(" user_{name}=\"{password}\"");
                let users: String = self.users.iter().map(user).collect();
                format!("{package}.plain.PlainLoginModule required{users};")
            }
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                format!("{package}.scram.ScramLoginModule required;")
            }
            Mechanism::OauthBearer => {
                format!(
                    "{package}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"admin\";"
                )
            }
        }
    }
}

/// The broker's key and certificate.
pub(super) const KEYSTORE: &str = "broker.pem";

/// The authorities whose clients the broker lets in.
pub(super) const TRUSTSTORE: &str = "clients.pem";

/// A token for [`Mechanism::OauthBearer`]: nobody has signed it, and Kafka's validator for development believes it.
/// The times are in seconds since 1970.
pub fn unsecured_token(user: &str, issued: u64, expires: u64) -> String {
    use base64::Engine;
    let encode = |text: String| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(text);
    let header = encode("{\"alg\":\"none\"}".to_owned());
    let claims = encode(format!("{{\"sub\":\"{user}\",\"iat\":{issued},\"exp\":{expires}}}"));
    format!("{header}.{claims}.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_follows_from_encryption_and_proof() {
        let identity = Identity { certificate: String::new(), key: String::new() };
        let plain = Options::default();
        assert_eq!(plain.protocol(), "PLAINTEXT");
        assert_eq!(plain.clone().tls(&identity).protocol(), "SSL");
        assert_eq!(plain.clone().sasl(Mechanism::Plain).protocol(), "SASL_PLAINTEXT");
        assert_eq!(plain.sasl(Mechanism::Plain).mutual_tls(&identity, "").protocol(), "SASL_SSL");
    }

    #[test]
    fn a_token_says_whose_it_is_and_is_not_signed() {
        use base64::Engine;
        let token = unsecured_token("alice", 1, 2);
        let parts: Vec<_> = token.split('.').collect();
        assert_eq!(parts.len(), 3);
        assert_eq!(parts[2], "");
        let claims = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(parts[1]).unwrap();
        assert_eq!(claims, br#"{"sub":"alice","iat":1,"exp":2}"#);
    }
}
