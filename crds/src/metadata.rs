//! The name and namespace of an object, by the rules of Kubernetes: an object that a file may hold, a cluster may
//! hold too, and the ingress can tell the two parts of its path apart.

use crate::api::Metadata;
use crate::path::Path;
use crate::problem::Findings;

/// The longest name of an object, in bytes.
const MAX_NAME: usize = 253;

/// The longest name of a namespace, in bytes.
const MAX_NAMESPACE: usize = 63;

/// The namespace and name of an object, or what is wrong with them.
pub(crate) fn id(metadata: &Metadata, findings: &mut Findings) -> Option<(String, String)> {
    let metadata_path = Path::of(&["metadata"]);
    let namespace = metadata.namespace.as_deref().unwrap_or_default();
    let mut is_good = true;
    if !is_label(namespace) || namespace.len() > MAX_NAMESPACE {
        let rule = format!("write lower-case letters, digits and '-', at most {MAX_NAMESPACE}");
        refuse(findings, &metadata_path.name("namespace"), namespace, &rule);
        is_good = false;
    }
    match metadata.name.as_deref() {
        None | Some("") => {
            findings.refuse(&metadata_path.name("name"), "is missing; name the object");
            None
        }
        Some(name) if name.len() > MAX_NAME || !name.split('.').all(is_label) => {
            let rule = format!("write lower-case letters, digits, '-' and '.', at most {MAX_NAME}");
            refuse(findings, &metadata_path.name("name"), name, &rule);
            None
        }
        Some(name) => is_good.then(|| (namespace.to_owned(), name.to_owned())),
    }
}

fn refuse(findings: &mut Findings, path: &Path, name: &str, rule: &str) {
    findings.refuse(path, format!("{name:?} is not a name; {rule}, with a letter or digit first and last"));
}

fn is_label(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !text.is_empty() && text.bytes().all(is_inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_accepted(namespace: &str, name: &str) -> bool {
        let metadata = Metadata {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            ..Metadata::default()
        };
        let mut findings = Findings::default();
        let id = id(&metadata, &mut findings);
        assert_eq!(id.is_some(), findings.is_empty());
        id.is_some()
    }

    #[test]
    fn names_follow_the_rules_of_kubernetes() {
        for name in ["a", "0", "orders", "a-b.c-d", &"x".repeat(253)] {
            assert!(is_accepted("default", name), "{name}");
        }
        for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a/b", "ä", "a b", &"x".repeat(254)] {
            assert!(!is_accepted("default", name), "{name}");
        }
        for namespace in ["", "a.b", "A", &"x".repeat(64)] {
            assert!(!is_accepted(namespace, "a"), "{namespace}");
        }
    }
}
