//! Work that several wait for, and that goes on whoever of them leaves or is not polled any more.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::JoinSet;

/// Owns the work. Dropping the last ends all that is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner(Arc<Mutex<JoinSet<()>>>);

/// Begins work without owning it, or what is under way would keep itself alive.
#[derive(Clone, Debug)]
pub(super) struct Work(Weak<Mutex<JoinSet<()>>>);

/// What comes of a piece of work, as soon as it is done; for each who waits for it.
#[derive(Debug)]
pub(super) struct Done<T>(watch::Sender<Option<T>>);

/// Waits for a piece of work.
#[derive(Debug)]
pub(super) struct Waiter<T>(watch::Receiver<Option<T>>);

impl Owner {
    /// What begins work for this owner.
    pub(super) fn work(&self) -> Work {
        Work(Arc::downgrade(&self.0))
    }
}

impl Work {
    /// Begins it; nothing comes of it when the owner has left.
    pub(super) fn begin(&self, work: impl Future<Output = ()> + Send + 'static) {
        let Some(tasks) = self.0.upgrade() else { return };
        let mut tasks = tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(work);
    }
}

impl<T: Clone> Done<T> {
    /// Something that is not done yet.
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// Waits for it too.
    pub(super) fn waiter(&self) -> Waiter<T> {
        Waiter(self.0.subscribe())
    }

    /// Tells all who wait.
    pub(super) fn tell(self, outcome: T) {
        self.0.send_replace(Some(outcome));
    }
}

impl<T: Clone> Waiter<T> {
    /// Another who waits for the same, if it is still under way.
    pub(super) fn join(&self) -> Option<Self> {
        self.0.has_changed().is_ok().then(|| Self(self.0.clone()))
    }

    /// Waits; `None` when the work was ended before it was done.
    pub(super) async fn outcome(mut self) -> Option<T> {
        self.0.wait_for(Option::is_some).await.ok().and_then(|outcome| outcome.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn work_ends_with_its_owner_and_whoever_waits_is_told() {
        let owner = Owner::default();
        let done = Done::new();
        let waiter = done.waiter();
        owner.work().begin(async move {
            pending::<()>().await;
            done.tell(());
        });
        assert!(waiter.join().is_some(), "it is under way");
        drop(owner);
        let outcome = timeout(Duration::from_secs(10), waiter.outcome()).await;
        assert_eq!(outcome.expect("it is told"), None);
    }
}
