//! What must be absent: the right-hand column of the crate table in ARCHITECTURE.md, from `cargo metadata`.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};
use trigon_tests::binary::workspace;

/// Runtimes, networks, Kafka and Kubernetes.
const IMPURE: [&str; 12] = [
    "tokio",
    "mio",
    "hyper",
    "axum",
    "tower",
    "reqwest",
    "kube",
    "rdkafka",
    "rustls",
    "socket2",
    "smol",
    "async-std",
];

fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(workspace().join("Cargo.toml"))
        .exec()
        .expect("cargo describes the workspace")
}

/// The names of everything that a crate of ours is built with, itself left out.
fn closure(metadata: &Metadata, crate_name: &str) -> BTreeSet<String> {
    let names: HashMap<&PackageId, &str> =
        metadata.packages.iter().map(|package| (&package.id, package.name.as_str())).collect();
    let nodes: HashMap<&PackageId, _> = metadata
        .resolve
        .as_ref()
        .expect("cargo resolves it")
        .nodes
        .iter()
        .map(|node| (&node.id, node))
        .collect();
    let root = metadata.workspace_packages().into_iter().find(|package| package.name.as_str() == crate_name);
    let root = root.expect("the workspace has the crate");
    let mut seen = BTreeSet::new();
    let mut open = vec![&root.id];
    while let Some(id) = open.pop() {
        for dependency in &nodes[id].deps {
            let is_normal = dependency.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal);
            if is_normal && seen.insert(&dependency.pkg) {
                open.push(&dependency.pkg);
            }
        }
    }
    seen.into_iter().map(|id| names[id].to_owned()).collect()
}

#[test]
fn core_and_crds_know_no_runtime_network_kafka_or_kube() {
    let metadata = metadata();
    for name in ["trigon-core", "trigon-crds"] {
        let closure = closure(&metadata, name);
        let found: Vec<_> = IMPURE.iter().filter(|impure| closure.contains(**impure)).collect();
        assert!(found.is_empty(), "{name} is built with {found:?}");
    }
}

#[test]
fn ingress_and_dispatcher_know_neither_kube_nor_crds_nor_each_other() {
    let metadata = metadata();
    for (name, other) in [("trigon-ingress", "trigon-dispatcher"), ("trigon-dispatcher", "trigon-ingress")] {
        let closure = closure(&metadata, name);
        for absent in ["kube", "trigon-crds", other] {
            assert!(!closure.contains(absent), "{name} is built with {absent}");
        }
        assert!(closure.contains("trigon-core"), "the closure of {name} is incomplete: {closure:?}");
    }
}

#[test]
fn the_event_log_knows_no_http_and_the_runtime_no_events() {
    let metadata = metadata();
    let log = closure(&metadata, "trigon-eventlog");
    for absent in ["hyper", "axum", "trigon-runtime", "trigon-crds"] {
        assert!(!log.contains(absent), "trigon-eventlog is built with {absent}");
    }
    let runtime = closure(&metadata, "trigon-runtime");
    assert!(!runtime.iter().any(|name| name.starts_with("trigon-")), "{runtime:?}");
}

#[test]
fn the_system_tests_link_none_of_our_crates() {
    let mut closure = closure(&metadata(), "trigon-tests");
    // It knows nothing of Trigon either.
    closure.remove("trigon-test-servers");
    assert!(!closure.iter().any(|name| name.starts_with("trigon-")), "{closure:?}");
}

/// Calls `check` with each line of a crate's sources that is not part of a test.
fn for_each_line(folder: &Path, check: &mut impl FnMut(&Path, usize, &str)) {
    for entry in fs::read_dir(folder).expect("a crate has sources") {
        let path = entry.expect("a folder can be listed").path();
        if path.is_dir() {
            for_each_line(&path, check);
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && path.file_stem().is_some_and(|stem| stem != "tests")
        {
            let text = fs::read_to_string(&path).expect("a source is text");
            let product = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
            for (number, line) in product.lines().enumerate() {
                check(&path, number + 1, line);
            }
        }
    }
}

#[test]
fn arguments_and_environment_are_read_by_the_binary_only() {
    let mut found = Vec::new();
    let mut lines = 0;
    for name in ["core", "crds", "eventlog", "runtime", "ingress", "dispatcher"] {
        for_each_line(&workspace().join(name).join("src"), &mut |path, number, line| {
            lines += 1;
            let code = line.split("//").next().unwrap_or_default();
            if code.contains("std::env") || code.contains("env::var") || code.contains("env::args") {
                found.push(format!("{}:{number}: {line}", path.display()));
            }
        });
    }
    assert!(lines > 1_000, "only {lines} lines were looked at");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn core_and_crds_read_no_clock() {
    let mut found = Vec::new();
    for name in ["core", "crds"] {
        for_each_line(&workspace().join(name).join("src"), &mut |path, number, line| {
            let code = line.split("//").next().unwrap_or_default();
            if ["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now"]
                .iter()
                .any(|now| code.contains(now))
            {
                found.push(format!("{}:{number}: {line}", path.display()));
            }
        });
    }
    assert!(found.is_empty(), "{found:#?}");
}
