//! `trigon standalone`: a whole broker in one process, start and stop on one page.
//!
//! Everything is bound before the log is touched, so that a taken address costs nothing, and built from the log
//! upwards: log → dispatcher → ingress. The ingress answers when every Trigger has its starting place, so that no
//! event is accepted that a Trigger misses.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::net::TcpListener;
use tokio::sync::watch;
use trigon_core::routing::RoutingTable;
use trigon_dispatcher::Dispatcher;
use trigon_eventlog::{EmbeddedConfig, EmbeddedLog, Health, SharedLog};
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
use crate::listen::listen;
use crate::routes::{LOOK_INTERVAL, Routes, Source};
use crate::sink;
use crate::terminal::Terminal;

mod announcement;
mod arguments;
mod in_force;

use announcement::Announcement;
pub(crate) use arguments::StandaloneArguments;
use in_force::InForce;

/// What is kept of the drain's deadline for the log to close in.
const CLOSING_TIME: Duration = Duration::from_millis(500);

/// Everything that a standalone broker is made of, typed.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) routes: Source,
    pub(crate) log: EmbeddedConfig,
    pub(crate) ingress: IngressSettings,
    pub(crate) dispatcher: trigon_dispatcher::Config,
    pub(crate) server: ServerSettings,
    pub(crate) look_interval: Duration,
}

/// Runs a broker until it is told to stop, and drains it.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub(crate) async fn run(arguments: StandaloneArguments, terminal: &Terminal) -> Result<(), Failure> {
    let settings = arguments.settings()?;
    let shutdown =
        Shutdown::new(DrainSettings { deadline: arguments.drain_deadline, ..DrainSettings::default() });
    let ingress = listen(arguments.listen, "--listen").await?;
    let admin = listen(arguments.admin, "--admin").await?;

    let sink = async {
        match arguments.sink {
            Some(address) => sink::beside(address, terminal).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(sink);

    let drain = shutdown.watch();
    let started = Standalone::start(settings, ingress, admin, drain.clone());
    let standalone = tokio::select! {
        started = started => started?,
        Err(failure) = &mut sink => return Err(failure),
        // Nothing is served yet that would have to be drained.
        signal = shutdown.follow_signals() => return stopped_by(signal),
        () = drain.draining() => return Ok(()),
    };
    terminal.print(standalone.announcement())?;
    tokio::select! {
        ended = standalone.run() => ended,
        Err(failure) = &mut sink => Err(failure),
        signal = shutdown.follow_signals() => stopped_by(signal),
    }
}

fn stopped_by(signal: std::io::Result<std::convert::Infallible>) -> Result<(), Failure> {
    match signal {
        Ok(never) => match never {},
        Err(error) => Err(Failure::of("could not wait for signals", &error)),
    }
}

/// A broker that serves.
pub(crate) struct Standalone {
    announcement: Announcement,
    log: Arc<EmbeddedLog>,
    dispatcher: Dispatcher,
    tasks: TaskGroup,
    drain: Drain,
}

impl Standalone {
    /// Builds the broker bottom-up; it serves when this returns.
    ///
    /// # Errors
    /// When the routes are bad, the log cannot be opened, or a part fails at once.
    pub(crate) async fn start(
        settings: Settings,
        (ingress_listener, ingress_address): (TcpListener, SocketAddr),
        (admin_listener, admin_address): (TcpListener, SocketAddr),
        drain: Drain,
    ) -> Result<Self, Failure> {
        let (routes, table) = Routes::load(settings.routes.clone())?;
        let table = Arc::new(table);
        let mut tasks = TaskGroup::new();
        let metrics = Metrics::new();
        let readiness = Readiness::new();
        let routed = readiness.check("routes");

        let log = open(settings.log.clone()).await?;
        let shared: SharedLog = log.clone();
        readiness.probe("event log", {
            let log = Arc::clone(&shared);
            move || match log.health() {
                Health::Writable => CheckState::Ready,
                Health::Refusing(reason) => CheckState::NotReady(reason),
            }
        });

        let client = http_client::client(&ClientSettings::default(), tasks.spawner("connection"))
            .map_err(|error| Failure::Failed(Chain(&error).to_string()))?;
        let (offered, tables) = watch::channel(Arc::clone(&table));
        let dispatcher =
            Dispatcher::start(settings.dispatcher, Arc::clone(&shared), tables, client, &metrics, &mut tasks);
        readiness.probe("dispatcher", {
            let dispatcher = dispatcher.clone();
            move || match dispatcher.is_ready() {
                true => CheckState::Ready,
                false => CheckState::NotReady("not every trigger has its starting place".to_owned()),
            }
        });

        let serving: Arc<ArcSwap<RoutingTable>> = Arc::new(ArcSwap::new(Arc::clone(&table)));
        let server_metrics = ServerMetrics::new(&metrics);
        let ingress = Ingress::new(
            Parties {
                routes: Arc::clone(&serving),
                log: Arc::clone(&shared),
                drain: drain.clone(),
                spawner: tasks.spawner("append"),
            },
            settings.ingress,
            &metrics,
        );
        let announcement = Announcement {
            ingress: shown_address(ingress_address),
            admin: shown_address(admin_address),
            source: settings.routes,
            data: settings.log.dir,
            table,
        };
        let looks = trigon_runtime::admin::Admin {
            liveness: tasks.liveness(),
            readiness,
            drain: drain.clone(),
            metrics,
        };
        let views = Admin {
            table: Arc::clone(&serving),
            routes: routes.status(),
            log: shared,
            dispatcher: dispatcher.clone(),
            ingress: announcement.ingress.clone(),
            drain: drain.clone(),
        };
        let pages = trigon_runtime::admin::router(looks).merge(admin::router(views));
        let server = settings.server;
        tasks.spawn(
            "admin",
            serve("admin", admin_listener, pages, server, drain.clone(), server_metrics.clone()),
        );

        tokio::select! {
            _ = dispatcher.ready() => {}
            Some(failure) = tasks.first_failure() => return Err(failed(&failure)),
        }
        let service = ingress.clone();
        // An append is finished whether its producer has left or not, so there is nothing to gain by looking.
        let server = ServerSettings { half_close: HalfClose::Waits, ..server };
        tasks.spawn(
            "ingress",
            serve("ingress", ingress_listener, service, server, drain.clone(), server_metrics),
        );
        let in_force = InForce { serving, offered, dispatcher: dispatcher.clone(), ingress };
        let followed = routes.follow(settings.look_interval, in_force, drain.clone());
        tasks.spawn("routes", async move {
            followed.await;
            Ok::<_, std::convert::Infallible>(())
        });
        routed.ready();
        Ok(Self { announcement, log, dispatcher, tasks, drain })
    }

    /// What it serves and what to try, for people.
    pub(crate) fn announcement(&self) -> &Announcement {
        &self.announcement
    }

    /// Waits for the drain, drains, and closes the log.
    ///
    /// # Errors
    /// When a part of the broker fails.
    pub(crate) async fn run(mut self) -> Result<(), Failure> {
        tokio::select! {
            () = self.drain.draining() => {}
            Some(failure) = self.tasks.first_failure() => {
                // What is durable stays so; closing makes the rest of the appends durable that were begun.
                self.log.close().await;
                return Err(failed(&failure));
            }
        }
        let patience = self.drain.deadline().map_or(Duration::ZERO, |deadline| {
            deadline.duration_since(tokio::time::Instant::now()).saturating_sub(CLOSING_TIME)
        });
        let drained = async {
            let (tasks, dispatcher) = (&mut self.tasks, &self.dispatcher);
            // The ingress finishes its requests while the dispatcher finishes its attempts.
            tokio::join!(dispatcher.drain(patience), tasks.first_failure()).1
        };
        let failure = tokio::select! {
            failure = drained => failure,
            () = self.drain.expired() => {
                tracing::warn!("the drain has expired: events in flight are delivered again after the next start");
                None
            }
        };
        self.log.close().await;
        match failure {
            Some(failure) => Err(failed(&failure)),
            None => Ok(()),
        }
    }
}

async fn open(config: EmbeddedConfig) -> Result<Arc<EmbeddedLog>, Failure> {
    let opened = tokio::task::spawn_blocking(move || EmbeddedLog::open(config)).await;
    let opened = opened.map_err(|error| Failure::of("opening the log failed", &error))?;
    opened
        .map(Arc::new)
        .map_err(|error| Failure::Failed(format!("{}; --data sets another folder", Chain(&error))))
}

fn failed(failure: &TaskFailure) -> Failure {
    Failure::Failed(Chain(failure).to_string())
}

/// An address as a client writes it: what listens everywhere is reached at this machine.
fn shown_address(address: SocketAddr) -> String {
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}")
}

#[cfg(test)]
mod tests;
