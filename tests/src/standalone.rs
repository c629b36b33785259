//! `trigon standalone` as a process, with folders and ports of its own.

use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use crate::admin::{Admin, TriggerStatus};
use crate::command::{self, Finished};
use crate::deployment::Deployment;
use crate::process::Process;
use crate::routes::{Folder, Object};
use crate::service::{Command, Service};

pub use crate::routes::ROUTES;

/// A process, or between a stop and a restart none. It is killed when it is dropped.
#[derive(Debug)]
pub struct Standalone {
    // Before the folder: it must be gone when that is removed.
    service: Service,
    routes: Folder,
}

impl Standalone {
    /// Starts with these routes and further arguments, and keeps its events in a folder of its own.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start_with(routes: &[Object], arguments: &[&str]) -> Self {
        let folder = Folder::new(routes);
        let data = folder.beside("data");
        Self::start_on(folder, Some(&data), arguments).await
    }

    /// Starts with its data in a folder of the test's own.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start_in(data: &Path, routes: &[Object], arguments: &[&str]) -> Self {
        Self::start_on(Folder::new(routes), Some(data), arguments).await
    }

    /// Starts without a folder for events: the arguments say where they are kept.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start_without_data(routes: &[Object], arguments: &[&str]) -> Self {
        Self::start_on(Folder::new(routes), None, arguments).await
    }

    async fn start_on(routes: Folder, data: Option<&Path>, arguments: &[&str]) -> Self {
        let mut all = vec!["--routes".to_owned(), routes.path().display().to_string()];
        if let Some(data) = data {
            all.extend(["--data".to_owned(), data.display().to_string()]);
        }
        all.extend(arguments.iter().map(|&argument| argument.to_owned()));
        let mut standalone = Self { service: Service::new(Command::Standalone, all), routes };
        standalone.run().await;
        standalone
    }

    /// The folder of the routes.
    pub fn routes(&self) -> PathBuf {
        self.routes.path()
    }

    /// Writes a file of the routes in one step, and waits for nothing.
    ///
    /// # Panics
    /// When the folder is not writable.
    pub fn write(&self, name: &str, text: &str) {
        self.routes.write(name, text);
    }

    /// Removes a file of the routes.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, name: &str) {
        self.routes.remove(name);
    }

    /// Counts the tables that were put in force.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn generation(&self) -> Result<u64, String> {
        self.service.generation().await
    }

    /// Its admin address.
    pub fn admin(&self) -> Admin {
        self.service.admin()
    }

    /// Where it listens, as `HOST:PORT`.
    pub fn address(&self) -> &str {
        self.service.address()
    }

    /// The process.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn process(&self) -> &Process {
        self.service.process()
    }

    /// Runs a tool of the binary against its admin address.
    pub async fn tool(&self, arguments: &[&str]) -> Finished {
        let mut all = arguments.to_vec();
        all.extend(["--admin", self.service.admin_address()]);
        command::trigon(&all).await
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// When it does not, or was stopped already.
    pub async fn drain(&mut self) -> (ExitStatus, Process) {
        self.service.drain().await
    }

    /// Waits until it has stopped, and does not ask it to: a second signal would make it abort.
    ///
    /// # Panics
    /// When it does not, or was stopped already.
    pub async fn ended(&mut self) -> (ExitStatus, Process) {
        self.service.ended().await
    }

    async fn run(&mut self) {
        self.service.start().await;
        self.triggers_ready().await;
    }
}

impl Deployment for Standalone {
    async fn start(routes: &[Object]) -> Self {
        Self::start_with(routes, &[]).await
    }

    async fn apply(&mut self, routes: &[Object]) {
        let before = self.generation().await.expect("it is running");
        self.routes.replace(routes);
        self.service.passes(before).await;
        self.triggers_ready().await;
    }

    async fn stop(&mut self) {
        self.service.stop().await;
    }

    async fn kill(&mut self) {
        self.service.kill();
    }

    async fn restart(&mut self) {
        self.run().await;
    }

    fn broker_url(&self, broker: &str) -> String {
        format!("http://{}/default/{broker}", self.service.address())
    }

    fn admin_addresses(&self) -> Vec<String> {
        vec![self.service.admin_address().to_owned()]
    }

    async fn triggers(&self) -> Result<Vec<(String, TriggerStatus)>, String> {
        self.admin().whole_triggers().await
    }
}
