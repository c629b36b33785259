//! Tells a broker who we are, and has the broker prove that it knows us where the mechanism can.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::error::ResponseError;
use kafka_protocol::messages::{SaslAuthenticateRequest, SaslHandshakeRequest};
use kafka_protocol::protocol::StrBytes;
use rsasl::callback::{Context, Request, SessionCallback, SessionData};
use rsasl::config::SASLConfig;
use rsasl::prelude::{Mechname, MessageSent, SASLClient, Session, SessionError, State};
use rsasl::property::{AuthId, OAuthBearerToken, Password};

use super::connection::Connection;
use super::error::WireError;
use crate::kafka::security::{Login, Sasl, Token};

/// The most rounds of hashing that a broker may ask of us; Kafka's own tools make users with 4 096 to 16 384.
const MAX_ITERATIONS: u64 = 1 << 20;

/// Authenticates a connection on which nothing else was asked yet.
///
/// Returns for how long; `None` is for ever.
pub(super) async fn authenticate(
    connection: &Connection,
    sasl: &Sasl,
    deadline: Duration,
) -> Result<Option<Duration>, WireError> {
    let refused = |reason: String| WireError::Refused {
        address: connection.address().to_owned(),
        mechanism: mechanism(sasl),
        user: user(sasl).to_owned(),
        reason,
    };
    let handshake =
        SaslHandshakeRequest::default().with_mechanism(StrBytes::from_static_str(mechanism(sasl)));
    let answer = connection.call(&handshake, deadline).await?;
    match ResponseError::try_from_code(answer.error_code) {
        None => {}
        Some(ResponseError::UnsupportedSaslMechanism) => {
            let offered: Vec<_> = answer.mechanisms.iter().map(|name| name.as_str()).collect();
            return Err(refused(format!("it offers {}", offered.join(", "))));
        }
        Some(ResponseError::IllegalSaslState) => {
            return Err(refused("this listener asks nobody who they are".to_owned()));
        }
        Some(error) => return Err(refused(error.to_string())),
    }
    let mut exchange = Exchange::new(sasl).map_err(refused)?;
    let mut said: Option<Bytes> = None;
    let mut lifetime = None;
    while let Some(message) = exchange.next(said.as_deref()).map_err(refused)? {
        let request = SaslAuthenticateRequest::default().with_auth_bytes(message.into());
        let answer = connection.call(&request, deadline).await?;
        if let Some(error) = ResponseError::try_from_code(answer.error_code) {
            let message = answer.error_message.map(|message| message.as_str().to_owned());
            return Err(refused(message.unwrap_or_else(|| error.to_string())));
        }
        lifetime = u64::try_from(answer.session_lifetime_ms).ok().filter(|lifetime| *lifetime > 0);
        said = Some(answer.auth_bytes);
    }
    Ok(lifetime.map(Duration::from_millis))
}

/// A mechanism's name as IANA registers it.
fn mechanism(sasl: &Sasl) -> &'static str {
    match sasl {
        Sasl::Plain(_) => "PLAIN",
        Sasl::ScramSha256(_) => "SCRAM-SHA-256",
        Sasl::ScramSha512(_) => "SCRAM-SHA-512",
        Sasl::OauthBearer(_) => "OAUTHBEARER",
    }
}

/// Whom we say to be; only its issuer knows whom a token names.
fn user(sasl: &Sasl) -> &str {
    match sasl {
        Sasl::Plain(login) | Sasl::ScramSha256(login) | Sasl::ScramSha512(login) => &login.user,
        Sasl::OauthBearer(_) => "the bearer of the token",
    }
}

/// The client's side of an exchange, without its transport.
struct Exchange {
    session: Session,
    is_scram: bool,
    is_finished: bool,
}

impl Exchange {
    fn new(sasl: &Sasl) -> Result<Self, String> {
        let config = SASLConfig::builder().with_defaults().with_callback(Credentials(sasl.clone()));
        let config = config.map_err(|error| error.to_string())?;
        let name = Mechname::parse(mechanism(sasl).as_bytes()).map_err(|error| error.to_string())?;
        let session = SASLClient::new(config).start_suggested(&[name]).map_err(|error| error.to_string())?;
        let is_scram = matches!(sasl, Sasl::ScramSha256(_) | Sasl::ScramSha512(_));
        Ok(Self { session, is_scram, is_finished: false })
    }

    /// What to send after the broker `said` something; `None` when all is said, and the broker has proved what it had
    /// to.
    fn next(&mut self, said: Option<&[u8]>) -> Result<Option<Vec<u8>>, String> {
        if self.is_finished {
            return Ok(None);
        }
        if let Some(said) = said.filter(|_| self.is_scram) {
            check_scram(said)?;
        }
        let mut message = Vec::new();
        match self.session.step(said, &mut message) {
            Ok(State::Running) => Ok(Some(message)),
            Ok(State::Finished(MessageSent::Yes)) => {
                self.is_finished = true;
                Ok(Some(message))
            }
            Ok(State::Finished(MessageSent::No)) => {
                self.is_finished = true;
                Ok(None)
            }
            Err(error) => Err(explained(&error, said)),
        }
    }
}

/// Refuses what a SCRAM server must not say: rsasl panics on an attribute without a name, and takes any number of
/// iterations.
fn check_scram(said: &[u8]) -> Result<(), String> {
    let malformed = || "it said something that is not SCRAM".to_owned();
    let said = std::str::from_utf8(said).map_err(|_| malformed())?;
    for attribute in said.split(',') {
        let (name, value) = attribute.split_once('=').ok_or_else(malformed)?;
        if name.len() != 1 {
            return Err(malformed());
        }
        if name == "i" && value.parse::<u64>().is_ok_and(|iterations| iterations > MAX_ITERATIONS) {
            return Err(format!("it asks for more than {MAX_ITERATIONS} iterations"));
        }
    }
    Ok(())
}

/// What a broker says in the middle of an exchange, it says only there: OAUTHBEARER's `{"status":"invalid_token"}`.
fn explained(error: &SessionError, said: Option<&[u8]>) -> String {
    match said.map(String::from_utf8_lossy) {
        Some(said) if said.starts_with('{') => said.into_owned(),
        _ => error.to_string(),
    }
}

struct Credentials(Sasl);

impl SessionCallback for Credentials {
    fn callback(
        &self,
        _session: &SessionData,
        _context: &Context<'_>,
        request: &mut Request<'_>,
    ) -> Result<(), SessionError> {
        match &self.0 {
            Sasl::Plain(login) | Sasl::ScramSha256(login) | Sasl::ScramSha512(login) => {
                let Login { user, password } = login;
                request.satisfy::<AuthId>(user)?.satisfy::<Password>(password.reveal().as_bytes())?;
            }
            Sasl::OauthBearer(Token { token }) => {
                request.satisfy::<OAuthBearerToken>(token.reveal())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
