//! Computes the parts of an expression that are the same with every event, once, when it is read.
//!
//! All parts of an expression share one budget, so that neither the time to read it nor what is kept of it grows
//! beyond its own length. What is left when that is spent is computed with every event instead, and comes to the same.

use super::ast::LogicOperator;
use super::evaluate::Evaluator;
use super::program::{Constant, Node, NodeKind};
use super::value::Value;
use super::{MAX_ERRORS, MAX_LENGTH};

/// What may still be computed of an expression while it is read.
pub(super) struct Folding<'s> {
    source: &'s str,
    /// In steps of an evaluation and in bytes of texts that are kept.
    work: usize,
    /// Each is put into words with its place, which takes a look at the whole source.
    errors: usize,
}

impl<'s> Folding<'s> {
    /// For one expression; `source` is what its places refer to.
    pub(super) fn new(source: &'s str) -> Self {
        Self { source, work: MAX_LENGTH, errors: MAX_ERRORS }
    }

    /// The node, or what it comes to when that is the same with every event and the budget allows it.
    pub(super) fn fold(&mut self, node: Node) -> Node {
        if !is_constant(&node) || self.work == 0 || self.errors == 0 {
            return node;
        }
        let mut errors = Vec::new();
        let mut evaluator = Evaluator::of_constant(self.source, &mut errors, self.work);
        let outcome = evaluator.evaluate(&node);
        let left = evaluator.work_left();
        let (Ok(value) | Err(value)) = outcome;
        let kept = if let Value::String(text) = &value { text.len() } else { 0 };
        self.work = left.saturating_sub(kept);
        if self.work == 0 {
            // The budget may have failed it, and not what it says.
            return node;
        }
        self.errors = self.errors.saturating_sub(errors.len());
        let value = Constant::from(value);
        let kind = NodeKind::Constant { value, errors: errors.into() };
        Node { kind, span: node.span }
    }
}

/// Whether the node comes to the same with every event and is not a constant yet.
fn is_constant(node: &Node) -> bool {
    let is_decided = match &node.kind {
        NodeKind::Constant { .. } | NodeKind::Attribute(_) | NodeKind::Exists(_) => return false,
        NodeKind::Missing { .. } => true,
        // What stands behind it is never looked at (SQLS-06).
        NodeKind::Logic(LogicOperator::And, operands) => is(&operands[0], false),
        NodeKind::Logic(LogicOperator::Or, operands) => is(&operands[0], true),
        _ => false,
    };
    is_decided || node.operands().all(|operand| matches!(operand.kind, NodeKind::Constant { .. }))
}

fn is(node: &Node, truth: bool) -> bool {
    matches!(&node.kind, NodeKind::Constant { value, errors }
        if *value == Constant::Boolean(truth) && errors.is_empty())
}
