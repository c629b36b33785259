//! Security as somebody wrote it down, piece by piece; from it comes a [`Security`], or everything that is missing
//! or contradicts itself.
//!
//! Where the pieces stand is not known here: [`secret`](super::secret) and [`properties`](super::properties) say
//! that. No message holds a value that could be secret.

use super::{HostNames, Identity, Login, Sasl, Secret, Security, SecurityProblem, Tls, Token};

/// The pieces that were given, each with the name it has where it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub(super) protocol: Option<Piece<Protocol>>,
    pub(super) ca: Option<Piece<String>>,
    pub(super) certificate: Option<Piece<String>>,
    pub(super) key: Option<Piece<Secret>>,
    pub(super) host_names: Option<Piece<HostNames>>,
    pub(super) mechanism: Option<Piece<Mechanism>>,
    pub(super) user: Option<Piece<String>>,
    pub(super) password: Option<Piece<Secret>>,
    pub(super) token: Option<Piece<Secret>>,
    /// Brokers do not ask for a certificate of ours.
    pub(super) is_anonymous: Option<Piece<bool>>,
    /// What could not be read at all.
    pub(super) problems: Vec<SecurityProblem>,
}

/// A piece and the name it was given by.
#[derive(Clone, Debug)]
pub(super) struct Piece<T> {
    pub(super) name: &'static str,
    pub(super) value: T,
}

/// What the pieces are called where one is missing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub(super) mechanism: &'static str,
    pub(super) certificate: &'static str,
    pub(super) key: &'static str,
    pub(super) user: &'static str,
    pub(super) password: &'static str,
    pub(super) token: &'static str,
    /// What means that no certificate of ours is wanted, where `SSL` alone means that one is.
    pub(super) anonymous: Option<&'static str>,
    /// The mechanism that is meant where none is named.
    pub(super) default_mechanism: Option<Mechanism>,
}

/// Kafka's names for what connections are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// Kafka's names for how one says who one is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mechanism {
    Plain,
    ScramSha256,
    ScramSha512,
    OauthBearer,
}

impl Draft {
    /// Notes that something under this name is wrong.
    pub(super) fn refuse(&mut self, name: &str, message: impl Into<String>) {
        self.problems.push(SecurityProblem { key: name.to_owned(), message: message.into() });
    }

    /// Takes in pieces from another place; a piece that both have is a problem.
    pub(super) fn merge(mut self, other: Self) -> Self {
        let Self { problems, .. } = other;
        let mut twice = problems;
        one_of(&mut self.protocol, other.protocol, &mut twice);
        one_of(&mut self.ca, other.ca, &mut twice);
        one_of(&mut self.certificate, other.certificate, &mut twice);
        one_of(&mut self.key, other.key, &mut twice);
        one_of(&mut self.host_names, other.host_names, &mut twice);
        one_of(&mut self.mechanism, other.mechanism, &mut twice);
        one_of(&mut self.user, other.user, &mut twice);
        one_of(&mut self.password, other.password, &mut twice);
        one_of(&mut self.token, other.token, &mut twice);
        one_of(&mut self.is_anonymous, other.is_anonymous, &mut twice);
        self.problems.extend(twice);
        self
    }

    /// What the pieces mean together.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(super) fn finish(mut self, names: Names) -> Result<Security, Vec<SecurityProblem>> {
        self.check_pem();
        let protocol = self.protocol.as_ref().map(|piece| piece.value);
        let (is_encrypted, is_named) = match protocol {
            Some(protocol) => {
                self.refuse_unused(protocol);
                (protocol.is_encrypted(), protocol.is_named())
            }
            None => (!self.tls_names().is_empty(), !self.sasl_names().is_empty()),
        };
        let tls = is_encrypted.then(|| self.tls(protocol, names));
        let sasl = if is_named { self.sasl(names) } else { None };
        if self.problems.is_empty() { Ok(Security { tls, sasl }) } else { Err(self.problems) }
    }

    fn tls(&mut self, protocol: Option<Protocol>, names: Names) -> Tls {
        let is_anonymous = self.is_anonymous.as_ref().is_some_and(|piece| piece.value);
        let identity = match (self.certificate.take(), self.key.take()) {
            _ if is_anonymous => None,
            (Some(certificate), Some(key)) => {
                Some(Identity { certificate: certificate.value, key: key.value })
            }
            (Some(certificate), None) => {
                self.refuse(names.key, format!("is missing; {} needs it", certificate.name));
                None
            }
            (None, Some(key)) => {
                self.refuse(names.certificate, format!("is missing; {} needs it", key.name));
                None
            }
            (None, None) => {
                if let (Some(Protocol::Ssl), Some(anonymous)) = (protocol, names.anonymous) {
                    let message = format!(
                        "is missing; the protocol is SSL, and without {anonymous}: \"true\" that means that brokers \
                         ask for a certificate"
                    );
                    self.refuse(names.certificate, message);
                }
                None
            }
        };
        let host_names = self.host_names.as_ref().map_or_else(HostNames::default, |piece| piece.value);
        Tls { ca: self.ca.take().map(|piece| piece.value), identity, host_names }
    }

    fn sasl(&mut self, names: Names) -> Option<Sasl> {
        let (user, password, token) = (self.user.take(), self.password.take(), self.token.take());
        let only_a_token = token.is_some() && user.is_none() && password.is_none();
        let mechanism = match &self.mechanism {
            Some(piece) => piece.value,
            None if only_a_token => Mechanism::OauthBearer,
            None => {
                let Some(mechanism) = names.default_mechanism else {
                    self.refuse(names.mechanism, format!("is missing; write one of {}", Mechanism::all()));
                    return None;
                };
                mechanism
            }
        };
        if mechanism == Mechanism::OauthBearer {
            let login = user.map(|piece| piece.name).into_iter().chain(password.map(|piece| piece.name));
            for name in login {
                self.refuse(name, "is not used: OAUTHBEARER has a token; remove one of them");
            }
            let Some(token) = token else {
                let message = format!("{} is OAUTHBEARER but there is no {}", names.mechanism, names.token);
                self.refuse(names.token, message);
                return None;
            };
            return Some(Sasl::OauthBearer(Token { token: token.value }));
        }
        if let Some(token) = token {
            let message = format!("is not used: {} has a user and a password; remove it", mechanism.name());
            self.refuse(token.name, message);
        }
        let missing = |what| format!("{} is {} but there is no {what}", names.mechanism, mechanism.name());
        if user.is_none() {
            self.refuse(names.user, missing(names.user));
        }
        if password.is_none() {
            self.refuse(names.password, missing(names.password));
        }
        let login = Login { user: user?.value, password: password?.value };
        Some(match mechanism {
            Mechanism::Plain => Sasl::Plain(login),
            Mechanism::ScramSha256 => Sasl::ScramSha256(login),
            Mechanism::ScramSha512 => Sasl::ScramSha512(login),
            Mechanism::OauthBearer => return None,
        })
    }

    /// Whoever gives certificates or a password means them to be used.
    fn refuse_unused(&mut self, protocol: Protocol) {
        let tls = if protocol.is_encrypted() { Vec::new() } else { self.tls_names() };
        let sasl = if protocol.is_named() { Vec::new() } else { self.sasl_names() };
        for name in tls.into_iter().chain(sasl) {
            let message = format!("is not used: the protocol is {}; change one of them", protocol.name());
            self.refuse(name, message);
        }
    }

    fn check_pem(&mut self) {
        let pieces = [&self.ca, &self.certificate];
        let bad: Vec<_> =
            pieces.into_iter().flatten().filter(|piece| !holds(&piece.value, "CERTIFICATE")).collect();
        let mut bad: Vec<_> = bad.iter().map(|piece| (piece.name, "holds no certificate in PEM")).collect();
        if let Some(Piece { name, value }) = &self.key {
            let text = value.reveal();
            if holds(text, "ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
                bad.push((name, "is encrypted; give a key without a passphrase"));
            } else if !holds(text, "PRIVATE KEY") {
                bad.push((name, "holds no private key in PEM"));
            }
        }
        for (name, message) in bad {
            self.refuse(name, message);
        }
    }

    fn tls_names(&self) -> Vec<&'static str> {
        let texts = [&self.ca, &self.certificate].into_iter().flatten().map(|piece| piece.name);
        texts.chain(self.key.iter().map(|piece| piece.name)).collect()
    }

    fn sasl_names(&self) -> Vec<&'static str> {
        let mechanism = self.mechanism.iter().map(|piece| piece.name);
        let user = self.user.iter().map(|piece| piece.name);
        let secrets = [&self.password, &self.token].into_iter().flatten().map(|piece| piece.name);
        mechanism.chain(user).chain(secrets).collect()
    }
}

impl Protocol {
    const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    fn is_encrypted(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    fn is_named(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }

    /// Kafka's name, in capitals or not.
    ///
    /// # Errors
    /// What to write.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(text.trim()));
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("{:?} is not a protocol; write one of {names}", shortened(text))
        })
    }
}

impl Mechanism {
    const ALL: [Self; 4] = [Self::Plain, Self::ScramSha256, Self::ScramSha512, Self::OauthBearer];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
            Self::OauthBearer => "OAUTHBEARER",
        }
    }

    fn all() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Kafka's name.
    ///
    /// # Errors
    /// What to write.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let found =
            Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(text.trim()));
        found.ok_or_else(|| {
            format!("{:?} is not a mechanism of Trigon; write one of {}", shortened(text), Self::all())
        })
    }
}

fn one_of<T>(mine: &mut Option<Piece<T>>, other: Option<Piece<T>>, twice: &mut Vec<SecurityProblem>) {
    match (&*mine, other) {
        (Some(mine), Some(other)) => {
            let message = format!("is given by the secret's {} too; remove one of them", mine.name);
            twice.push(SecurityProblem { key: other.name.to_owned(), message });
        }
        (None, other) => *mine = other,
        (Some(_), None) => {}
    }
}

fn holds(text: &str, label: &str) -> bool {
    let label = format!("{label}-----");
    text.lines().any(|line| line.trim_start().starts_with("-----BEGIN ") && line.trim_end().ends_with(&label))
}

/// Somebody may have put a password where a name belongs: no more is shown than a name has.
fn shortened(text: &str) -> String {
    const LONGEST_NAME: usize = 14;
    text.trim().chars().take(LONGEST_NAME).collect()
}
