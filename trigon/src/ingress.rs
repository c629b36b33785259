//! `trigon ingress`: takes events for the Brokers of a Kafka cluster; any number of these run side by side.
//!
//! It delivers nothing. A Broker's events are taken when a dispatcher has created its topic and given each of its
//! Triggers a place in it; until then producers are told to come again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::Args;
use trigon_core::name::Installation;
use trigon_ingress::IngressSettings;
use trigon_runtime::server::ServerSettings;
use trigon_runtime::shutdown::Drain;

use crate::admin::Admin;
use crate::failure::Failure;
use crate::kafka::{InstallationArguments, KafkaArguments};
use crate::listen::listen;
use crate::process::announcement::{Announcement, Role};
use crate::process::arguments::{
    CommonBounds, DrainArguments, IngressBounds, ListenArguments, RoutesArguments,
};
use crate::process::{Listening, Process, Running, shown_address, until_stopped};
use crate::routes::{LOOK_INTERVAL, Routes, Source};
use crate::store::StoreSettings;
use crate::terminal::Terminal;
use crate::values;

/// Where things are, and how much of everything there may be.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct IngressArguments {
    #[command(flatten)]
    routes: RoutesArguments,
    #[command(flatten)]
    listen: ListenArguments,
    /// Where to serve health, metrics, the admin page and the tools; whoever reaches it reads events
    #[arg(long, value_name = "ADDR", env = "TRIGON_ADMIN", default_value = "127.0.0.1:8081", value_parser = values::listen_address)]
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
    bounds: IngressBounds,
}

const EXAMPLES: &str = "\
Examples:
  trigon ingress --kafka 127.0.0.1:9092 --routes examples/kafka
  trigon ingress --kafka a:9093,b:9093 --kafka-secret /etc/trigon/kafka --routes /etc/trigon/routes --listen :8080
  TRIGON_KAFKA=a:9092 TRIGON_KAFKA_CONFIG=compression.type=lz4 trigon ingress

Deliveries are made by `trigon dispatcher`, which also creates topics. Give all processes of an installation the same
routes and the same --installation. A Broker whose topic or Triggers are not ready yet is answered 503.";

/// Everything that an ingress is made of, typed.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) routes: Source,
    pub(crate) installation: Installation,
    pub(crate) store: StoreSettings,
    pub(crate) ingress: IngressSettings,
    pub(crate) server: ServerSettings,
    pub(crate) look_interval: Duration,
}

impl IngressArguments {
    /// The settings that they mean, in the working folder of the process.
    ///
    /// # Errors
    /// When there is no cluster, the routes are not a folder, or a bound is zero.
    fn settings(&self) -> Result<Settings, Failure> {
        let installation = self.installation.installation.clone();
        Ok(Settings {
            ingress: self.bounds.settings(&self.common)?,
            routes: self.routes.source()?,
            store: StoreSettings::Kafka {
                cluster: self.kafka.required("ingress")?,
                installation: installation.clone(),
                max_record_bytes: self.common.max_record_bytes(),
            },
            installation,
            server: self.common.server(),
            look_interval: LOOK_INTERVAL,
        })
    }
}

/// Takes events until it is told to stop, and drains.
///
/// # Errors
/// When it cannot start, or a part of it fails.
pub(crate) async fn run(arguments: IngressArguments, terminal: &Terminal) -> Result<(), Failure> {
    let settings = arguments.settings()?;
    let ingress = listen(arguments.listen.listen, "--listen").await?;
    let admin = listen(arguments.admin, "--admin").await?;
    let start = async |drain| start(settings, ingress, admin, drain).await;
    until_stopped(arguments.drain.drain_deadline, terminal, std::future::pending(), start).await
}

/// Builds the ingress bottom-up; it serves what can be served when this returns.
///
/// # Errors
/// When the routes are bad, the log cannot be opened, or a part fails at once.
pub(crate) async fn start(
    settings: Settings,
    (ingress_listener, ingress_address): Listening,
    (admin_listener, admin_address): Listening,
    drain: Drain,
) -> Result<Running, Failure> {
    let (routes, table) = Routes::load(settings.routes.clone(), settings.installation)?;
    let table = Arc::new(table);
    let announcement = Announcement {
        role: Role::Ingress,
        ingress: Some(shown_address(ingress_address)),
        admin: shown_address(admin_address),
        source: settings.routes,
        store: settings.store.whereabouts(),
        table: Arc::clone(&table),
    };
    let mut process = Process::open(settings.store, settings.server, drain.clone()).await?;
    let serving = process.serve_brokers(&table);
    let shown = Arc::new(ArcSwap::new(table));
    let views = Admin {
        table: Arc::clone(&shown),
        routes: routes.status(),
        serving: serving.clone(),
        log: Arc::clone(process.log()),
        dispatcher: None,
        ingress: announcement.ingress.clone(),
        drain,
    };
    process.serve_admin(admin_listener, views);
    process.take_events(settings.ingress, &serving, ingress_listener);
    process.follow(routes, settings.look_interval, serving, shown, announcement).await
}

#[cfg(test)]
mod tests;
