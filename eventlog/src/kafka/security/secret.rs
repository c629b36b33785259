//! The keys of a Kubernetes Secret, as Knative's Kafka broker documents them and as Strimzi writes them.
//!
//! | key | what it holds |
//! |---|---|
//! | `protocol` | `PLAINTEXT`, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`; without it, what the other keys mean |
//! | `ca.crt` | the authorities of the brokers' certificates |
//! | `user.crt`, `user.key` | our own certificate and its key |
//! | `user.skip` | `true`: brokers ask for no certificate of ours |
//! | `sasl.mechanism` | `PLAIN` (default), `SCRAM-SHA-256`, `SCRAM-SHA-512` or `OAUTHBEARER` |
//! | `user`, `password` | who we are |
//! | `sasl.jaas.config` | the same, in place of `user` and `password` or beside `password` (Strimzi) |
//! | `token` | for `OAUTHBEARER` |
//!
//! Other keys are not looked at: Strimzi's PKCS #12 stores among them.

use std::collections::BTreeMap;

use super::draft::{Draft, Mechanism, Names, Piece, Protocol};
use super::{Secret, jaas};

pub(super) const NAMES: Names = Names {
    mechanism: MECHANISM,
    certificate: CERTIFICATE,
    key: KEY,
    user: USER,
    password: PASSWORD,
    token: TOKEN,
    anonymous: Some(ANONYMOUS),
    default_mechanism: Some(Mechanism::Plain),
};

const PROTOCOL: &str = "protocol";
const CA: &str = "ca.crt";
const CERTIFICATE: &str = "user.crt";
const KEY: &str = "user.key";
const ANONYMOUS: &str = "user.skip";
const MECHANISM: &str = "sasl.mechanism";
const USER: &str = "user";
const PASSWORD: &str = "password";
const JAAS: &str = "sasl.jaas.config";
const TOKEN: &str = "token";

const KNOWN: [&str; 10] = [PROTOCOL, CA, CERTIFICATE, KEY, ANONYMOUS, MECHANISM, USER, PASSWORD, JAAS, TOKEN];

/// Whether a key is one that is read.
pub fn is_known(key: &str) -> bool {
    KNOWN.contains(&key)
}

/// The pieces that a Secret holds.
pub(super) fn draft(keys: &BTreeMap<String, String>) -> Draft {
    let mut draft = Draft::default();
    if !keys.keys().any(|key| is_known(key)) {
        draft.refuse("", format!("the secret has none of the keys that are read: {}", KNOWN.join(", ")));
        return draft;
    }
    let text = |key: &'static str| keys.get(key).map(|text| one_line(text)).filter(|text| !text.is_empty());
    let piece = |name: &'static str| text(name).map(|value| Piece { name, value: value.to_owned() });
    let secret = |name: &'static str| text(name).map(|value| Piece { name, value: Secret::new(value) });
    draft.ca = piece(CA);
    draft.certificate = piece(CERTIFICATE);
    draft.key = secret(KEY);
    draft.user = piece(USER);
    draft.password = secret(PASSWORD);
    draft.token = secret(TOKEN);
    match text(PROTOCOL).map(Protocol::parse).transpose() {
        Ok(protocol) => draft.protocol = protocol.map(|value| Piece { name: PROTOCOL, value }),
        Err(message) => draft.refuse(PROTOCOL, message),
    }
    match text(MECHANISM).map(Mechanism::parse).transpose() {
        Ok(mechanism) => draft.mechanism = mechanism.map(|value| Piece { name: MECHANISM, value }),
        Err(message) => draft.refuse(MECHANISM, message),
    }
    match text(ANONYMOUS).map(str::to_ascii_lowercase).as_deref() {
        None => {}
        Some("true" | "1" | "t") => draft.is_anonymous = Some(Piece { name: ANONYMOUS, value: true }),
        Some("false" | "0" | "f") => draft.is_anonymous = Some(Piece { name: ANONYMOUS, value: false }),
        Some(_) => draft.refuse(ANONYMOUS, "is neither \"true\" nor \"false\""),
    }
    if let Some(text) = text(JAAS) {
        take_jaas(&mut draft, text);
    }
    draft
}

fn take_jaas(draft: &mut Draft, text: &str) {
    let Some(login) = jaas::parse(text) else {
        draft.refuse(JAAS, "cannot be read; write MODULE required username=\"…\" password=\"…\";");
        return;
    };
    // Strimzi writes the password twice, and knows no other kind of SCRAM.
    let mechanism = match login.module.rsplit('.').next() {
        Some("ScramLoginModule") => Some(Mechanism::ScramSha512),
        Some("PlainLoginModule") => Some(Mechanism::Plain),
        _ => None,
    };
    let Some(mechanism) = mechanism else {
        draft.refuse(JAAS, "names a login module other than ScramLoginModule and PlainLoginModule");
        return;
    };
    draft.mechanism.get_or_insert(Piece { name: JAAS, value: mechanism });
    if let Some(user) = login.options.get("username") {
        draft.user.get_or_insert(Piece { name: JAAS, value: user.clone() });
    }
    if let Some(password) = login.options.get("password") {
        draft.password.get_or_insert(Piece { name: JAAS, value: Secret::new(password) });
    }
}

/// Files end with a line break that is no part of a name or a password.
fn one_line(text: &str) -> &str {
    let text = text.strip_suffix('\n').unwrap_or(text);
    text.strip_suffix('\r').unwrap_or(text)
}
