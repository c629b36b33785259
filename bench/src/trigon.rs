//! The build under measurement: `trigon standalone` as a process, its CPU time and its memory.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::load::{Load, type_name};
use crate::wire::Wire;
use crate::{BenchError, Settings};

/// A running process with folders of its own; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Trigon {
    child: Child,
    folder: TempDir,
    binary: PathBuf,
    /// Where it takes events.
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
}

/// A Trigger of a measurement.
#[derive(Clone, Debug)]
pub(crate) struct Route {
    /// Its name.
    pub(crate) name: String,
    /// Where it sends.
    pub(crate) subscriber: String,
    /// The number of the type that it wants; all without.
    pub(crate) of_type: Option<u64>,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// Time on a CPU, in user and kernel mode.
    pub(crate) cpu: Duration,
    /// Resident memory, in bytes.
    pub(crate) resident: u64,
}

/// How long it may take to get ready, with 10 000 Triggers on a slow disk.
const READY: Duration = Duration::from_secs(120);

impl Trigon {
    /// Starts it and waits until it is ready.
    ///
    /// # Errors
    /// When it does not get ready.
    pub(crate) async fn start(
        binary: &Path,
        routes: &[Route],
        settings: &Settings,
    ) -> Result<Self, BenchError> {
        let fail = |error| BenchError::Io("could not make a folder for the data".to_owned(), error);
        let folder = match &settings.data {
            Some(parent) => tempfile::tempdir_in(parent).map_err(fail)?,
            None => tempfile::tempdir().map_err(fail)?,
        };
        fs::create_dir(folder.path().join("routes")).map_err(fail)?;
        fs::write(folder.path().join("routes/routes.yaml"), yaml(routes)).map_err(fail)?;
        let any: SocketAddr = ([127, 0, 0, 1], 0).into();
        let (child, address, admin) = spawn(binary, folder.path(), any, any)?;
        let trigon = Self { child, folder, binary: binary.to_owned(), address, admin };
        trigon.ready().await?;
        Ok(trigon)
    }

    /// Kills it without warning.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn kill(&mut self) -> Result<(), BenchError> {
        let fail = |error| BenchError::Io("could not kill the process".to_owned(), error);
        self.child.kill().map_err(fail)?;
        self.child.wait().map(drop).map_err(fail)
    }

    /// Starts it again where it was, and does not wait.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn restart(&mut self) -> Result<(), BenchError> {
        (self.child, self.address, self.admin) =
            spawn(&self.binary, self.folder.path(), self.address, self.admin)?;
        Ok(())
    }

    /// A load for its Broker.
    pub(crate) fn load(&self, settings: &Settings, start: Instant) -> Load {
        Load {
            address: self.address,
            path: "/default/default".to_owned(),
            connections: settings.connections,
            bytes: settings.bytes,
            types: 1,
            start,
            first: 0,
        }
    }

    /// What it has used so far.
    ///
    /// # Errors
    /// When it has ended, or there is no `/proc`.
    pub(crate) fn usage(&self) -> Result<Usage, BenchError> {
        usage(self.child.id())
    }

    async fn ready(&self) -> Result<(), BenchError> {
        let end = Instant::now() + READY;
        loop {
            let is_ready = self.ask("/readyz").await.is_ok_and(|status| status == Some(200));
            if is_ready {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(BenchError::Failed(format!("trigon is not ready after {READY:?}")));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn ask(&self, path: &str) -> io::Result<Option<u16>> {
        let mut wire = Wire::new(TcpStream::connect(self.admin).await?)?;
        wire.write(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await?;
        Ok(wire.read().await?.and_then(|head| head.status()))
    }
}

impl Drop for Trigon {
    fn drop(&mut self) {
        // It may have ended by itself, which is as good.
        drop(self.kill());
    }
}

/// What this process has used so far: the load and the sink.
///
/// # Errors
/// When there is no `/proc`.
pub(crate) fn own_usage() -> Result<Usage, BenchError> {
    usage(std::process::id())
}

fn usage(process: u32) -> Result<Usage, BenchError> {
    let fail = |error| BenchError::Io(format!("could not read /proc/{process}"), error);
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).map_err(fail)?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<u64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let field = |number: usize| fields.get(number).copied().unwrap_or(0);
    // utime, stime and rss, counted from the state, which is the first after the name.
    let ticks = field(11) + field(12);
    let micros = ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second().max(1);
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4_096);
    Ok(Usage { cpu: Duration::from_micros(micros), resident: field(21).saturating_mul(page) })
}

fn yaml(routes: &[Route]) -> String {
    let object = |kind: &str, name: &str, spec: serde_json::Value| {
        json!({
            "apiVersion": "eventing.knative.dev/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "default"},
            "spec": spec,
        })
    };
    let mut text = format!("{}\n", object("Broker", "default", json!({})));
    for route in routes {
        // Retried for longer than any measurement lasts: a dead subscriber keeps its backlog.
        let mut spec = json!({
            "broker": "default",
            "subscriber": {"uri": route.subscriber},
            "delivery": {"retry": 100_000, "backoffPolicy": "linear", "backoffDelay": "PT1S"},
        });
        if let Some(number) = route.of_type {
            spec["filter"] = json!({"attributes": {"type": type_name(number)}});
        }
        text.push_str(&format!("---\n{}\n", object("Trigger", &route.name, spec)));
    }
    text
}

/// Starts the process and reads the addresses that it prints.
fn spawn(
    binary: &Path,
    folder: &Path,
    listen: SocketAddr,
    admin: SocketAddr,
) -> Result<(Child, SocketAddr, SocketAddr), BenchError> {
    let fail = |error| BenchError::Io(format!("could not start {}", binary.display()), error);
    let log = File::create(folder.join("log")).map_err(fail)?;
    let mut child = Command::new(binary)
        .arg("standalone")
        .arg("--routes")
        .arg(folder.join("routes"))
        .arg("--data")
        .arg(folder.join("data"))
        .args(["--listen", &listen.to_string(), "--admin", &admin.to_string(), "--log", "warn"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .map_err(fail)?;
    let stdout = child.stdout.take().ok_or_else(|| BenchError::Failed("it has no output".to_owned()))?;
    let mut lines = BufReader::new(stdout).lines();
    let (mut ingress, mut admin) = (None, None);
    for line in lines.by_ref() {
        let line = line.map_err(fail)?;
        match address(&line) {
            Some(found) if line.starts_with("broker") => ingress = ingress.or(Some(found)),
            Some(found) if line.starts_with("admin") => admin = admin.or(Some(found)),
            _ => {}
        }
        if let (Some(ingress), Some(admin)) = (ingress, admin) {
            // Nobody reads on, and what it prints must not block it.
            std::thread::spawn(move || lines.for_each(drop));
            return Ok((child, ingress, admin));
        }
    }
    let said = fs::read_to_string(folder.join("log")).unwrap_or_default();
    Err(BenchError::Failed(format!("trigon did not start: {said}")))
}

fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    rest.split(|c: char| c == '/' || c.is_whitespace()).next()?.parse().ok()
}
