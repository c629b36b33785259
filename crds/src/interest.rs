//! Which events the Triggers of some files want, without anything else that a Trigger needs.

use trigon_core::filter::Filter;
use trigon_core::name::{BrokerId, TriggerId};

use crate::file;
use crate::path::Path;
use crate::problem::{Findings, MAX_PROBLEMS, Problem};
use crate::{filter, metadata, trigger};

/// Which events a Trigger wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Interest {
    /// Its name.
    pub trigger: TriggerId,
    /// Whose events it filters.
    pub broker: Option<BrokerId>,
    /// Which of them it wants.
    pub filter: Filter,
    /// Whether it has a `filter` with attributes that does not count, because it has `filters` as well (FLN-02).
    pub is_overriding: bool,
}

/// Reads the filters of all Triggers in these files, in the order in which they stand there. Neither their Brokers nor
/// their subscribers need to be there.
///
/// # Errors
/// What is wrong with the form of the files, and with the names and filters of the Triggers; at most
/// [`MAX_PROBLEMS`].
pub fn interests(files: &[(String, String)]) -> Result<Vec<Interest>, Vec<Problem>> {
    let (objects, mut problems) = file::read(files);
    let mut interests = Vec::new();
    for located in &objects.triggers {
        let mut findings = Findings::default();
        let spec = &located.object.spec;
        let id = metadata::id(&located.object.metadata, &mut findings);
        let compiled = filter::compile(
            spec.filter.as_ref(),
            spec.filters.as_deref(),
            &Path::of(&["spec"]),
            &mut findings,
        );
        // What is wrong with the name of its Broker is nothing to somebody who asks about its filter.
        let broker = trigger::broker(&located.object, &mut Findings::default());
        if let Some((namespace, name)) = id {
            let has_attributes = spec.filter.as_ref().is_some_and(|filter| {
                filter.attributes.as_ref().is_some_and(|attributes| !attributes.is_empty())
            });
            interests.push(Interest {
                broker: broker.map(|broker| BrokerId::new(&namespace, broker)),
                trigger: TriggerId::new(namespace, name),
                filter: compiled,
                is_overriding: has_attributes
                    && spec.filters.as_ref().is_some_and(|filters| !filters.is_empty()),
            });
        }
        problems.extend(findings.into_iter().filter_map(|finding| located.problem(finding)));
    }
    if problems.is_empty() {
        return Ok(interests);
    }
    problems.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    problems.truncate(MAX_PROBLEMS);
    Err(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRIGGER: &str = "
apiVersion: eventing.knative.dev/v1
kind: Trigger
metadata: {name: orders, namespace: shop}
spec:
  broker: main
  filter: {attributes: {type: a}}
  filters: [{prefix: {type: order.}}]
  subscriber: {ref: {apiVersion: v1, kind: Service, name: x}}
";

    fn read(text: &str) -> Result<Vec<Interest>, Vec<Problem>> {
        interests(&[("t.yaml".to_owned(), text.to_owned())])
    }

    /// FLN-02
    #[test]
    fn neither_the_broker_nor_an_address_of_the_subscriber_is_needed() {
        let [interest] = &read(TRIGGER).unwrap()[..] else { panic!("one trigger") };
        assert_eq!(interest.trigger, TriggerId::new("shop", "orders"));
        assert_eq!(interest.broker, Some(BrokerId::new("shop", "main")));
        assert_eq!(interest.filter.to_string(), "type starts with \"order.\"");
        assert!(interest.is_overriding);
        let legacy = TRIGGER.replace("filters: [{prefix: {type: order.}}]", "filters: []");
        let [interest] = &read(&legacy).unwrap()[..] else { panic!("one trigger") };
        assert_eq!((interest.filter.to_string().as_str(), interest.is_overriding), ("type is \"a\"", false));
    }

    #[test]
    fn what_is_wrong_with_a_filter_has_its_place() {
        let problems = read(&TRIGGER.replace("prefix: {type: order.}", "cesql: 'type =='")).unwrap_err();
        assert_eq!((problems.len(), problems[0].line), (1, 8), "{problems:?}");
        let problems = read(&TRIGGER.replace("prefix:", "regex:")).unwrap_err();
        assert!(problems[0].field.contains("regex"), "{problems:?}");
    }
}
