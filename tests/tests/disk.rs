//! A full disk: producers hear 503, delivery goes on, and all is well again when there is space.
//!
//! The disk is a tmpfs that the test mounts, so it must run as root.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use http::StatusCode;
use tempfile::TempDir;
use trigon_tests::{Deployment, Event, Standalone, Subscriber, account, broker, trigger, wait};

/// A small disk of its own, unmounted when it is dropped.
struct Disk {
    folder: TempDir,
}

impl Disk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("the machine has a folder for temporary files");
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=48m", "tmpfs"])
            .arg(folder.path())
            .output();
        let refused = match mount {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(error) => Some(error.to_string()),
        };
        assert!(
            refused.is_none(),
            "this test fills a disk, for which it mounts a tmpfs: run it as root, in a container that may mount \
             (CAP_SYS_ADMIN). mount said: {refused:?}"
        );
        Self { folder }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the space that is left.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("ballast");
        let mut file = File::create(&path).expect("a file without content fits");
        for size in [1 << 20, 1 << 12, 1] {
            let chunk = vec![0; size];
            while file.write_all(&chunk).is_ok() {}
        }
        path
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the process may still hold a file. The folder itself is removed next.
        drop(Command::new("umount").arg("--lazy").arg(self.folder.path()).status());
    }
}

/// Sends until the answer has that status; gives the ids that were accepted.
async fn send_until(trigon: &Standalone, prefix: &str, status: StatusCode) -> (Vec<String>, Option<String>) {
    let producer = trigon.producer();
    let mut accepted = Vec::new();
    let mut n = 0;
    let retry_after = wait::until(&format!("an answer {status}"), async || {
        n += 1;
        let id = format!("{prefix}-{n}");
        let answer = producer.send(&Event::new(&id).data("text/plain", vec![b'x'; 4_096])).await;
        if answer.status == StatusCode::ACCEPTED {
            accepted.push(id);
        }
        if answer.status == status {
            return Ok(answer.header("retry-after").map(str::to_owned));
        }
        assert!(answer.status == 202 || answer.status == 503, "{}: {}", answer.status, answer.body);
        Err(answer.status.to_string())
    })
    .await;
    (accepted, retry_after)
}

/// IN-13
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_refuses_producers_and_nobody_else_and_recovers_by_itself() {
    let disk = Disk::new();
    let subscriber = Subscriber::start().await;
    subscriber.hold("/held");
    let routes = [
        broker("default"),
        trigger("open", &subscriber.url("/open")),
        trigger("held", &subscriber.url("/held")),
    ];
    let mut trigon = Standalone::start_in(&disk.path().join("data"), &routes, &[]).await;
    let mut accepted: Vec<String> = (0..100).map(|n| format!("before-{n}")).collect();
    trigon.producer().accept_many("before", 100).await;
    let ballast = disk.fill();
    let (ids, retry_after) = send_until(&trigon, "filling", StatusCode::SERVICE_UNAVAILABLE).await;
    accepted.extend(ids);
    assert!(retry_after.is_some(), "the 503 does not say when to try again");
    wait::until("it to say that it is not ready", async || {
        let answer = trigon.admin().ask("/readyz").await?;
        if answer.status == 503 { Ok(()) } else { Err(answer.body) }
    })
    .await;
    // Delivery goes on: what waits for the held subscriber is let through while the disk is full.
    subscriber.release("/held");
    for path in ["/open", "/held"] {
        subscriber.takes(path, accepted.len()).await;
    }
    let (ids, _) = send_until(&trigon, "still-full", StatusCode::SERVICE_UNAVAILABLE).await;
    accepted.extend(ids);
    fs::remove_file(ballast).unwrap();
    let (ids, _) = send_until(&trigon, "after", StatusCode::ACCEPTED).await;
    accepted.extend(ids);
    wait::until("it to be ready again", async || {
        let answer = trigon.admin().ask("/readyz").await?;
        if answer.status == 200 { Ok(()) } else { Err(answer.body) }
    })
    .await;
    trigon.settled().await;
    for path in ["/open", "/held"] {
        account::settle(path, &accepted, &subscriber.taken(path), &[]);
    }
    // And the log is whole: it starts again and repeats nothing.
    trigon.stop().await;
    trigon.restart().await;
    trigon.producer().accept(&Event::new("last")).await;
    accepted.push("last".to_owned());
    trigon.settled().await;
    account::settle("/open", &accepted, &subscriber.taken("/open"), &[]);
}

/// IN-13, DLV-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_killed_on_a_full_disk_has_lost_nothing_when_it_starts_again() {
    let disk = Disk::new();
    let subscriber = Subscriber::start().await;
    subscriber.hold("/t");
    let routes = [broker("default"), trigger("t", &subscriber.url("/t"))];
    let mut trigon = Standalone::start_in(&disk.path().join("data"), &routes, &[]).await;
    let mut accepted: Vec<String> = (0..50).map(|n| format!("before-{n}")).collect();
    trigon.producer().accept_many("before", 50).await;
    let ballast = disk.fill();
    let (ids, _) = send_until(&trigon, "filling", StatusCode::SERVICE_UNAVAILABLE).await;
    accepted.extend(ids);
    trigon.kill().await;
    let kill = std::time::Instant::now();
    fs::remove_file(ballast).unwrap();
    subscriber.release("/t");
    trigon.restart().await;
    trigon.settled().await;
    account::settle("t", &accepted, &subscriber.taken("/t"), &[kill]);
}
