//! Whether an event passes, and what went wrong on the way.

use super::{Filter, Node};
use crate::cesql::{EvaluationError, Value};
use crate::event::Event;

/// What a filter says of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// As [`Filter::matches`] says.
    pub passes: bool,
    /// The first error of a CESQL expression that was come to; those behind what has decided are none.
    pub error: Option<EvaluationError>,
}

impl Filter {
    /// Whether the event passes, and the error that may have had a say in it. Costs little more than
    /// [`matches`](Self::matches).
    pub fn verdict(&self, event: &Event) -> Verdict {
        let mut error = None;
        let passes = self.judge(event, &mut error);
        Verdict { passes, error }
    }

    fn judge(&self, event: &Event, error: &mut Option<EvaluationError>) -> bool {
        match &*self.0 {
            Node::Everything | Node::Invalid(_) | Node::Clause(_) => self.matches(event),
            Node::Cesql(expression) => {
                let evaluation = expression.evaluate(event);
                // SQLS-18
                let passes = evaluation.value == Value::Boolean(true) && evaluation.errors.is_empty();
                *error = error.take().or_else(|| evaluation.errors.into_iter().next());
                passes
            }
            Node::All(filters) => filters.iter().all(|filter| filter.judge(event, error)),
            Node::Any(filters) => filters.iter().any(|filter| filter.judge(event, error)),
            Node::Not(filter) => !filter.judge(event, error),
        }
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
            let said = verdict.error.map(|error| error.to_string());
            assert_eq!(said.is_some(), error.is_some(), "{filter}: {said:?}");
            let said = said.unwrap_or_default();
            assert!(said.contains(error.unwrap_or_default()), "{filter}: {said}");
        }
    }
}
