//! Waits for what may not be there.

use futures::future::BoxFuture;
use tokio::time::{Instant, sleep_until};

/// Waits until then; for ever if there is no such time.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Waits for what is under way; for ever if nothing is. Cancel safe: the future stays where it is.
pub(crate) async fn end_of<T>(under_way: &mut Option<BoxFuture<'static, T>>) -> T {
    match under_way {
        Some(future) => future.await,
        None => std::future::pending().await,
    }
}
