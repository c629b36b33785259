//! The table of accepted and refused objects, `cases.yaml`, against the files of standalone.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, json};
use trigon_core::name::Installation;
use trigon_crds::api::Destination;
use trigon_crds::load;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    case: String,
    kind: String,
    ids: Vec<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    data: Option<BTreeMap<String, String>>,
    spec: Value,
    #[serde(default)]
    refused: BTreeMap<String, String>,
}

fn cases() -> Vec<Case> {
    serde_saphyr::from_str(include_str!("cases.yaml")).expect("cases.yaml is a list of cases")
}

fn object(kind: &str, name: &str, case: Option<&Case>) -> (String, String) {
    let mut object = json!({
        "apiVersion": "eventing.knative.dev/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": case.map(|case| &case.annotations)},
        "spec": case.map(|case| &case.spec),
    });
    if let Some(namespace) = case.and_then(|case| case.namespace.as_ref()) {
        object["metadata"]["namespace"] = json!(namespace);
    }
    (format!("{name}.yaml"), object.to_string())
}

/// DEF-13, DLV-30, KAF-03, KAF-15, FLN-03, FLN-07, FLN-08, FLN-13, RES-05, RES-06, RES-07, RES-15, SCH-08, SCH-09,
/// SCH-10, SCH-12, SCH-13, TST-12, TST-66, VAL-03, VAL-08, VAL-10, VAL-11, VAL-12, VAL-13, VAL-14, VAL-15, VAL-17,
/// VAL-18, VAL-19, VAL-20, VAL-21, VAL-22, VAL-23, VAL-24, VAL-25, VAL-26, VAL-27, VAL-28, VAL-29, X-01,
///
#[test]
fn every_case_of_the_table_is_decided_as_it_says() {
    // As a cluster would: every object has an address.
    let resolve = |destination: &Destination| match (&destination.reference, &destination.uri) {
        (Some(_), _) => Ok("http://cart.default.svc.cluster.local/".to_owned()),
        (None, uri) => Ok(uri.clone().unwrap_or_default()),
    };
    let mut wrong = Vec::new();
    for case in cases() {
        let mut files = vec![object("Broker", "default", None), object(&case.kind, "case", Some(&case))];
        if let Some(data) = &case.data {
            let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "config"}, "data": data});
            files.push(("config.yaml".to_owned(), map.to_string()));
        }
        let found: BTreeMap<String, String> = match load(&Installation::default(), &files, &resolve) {
            Ok(_) => BTreeMap::new(),
            Err(problems) => problems.into_iter().map(|problem| (problem.field, problem.message)).collect(),
        };
        let is_right = found.keys().eq(case.refused.keys())
            && found.values().zip(case.refused.values()).all(|(found, part)| found.contains(part));
        if !is_right {
            wrong.push(format!(
                "{} ({})\n  wanted {:?}\n  found  {found:?}",
                case.case, case.kind, case.refused
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// TST-66
#[test]
fn the_table_is_as_large_as_upstreams() {
    let cases = cases();
    let count = |kind: &str, of_filters: bool| {
        let is_of_filters = |case: &Case| case.spec.get("filters").is_some();
        cases.iter().filter(|case| case.kind == kind && is_of_filters(case) == of_filters).count()
    };
    assert!(count("Broker", false) >= 15, "{} Brokers", count("Broker", false));
    assert!(count("Trigger", false) >= 27, "{} Triggers", count("Trigger", false));
    assert!(count("Trigger", true) >= 24, "{} filters", count("Trigger", true));
    let mut names: Vec<_> = cases.iter().map(|case| &case.case).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "two cases have one name");
}

#[test]
fn every_identifier_of_the_table_is_cited_above() {
    let source = include_str!("cases.rs");
    for id in cases().iter().flat_map(|case| &case.ids) {
        let is_cited = source.lines().any(|line| {
            line.strip_prefix("///").is_some_and(|ids| ids.split(',').any(|cited| cited.trim() == id))
        });
        assert!(is_cited, "{id}");
    }
}
