//! A short cut for what filters ask most: whether an attribute is, or is not, a text.
//!
//! It says what the evaluation says, and takes what that takes from the work that is left; it only makes no values
//! on the way, so that `type = 'a'` costs about what the dialect `exact` does.

use super::ast::BinaryOperator;
use super::evaluate::{Evaluator, Failed};
use super::program::{Constant, Node, NodeKind};

impl Evaluator<'_, '_> {
    /// The verdict on `attribute = 'text'` or `attribute != 'text'`. `None` for anything else, for an attribute that
    /// is missing or no String, and where more than the verdict is wanted.
    pub(super) fn equality(&mut self, node: &Node) -> Option<Result<bool, Failed>> {
        let NodeKind::Binary(operator, operands) = &node.kind else { return None };
        let is_wanted = match operator {
            BinaryOperator::Equal => true,
            BinaryOperator::Unequal => false,
            _ => return None,
        };
        let [Node { kind: NodeKind::Attribute(attribute), .. }, Node { kind: right, .. }] = &**operands
        else {
            return None;
        };
        let NodeKind::Constant { value: Constant::String(wanted), errors } = right else { return None };
        if self.log.is_some() || !errors.is_empty() {
            return None;
        }
        let event = self.event?;
        let found = attribute.text_of(event)?;
        let work = event.attributes().len() + found.len();
        Some(self.spend(node, work).map(|()| (found == &**wanted) == is_wanted))
    }
}
