//! `spec.filter` and `spec.filters`, compiled.
//!
//! What would make a filter pass more than its author can have meant is refused here: names that no attribute has,
//! empty values, two dialects in one object, a list of nothing.

use std::collections::BTreeMap;

use trigon_core::cesql::{Expression, ParseError};
use trigon_core::filter::{Filter, FilterError};

use crate::api::{AttributesFilter, SubscriptionsFilter};
use crate::path::Path;
use crate::problem::Findings;

/// Compiles the filter of a Trigger. `filters`, when there are any, replace `filter` (FLN-02); what is wrong with
/// either is noted.
pub(crate) fn compile(
    filter: Option<&AttributesFilter>,
    filters: Option<&[SubscriptionsFilter]>,
    spec: &Path,
    findings: &mut Findings,
) -> Filter {
    let empty = BTreeMap::new();
    let attributes = filter.and_then(|filter| filter.attributes.as_ref()).unwrap_or(&empty);
    let path = spec.name("filter").name("attributes");
    check_names(attributes, &path, findings);
    let attributes = accept(Filter::attributes(attributes), &path, findings);
    let filters = filters.unwrap_or_default();
    if filters.is_empty() {
        return attributes;
    }
    let path = spec.name("filters");
    let compiled = list(filters, &path, findings);
    accept(Filter::all(compiled), &path, findings)
}

fn list(filters: &[SubscriptionsFilter], path: &Path, findings: &mut Findings) -> Vec<Filter> {
    filters.iter().enumerate().map(|(index, filter)| one(filter, &path.index(index), findings)).collect()
}

fn one(filter: &SubscriptionsFilter, path: &Path, findings: &mut Findings) -> Filter {
    let mut compiled = Vec::new();
    if let Some(filters) = filter.all.as_deref().filter(|filters| !filters.is_empty()) {
        let path = path.name("all");
        let filters = list(filters, &path, findings);
        compiled.push(("all", accept(Filter::all(filters), &path, findings)));
    }
    if let Some(filters) = filter.any.as_deref().filter(|filters| !filters.is_empty()) {
        let path = path.name("any");
        let filters = list(filters, &path, findings);
        compiled.push(("any", accept(Filter::any(filters), &path, findings)));
    }
    if let Some(filter) = &filter.not {
        let path = path.name("not");
        let filter = one(filter, &path, findings);
        compiled.push(("not", accept(Filter::not(filter), &path, findings)));
    }
    for (dialect, attributes, constructor) in [
        ("exact", &filter.exact, Filter::exact as fn(&BTreeMap<String, String>) -> _),
        ("prefix", &filter.prefix, Filter::prefix),
        ("suffix", &filter.suffix, Filter::suffix),
    ] {
        if let Some(attributes) = attributes.as_ref().filter(|attributes| !attributes.is_empty()) {
            let path = path.name(dialect);
            check_names(attributes, &path, findings);
            check_values(attributes, &path, findings);
            compiled.push((dialect, accept(constructor(attributes), &path, findings)));
        }
    }
    if let Some(source) = filter.cesql.as_deref().filter(|source| !source.is_empty()) {
        compiled.push(("cesql", expression(source, &path.name("cesql"), findings)));
    }
    if compiled.is_empty() {
        refuse_empty_lists(filter, path, findings);
    }
    if compiled.len() > 1 {
        let dialects: Vec<_> = compiled.iter().map(|(dialect, _)| *dialect).collect();
        let message = format!(
            "has {} at once; write each as an element of its own, where all must pass",
            dialects.join(" and ")
        );
        findings.refuse(path, message);
    }
    compiled.pop().map_or_else(Filter::everything, |(_, filter)| filter)
}

/// VAL-25, FLN-08
fn expression(source: &str, path: &Path, findings: &mut Findings) -> Filter {
    match Expression::parse(source) {
        Ok(expression) => Filter::cesql(expression),
        Err(ParseError(remark)) => {
            findings.refuse_at(path, remark.offset, remark.message);
            Filter::unknown("cesql")
        }
    }
}

/// Beside another dialect an empty list does not count (VAL-24); alone it would pass every event (VAL-26).
fn refuse_empty_lists(filter: &SubscriptionsFilter, path: &Path, findings: &mut Findings) {
    for (dialect, filters) in [("all", &filter.all), ("any", &filter.any)] {
        if filters.is_some() {
            let message = "is an empty list; write at least one filter, or {} to pass every event";
            findings.refuse(&path.name(dialect), message);
        }
    }
}

/// VAL-21, VAL-23
fn check_names(attributes: &BTreeMap<String, String>, path: &Path, findings: &mut Findings) {
    for name in attributes.keys().filter(|name| !is_attribute_name(name)) {
        let lower: String = name.to_lowercase().chars().filter(char::is_ascii_alphanumeric).collect();
        let fix = if is_attribute_name(&lower) {
            format!("did you mean {lower:?}?")
        } else {
            "write lower-case letters and digits, a letter first".to_owned()
        };
        findings.refuse(&path.name(name), format!("{name:?} is no name of an attribute; {fix}"));
    }
}

/// FLN-13, X-09
fn check_values(attributes: &BTreeMap<String, String>, path: &Path, findings: &mut Findings) {
    for (name, _) in attributes.iter().filter(|(_, value)| value.is_empty()) {
        findings.refuse(&path.name(name), "is empty and would match no event; write a value or remove it");
    }
}

fn is_attribute_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// The filter, or one that is only there until its findings are reported.
fn accept(filter: Result<Filter, FilterError>, path: &Path, findings: &mut Findings) -> Filter {
    match filter {
        Ok(filter) => return filter,
        // Noted before, each name at its place.
        Err(FilterError::AttributeNames { .. }) => {}
        // FLN-17
        Err(error @ (FilterError::TooDeep { .. } | FilterError::TooManyClauses { .. })) => {
            findings.refuse(path, error.to_string());
        }
    }
    Filter::everything()
}
