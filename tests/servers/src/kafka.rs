//! Kafka brokers as child processes: started, stopped, killed, paused, and started again with the same data and the
//! same addresses.
//!
//! Every broker is a controller too. Beside the listener for clients, which is secured as the options say, each has
//! one without security for the other brokers and for Kafka's own tools.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine;
use kafka_protocol::messages::MetadataResponse;
use rustix::process::Signal;
use tempfile::TempDir;

pub use metrics::TopicBytes;
pub use options::{Mechanism, Options};
pub use tools::{GroupRow, Tools};

use crate::jars;
use crate::jvm::{self, Jvm};
use crate::port::Port;

pub mod options;

mod metrics;
mod probe;
mod tools;

/// How long brokers may take to do what they are asked; on two busy cores that is a while.
const PATIENCE: Duration = Duration::from_secs(120);

/// How long a broker may take to stop by itself.
const STOPPING: Duration = Duration::from_secs(60);

/// Between two looks at what is waited for.
const INTERVAL: Duration = Duration::from_millis(50);

/// The heap of a broker that is one of several.
const SMALL_HEAP: &str = "-Xmx384m";

/// The heap of a broker that is alone, and perhaps shared by many tests.
const LARGE_HEAP: &str = "-Xmx768m";

/// Running brokers. They are killed when it is dropped, and their data is removed.
#[derive(Debug)]
pub struct Kafka {
    // Before the folder: they must be gone when it is removed.
    nodes: Vec<Node>,
    options: Options,
    folder: Folder,
}

/// Where the brokers' files are.
#[derive(Debug)]
enum Folder {
    /// Removed with the brokers.
    Temporary(TempDir),
    /// Left for whoever wants to see the logs; nobody else uses it while the file is open.
    Kept { _lock: File, path: PathBuf },
}

#[derive(Debug)]
struct Node {
    id: usize,
    client: Port,
    internal: Port,
    controller: Port,
    /// Where its metrics are, if they are wanted.
    metrics: Option<Port>,
    folder: PathBuf,
    jvm: Option<Jvm>,
}

impl Kafka {
    /// Starts one broker.
    ///
    /// # Errors
    /// When it does not start.
    pub fn single(options: Options) -> Result<Self, String> {
        Self::cluster(1, options)
    }

    /// Starts so many; topics have up to three replicas, and need all but one of them for an append.
    ///
    /// # Errors
    /// When they do not start.
    pub fn cluster(brokers: usize, options: Options) -> Result<Self, String> {
        let failed = |error| format!("could not make a folder for Kafka: {error}");
        let folder = Folder::temporary().map_err(failed)?;
        Self::start_in(folder, brokers, options)
    }

    /// The same; their logs and data are in `target/test-servers/NAME`, and stay there until the next start.
    ///
    /// # Errors
    /// When they do not start, or brokers that are running have that name.
    pub fn kept(name: &str, brokers: usize, options: Options) -> Result<Self, String> {
        let folder = Folder::kept(name)
            .map_err(|error| format!("could not make {name} in {}: {error}", jars::folder().display()))?;
        Self::start_in(folder, brokers, options)
    }

    fn start_in(folder: Folder, brokers: usize, options: Options) -> Result<Self, String> {
        let failed = |error| format!("could not make a folder for a broker: {error}");
        let mut nodes = Vec::new();
        for id in 0..brokers {
            let node = folder.path().join(id.to_string());
            fs::create_dir(&node).map_err(failed)?;
            let (client, internal, controller) = (Port::free()?, Port::free()?, Port::free()?);
            let metrics = options.has_metrics.then(Port::free).transpose()?;
            nodes.push(Node { id, client, internal, controller, metrics, folder: node, jvm: None });
        }
        let mut kafka = Self { nodes, options, folder };
        kafka.format()?;
        let heap = if brokers > 1 { SMALL_HEAP } else { LARGE_HEAP };
        for node in &mut kafka.nodes {
            node.start(heap)?;
        }
        for id in 0..brokers {
            kafka.wait_for(id)?;
        }
        Ok(kafka)
    }

    /// The folder of the brokers' files; the log of the first is `0/log` there.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many brokers there are, running or not.
    pub fn brokers(&self) -> usize {
        self.nodes.len()
    }

    /// Where clients begin: `HOST:PORT[,HOST:PORT…]`.
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(|node| self.advertised(node)).collect();
        addresses.join(",")
    }

    /// Where a broker really listens for clients.
    pub fn address(&self, broker: usize) -> String {
        self.nodes[broker].client.address()
    }

    /// The process of a broker, when it is running.
    pub fn process_id(&self, broker: usize) -> Option<u32> {
        self.nodes[broker].jvm.as_ref().map(Jvm::id)
    }

    /// Kafka's own tools; they may do everything.
    pub fn tools(&self) -> Tools {
        let addresses: Vec<_> = self.nodes.iter().map(|node| node.internal.address()).collect();
        Tools::new(addresses.join(","))
    }

    /// What the brokers that run have counted of a topic since they were started.
    ///
    /// # Errors
    /// When they were not started with [`Options::metrics`], or do not answer.
    pub fn topic_bytes(&self, topic: &str) -> Result<TopicBytes, String> {
        let mut sum = TopicBytes::default();
        for node in self.nodes.iter().filter(|node| node.jvm.is_some()) {
            let port = node.metrics.as_ref().ok_or("the brokers were started without metrics")?;
            let bytes = metrics::topic_bytes(&port.address(), topic)?;
            sum.written += bytes.written;
            sum.read += bytes.read;
        }
        Ok(sum)
    }

    /// Asks a broker to stop, and waits until it has.
    ///
    /// # Panics
    /// When it does not, or is not running.
    pub fn stop(&mut self, broker: usize) {
        let jvm = self.nodes[broker].jvm.take().expect("the test has not stopped it");
        jvm.stop(STOPPING).expect("a broker stops when it is asked to");
    }

    /// Kills a broker without warning.
    ///
    /// # Panics
    /// When it is not running.
    pub fn kill(&mut self, broker: usize) {
        drop(self.nodes[broker].jvm.take().expect("the test has not stopped it"));
    }

    /// Stops a broker where it stands; to others it looks as if it hung.
    ///
    /// # Panics
    /// When it is not running.
    pub fn pause(&self, broker: usize) {
        self.signal(broker, Signal::STOP);
    }

    /// Lets a paused broker go on.
    ///
    /// # Panics
    /// When it is not running.
    pub fn resume(&self, broker: usize) {
        self.signal(broker, Signal::CONT);
    }

    /// Starts a broker again with the data and the addresses that it had, and waits until it answers.
    ///
    /// # Panics
    /// When it does not, or is running.
    pub fn start(&mut self, broker: usize) {
        let heap = if self.brokers() > 1 { SMALL_HEAP } else { LARGE_HEAP };
        let node = &mut self.nodes[broker];
        assert!(node.jvm.is_none(), "broker {broker} is running");
        node.start(heap).and_then(|()| self.wait_for(broker)).expect("a broker starts again");
    }

    /// From its next start on, each broker lets in the clients of these authorities, given as PEM.
    ///
    /// # Panics
    /// When clients need no certificate.
    pub fn trust(&mut self, authorities: &str) {
        let tls = self.options.tls.as_mut().filter(|tls| tls.clients.is_some());
        tls.expect("the test asks clients for certificates").clients = Some(authorities.to_owned());
        for node in &self.nodes {
            fs::write(node.folder.join(options::TRUSTSTORE), authorities)
                .expect("a temporary folder is writable");
        }
    }

    /// Waits until every partition has a leader and all its replicas, so that the next broker may go.
    ///
    /// # Panics
    /// When that takes too long.
    pub fn wait_in_sync(&mut self) {
        let done = self.wait(|kafka| {
            let running = kafka.nodes.iter().find(|node| node.jvm.is_some()).ok_or("no broker is running")?;
            let metadata = probe::metadata(&running.internal.address())?;
            match lagging(&metadata) {
                lagging if lagging.is_empty() => Ok(()),
                lagging => Err(format!("not in sync: {}", lagging.join(", "))),
            }
        });
        done.expect("the replicas catch up");
    }

    fn advertised(&self, node: &Node) -> String {
        self.options.advertised.get(node.id).cloned().unwrap_or_else(|| node.client.address())
    }

    fn signal(&self, broker: usize, signal: Signal) {
        let jvm = self.nodes[broker].jvm.as_ref().expect("the test has not stopped it");
        jvm.signal(signal).expect("a child can be sent signals");
    }

    /// Writes the brokers' files, and formats their folders.
    fn format(&self) -> Result<(), String> {
        let id: [u8; 16] = std::array::from_fn(|_| fastrand::u8(..));
        // The tool takes a leading hyphen for an option.
        let id = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(id).replace('-', "_");
        for node in &self.nodes {
            node.write(&self.properties(node), &self.options)?;
        }
        let mut arguments = vec!["format".to_owned(), "--cluster-id".to_owned(), id];
        arguments.extend(self.options.format_arguments());
        thread::scope(|scope| {
            let format = |node: &Node| {
                let config = node.folder.join(PROPERTIES);
                let mut all: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
                all.extend([OsStr::new("--config"), config.as_os_str()]);
                jvm::run(&["-Dorg.slf4j.simpleLogger.defaultLogLevel=off"], "kafka.tools.StorageTool", &all)
            };
            let all: Vec<_> = self.nodes.iter().map(|node| scope.spawn(move || format(node))).collect();
            all.into_iter().try_for_each(|one| one.join().expect("formatting does not panic").map(drop))
        })
    }

    fn properties(&self, node: &Node) -> Vec<(String, String)> {
        let brokers = self.brokers();
        let (replicas, in_sync) = (brokers.min(3), (brokers.min(3) - 1).max(1));
        let voters: Vec<_> =
            self.nodes.iter().map(|node| format!("{}@{}", node.id, node.controller.address())).collect();
        let listener = |name: &str, port: &Port| format!("{name}://{}", port.address());
        let (client, internal) = (options::CLIENT, "INTERNAL");
        let own = [listener(client, &node.client), listener(internal, &node.internal)];
        let advertised =
            [format!("{client}://{}", self.advertised(node)), listener(internal, &node.internal)];
        let mut properties = Vec::new();
        let mut set = |name: &str, value: String| properties.push((name.to_owned(), value));
        set("process.roles", "broker,controller".to_owned());
        set("node.id", node.id.to_string());
        set("controller.quorum.voters", voters.join(","));
        set("listeners", format!("{},{}", own.join(","), listener("CONTROLLER", &node.controller)));
        set("advertised.listeners", advertised.join(","));
        let protocol = self.options.protocol();
        let map = format!("{client}:{protocol},{internal}:PLAINTEXT,CONTROLLER:PLAINTEXT");
        set("listener.security.protocol.map", map);
        set("inter.broker.listener.name", internal.to_owned());
        set("controller.listener.names", "CONTROLLER".to_owned());
        set("log.dirs", node.folder.join("data").display().to_string());
        set("default.replication.factor", replicas.to_string());
        set("min.insync.replicas", in_sync.to_string());
        set("offsets.topic.replication.factor", replicas.to_string());
        set("transaction.state.log.replication.factor", replicas.to_string());
        set("transaction.state.log.min.isr", in_sync.to_string());
        set("share.coordinator.state.topic.replication.factor", replicas.to_string());
        set("share.coordinator.state.topic.min.isr", in_sync.to_string());
        for (name, value) in PLAIN_PROPERTIES {
            set(name, value.to_owned());
        }
        properties.extend(self.options.security_properties(&node.folder.display().to_string()));
        properties.extend(self.options.properties.iter().cloned());
        properties
    }

    /// Waits until a broker answers and knows all that are running.
    fn wait_for(&mut self, broker: usize) -> Result<(), String> {
        self.wait(|kafka| {
            let metadata = probe::metadata(&kafka.nodes[broker].internal.address())?;
            let known: Vec<_> = metadata.brokers.iter().map(|broker| broker.node_id.0).collect();
            let running = kafka.nodes.iter().filter(|node| node.jvm.is_some());
            let unknown = running.filter(|node| !known.iter().any(|id| usize::try_from(*id) == Ok(node.id)));
            match unknown.count() {
                0 => Ok(()),
                count => Err(format!("broker {broker} knows {known:?}, and {count} more are running")),
            }
        })
    }

    fn wait(&mut self, probe: impl Fn(&Self) -> Result<(), String>) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let Err(missing) = probe(self) else { return Ok(()) };
            for node in &mut self.nodes {
                if let Some(status) = node.jvm.as_mut().and_then(Jvm::ended) {
                    let said = jvm::tail(&node.output());
                    return Err(format!("Kafka broker {} ended with {status}:\n{said}", node.id));
                }
            }
            if Instant::now() > end {
                return Err(format!("waited {PATIENCE:?} for Kafka; last seen: {missing}"));
            }
            thread::sleep(INTERVAL);
        }
    }

    #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
    fn show(&self) {
        for node in &self.nodes {
            eprintln!("---- end of the log of Kafka broker {}\n{}", node.id, jvm::tail(&node.output()));
        }
    }
}

/// What a test wants otherwise than Kafka's defaults.
const PLAIN_PROPERTIES: [(&str, &str); 11] = [
    ("auto.create.topics.enable", "false"),
    // Or every first rebalance waits 3 s for more members.
    ("group.initial.rebalance.delay.ms", "0"),
    // 50 partitions of 3 replicas each take longer to make than everything else.
    ("offsets.topic.num.partitions", "8"),
    // A dead broker's partitions stand still for so long: 9 s by default.
    ("broker.session.timeout.ms", "4000"),
    ("broker.heartbeat.interval.ms", "1000"),
    // 128 MiB of heap by default.
    ("log.cleaner.dedupe.buffer.size", "4194304"),
    ("num.network.threads", "2"),
    ("num.io.threads", "4"),
    ("background.threads", "2"),
    ("num.recovery.threads.per.data.dir", "1"),
    ("controlled.shutdown.enable", "true"),
];

const PROPERTIES: &str = "server.properties";

impl Node {
    fn output(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn write(&self, properties: &[(String, String)], options: &Options) -> Result<(), String> {
        let mut text = String::new();
        for (name, value) in properties {
            writeln!(text, "{name}={value}").expect("a string takes text");
        }
        let file = |name: &str, text: &str| {
            let path: &Path = &self.folder.join(name);
            fs::write(path, text).map_err(|error| format!("could not write {}: {error}", path.display()))
        };
        file(PROPERTIES, &text)?;
        if let Some(tls) = &options.tls {
            file(options::KEYSTORE, &format!("{}{}", tls.identity.key, tls.identity.certificate))?;
            file(options::TRUSTSTORE, tls.clients.as_deref().unwrap_or_default())?;
        }
        Ok(())
    }

    fn start(&mut self, heap: &str) -> Result<(), String> {
        let config = self.folder.join(PROPERTIES);
        let mut flags = vec![heap.to_owned(), "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn".to_owned()];
        flags.extend(self.metrics.iter().flat_map(|port| metrics::flags(&port.address())));
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        self.jvm = Some(Jvm::start(&flags, "kafka.Kafka", &[config.as_os_str()], &self.output())?);
        Ok(())
    }
}

impl Folder {
    fn temporary() -> io::Result<Self> {
        Ok(Self::Temporary(tempfile::Builder::new().prefix("trigon-kafka-").tempdir()?))
    }

    fn kept(name: &str) -> io::Result<Self> {
        let path = jars::folder().join(name);
        fs::create_dir_all(jars::folder())?;
        let lock = File::create(path.with_extension("lock"))?;
        lock.try_lock()?;
        if path.exists() {
            fs::remove_dir_all(&path)?;
        }
        fs::create_dir(&path)?;
        Ok(Self::Kept { _lock: lock, path })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept { path, .. } => path,
        }
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        if thread::panicking() {
            self.show();
        }
    }
}

/// The partitions that lack a leader or a replica.
fn lagging(metadata: &MetadataResponse) -> Vec<String> {
    let mut lagging = Vec::new();
    for topic in &metadata.topics {
        let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        for partition in &topic.partitions {
            if partition.leader_id.0 < 0 || partition.isr_nodes.len() < partition.replica_nodes.len() {
                lagging.push(format!("{name}/{}", partition.partition_index));
            }
        }
    }
    lagging
}
