//! Whether an event passes, and what went wrong on the way.

use super::{Filter, Node};
use crate::cesql::{EvaluationError, Expression};
use crate::event::Event;

/// What a filter says of an event.
#[derive(Clone, Debug)]
pub struct Verdict<'f> {
    /// As [`Filter::matches`] says.
    pub passes: bool,
    /// The first CESQL expression that failed among those that were come to.
    failed: Option<&'f Expression>,
}

impl Filter {
    /// Whether the event passes, and whether an error may have had a say in it. Costs what
    /// [`matches`](Self::matches) does.
    pub fn verdict(&self, event: &Event) -> Verdict<'_> {
        let mut failed = None;
        let passes = self.judge(event, &mut failed);
        Verdict { passes, failed }
    }

    fn judge<'f>(&'f self, event: &Event, failed: &mut Option<&'f Expression>) -> bool {
        match &*self.0 {
            Node::Everything | Node::Invalid(_) | Node::Clause(_) => self.matches(event),
            // SQLS-18
            Node::Cesql(expression) => expression.verdict(event).unwrap_or_else(|| {
                failed.get_or_insert(expression);
                false
            }),
            Node::All(filters) => filters.iter().all(|filter| filter.judge(event, failed)),
            Node::Any(filters) => filters.iter().any(|filter| filter.judge(event, failed)),
            Node::Not(filter) => !filter.judge(event, failed),
        }
    }
}

impl Verdict<'_> {
    /// Whether an expression failed that was come to; those behind what has decided do not.
    pub fn is_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// The first error in words; `event` is the one that the verdict is on. Costs another evaluation.
    pub fn error(&self, event: &Event) -> Option<EvaluationError> {
        self.failed?.evaluate(event).errors.into_iter().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventBuilder;

    fn cesql(expression: &str) -> Filter {
        Filter::cesql(expression.parse().unwrap())
    }

    /// FLN-07
    #[test]
    fn an_error_is_told_where_the_filter_comes_to_it_and_only_there() {
        let event = EventBuilder::new().spec_version("1.0").attribute("id", "1").attribute("source", "/s");
        let event = event.attribute("type", "order").build().unwrap();
        let is = |value: &str| Filter::exact(&[("type".to_owned(), value.to_owned())].into()).unwrap();
        let fails = || cesql("total > 5");
        for (filter, passes, error) in [
            (cesql("type = 'order'"), true, None),
            (fails(), false, Some("total")),
            (cesql("type = 'order' OR total > 5"), true, None),
            (cesql("total > 5 OR type = 'order'"), false, Some("total")),
            (Filter::all([is("stock"), fails()]).unwrap(), false, None),
            (Filter::all([is("order"), fails()]).unwrap(), false, Some("total")),
            (Filter::any([is("order"), fails()]).unwrap(), true, None),
            (Filter::any([fails(), is("order")]).unwrap(), true, Some("total")),
            (Filter::not(fails()).unwrap(), true, Some("total")),
            (Filter::any([cesql("INT('a') = 1"), fails()]).unwrap(), false, Some("1:5: ")),
        ] {
            let verdict = filter.verdict(&event);
            assert_eq!((verdict.passes, filter.matches(&event)), (passes, passes), "{filter}");
            let said = verdict.error(&event).map(|error| error.to_string());
            assert_eq!((said.is_some(), verdict.is_failed()), (error.is_some(), error.is_some()), "{filter}");
            let said = said.unwrap_or_default();
            assert!(said.contains(error.unwrap_or_default()), "{filter}: {said}");
        }
    }
}
