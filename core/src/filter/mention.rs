//! Which attributes a filter speaks of, and which events have them.

use std::sync::Arc;

use super::{Filter, Node, clause};
use crate::cesql::Attribute;
use crate::event::Event;

/// An attribute that a filter speaks of. Cloning shares its name.
#[derive(Clone, Debug)]
pub struct Mention(By);

#[derive(Clone, Debug)]
enum By {
    /// A clause, which knows more names of an attribute than an expression does (FLA-04).
    Clause(Arc<str>),
    Expression(Attribute),
}

impl Mention {
    /// The name that the filter gives it.
    pub fn name(&self) -> &str {
        match &self.0 {
            By::Clause(name) => name,
            By::Expression(attribute) => &attribute.name,
        }
    }

    /// Whether the filter sees the attribute in this event.
    pub fn is_in(&self, event: &Event) -> bool {
        match &self.0 {
            By::Clause(name) => clause::value(event, name).is_some(),
            By::Expression(attribute) => attribute.of(event).is_some(),
        }
    }
}

impl Filter {
    /// The attributes that the filter speaks of, in its order, each name once for clauses and once for expressions.
    pub fn mentions(&self) -> Vec<Mention> {
        let mut mentions: Vec<Mention> = Vec::new();
        self.collect_mentions(&mut mentions);
        mentions
    }

    fn collect_mentions(&self, mentions: &mut Vec<Mention>) {
        let by: Vec<By> = match &*self.0 {
            Node::Clause(clause) => vec![By::Clause(Arc::clone(clause.attribute()))],
            Node::Cesql(expression) => {
                expression.attributes().into_iter().cloned().map(By::Expression).collect()
            }
            _ => Vec::new(),
        };
        for mention in by.into_iter().map(Mention) {
            let is_same = |known: &Mention| {
                known.name() == mention.name()
                    && matches!(known.0, By::Clause(_)) == matches!(mention.0, By::Clause(_))
            };
            if !mentions.iter().any(is_same) {
                mentions.push(mention);
            }
        }
        self.children().iter().for_each(|child| child.collect_mentions(mentions));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventBuilder;

    fn event(version: &str, attribute: &str) -> Event {
        let builder =
            EventBuilder::new().spec_version(version).attribute("id", "1").attribute("source", "/s");
        builder.attribute("type", "t").attribute(attribute, "text/plain").build().unwrap()
    }

    #[test]
    fn every_attribute_is_mentioned_once_however_deep_it_stands() {
        let exact = |name: &str| Filter::exact(&[(name.to_owned(), "x".to_owned())].into()).unwrap();
        let expression = "a = 'x' AND (EXISTS b OR LENGTH(Source) > INT(a) OR type IN ('a', c))";
        let filter = Filter::all([
            Filter::not(Filter::any([exact("type"), exact("a")]).unwrap()).unwrap(),
            Filter::cesql(expression.parse().unwrap()),
            exact("type"),
        ]);
        let mentions = filter.unwrap().mentions();
        let names: Vec<_> = mentions.iter().map(Mention::name).collect();
        assert_eq!(names, ["type", "a", "a", "b", "source", "type", "c"]);
        assert!(Filter::everything().mentions().is_empty());
    }

    /// FLA-04
    #[test]
    fn an_attribute_is_there_where_the_filter_sees_it_under_this_name() {
        let clause = Filter::attributes(&[("datamediatype".to_owned(), String::new())].into()).unwrap();
        let expression = Filter::cesql("EXISTS datamediatype".parse().unwrap());
        let has_type = event("1.0", "datacontenttype");
        for filter in [&clause, &expression] {
            assert_eq!(filter.mentions()[0].is_in(&has_type), filter.matches(&has_type), "{filter}");
        }
        assert!(clause.mentions()[0].is_in(&has_type) && !expression.mentions()[0].is_in(&has_type));
    }
}
