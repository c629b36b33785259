//! What both clients of librdkafka's have in common: where their log lines go, and how they get a bearer token.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rdkafka::client::OAuthToken;
use rdkafka::config::RDKafkaLogLevel;
use serde::Deserialize;
use tracing::{debug, error, info, warn};

use super::security::{Sasl, Security};

/// How long a token is used that does not say when it ends; then it is read again.
const UNKNOWN_LIFETIME: Duration = Duration::from_secs(300);

/// What a token is asked for.
#[derive(Deserialize)]
struct Claims {
    /// When it ends, in seconds since the Unix epoch.
    exp: Option<f64>,
    /// Whom it names.
    sub: Option<String>,
}

/// There is no token where one is needed.
#[derive(Debug, thiserror::Error)]
#[error("no token is configured")]
pub(crate) struct NoToken;

/// Passes a log line of librdkafka's on.
pub(crate) fn log(level: RDKafkaLogLevel, client: &'static str, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error => error!(target: "librdkafka", client, facility, "{message}"),
        RDKafkaLogLevel::Warning => warn!(target: "librdkafka", client, facility, "{message}"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info => {
            info!(target: "librdkafka", client, facility, "{message}");
        }
        RDKafkaLogLevel::Debug => debug!(target: "librdkafka", client, facility, "{message}"),
    }
}

/// The token as librdkafka wants it.
///
/// # Errors
/// When the identity is not a token.
pub(crate) fn oauth_token(security: &Security, now: SystemTime) -> Result<OAuthToken, NoToken> {
    let Some(Sasl::OauthBearer(token)) = &security.sasl else { return Err(NoToken) };
    let token = token.token.reveal();
    let claims = claims(token);
    let end = match claims.as_ref().and_then(|claims| claims.exp).map(Duration::try_from_secs_f64) {
        Some(Ok(end)) => end,
        Some(Err(_)) | None => now.duration_since(UNIX_EPOCH).unwrap_or_default() + UNKNOWN_LIFETIME,
    };
    Ok(OAuthToken {
        token: token.to_owned(),
        principal_name: claims.and_then(|claims| claims.sub).unwrap_or_else(|| "trigon".to_owned()),
        lifetime_ms: i64::try_from(end.as_millis()).unwrap_or(i64::MAX),
    })
}

/// Whether a client has to be replaced to take on new security: it asks for a new token by itself.
pub(crate) fn needs_new_client(old: &Arc<Security>, new: &Arc<Security>) -> bool {
    let only_token = |security: &Security| matches!(security.sasl, Some(Sasl::OauthBearer(_)));
    old.tls != new.tls || (old.sasl != new.sasl && !(only_token(old) && only_token(new)))
}

/// The claims of a JSON Web Token; `None` where it is something else.
fn claims(token: &str) -> Option<Claims> {
    let payload = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kafka::security::{Login, Secret, Tls, Token};

    const NOW: Duration = Duration::from_secs(1_000);

    fn with_token(token: &str) -> Security {
        Security { tls: None, sasl: Some(Sasl::OauthBearer(Token { token: Secret::new(token) })) }
    }

    fn asked(security: &Security) -> OAuthToken {
        oauth_token(security, UNIX_EPOCH + NOW).unwrap()
    }

    #[test]
    fn a_web_token_says_itself_when_it_ends_and_whom_it_names() {
        let payload = URL_SAFE_NO_PAD.encode(br#"{"sub":"broker","exp":2000000000,"iss":"x"}"#);
        let token = asked(&with_token(&format!("e30.{payload}.c2ln")));
        assert_eq!(token.lifetime_ms, 2_000_000_000_000);
        assert_eq!(token.principal_name, "broker");
    }

    #[test]
    fn any_other_token_is_read_again_before_long() {
        let token = asked(&with_token("opaque"));
        assert_eq!(token.token, "opaque");
        assert_eq!(token.lifetime_ms, 1_300_000);
        assert_eq!(token.principal_name, "trigon");
    }

    #[test]
    fn who_is_known_by_a_password_has_no_token() {
        assert!(oauth_token(&Security::default(), UNIX_EPOCH).is_err());
    }

    #[test]
    fn a_new_token_needs_no_new_client_and_anything_else_does() {
        let login = |password| Security {
            tls: None,
            sasl: Some(Sasl::Plain(Login { user: "u".to_owned(), password: Secret::new(password) })),
        };
        let needs = |old: Security, new: Security| needs_new_client(&Arc::new(old), &Arc::new(new));
        assert!(!needs(with_token("a"), with_token("b")));
        assert!(!needs(login("a"), login("a")));
        assert!(needs(login("a"), login("b")));
        assert!(needs(with_token("a"), login("b")));
        assert!(needs(with_token("a"), Security { tls: Some(Tls::default()), ..with_token("a") }));
    }
}
