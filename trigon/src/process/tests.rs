//! How a process ends when a part of it fails.

use tokio::sync::oneshot;
use trigon_eventlog::EmbeddedConfig;
use trigon_runtime::server::ServerSettings;

use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A process of which a task fails at once, and whose log is closed by `close`.
async fn failing(
    folder: &tempfile::TempDir,
    close: impl Future<Output = ()> + Send + 'static,
) -> (Shutdown, Process) {
    let shutdown = Shutdown::new(DrainSettings::default());
    let settings = StoreSettings::Embedded(EmbeddedConfig::new(folder.path().join("data")));
    let opened = Process::open(settings, ServerSettings::default(), shutdown.watch()).await;
    let mut process = opened.unwrap_or_else(|failure| panic!("{failure:?}"));
    process.store = Store::new(Arc::clone(process.log()), close);
    process.tasks.spawn("failing", async { Err("no luck") });
    (shutdown, process)
}

/// The log in Kafka: it is closed when the dispatcher has given its partitions back, which it does when it ends.
#[tokio::test]
async fn what_holds_the_log_is_let_go_before_the_log_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let (mut held, holding) = oneshot::channel::<()>();
    let (closed, was_closed) = oneshot::channel();
    let (_shutdown, mut process) = failing(&folder, async move {
        held.closed().await;
        closed.send(()).unwrap();
    })
    .await;
    process.tasks.spawn("holding", holding);
    let ended = timeout(PATIENCE, process.run()).await.expect("it ends");
    assert_eq!(ended, Err(Failure::Failed("task failing failed: no luck".to_owned())));
    assert_eq!(was_closed.await, Ok(()));
}

#[tokio::test]
async fn a_log_that_does_not_close_keeps_nobody_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let (_shutdown, process) = failing(&folder, std::future::pending()).await;
    let ended = timeout(PATIENCE, process.run()).await.expect("it ends");
    assert!(matches!(ended, Err(Failure::Failed(_))), "{ended:?}");
}
