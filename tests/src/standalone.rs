//! `trigon standalone` as a process, with folders and ports of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use http::StatusCode;
use tempfile::TempDir;

use crate::admin::{Admin, TriggerStatus};
use crate::binary;
use crate::command::{self, Finished};
use crate::deployment::Deployment;
use crate::process::Process;
use crate::routes::{self, Object};
use crate::wait;

/// A process, or between a stop and a restart none. It is killed when it is dropped.
#[derive(Debug)]
pub struct Standalone {
    // Before the folders: it must be gone when they are removed.
    process: Option<Process>,
    folders: TempDir,
    data: PathBuf,
    arguments: Vec<String>,
    listen: String,
    admin: String,
}

/// The file that [`Deployment::apply`] writes.
pub const ROUTES: &str = "routes.yaml";

impl Standalone {
    /// Starts with these routes and further arguments.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start_with(routes: &[Object], arguments: &[&str]) -> Self {
        let folders = tempfile::tempdir().expect("the machine has a folder for temporary files");
        let data = folders.path().join("data");
        Self::start_on(folders, data, routes, arguments).await
    }

    /// Starts with its data in a folder of the test's own.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start_in(data: &Path, routes: &[Object], arguments: &[&str]) -> Self {
        let folders = tempfile::tempdir().expect("the machine has a folder for temporary files");
        Self::start_on(folders, data.to_owned(), routes, arguments).await
    }

    async fn start_on(folders: TempDir, data: PathBuf, routes: &[Object], arguments: &[&str]) -> Self {
        let any_port = "127.0.0.1:0".to_owned();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let mut standalone =
            Self { process: None, folders, data, arguments, listen: any_port.clone(), admin: any_port };
        fs::create_dir(standalone.routes()).expect("a temporary folder is writable");
        standalone.write(ROUTES, &routes::yaml(routes));
        standalone.run().await;
        standalone
    }

    /// The folder of the routes.
    pub fn routes(&self) -> PathBuf {
        self.folders.path().join("routes")
    }

    /// Writes a file of the routes in one step, and waits for nothing.
    ///
    /// # Panics
    /// When the folder is not writable.
    pub fn write(&self, name: &str, text: &str) {
        let whole = self.folders.path().join("next");
        fs::write(&whole, text).expect("a temporary folder is writable");
        fs::rename(&whole, self.routes().join(name)).expect("both are in one folder");
    }

    /// Removes a file of the routes.
    ///
    /// # Panics
    /// When it is not there.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.routes().join(name)).expect("the file is there");
    }

    /// Counts the tables that were put in force.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn generation(&self) -> Result<u64, String> {
        let routes = self.admin().json("/v1/routes").await?;
        routes["generation"].as_u64().ok_or_else(|| format!("{routes} has no generation"))
    }

    /// Its admin address.
    pub fn admin(&self) -> Admin {
        Admin::new(format!("http://{}", self.admin))
    }

    /// Where it listens, as `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.listen
    }

    /// The process.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the test has not stopped it")
    }

    /// Runs a tool of the binary against its admin address.
    pub async fn tool(&self, arguments: &[&str]) -> Finished {
        let mut all = arguments.to_vec();
        all.extend(["--admin", &self.admin]);
        command::trigon(&all).await
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// When it does not, or was stopped already.
    pub async fn drain(&mut self) -> (ExitStatus, Process) {
        self.process().terminate();
        self.ended().await
    }

    /// Waits until it has stopped, and does not ask it to: a second signal would make it abort.
    ///
    /// # Panics
    /// When it does not, or was stopped already.
    pub async fn ended(&mut self) -> (ExitStatus, Process) {
        let mut process = self.process.take().expect("the test has not stopped it");
        (process.wait().await, process)
    }

    async fn run(&mut self) {
        let is_again = !self.listen.ends_with(":0");
        let process = wait::until("the addresses to be free", async || self.try_run(is_again).await).await;
        self.process = Some(process);
        let admin = self.admin();
        wait::until("it to be ready", async || match admin.ask("/readyz").await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(()),
            Ok(answer) => Err(answer.body),
            Err(error) => Err(error),
        })
        .await;
        wait::until("its triggers to be ready", async || {
            let triggers = admin.triggers().await?;
            if triggers.iter().all(|(_, status)| status.is_ready()) {
                Ok(())
            } else {
                Err(format!("{triggers:?}"))
            }
        })
        .await;
    }

    /// Starts the process and reads its addresses. A port that it had before may be somebody else's for a moment.
    async fn try_run(&mut self, is_again: bool) -> Result<Process, String> {
        let folder = |path: &Path| path.display().to_string();
        let mut arguments: Vec<String> = ["standalone", "--routes"].map(str::to_owned).into();
        arguments.extend([folder(&self.routes()), "--data".to_owned(), folder(&self.data)]);
        arguments.extend(["--listen", &self.listen, "--admin", &self.admin].map(str::to_owned));
        arguments.extend(self.arguments.iter().cloned());
        let mut process = Process::start(binary::path(), &arguments);
        let addresses = wait::until("it to print its addresses", async || {
            let lines = process.output().stdout();
            if let Some(found) = addresses(&lines) {
                return Ok(Some(found));
            }
            if process.ended().is_some() {
                return Ok(None);
            }
            Err(lines.join("\n"))
        })
        .await;
        match addresses {
            Some((listen, admin)) => {
                self.listen = listen;
                self.admin = admin;
                Ok(process)
            }
            None => {
                let errors = process.output().stderr().join("\n");
                assert!(is_again && errors.contains("in use"), "it did not start: {errors}");
                Err(errors)
            }
        }
    }
}

/// Finds the two addresses in what it prints.
fn addresses(lines: &[String]) -> Option<(String, String)> {
    let address = |line: &str| {
        let (_, rest) = line.split_once("http://")?;
        Some(rest.split(|c: char| c == '/' || c.is_whitespace()).next()?.to_owned())
    };
    let of = |kind: &str| lines.iter().filter(|line| line.starts_with(kind)).find_map(|line| address(line));
    let (listen, admin) = (of("broker")?, of("admin")?);
    Some((listen, admin))
}

impl Deployment for Standalone {
    async fn start(routes: &[Object]) -> Self {
        Self::start_with(routes, &[]).await
    }

    async fn apply(&mut self, routes: &[Object]) {
        let admin = self.admin();
        let before = self.generation().await.expect("it is running");
        self.write(ROUTES, &routes::yaml(routes));
        wait::until("the routes to be in force", async || {
            let now = self.generation().await?;
            if now > before { Ok(()) } else { Err(admin.json("/v1/routes").await?.to_string()) }
        })
        .await;
        wait::until("the triggers to be ready", async || {
            let triggers = admin.triggers().await?;
            if triggers.iter().all(|(_, status)| status.is_ready()) {
                Ok(())
            } else {
                Err(format!("{triggers:?}"))
            }
        })
        .await;
    }

    async fn stop(&mut self) {
        let (status, process) = self.drain().await;
        assert!(status.success(), "it stopped with {status}: {:#?}", process.output().stderr());
    }

    async fn kill(&mut self) {
        self.process.take().expect("the test has not stopped it").kill();
    }

    async fn restart(&mut self) {
        assert!(self.process.is_none(), "it is running");
        self.run().await;
    }

    fn broker_url(&self, broker: &str) -> String {
        format!("http://{}/default/{broker}", self.listen)
    }

    async fn triggers(&self) -> Result<Vec<(String, TriggerStatus)>, String> {
        self.admin().triggers().await
    }
}
