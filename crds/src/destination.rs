//! Where requests go: a URI, or an object that somebody else finds the URI of.

use trigon_core::delivery;
use url::{ParseError, Url};

use crate::api::{Destination, Reference};
use crate::path::Path;
use crate::pem;
use crate::problem::Findings;

/// Finds the absolute URI of a valid destination, whose references have their namespaces.
pub type Resolve<'a> = &'a dyn Fn(&Destination) -> Result<String, Unresolved>;

/// Why a destination has no URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unresolved {
    /// The field of the destination that is to blame: `ref`, `uri`, `CACerts` or `audience`.
    pub field: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

/// The resolution of standalone, where there is no cluster to ask: a destination has its URI or is refused.
///
/// # Errors
/// When the destination asks for something that only a cluster has.
pub fn uris_only(destination: &Destination) -> Result<String, Unresolved> {
    let unresolved = |field, message: &str| Err(Unresolved { field, message: message.to_owned() });
    match destination {
        Destination { reference: Some(_), .. } => unresolved(
            "ref",
            "only a cluster can look an object up; write its address instead, such as uri: http://127.0.0.1:9000/",
        ),
        Destination { ca_certs: Some(_), .. } => unresolved(
            "CACerts",
            "own certificate authorities are not supported in standalone; remove the field, and the system's \
             authorities are trusted",
        ),
        Destination { audience: Some(_), .. } => {
            unresolved("audience", "there are no identity tokens in standalone; remove the field")
        }
        Destination { uri: Some(uri), .. } => Ok(uri.clone()),
        Destination { uri: None, .. } => unresolved("uri", "is missing; write uri: http://127.0.0.1:9000/"),
    }
}

/// The resolution where nothing is sent: what is no URI gets one that leads nowhere.
pub(crate) fn anywhere(destination: &Destination) -> Result<String, Unresolved> {
    let is_absolute = destination.reference.is_none();
    let uri = destination.uri.clone().filter(|_| is_absolute);
    Ok(uri.unwrap_or_else(|| "http://subscriber.invalid/".to_owned()))
}

/// Reads a destination: all that is wrong with it is noted, and only a valid one is resolved.
pub(crate) fn compile(
    destination: &Destination,
    path: &Path,
    resolve: Resolve<'_>,
    findings: &mut Findings,
) -> Option<delivery::Destination> {
    let mut own = Findings::default();
    validate(destination, path, &mut own);
    let is_valid = own.is_empty();
    findings.extend(own);
    if !is_valid {
        return None;
    }
    let text = match resolve(destination) {
        Ok(text) => text,
        Err(Unresolved { field, message }) => {
            findings.refuse(&path.name(field), message);
            return None;
        }
    };
    match target(&text) {
        Ok(destination) => Some(destination),
        Err(message) => {
            findings.refuse(&path.name("uri"), message);
            None
        }
    }
}

fn validate(destination: &Destination, path: &Path, findings: &mut Findings) {
    let uri = destination.uri.as_deref().filter(|uri| !uri.is_empty());
    match (&destination.reference, uri) {
        // RES-07
        (None, None) => {
            findings.refuse(path, "has neither uri nor ref; write uri: http://HOST:PORT/PATH");
        }
        // RES-06
        (None, Some(uri)) => {
            if let Err(message) = absolute(uri) {
                findings.refuse(&path.name("uri"), message);
            }
        }
        (Some(reference), None) => require(reference, &path.name("ref"), findings),
        // VAL-18: upstream does not look at the ref when there is a uri.
        (Some(reference), Some(uri)) => {
            require(reference, &path.name("ref"), findings);
            if Url::parse(uri) != Err(ParseError::RelativeUrlWithoutBase) {
                // RES-05
                let message = format!("{uri:?} is absolute and leaves nothing to ref; remove one of them");
                findings.refuse(&path.name("uri"), message);
            }
        }
    }
    if let Some(certificates) = &destination.ca_certs
        && let Err(error) = pem::check_certificates(certificates)
    {
        findings.refuse(&path.name("CACerts"), error.to_string());
    }
}

/// Notes which of the fields that every reference needs are missing (VAL-08, VAL-17).
pub(crate) fn require(reference: &Reference, path: &Path, findings: &mut Findings) {
    for (field, value) in
        [("name", &reference.name), ("kind", &reference.kind), ("apiVersion", &reference.api_version)]
    {
        if value.as_deref().unwrap_or_default().is_empty() {
            findings.refuse(&path.name(field), "is missing; a reference needs name, kind and apiVersion");
        }
    }
}

fn absolute(text: &str) -> Result<Url, String> {
    match Url::parse(text) {
        Ok(url) if url.has_host() => Ok(url),
        Ok(_) if Url::parse(&format!("http://{text}")).is_ok() => {
            Err(format!("{text:?} has no host; did you mean \"http://{text}\"?"))
        }
        Ok(_) => Err(format!("{text:?} has no host; write http://HOST:PORT/PATH")),
        Err(ParseError::RelativeUrlWithoutBase) => {
            Err(format!("{text:?} is not absolute; write http://HOST:PORT/PATH"))
        }
        Err(error) => Err(format!("{text:?} is not a URI ({error}); write http://HOST:PORT/PATH")),
    }
}

/// Where requests go for a resolved URI. A scheme other than HTTP is accepted and never delivered to (RES-15).
fn target(text: &str) -> Result<delivery::Destination, String> {
    let mut url = absolute(text)?;
    url.set_fragment(None);
    let uri = match url.scheme() {
        "http" | "https" => {
            let uri = url.as_str().parse();
            Some(uri.map_err(|error| format!("{text:?} cannot be requested ({error}); percent-encode it"))?)
        }
        _ => None,
    };
    Ok(delivery::Destination { text: text.to_owned(), uri })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compiled(destination: &Destination) -> Result<delivery::Destination, Vec<String>> {
        let mut findings = Findings::default();
        let compiled = compile(destination, &Path::of(&["sub"]), &uris_only, &mut findings);
        let messages: Vec<_> = findings.into_iter().map(|f| format!("{}: {}", f.path, f.message)).collect();
        assert_eq!(compiled.is_none(), !messages.is_empty());
        compiled.ok_or(messages)
    }

    fn uri(text: &str) -> Destination {
        Destination { uri: Some(text.to_owned()), ..Destination::default() }
    }

    #[test]
    fn a_uri_is_kept_as_it_was_written_beside_what_http_needs() {
        let compiled = compiled(&uri("http://Example.com:80/a b?c#d")).unwrap();
        assert_eq!(compiled.text, "http://Example.com:80/a b?c#d");
        assert_eq!(compiled.uri.unwrap().to_string(), "http://example.com/a%20b?c");
    }

    /// RES-15
    #[test]
    fn any_scheme_is_accepted_and_only_http_is_delivered_to() {
        assert!(compiled(&uri("https://example.com")).unwrap().uri.is_some());
        assert_eq!(compiled(&uri("bad://uri")).unwrap().uri, None);
    }

    /// RES-06
    #[test]
    fn a_uri_without_scheme_or_host_is_refused_with_the_right_one() {
        for (text, part) in [
            ("/path", "is not absolute"),
            ("example.com", "is not absolute"),
            ("localhost:9000/x", "did you mean \"http://localhost:9000/x\"?"),
            ("mailto:a@b.c", "has no host"),
            ("http://", "is not a URI"),
            ("http://a:99999/", "is not a URI"),
            ("http://[::1/", "is not a URI"),
        ] {
            let problems = compiled(&uri(text)).unwrap_err();
            assert!(problems[0].starts_with("sub.uri: ") && problems[0].contains(part), "{problems:?}");
        }
    }

    /// RES-05, RES-07, VAL-17, VAL-18
    #[test]
    fn a_destination_is_a_complete_ref_or_a_uri() {
        assert_eq!(compiled(&Destination::default()).unwrap_err().len(), 1);
        assert_eq!(compiled(&uri("")).unwrap_err().len(), 1);
        let empty = Destination { reference: Some(Reference::default()), ..Destination::default() };
        assert_eq!(compiled(&empty).unwrap_err().len(), 3);
        let both = Destination { reference: Some(Reference::default()), ..uri("http://example.com") };
        assert_eq!(compiled(&both).unwrap_err().len(), 4);
    }

    #[test]
    fn a_resolver_gives_the_uri_of_a_ref_and_its_refusal_is_reported() {
        let reference = Reference {
            api_version: Some("v1".to_owned()),
            kind: Some("Service".to_owned()),
            name: Some("cart".to_owned()),
            namespace: Some("shop".to_owned()),
        };
        let destination = Destination { reference: Some(reference), ..uri("/update") };
        let mut findings = Findings::default();
        let resolve = |_: &Destination| Ok("http://cart.shop.svc.cluster.local/update".to_owned());
        let compiled_by_cluster = compile(&destination, &Path::default(), &resolve, &mut findings).unwrap();
        assert_eq!(compiled_by_cluster.text, "http://cart.shop.svc.cluster.local/update");
        let problems = compiled(&destination).unwrap_err();
        assert!(problems[0].starts_with("sub.ref: ") && problems[0].contains("uri: http://"), "{problems:?}");
    }

    #[test]
    fn what_standalone_cannot_do_is_refused_rather_than_ignored() {
        let audience = Destination { audience: Some("me".to_owned()), ..uri("https://example.com") };
        assert!(compiled(&audience).unwrap_err()[0].starts_with("sub.audience: "));
        let authorities =
            Destination { ca_certs: Some(pem::EXAMPLE.to_owned()), ..uri("https://example.com") };
        assert!(compiled(&authorities).unwrap_err()[0].contains("not supported in standalone"));
        let nonsense = Destination { ca_certs: Some("nonsense".to_owned()), ..uri("https://example.com") };
        assert!(compiled(&nonsense).unwrap_err()[0].contains("PEM"));
    }
}
