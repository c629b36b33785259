//! What CESQL expressions of Triggers may not mean as their author thinks, at its place in the file.

use trigon_core::cesql::Expression;

use crate::api::{SubscriptionsFilter, TriggerSpec};
use crate::file;
use crate::path::Path;
use crate::problem::{Findings, MAX_PROBLEMS, Problem};

/// What is not wrong with the expressions in the files and yet fails with every event that comes there, or may be
/// meant otherwise: sorted by place, at most [`MAX_PROBLEMS`].
pub fn remarks(files: &[(String, String)]) -> Vec<Problem> {
    let files: Vec<_> = files.iter().filter(|(_, text)| text.contains("cesql")).cloned().collect();
    // Most files have none, and reading them again costs time.
    if files.is_empty() {
        return Vec::new();
    }
    let (objects, _) = file::read(&files);
    let mut remarks = Vec::new();
    for located in &objects.triggers {
        let mut findings = Findings::default();
        of_trigger(&located.object.spec, &mut findings);
        remarks.extend(findings.into_iter().filter_map(|finding| located.problem(finding)));
    }
    remarks.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    remarks.truncate(MAX_PROBLEMS);
    remarks
}

fn of_trigger(spec: &TriggerSpec, findings: &mut Findings) {
    of_list(spec.filters.as_deref(), &Path::of(&["spec", "filters"]), findings);
}

fn of_list(filters: Option<&[SubscriptionsFilter]>, path: &Path, findings: &mut Findings) {
    for (index, filter) in filters.unwrap_or_default().iter().enumerate() {
        of_filter(filter, &path.index(index), findings);
    }
}

fn of_filter(filter: &SubscriptionsFilter, path: &Path, findings: &mut Findings) {
    of_list(filter.all.as_deref(), &path.name("all"), findings);
    of_list(filter.any.as_deref(), &path.name("any"), findings);
    if let Some(filter) = &filter.not {
        of_filter(filter, &path.name("not"), findings);
    }
    // One that cannot be read is wrong, which is said elsewhere.
    let expression = filter.cesql.as_deref().and_then(|source| Expression::parse(source).ok());
    for remark in expression.iter().flat_map(Expression::remarks) {
        findings.refuse_at(&path.name("cesql"), remark.offset, remark.message.clone());
    }
}
