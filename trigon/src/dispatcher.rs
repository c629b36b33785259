//! `trigon dispatcher`: delivers the events of a Kafka cluster to Triggers; any number of these run side by side and
//! share the partitions among them.
//!
//! It takes no events. It creates the topics of Brokers, and gives new Triggers their places.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Args;
use trigon_core::name::Installation;
use trigon_runtime::server::ServerSettings;
use trigon_runtime::shutdown::Drain;

use crate::admin::Admin;
use crate::failure::Failure;
use crate::kafka::{InstallationArguments, KafkaArguments};
use crate::listen::listen;
use crate::process::announcement::{Announcement, Role};
use crate::process::arguments::{CommonBounds, DispatcherBounds, DrainArguments, RoutesArguments};
use crate::process::{Listening, Process, Running, shown_address, until_stopped};
use crate::routes::{LOOK_INTERVAL, Routes, Source};
use crate::store::StoreSettings;
use crate::terminal::Terminal;
use crate::values;

/// Where things are, and how much of everything there may be.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DispatcherArguments {
    #[command(flatten)]
    routes: RoutesArguments,
    /// Where to serve health, metrics, the admin page and the tools; whoever reaches it reads and redrives events
    #[arg(long, value_name = "ADDR", env = "TRIGON_ADMIN", default_value = "127.0.0.1:8082", value_parser = values::listen_address)]
    admin: SocketAddr,
    #[command(flatten)]
    drain: DrainArguments,
    #[command(flatten)]
    installation: InstallationArguments,
    #[command(flatten)]
    kafka: KafkaArguments,
    #[command(flatten)]
    common: CommonBounds,
    #[command(flatten)]
    bounds: DispatcherBounds,
}

const EXAMPLES: &str = "\
Examples:
  trigon dispatcher --kafka 127.0.0.1:9092 --routes examples/kafka
  trigon dispatcher --kafka a:9093,b:9093 --kafka-secret /etc/trigon/kafka --routes /etc/trigon/routes
  TRIGON_KAFKA=a:9092 TRIGON_MAX_HELD_MEMORY=1GiB trigon dispatcher
  trigon triggers --admin 10.0.0.1:8082,10.0.0.2:8082

Events are taken by `trigon ingress`. Give all processes of an installation the same routes and the same
--installation. Dispatchers share the partitions; when one stops, the others go on where it was.";

/// Everything that a dispatcher is made of, typed.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) routes: Source,
    pub(crate) installation: Installation,
    pub(crate) store: StoreSettings,
    pub(crate) dispatcher: trigon_dispatcher::Config,
    pub(crate) server: ServerSettings,
    pub(crate) look_interval: Duration,
}

impl DispatcherArguments {
    /// The settings that they mean, in the working folder of the process.
    ///
    /// # Errors
    /// When there is no cluster, the routes are not a folder, or a bound is zero.
    fn settings(&self) -> Result<Settings, Failure> {
        let installation = self.installation.installation.clone();
        Ok(Settings {
            dispatcher: self.bounds.config(&self.common)?,
            routes: self.routes.source()?,
            store: StoreSettings::Kafka {
                cluster: self.kafka.required("dispatcher")?,
                installation: installation.clone(),
                max_record_bytes: self.common.max_record_bytes(),
            },
            installation,
            server: self.common.server(),
            look_interval: LOOK_INTERVAL,
        })
    }
}

/// Delivers events until it is told to stop, and drains.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub(crate) async fn run(arguments: DispatcherArguments, terminal: &Terminal) -> Result<(), Failure> {
    let settings = arguments.settings()?;
    let admin = listen(arguments.admin, "--admin").await?;
    let start = async |drain| start(settings, admin, drain).await;
    until_stopped(arguments.drain.drain_deadline, terminal, std::future::pending(), start).await
}

/// Builds the dispatcher bottom-up; it delivers what it can when this returns.
///
/// # Errors
/// When the routes are bad, the log cannot be opened, or a part fails at once.
pub(crate) async fn start(
    settings: Settings,
    (admin_listener, admin_address): Listening,
    drain: Drain,
) -> Result<Running, Failure> {
    let (routes, table) = Routes::load(settings.routes.clone(), settings.installation)?;
    let table = Arc::new(table);
    let announcement = Announcement {
        role: Role::Dispatcher,
        ingress: None,
        admin: shown_address(admin_address),
        source: settings.routes,
        store: settings.store.whereabouts(),
        table: Arc::clone(&table),
    };
    let mut process = Process::open(settings.store, settings.server, drain.clone()).await?;
    let dispatcher = process.dispatch(settings.dispatcher, &table)?;
    let serving = process.serve_brokers(&table);
    let shown = Arc::new(ArcSwap::new(table));
    let views = Admin {
        table: Arc::clone(&shown),
        routes: routes.status(),
        serving: serving.clone(),
        log: Arc::clone(process.log()),
        dispatcher: Some(dispatcher),
        ingress: None,
        drain,
    };
    process.serve_admin(admin_listener, views);
    process.follow(routes, settings.look_interval, serving, shown, announcement).await
}

#[cfg(test)]
mod tests;
