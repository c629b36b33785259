//! The build under measurement: `trigon standalone` as a process, or `trigon ingress` and `trigon dispatcher` over
//! Kafka; their CPU time and their memory.

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

/// A running Trigon with folders of its own; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Trigon {
    /// The last one delivers.
    processes: Vec<Process>,
    folder: TempDir,
    binary: PathBuf,
    kafka: Option<Kafka>,
    /// Where it takes events.
    pub(crate) address: SocketAddr,
}

/// Where its log is, if that is not a folder.
#[derive(Clone, Debug)]
struct Kafka {
    bootstrap: String,
    installation: String,
}

#[derive(Debug)]
struct Process {
    command: &'static str,
    child: Child,
    listen: Option<SocketAddr>,
    admin: SocketAddr,
}

/// A Trigger of a measurement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Route {
    /// Its name.
    pub(crate) name: String,
    /// Where it sends.
    pub(crate) subscriber: String,
    /// The number of the type that it wants; all without.
    pub(crate) of_type: Option<u64>,
    /// Its `trigon.dev/order`.
    pub(crate) order: Option<&'static str>,
    /// Its `trigon.dev/start-from`.
    pub(crate) start_from: Option<&'static str>,
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
        fs::write(folder.path().join("routes/routes.yaml"), yaml(routes, settings)).map_err(fail)?;
        let kafka = settings.kafka.clone().map(|bootstrap| {
            let made = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
            Kafka { bootstrap, installation: format!("bench-{}", made.as_millis()) }
        });
        let commands: &[&'static str] =
            if kafka.is_some() { &["ingress", "dispatcher"] } else { &["standalone"] };
        let mut trigon =
            Self { processes: Vec::new(), folder, binary: binary.to_owned(), kafka, address: ANY };
        // The ingress serves once the dispatcher has placed the Triggers: all are started before one is waited for.
        for command in commands {
            let process = trigon.spawn(command, None)?;
            trigon.address = process.listen.unwrap_or(trigon.address);
            trigon.processes.push(process);
        }
        trigon.ready().await?;
        Ok(trigon)
    }

    /// Replaces the Triggers, and does not wait until they are in force.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn route(&self, routes: &[Route], settings: &Settings) -> Result<(), BenchError> {
        let fail = |error| BenchError::Io("could not replace the routes".to_owned(), error);
        let (next, file) = (self.folder.path().join("next"), self.folder.path().join("routes/routes.yaml"));
        fs::write(&next, yaml(routes, settings)).map_err(fail)?;
        fs::rename(next, file).map_err(fail)
    }

    /// How many events of its topic a Trigger has before it; `None` while the process that delivers does not deliver
    /// for it.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn lag(&self, trigger: &str) -> Result<Option<u64>, BenchError> {
        let found = self.status(trigger).await?;
        let is_there = !matches!(found["state"].as_str(), None | Some("starting" | "elsewhere"));
        Ok(is_there.then(|| found["lag"].as_u64()).flatten())
    }

    /// Whether the process that delivers has partitions of a Trigger's topic. One that does not answer has none.
    pub(crate) async fn has_partitions(&self, trigger: &str) -> bool {
        let found = self.status(trigger).await.unwrap_or_default();
        found["cursors"].as_array().is_some_and(|cursors| !cursors.is_empty())
    }

    async fn status(&self, trigger: &str) -> Result<serde_json::Value, BenchError> {
        let fail = |error| BenchError::Io("could not ask for the triggers".to_owned(), error);
        let Some(process) = self.processes.last() else { return Ok(serde_json::Value::Null) };
        let triggers = process.json("/v1/triggers").await.map_err(fail)?;
        let name = format!("default/{trigger}");
        let mut all = triggers.as_array().into_iter().flatten();
        Ok(all.find(|known| known["trigger"] == name.as_str()).cloned().unwrap_or_default())
    }

    /// Kills the process that delivers, without warning.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn kill(&mut self) -> Result<(), BenchError> {
        self.processes.last_mut().map_or(Ok(()), Process::kill)
    }

    /// Starts it again where it was, and does not wait.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn restart(&mut self) -> Result<(), BenchError> {
        let Some(killed) = self.processes.pop() else { return Ok(()) };
        let started = self.spawn(killed.command, Some(&killed))?;
        self.processes.push(started);
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
        Ok(self.usages()?.into_iter().fold(Usage::default(), |sum, (_, usage)| Usage {
            cpu: sum.cpu + usage.cpu,
            resident: sum.resident + usage.resident,
        }))
    }

    /// What each of its processes has used so far, by its command.
    ///
    /// # Errors
    /// When one has ended, or there is no `/proc`.
    pub(crate) fn usages(&self) -> Result<Vec<(&'static str, Usage)>, BenchError> {
        self.processes.iter().map(|process| Ok((process.command, usage(process.child.id())?))).collect()
    }

    async fn ready(&self) -> Result<(), BenchError> {
        let end = Instant::now() + READY;
        for process in &self.processes {
            while process.ask("/readyz").await.ok().flatten() != Some(200) {
                if Instant::now() > end {
                    let said = fs::read_to_string(self.log(process.command)).unwrap_or_default();
                    return Err(BenchError::Failed(format!(
                        "trigon {} is not ready after {READY:?}: {said}",
                        process.command
                    )));
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        Ok(())
    }

    fn log(&self, command: &str) -> PathBuf {
        self.folder.path().join(format!("{command}.log"))
    }

    /// Starts a process, at the addresses of an earlier one if there was one, and reads what it prints.
    fn spawn(&self, command: &'static str, before: Option<&Process>) -> Result<Process, BenchError> {
        let fail = |error| BenchError::Io(format!("could not start {}", self.binary.display()), error);
        let log = File::create(self.log(command)).map_err(fail)?;
        let listens = command != "dispatcher";
        let mut run = Command::new(&self.binary);
        run.arg(command).arg("--routes").arg(self.folder.path().join("routes")).args(["--log", "warn"]);
        run.args(["--admin", &before.map_or(ANY, |before| before.admin).to_string()]);
        if listens {
            let listen = before.and_then(|before| before.listen).unwrap_or(ANY);
            run.args(["--listen", &listen.to_string()]);
        }
        match &self.kafka {
            Some(kafka) => {
                run.args(["--kafka", &kafka.bootstrap, "--installation", &kafka.installation]);
            }
            None => {
                run.arg("--data").arg(self.folder.path().join("data"));
            }
        }
        let mut child = run.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn().map_err(fail)?;
        let stdout = child.stdout.take().ok_or_else(|| BenchError::Failed("it has no output".to_owned()))?;
        let mut lines = BufReader::new(stdout).lines();
        let (mut listen, mut admin) = (None, None);
        for line in lines.by_ref() {
            let line = line.map_err(fail)?;
            match address(&line) {
                Some(found) if line.starts_with("broker") => listen = listen.or(Some(found)),
                Some(found) if line.starts_with("admin") => admin = admin.or(Some(found)),
                _ => {}
            }
            if let Some(admin) = admin
                && (listen.is_some() || !listens)
            {
                // Nobody reads on, and what it prints must not block it.
                std::thread::spawn(move || lines.for_each(drop));
                return Ok(Process { command, child, listen, admin });
            }
        }
        let said = fs::read_to_string(self.log(command)).unwrap_or_default();
        Err(BenchError::Failed(format!("trigon {command} did not start: {said}")))
    }
}

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

impl Process {
    fn kill(&mut self) -> Result<(), BenchError> {
        let fail = |error| BenchError::Io("could not kill the process".to_owned(), error);
        self.child.kill().map_err(fail)?;
        self.child.wait().map(drop).map_err(fail)
    }

    async fn ask(&self, path: &str) -> io::Result<Option<u16>> {
        let mut wire = self.wire(path).await?;
        Ok(wire.read().await?.and_then(|head| head.status()))
    }

    async fn json(&self, path: &str) -> io::Result<serde_json::Value> {
        let mut wire = self.wire(path).await?;
        if wire.read().await?.and_then(|head| head.status()) != Some(200) {
            return Err(io::Error::other(format!("{path} is refused")));
        }
        Ok(serde_json::from_slice(wire.body())?)
    }

    async fn wire(&self, path: &str) -> io::Result<Wire> {
        let mut wire = Wire::new(TcpStream::connect(self.admin).await?)?;
        wire.write(format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes()).await?;
        Ok(wire)
    }
}

impl Drop for Process {
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

fn yaml(routes: &[Route], settings: &Settings) -> String {
    let object = |kind: &str, name: &str, annotations: serde_json::Value, spec: serde_json::Value| {
        json!({
            "apiVersion": "eventing.knative.dev/v1",
            "kind": kind,
            "metadata": {"name": name, "namespace": "default", "annotations": annotations},
            "spec": spec,
        })
    };
    let partitions = json!({"trigon.dev/partitions": settings.partitions.to_string()});
    let mut text = format!("{}\n", object("Broker", "default", partitions, json!({})));
    for route in routes {
        // Retried for longer than any measurement lasts: a dead subscriber keeps its backlog.
        let mut spec = json!({
            "broker": "default",
            "subscriber": {"uri": route.subscriber},
            "delivery": {"retry": 100_000, "backoffPolicy": "linear", "backoffDelay": "PT1S"},
        });
        let mut annotations = json!({});
        for (name, value) in [("trigon.dev/order", route.order), ("trigon.dev/start-from", route.start_from)]
        {
            if let Some(value) = value {
                annotations[name] = value.into();
            }
        }
        if let Some(number) = route.of_type {
            spec["filter"] = json!({"attributes": {"type": type_name(number)}});
        }
        text.push_str(&format!("---\n{}\n", object("Trigger", &route.name, annotations, spec)));
    }
    text
}

fn address(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("http://")?;
    rest.split(|c: char| c == '/' || c.is_whitespace()).next()?.parse().ok()
}
