//! The properties of librdkafka that say how connections are secured.
//!
//! Two clients speak to Kafka, librdkafka and our own, so these are read here for both. What only one of them could
//! do is refused: connections would be secured in two ways.

use std::collections::BTreeMap;

use super::HostNames;
use super::Secret;
use super::draft::{Draft, Mechanism, Names, Piece, Protocol};

pub(super) const NAMES: Names = Names {
    mechanism: MECHANISM,
    certificate: "ssl.certificate.location",
    key: "ssl.key.location",
    user: USER,
    password: PASSWORD,
    token: TOKEN_URL,
    anonymous: None,
    // librdkafka's is GSSAPI, which is not spoken here: nobody can mean it by silence.
    default_mechanism: None,
};

const PROTOCOL: &str = "security.protocol";
const MECHANISM: &str = "sasl.mechanism";
const MECHANISMS: &str = "sasl.mechanisms";
const USER: &str = "sasl.username";
const PASSWORD: &str = "sasl.password";
const HOST_NAMES: &str = "ssl.endpoint.identification.algorithm";
const TOKEN_URL: &str = "sasl.oauthbearer.token.endpoint.url";
const METHOD: &str = "sasl.oauthbearer.method";

/// The text of a piece, and the file that holds it in its place.
const CA: [&str; 2] = ["ssl.ca.pem", "ssl.ca.location"];
const CERTIFICATE: [&str; 2] = ["ssl.certificate.pem", "ssl.certificate.location"];
const KEY: [&str; 2] = ["ssl.key.pem", "ssl.key.location"];

/// Whether a property says how connections are secured, and so is none for librdkafka.
pub fn is_about_security(name: &str) -> bool {
    let is_named = |prefix: &str| name.starts_with(prefix);
    name == "enable.ssl.certificate.verification" || ["ssl.", "sasl.", "security."].into_iter().any(is_named)
}

/// The files that the properties name: property → path.
pub fn files(properties: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let locations = [CA, CERTIFICATE, KEY].map(|[_, location]| location);
    let mut files: BTreeMap<_, _> = locations
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), properties.get(name)?.clone())))
        .collect();
    if let Some(path) = properties.get(TOKEN_URL).and_then(|url| url.strip_prefix("file://")) {
        files.insert(TOKEN_URL.to_owned(), path.to_owned());
    }
    files
}

/// The pieces that the properties give; `texts` holds what is in the [`files`], by property.
pub(super) fn draft(properties: &BTreeMap<String, String>, texts: &BTreeMap<String, String>) -> Draft {
    let mut draft = Draft::default();
    for (name, value) in properties.iter().filter(|(name, _)| is_about_security(name)) {
        match name.as_str() {
            PROTOCOL => match Protocol::parse(value) {
                Ok(value) => draft.protocol = Some(Piece { name: PROTOCOL, value }),
                Err(message) => draft.refuse(name, message),
            },
            MECHANISM | MECHANISMS => match Mechanism::parse(value) {
                Ok(value) if draft.mechanism.as_ref().is_none_or(|known| known.value == value) => {
                    draft.mechanism = Some(Piece { name: MECHANISM, value });
                }
                Ok(_) => draft.refuse(name, format!("contradicts {MECHANISM}; remove one of them")),
                Err(message) => draft.refuse(name, message),
            },
            HOST_NAMES => match value.trim() {
                "https" => draft.host_names = Some(Piece { name: HOST_NAMES, value: HostNames::Checked }),
                "none" => draft.host_names = Some(Piece { name: HOST_NAMES, value: HostNames::Unchecked }),
                _ => draft.refuse(name, "is neither \"https\" nor \"none\"; write one of them"),
            },
            USER => draft.user = Some(Piece { name: USER, value: value.clone() }),
            PASSWORD => draft.password = Some(Piece { name: PASSWORD, value: Secret::new(value) }),
            TOKEN_URL => match texts.get(TOKEN_URL) {
                Some(token) => {
                    draft.token = Some(Piece { name: TOKEN_URL, value: Secret::new(token.trim()) })
                }
                None if value.starts_with("file://") => {}
                None => draft.refuse(name, "a token is read from a file; write file:///PATH/OF/THE/TOKEN"),
            },
            METHOD if value == "default" => {}
            name if [CA, CERTIFICATE, KEY].as_flattened().contains(&name) => {}
            "ssl.key.password" => draft.refuse(name, "is not taken: give a key without a passphrase"),
            "enable.ssl.certificate.verification" if value == "true" => {}
            "enable.ssl.certificate.verification" => {
                draft.refuse(
                    name,
                    format!("certificates are always verified; {HOST_NAMES}=none leaves the host out"),
                );
            }
            name => draft.refuse(
                name,
                "is not taken: it would hold for librdkafka's connections and not for Trigon's own ones",
            ),
        }
    }
    draft.ca = text(CA, properties, texts, &mut draft);
    draft.certificate = text(CERTIFICATE, properties, texts, &mut draft);
    let key = text(KEY, properties, texts, &mut draft);
    draft.key = key.map(|Piece { name, value }| Piece { name, value: Secret::new(value) });
    draft
}

fn text(
    [pem, location]: [&'static str; 2],
    properties: &BTreeMap<String, String>,
    texts: &BTreeMap<String, String>,
    draft: &mut Draft,
) -> Option<Piece<String>> {
    match (properties.get(pem), texts.get(location)) {
        (Some(_), Some(_)) => {
            draft.refuse(location, format!("contradicts {pem}; remove one of them"));
            None
        }
        (Some(value), None) => Some(Piece { name: pem, value: value.clone() }),
        (None, text) => text.map(|value| Piece { name: location, value: value.clone() }),
    }
}
