//! `trigon standalone`: a whole broker in one process, start and stop on one page.
//!
//! Everything is bound before the log is touched, so that a taken address costs nothing, and built from the log
//! upwards: log → dispatcher → ingress. A Broker is served when all its Triggers have their starting places, so
//! that no event is accepted that a Trigger misses.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use trigon_core::name::Installation;
use trigon_ingress::IngressSettings;
use trigon_runtime::server::ServerSettings;
use trigon_runtime::shutdown::Drain;

use crate::admin::Admin;
use crate::failure::Failure;
use crate::listen::listen;
use crate::process::announcement::{Announcement, Role};
use crate::process::{Listening, Process, Running, shown_address, until_stopped};
use crate::routes::{Routes, Source};
use crate::sink;
use crate::store::StoreSettings;
use crate::terminal::Terminal;

mod arguments;

pub(crate) use arguments::StandaloneArguments;

/// Everything that a standalone broker is made of, typed.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) routes: Source,
    pub(crate) installation: Installation,
    pub(crate) store: StoreSettings,
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
    let ingress = listen(arguments.listen.listen, "--listen").await?;
    let admin = listen(arguments.admin, "--admin").await?;
    let sink = async {
        match arguments.sink {
            Some(address) => sink::beside(address, terminal).await,
            None => std::future::pending().await,
        }
    };
    let start = async |drain| start(settings, ingress, admin, drain).await;
    until_stopped(arguments.drain.drain_deadline, terminal, sink, start).await
}

/// Builds the broker bottom-up; it serves when this returns.
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
        role: Role::Standalone,
        ingress: Some(shown_address(ingress_address)),
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
        ingress: announcement.ingress.clone(),
        drain,
    };
    process.serve_admin(admin_listener, views);
    process.take_events(settings.ingress, &serving, ingress_listener);
    process.follow(routes, settings.look_interval, serving, shown, announcement).await
}

#[cfg(test)]
mod tests;
