//! The folder followed for real, at a short interval.

use std::fs;
use std::sync::Mutex;

use trigon_core::name::BrokerId;
use trigon_runtime::shutdown::{DrainSettings, Shutdown};
use trigon_runtime::tasks::TaskGroup;

use super::*;

const INTERVAL: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps the tables that it was given; refuses those with a Broker called `refused` until told otherwise.
#[derive(Clone, Default)]
struct Applied {
    tables: Arc<Mutex<Vec<Vec<String>>>>,
    takes_all: Arc<std::sync::atomic::AtomicBool>,
}

impl Apply for Applied {
    async fn apply(&self, table: &Arc<RoutingTable>) -> Result<(), String> {
        let names: Vec<_> = table.brokers.keys().map(|id| id.name.clone()).collect();
        let takes_all = self.takes_all.load(std::sync::atomic::Ordering::Acquire);
        if names.iter().any(|name| name == "refused") && !takes_all {
            return Err("the disk is full".to_owned());
        }
        self.tables.lock().unwrap().push(names);
        Ok(())
    }
}

struct Followed {
    folder: tempfile::TempDir,
    applied: Applied,
    status: watch::Receiver<RoutesStatus>,
    shutdown: Shutdown,
    tasks: TaskGroup,
}

impl Followed {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), broker("a")).unwrap();
        let (routes, table) =
            Routes::load(Source::Folder(folder.path().to_owned()), Installation::default()).unwrap();
        assert_eq!(table.brokers.keys().collect::<Vec<_>>(), [&BrokerId::new("default", "a")]);
        let (status, applied) = (routes.status(), Applied::default());
        let shutdown = Shutdown::new(DrainSettings::default());
        let mut tasks = TaskGroup::new();
        let followed = routes.follow(INTERVAL, applied.clone(), shutdown.watch());
        tasks.spawn("routes", async move {
            followed.await;
            Ok::<_, std::convert::Infallible>(())
        });
        Self { folder, applied, status, shutdown, tasks }
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    async fn until(&mut self, what: &str, reached: impl FnMut(&RoutesStatus) -> bool) -> RoutesStatus {
        let status = tokio::time::timeout(PATIENCE, self.status.wait_for(reached)).await;
        let status = status.map(|status| status.unwrap().clone());
        status.unwrap_or_else(|_| panic!("no {what}: {:?}", self.status.borrow()))
    }

    fn tables(&self) -> Vec<Vec<String>> {
        self.applied.tables.lock().unwrap().clone()
    }
}

fn broker(name: &str) -> String {
    format!("apiVersion: eventing.knative.dev/v1\nkind: Broker\nmetadata:\n  name: {name}\n")
}

#[tokio::test]
async fn a_file_that_appears_changes_or_goes_puts_a_new_table_in_force() {
    let mut followed = Followed::start();
    followed.write("b.yaml", &broker("b"));
    followed.until("new file", |status| status.generation == 2).await;
    followed.write("b.yaml", &broker("other"));
    followed.until("changed file", |status| status.generation == 3).await;
    fs::remove_file(followed.folder.path().join("a.yaml")).unwrap();
    followed.until("removed file", |status| status.generation == 4).await;
    assert_eq!(followed.tables(), [vec!["a", "b"], vec!["a", "other"], vec!["other"]]);
}

#[tokio::test]
async fn a_bad_file_is_shown_and_the_last_good_table_stays() {
    let mut followed = Followed::start();
    followed.write("b.yaml", "kind: Boker\n");
    let status = followed.until("problem", |status| status.trouble.is_some()).await;
    let Some(Trouble::Problems(problems)) = status.trouble else { panic!("{status:?}") };
    assert!(problems[0].file.ends_with("b.yaml") && problems[0].message.contains("Broker"), "{problems:?}");
    assert_eq!((status.generation, followed.tables().len()), (1, 0));
    followed.write("b.yaml", &broker("b"));
    followed.until("repair", |status| status.generation == 2 && status.trouble.is_none()).await;
}

#[tokio::test]
async fn a_folder_that_vanishes_changes_nothing_until_it_is_back() {
    let mut followed = Followed::start();
    let (folder, aside) = (followed.folder.path().to_owned(), followed.folder.path().with_extension("aside"));
    fs::rename(&folder, &aside).unwrap();
    let status = followed.until("trouble", |status| status.trouble.is_some()).await;
    assert!(
        matches!(&status.trouble, Some(Trouble::Failed(reason)) if reason.starts_with("could not read "))
    );
    fs::rename(&aside, &folder).unwrap();
    followed.until("end of the trouble", |status| status.trouble.is_none()).await;
    assert!(followed.tables().iter().all(|table| *table == ["a"]), "{:?}", followed.tables());
}

#[tokio::test]
async fn a_table_that_cannot_be_applied_now_is_tried_again() {
    let mut followed = Followed::start();
    followed.write("b.yaml", &broker("refused"));
    let status = followed.until("trouble", |status| status.trouble.is_some()).await;
    assert_eq!(status.trouble, Some(Trouble::Partly("the disk is full".to_owned())));
    followed.applied.takes_all.store(true, std::sync::atomic::Ordering::Release);
    followed.until("second try", |status| status.generation == 2 && status.trouble.is_none()).await;
}

#[tokio::test]
async fn following_ends_with_the_drain() {
    let followed = Followed::start();
    followed.shutdown.drain();
    tokio::time::timeout(PATIENCE, followed.tasks.join_all()).await.expect("it ends").unwrap();
}

#[test]
fn a_bad_file_at_the_start_is_told_in_full() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), "kind: Boker\n").unwrap();
    fs::write(folder.path().join("b.yaml"), "kind: Triger\n").unwrap();
    let failure =
        Routes::load(Source::Folder(folder.path().to_owned()), Installation::default()).unwrap_err();
    let message = anstream::adapter::strip_str(failure.message().unwrap()).to_string();
    assert!(message.contains("a.yaml:1:") && message.contains("b.yaml:1:"), "{message}");
    assert!(message.ends_with(": nothing was started"), "{message}");
    let missing =
        Routes::load(Source::Folder(folder.path().join("none")), Installation::default()).unwrap_err();
    assert!(missing.message().unwrap().starts_with("could not read "), "{missing:?}");
}

#[tokio::test]
async fn without_a_folder_there_is_one_broker_and_nothing_to_follow() {
    let (routes, table) = Routes::load(Source::BuiltIn, Installation::default()).unwrap();
    assert_eq!(table.brokers.keys().collect::<Vec<_>>(), [&BrokerId::new("default", "default")]);
    routes.follow(INTERVAL, Applied::default(), Drain::never()).await;
}
