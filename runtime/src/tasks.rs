//! Owned tasks: whoever starts a task holds the group, and hears when one fails or panics.
//!
//! The only place that spawns. It has no policy: no restarts, no deadlines; dropping a group aborts its tasks.

use std::borrow::Cow;
use std::collections::HashMap;
use std::error::Error;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{Id, JoinError, JoinSet};
use tokio_util::task::TaskTracker;

/// Tasks that run as long as somebody holds the group.
#[derive(Debug)]
pub struct TaskGroup {
    tasks: JoinSet<Result<(), BoxError>>,
    names: HashMap<Id, Cow<'static, str>>,
    group: Arc<Shared>,
    panics: mpsc::Receiver<&'static str>,
}

/// Starts short tasks for a group from anywhere: connections of a client, streams of a connection.
///
/// Cheaper than a task of the group and without a result; a panic reaches the group all the same.
#[derive(Clone, Debug)]
pub struct Spawner {
    name: &'static str,
    group: Arc<Shared>,
}

/// A future that somebody waits for, and that a task finishes when nobody does any more.
///
/// Costs one allocation; a task is started only when it is dropped before its end.
#[must_use = "futures do nothing unless polled"]
pub struct ToTheEnd<F: Future<Output: Send> + Send + 'static> {
    future: Option<Pin<Box<F>>>,
    spawner: Spawner,
}

#[derive(Debug)]
struct Shared {
    tracker: TaskTracker,
    panics: mpsc::Sender<&'static str>,
    liveness: Liveness,
}

/// Whether every task of a group is alive or ended well.
#[derive(Clone, Debug, Default)]
pub struct Liveness(Arc<AtomicBool>);

/// How a task ended that should not have ended so.
#[derive(Debug, thiserror::Error)]
pub enum TaskFailure {
    /// It returned an error.
    #[error("task {name} failed")]
    Failed {
        /// The name that it was started with.
        name: Cow<'static, str>,
        /// What it returned.
        source: BoxError,
    },
    /// It panicked.
    #[error("task {name} panicked: {message}")]
    Panicked {
        /// The name that it was started with.
        name: Cow<'static, str>,
        /// What it said.
        message: String,
    },
}

/// What a task may return.
pub type BoxError = Box<dyn Error + Send + Sync>;

impl TaskGroup {
    /// An empty group.
    pub fn new() -> Self {
        // One place is enough: the first panic is the failure, the others are in the log.
        let (sender, panics) = mpsc::channel(1);
        let group = Shared { tracker: TaskTracker::new(), panics: sender, liveness: Liveness::default() };
        Self { tasks: JoinSet::new(), names: HashMap::new(), group: Arc::new(group), panics }
    }

    /// Starts a task; the name is for logs and failures.
    pub fn spawn<E: Into<BoxError>>(
        &mut self,
        name: impl Into<Cow<'static, str>>,
        task: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(async move { task.await.map_err(Into::into) });
        self.names.insert(handle.id(), name.into());
    }

    /// A handle that starts short tasks for this group.
    pub fn spawner(&self, name: &'static str) -> Spawner {
        Spawner { name, group: Arc::clone(&self.group) }
    }

    /// Tells whether a task has failed, from anywhere. It takes note when the group is waited on.
    pub fn liveness(&self) -> Liveness {
        self.group.liveness.clone()
    }

    /// How many tasks were started and not waited for.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether no task is left.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    /// Waits for the first task that fails; `None` when all tasks have ended well. Cancel safe.
    pub async fn first_failure(&mut self) -> Option<TaskFailure> {
        loop {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => {
                    if let Some(failure) = self.ended(ended?) {
                        return Some(failure);
                    }
                }
                Some(name) = self.panics.recv() => {
                    return Some(TaskFailure::Panicked { name: name.into(), message: "see the log".into() });
                }
            }
        }
    }

    /// Waits for all tasks, those of the spawners included; cancelling it aborts the tasks of the group.
    ///
    /// # Errors
    /// The first failure, after the others have ended.
    pub async fn join_all(mut self) -> Result<(), TaskFailure> {
        let mut first = None;
        while let Some(ended) = self.tasks.join_next_with_id().await {
            let failure = self.ended(ended);
            first = first.or(failure);
        }
        self.group.tracker.close();
        self.group.tracker.wait().await;
        if let Ok(name) = self.panics.try_recv() {
            let panicked = TaskFailure::Panicked { name: name.into(), message: "see the log".into() };
            first = first.or(Some(panicked));
        }
        first.map_or(Ok(()), Err)
    }

    fn ended(&mut self, ended: Result<(Id, Result<(), BoxError>), JoinError>) -> Option<TaskFailure> {
        let failure = match ended {
            Ok((id, result)) => {
                let name = self.name_of(id);
                tracing::debug!(task = %name, "task ended");
                TaskFailure::Failed { name, source: result.err()? }
            }
            Err(error) => {
                let name = self.name_of(error.id());
                let panic = error.try_into_panic().ok()?;
                TaskFailure::Panicked { name, message: message_of(&*panic) }
            }
        };
        self.group.liveness.fail();
        Some(failure)
    }

    fn name_of(&mut self, id: Id) -> Cow<'static, str> {
        self.names.remove(&id).unwrap_or(Cow::Borrowed("unnamed"))
    }
}

impl Default for TaskGroup {
    fn default() -> Self {
        Self::new()
    }
}

impl Spawner {
    /// Starts a task; its owner is the group.
    pub fn spawn<F>(&self, task: F)
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let report = PanicReport { spawner: self.clone() };
        drop(self.group.tracker.spawn(async move {
            // The report is dropped with the task: by a return, or by a panic that unwinds through here.
            let _report = report;
            drop(task.await);
        }));
    }

    /// Makes a future that is run to its end even when whoever waits for it goes away.
    pub fn to_the_end<F>(&self, future: F) -> ToTheEnd<F>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        ToTheEnd { future: Some(Box::pin(future)), spawner: self.clone() }
    }

    /// How many tasks all spawners of the group run now.
    pub fn len(&self) -> usize {
        self.group.tracker.len()
    }

    /// Whether no task runs now.
    pub fn is_empty(&self) -> bool {
        self.group.tracker.is_empty()
    }
}

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, task: F) {
        self.spawn(task);
    }
}

impl<F: Future<Output: Send> + Send + 'static> Future for ToTheEnd<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.future.as_mut().expect("a future is not polled after its end");
        let output = ready!(future.as_mut().poll(cx));
        self.future = None;
        Poll::Ready(output)
    }
}

impl<F: Future<Output: Send> + Send + 'static> Drop for ToTheEnd<F> {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and there is nothing left to run it on.
        if let Some(future) = self.future.take()
            && Handle::try_current().is_ok()
        {
            self.spawner.spawn(future);
        }
    }
}

impl Liveness {
    /// Whether no task has failed.
    pub fn is_alive(&self) -> bool {
        !self.0.load(Ordering::Acquire)
    }

    fn fail(&self) {
        self.0.store(true, Ordering::Release);
    }
}

struct PanicReport {
    spawner: Spawner,
}

impl Drop for PanicReport {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.spawner.group.liveness.fail();
            if self.spawner.group.panics.try_send(self.spawner.name).is_err() {
                tracing::error!(task = self.spawner.name, "another task panicked");
            }
        }
    }
}

fn message_of(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::io;

    use super::*;

    #[tokio::test]
    async fn an_error_reaches_the_owner_with_the_name_of_its_task() {
        let mut group = TaskGroup::new();
        group.spawn("stays", pending::<Result<(), Infallible>>());
        group.spawn("breaks", async { Err(io::Error::other("no space")) });
        let failure = group.first_failure().await.unwrap();
        assert_eq!(failure.to_string(), "task breaks failed");
        assert_eq!(failure.source().unwrap().to_string(), "no space");
        assert!(!group.liveness().is_alive());
        assert_eq!(group.len(), 1);
    }

    #[tokio::test]
    async fn a_panic_reaches_the_owner() {
        let mut group = TaskGroup::new();
        group.spawn::<Infallible>("falls", async { panic!("over {}", "board") });
        assert_eq!(group.first_failure().await.unwrap().to_string(), "task falls panicked: over board");
    }

    #[tokio::test]
    async fn a_panic_of_a_short_task_reaches_the_owner() {
        let mut group = TaskGroup::new();
        group.spawn("stays", pending::<Result<(), Infallible>>());
        group.spawner("stream").spawn(async { panic!("over board") });
        let failure = group.first_failure().await.unwrap();
        assert!(matches!(failure, TaskFailure::Panicked { name, .. } if name == "stream"));
        assert!(!group.liveness().is_alive());
    }

    #[tokio::test]
    async fn join_all_waits_for_every_task_and_returns_the_first_failure() {
        let mut group = TaskGroup::new();
        let spawner = group.spawner("short");
        let (sender, receiver) = tokio::sync::oneshot::channel();
        group.spawn("first", async { Err(io::Error::other("one")) });
        group.spawn("second", async move {
            spawner.spawn(async move { sender.send(()) });
            Ok::<(), Infallible>(())
        });
        let failure = group.join_all().await.unwrap_err();
        assert_eq!(failure.to_string(), "task first failed");
        receiver.await.expect("the short task was waited for");
    }

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_finished_by_a_task() {
        let mut group = TaskGroup::new();
        let spawner = group.spawner("end");
        assert_eq!(spawner.to_the_end(async { 7 }).await, 7);

        let (go, gone) = tokio::sync::oneshot::channel::<()>();
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let mut future = Box::pin(spawner.to_the_end(async move {
            gone.await.expect("told to go on");
            sender.send(7)
        }));
        assert!(futures::poll!(future.as_mut()).is_pending());
        drop(future);
        go.send(()).unwrap();
        assert_eq!(receiver.await, Ok(7));
        assert!(group.first_failure().await.is_none());
    }

    #[tokio::test]
    async fn a_group_whose_tasks_end_well_has_no_failure() {
        let mut group = TaskGroup::new();
        group.spawn("ends", async { Ok::<(), Infallible>(()) });
        assert!(group.first_failure().await.is_none());
        assert!(group.liveness().is_alive());
        group.join_all().await.unwrap();
    }

    #[tokio::test]
    async fn dropping_the_group_aborts_its_tasks() {
        let (sender, receiver) = tokio::sync::oneshot::channel::<()>();
        let mut group = TaskGroup::new();
        group.spawn("holds", async move {
            let _sender = sender;
            pending::<Result<(), Infallible>>().await
        });
        drop(group);
        receiver.await.expect_err("the task was dropped with what it held");
    }
}
