//! A command of the binary that runs until it is stopped, and keeps its addresses when it is started again.

use std::process::ExitStatus;

use http::StatusCode;

use crate::admin::Admin;
use crate::binary;
use crate::process::Process;
use crate::wait;

/// A process, or between a stop and a restart none. It is killed when it is dropped.
#[derive(Debug)]
pub struct Service {
    command: Command,
    arguments: Vec<String>,
    process: Option<Process>,
    listen: String,
    admin: String,
}

/// What a service does, and so which addresses it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// `trigon standalone`
    Standalone,
    /// `trigon ingress`
    Ingress,
    /// `trigon dispatcher`
    Dispatcher,
}

impl Command {
    fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Ingress => "ingress",
            Self::Dispatcher => "dispatcher",
        }
    }

    /// Whether it takes events.
    fn listens(self) -> bool {
        match self {
            Self::Standalone | Self::Ingress => true,
            Self::Dispatcher => false,
        }
    }
}

const ANY_PORT: &str = "127.0.0.1:0";

impl Service {
    /// One that is not running yet.
    pub fn new(command: Command, arguments: Vec<String>) -> Self {
        let any = || ANY_PORT.to_owned();
        Self { command, arguments, process: None, listen: any(), admin: any() }
    }

    /// Starts the process and waits for nothing; [`ready`](Self::ready) does.
    ///
    /// # Panics
    /// When it is running.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "it is running");
        let mut arguments = vec![self.command.name().to_owned()];
        if self.command.listens() {
            arguments.extend(["--listen".to_owned(), self.listen.clone()]);
        }
        arguments.extend(["--admin".to_owned(), self.admin.clone()]);
        arguments.extend(self.arguments.iter().cloned());
        self.process = Some(Process::start(binary::path(), &arguments));
    }

    /// Waits until a launched process says that it is ready.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ready(&mut self) {
        // A port that it had before may be somebody else's for a moment.
        wait::until("the addresses to be free", async || self.learn().await).await;
        let admin = self.admin();
        wait::until("it to be ready", async || match admin.ask("/readyz").await {
            Ok(answer) if answer.status == StatusCode::OK => Ok(()),
            Ok(answer) => Err(answer.body),
            Err(error) => Err(error),
        })
        .await;
    }

    /// Starts the process and waits until it is ready.
    ///
    /// # Panics
    /// When it does not get ready.
    pub async fn start(&mut self) {
        self.launch();
        self.ready().await;
    }

    /// Whether the process is running, as far as the test has not stopped it.
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Its admin address.
    pub fn admin(&self) -> Admin {
        Admin::new(format!("http://{}", self.admin))
    }

    /// Where it listens, as `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.listen
    }

    /// Its admin address, as `HOST:PORT`.
    pub fn admin_address(&self) -> &str {
        &self.admin
    }

    /// The process.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn process(&self) -> &Process {
        self.process.as_ref().expect("the test has not stopped it")
    }

    /// Counts the tables that were put in force.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn generation(&self) -> Result<u64, String> {
        let routes = self.admin().json("/v1/routes").await?;
        routes["generation"].as_u64().ok_or_else(|| format!("{routes} has no generation"))
    }

    /// Waits until a later table than this one is in force.
    ///
    /// # Panics
    /// When none is.
    pub async fn passes(&self, generation: u64) {
        let admin = self.admin();
        wait::until("the routes to be in force", async || {
            let now = self.generation().await?;
            if now > generation { Ok(()) } else { Err(admin.json("/v1/routes").await?.to_string()) }
        })
        .await;
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Panics
    /// When it does not, or was stopped already.
    pub async fn drain(&mut self) -> (ExitStatus, Process) {
        self.process().terminate();
        self.ended().await
    }

    /// Asks it to stop, and waits until it has, successfully.
    ///
    /// # Panics
    /// When it does not, or was stopped already.
    pub async fn stop(&mut self) {
        let (status, process) = self.drain().await;
        assert!(status.success(), "it stopped with {status}: {:#?}", process.output().stderr());
    }

    /// Waits until it has stopped, and does not ask it to: a second signal would make it abort.
    ///
    /// # Panics
    /// When it does not, or was stopped already.
    pub async fn ended(&mut self) -> (ExitStatus, Process) {
        let mut process = self.process.take().expect("the test has not stopped it");
        (process.wait().await, process)
    }

    /// Kills it without warning.
    ///
    /// # Panics
    /// When it is stopped.
    pub fn kill(&mut self) {
        self.process.take().expect("the test has not stopped it").kill();
    }

    /// Reads its addresses, and starts it once more when it found them taken.
    async fn learn(&mut self) -> Result<(), String> {
        let command = self.command;
        let process = self.process.as_mut().expect("it was launched");
        let found = wait::until("it to print its addresses", async || {
            let lines = process.output().stdout();
            if let Some(found) = addresses(command, &lines) {
                return Ok(Some(found));
            }
            if process.ended().is_some() {
                return Ok(None);
            }
            Err(lines.join("\n"))
        })
        .await;
        if let Some((listen, admin)) = found {
            self.listen = listen.unwrap_or_default();
            self.admin = admin;
            return Ok(());
        }
        let errors = process.output().stderr().join("\n");
        let is_again = !self.admin.ends_with(":0");
        assert!(is_again && errors.contains("in use"), "it did not start: {errors}");
        self.process = None;
        self.launch();
        Err(errors)
    }
}

/// Finds the addresses in what a process prints.
fn addresses(command: Command, lines: &[String]) -> Option<(Option<String>, String)> {
    let address = |line: &str| {
        let (_, rest) = line.split_once("http://")?;
        Some(rest.split(|c: char| c == '/' || c.is_whitespace()).next()?.to_owned())
    };
    let of = |kind: &str| lines.iter().filter(|line| line.starts_with(kind)).find_map(|line| address(line));
    let admin = of("admin")?;
    match command.listens() {
        true => Some((Some(of("broker")?), admin)),
        false => Some((None, admin)),
    }
}
