//! What every process of the broker is made of: a log, tasks, listeners, an admin port, and how it starts, drains
//! and stops. `standalone`, `ingress` and `dispatcher` put theirs together from these parts.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use trigon_core::routing::RoutingTable;
use trigon_dispatcher::Dispatcher;
use trigon_eventlog::{Health, SharedLog};
use trigon_ingress::ingress::Parties;
use trigon_ingress::{Ingress, IngressSettings};
use trigon_runtime::http_client::{self, ClientSettings};
use trigon_runtime::metrics::Metrics;
use trigon_runtime::readiness::{CheckState, Readiness};
use trigon_runtime::server::{HalfClose, ServerMetrics, ServerSettings, serve};
use trigon_runtime::shutdown::{Drain, DrainSettings, Shutdown};
use trigon_runtime::tasks::{TaskFailure, TaskGroup};

use crate::admin::{self, Admin};
use crate::failure::{Chain, Failure};
use crate::routes::Routes;
use crate::serving::Serving;
use crate::store::{Store, StoreSettings};
use crate::terminal::Terminal;

pub(crate) mod announcement;
pub(crate) mod arguments;
mod in_force;

use announcement::Announcement;
use in_force::InForce;

/// What is kept of the drain's deadline for the log to close in.
const CLOSING_TIME: Duration = Duration::from_millis(500);

/// How long the log may take to close, whatever has ended the process.
const CLOSING_PATIENCE: Duration = Duration::from_secs(3);

/// How long a start waits for all Brokers to be served; then it goes on with those that are.
const START_PATIENCE: Duration = Duration::from_secs(10);

/// How long a start that a signal interrupts may take to get to where it can be drained.
const STARTING_TIME: Duration = Duration::from_secs(1);

/// An address that is listened on already.
pub(crate) type Listening = (TcpListener, SocketAddr);

/// The parts of a process, and how they end together.
pub(crate) struct Process {
    store: Store,
    tasks: TaskGroup,
    metrics: Metrics,
    readiness: Readiness,
    drain: Drain,
    server: ServerSettings,
    connections: ServerMetrics,
    dispatching: Option<Dispatching>,
    ingress: Option<Ingress>,
}

/// A dispatcher, and how it is told by which table to route.
#[derive(Clone)]
struct Dispatching {
    dispatcher: Dispatcher,
    offered: watch::Sender<Arc<RoutingTable>>,
}

/// A process that serves.
pub(crate) struct Running {
    process: Process,
    announcement: Announcement,
}

impl Process {
    /// Opens the log, below everything else.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(crate) async fn open(
        settings: StoreSettings,
        server: ServerSettings,
        drain: Drain,
    ) -> Result<Self, Failure> {
        let mut tasks = TaskGroup::new();
        let metrics = Metrics::new();
        let readiness = Readiness::new();
        let store = settings.open(&mut tasks, &drain).await?;
        readiness.probe("event log", {
            let log = Arc::clone(store.log());
            move || match log.health() {
                Health::Writable => CheckState::Ready,
                Health::Refusing(reason) => CheckState::NotReady(reason),
            }
        });
        let connections = ServerMetrics::new(&metrics);
        let (dispatching, ingress) = (None, None);
        Ok(Self { store, tasks, metrics, readiness, drain, server, connections, dispatching, ingress })
    }

    /// The log.
    pub(crate) fn log(&self) -> &SharedLog {
        self.store.log()
    }

    /// Serves of the table what can be served, from now on.
    pub(crate) fn serve_brokers(&mut self, table: &Arc<RoutingTable>) -> Serving {
        let (serving, task) = Serving::new(Arc::clone(self.log()), Arc::clone(table));
        self.readiness.probe("brokers", {
            let serving = serving.clone();
            move || serving.check()
        });
        let followed = task.run(self.drain.clone());
        self.spawn("serving", followed);
        serving
    }

    /// Delivers events by the table.
    ///
    /// # Errors
    /// When the HTTP client cannot be set up.
    pub(crate) fn dispatch(
        &mut self,
        config: trigon_dispatcher::Config,
        table: &Arc<RoutingTable>,
    ) -> Result<Dispatcher, Failure> {
        let client = http_client::client(&ClientSettings::default(), self.tasks.spawner("connection"))
            .map_err(|error| Failure::Failed(Chain(&error).to_string()))?;
        let (offered, tables) = watch::channel(Arc::clone(table));
        let log = Arc::clone(self.log());
        let dispatcher = Dispatcher::start(config, log, tables, client, &self.metrics, &mut self.tasks);
        self.dispatching = Some(Dispatching { dispatcher: dispatcher.clone(), offered });
        Ok(dispatcher)
    }

    /// Takes events for what is served.
    pub(crate) fn take_events(
        &mut self,
        settings: IngressSettings,
        serving: &Serving,
        listener: TcpListener,
    ) {
        let parties = Parties {
            served: Arc::clone(serving.served()),
            log: Arc::clone(self.log()),
            drain: self.drain.clone(),
            spawner: self.tasks.spawner("append"),
        };
        let ingress = Ingress::new(parties, settings, &self.metrics);
        self.ingress = Some(ingress.clone());
        // An append is finished whether its producer has left or not, so there is nothing to gain by looking.
        let server = ServerSettings { half_close: HalfClose::Waits, ..self.server };
        let (drain, connections) = (self.drain.clone(), self.connections.clone());
        self.tasks.spawn("ingress", serve("ingress", listener, ingress, server, drain, connections));
    }

    /// Serves health, metrics, the page and the tools.
    pub(crate) fn serve_admin(&mut self, listener: TcpListener, views: Admin) {
        let looks = trigon_runtime::admin::Admin {
            liveness: self.tasks.liveness(),
            readiness: self.readiness.clone(),
            drain: self.drain.clone(),
            metrics: self.metrics.clone(),
        };
        let pages = trigon_runtime::admin::router(looks).merge(admin::router(views));
        let (drain, connections) = (self.drain.clone(), self.connections.clone());
        self.tasks.spawn("admin", serve("admin", listener, pages, self.server, drain, connections));
    }

    /// Waits until the table is in force, with patience, and follows its folder from then on.
    ///
    /// # Errors
    /// When a part of the process fails meanwhile.
    pub(crate) async fn follow(
        mut self,
        routes: Routes,
        look_interval: Duration,
        serving: Serving,
        shown: Arc<ArcSwap<RoutingTable>>,
        announcement: Announcement,
    ) -> Result<Running, Failure> {
        let table = shown.load_full();
        let dispatching = self.dispatching.clone();
        let ingress = self.ingress.clone();
        let in_force = InForce { serving, dispatching, ingress, shown, tried: Mutex::default() };
        tokio::select! {
            waited = timeout(START_PATIENCE, in_force.whole(&table)) => if waited.is_err() {
                let missing = in_force.missing();
                tracing::warn!(missing, "starting without everything in force, which is tried again and again");
            },
            Some(failure) = self.tasks.first_failure() => return Err(failed(&failure)),
            () = self.drain.draining() => {}
        }
        let routed = self.readiness.check("routes");
        let followed = routes.follow(look_interval, in_force, self.drain.clone());
        self.spawn("routes", followed);
        routed.ready();
        Ok(Running { process: self, announcement })
    }

    async fn run(self) -> Result<(), Failure> {
        let Self { store, mut tasks, drain, dispatching, .. } = self;
        let failure = tokio::select! {
            () = drain.draining() => drained(&mut tasks, &drain, dispatching.as_ref()).await,
            failure = failure_of(&mut tasks) => Some(failure),
        };
        let failure = failure.map(|failure| {
            let failure = Chain(&failure).to_string();
            tracing::error!(failure, "a part of the process has failed, which ends the process");
            Failure::Failed(failure)
        });
        // The log in Kafka closes when nobody holds partitions any more. Appends that were begun are not among these
        // tasks: closing makes them durable.
        drop(tasks);
        if timeout(CLOSING_PATIENCE, store.close()).await.is_err() {
            tracing::warn!("the event log did not close in time: the process ends without waiting for it");
        }
        failure.map_or(Ok(()), Err)
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(name, async move {
            task.await;
            Ok::<_, Infallible>(())
        });
    }
}

impl Running {
    /// What it serves and what to try, for people.
    pub(crate) fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Waits for the drain, drains, and closes the log.
    ///
    /// # Errors
    /// When a part of the process fails.
    pub(crate) async fn run(self) -> Result<(), Failure> {
        self.process.run().await
    }
}

/// Starts a process, says so, and runs it until a signal has drained it, or what runs beside it fails.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub(crate) async fn until_stopped(
    drain_deadline: Duration,
    terminal: &Terminal,
    beside: impl Future<Output = Result<Infallible, Failure>>,
    start: impl AsyncFnOnce(Drain) -> Result<Running, Failure>,
) -> Result<(), Failure> {
    let shutdown = Shutdown::new(DrainSettings { deadline: drain_deadline, ..DrainSettings::default() });
    tokio::pin!(beside);
    let drain = shutdown.watch();
    let given_up = async {
        drain.draining().await;
        sleep(STARTING_TIME).await;
    };
    let running = tokio::select! {
        started = start(drain.clone()) => started?,
        Err(failure) = &mut beside => return Err(failure),
        signal = shutdown.follow_signals() => return stopped_by(signal),
        // Nothing is served yet that would have to be drained.
        () = given_up => return Ok(()),
    };
    terminal.print(running.announcement())?;
    tokio::select! {
        ended = running.run() => ended,
        Err(failure) = &mut beside => Err(failure),
        signal = shutdown.follow_signals() => stopped_by(signal),
    }
}

/// Finishes what was begun, within the deadline of the drain; what failed meanwhile.
async fn drained(
    tasks: &mut TaskGroup,
    drain: &Drain,
    dispatching: Option<&Dispatching>,
) -> Option<TaskFailure> {
    let patience = drain.deadline().map_or(Duration::ZERO, |deadline| {
        deadline.duration_since(tokio::time::Instant::now()).saturating_sub(CLOSING_TIME)
    });
    let delivered = async {
        if let Some(Dispatching { dispatcher, .. }) = dispatching {
            dispatcher.drain(patience).await;
        }
    };
    // The ingress finishes its requests while the dispatcher finishes its attempts.
    let finished = async { tokio::join!(delivered, tasks.first_failure()).1 };
    tokio::select! {
        failure = finished => failure,
        () = drain.expired() => {
            tracing::warn!("the drain has expired: events in flight are delivered again after the next start");
            None
        }
    }
}

/// Waits for a failure as long as it takes.
async fn failure_of(tasks: &mut TaskGroup) -> TaskFailure {
    match tasks.first_failure().await {
        Some(failure) => failure,
        None => std::future::pending().await,
    }
}

fn stopped_by(signal: std::io::Result<Infallible>) -> Result<(), Failure> {
    match signal {
        Ok(never) => match never {},
        Err(error) => Err(Failure::of("could not wait for signals", &error)),
    }
}

fn failed(failure: &TaskFailure) -> Failure {
    Failure::Failed(Chain(failure).to_string())
}

/// An address as a client writes it: what listens everywhere is reached at this machine.
pub(crate) fn shown_address(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests;
