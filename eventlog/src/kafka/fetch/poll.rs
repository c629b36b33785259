//! Polls one broker for all that have a seat at its tail, as long as anybody has.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::answer::{self, Answers, Limits, Wanted};
use super::{POLL_BYTES, POLL_PACE, POLL_PARTITION_BYTES, Tails, lock};
use crate::kafka::wire::{Cluster, Line, NodeId};

/// Ends when nobody has a seat any more, or with the first error: the scans look for themselves what it is.
pub(super) async fn run(cluster: Cluster, tails: Tails, node: NodeId) {
    let mut end = End { tails, node: Some(node) };
    while let Some((wanted, wait)) = end.next() {
        let began = Instant::now();
        let Some(answers) = poll(&cluster, node, &wanted, wait).await else { return };
        end.answered(&wanted, answers);
        sleep_until(began + POLL_PACE).await;
    }
}

async fn poll(cluster: &Cluster, node: NodeId, wanted: &[Wanted], wait: Duration) -> Option<Answers> {
    let wait = wait.min(cluster.deadline() / 2);
    let limits = Limits {
        wait_ms: i32::try_from(wait.as_millis()).unwrap_or(i32::MAX),
        bytes: POLL_BYTES,
        partition_bytes: POLL_PARTITION_BYTES,
    };
    match cluster.ask(node, Line::Tail, &answer::request(wanted, limits)).await {
        Ok(response) => answer::answers(wanted, response)
            .inspect_err(|error| tracing::debug!(node = node.0, %error, "a poll of the tail was refused"))
            .ok(),
        Err(error) => {
            tracing::debug!(node = node.0, %error, "a poll of the tail has failed");
            None
        }
    }
}

/// Takes the tail away when polling ends, however it ends; nobody is left in a seat that is not polled.
struct End {
    tails: Tails,
    node: Option<NodeId>,
}

impl End {
    fn next(&mut self) -> Option<(Vec<Wanted>, Duration)> {
        let tails = Arc::clone(&self.tails);
        let mut tails = lock(&tails);
        let poll = tails.get_mut(&self.node?)?.poll();
        if poll.is_none() {
            // Under the same lock, or somebody could take a seat between.
            tails.remove(&self.node.take()?);
        }
        poll
    }

    fn answered(&self, wanted: &[Wanted], answers: Answers) {
        if let Some(node) = self.node
            && let Some(tail) = lock(&self.tails).get_mut(&node)
        {
            tail.answered(wanted, answers);
        }
    }
}

impl Drop for End {
    fn drop(&mut self) {
        if let Some(node) = self.node {
            lock(&self.tails).remove(&node);
        }
    }
}
