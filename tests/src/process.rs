//! A process under test: its output is kept, and shown when the test fails; it ends with the test at the latest.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::process::{Pid, Signal, kill_process};

use crate::command::Finished;
use crate::wait;

/// A running process, or one that has ended.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: Output,
    readers: Vec<JoinHandle<()>>,
}

/// The lines that a process has written.
#[derive(Clone, Debug, Default)]
pub struct Output {
    stdout: Arc<Mutex<Vec<String>>>,
    stderr: Arc<Mutex<Vec<String>>>,
}

impl Process {
    /// Starts it, with nothing on its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(program: &Path, arguments: &[String]) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What the person who runs the tests has set must not change what is tested.
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("TRIGON_"))
        {
            command.env_remove(name);
        }
        let mut child = command.spawn().expect("the binary can be started");
        let output = Output::default();
        let stdout = collect(child.stdout.take().expect("it is piped"), Arc::clone(&output.stdout));
        let stderr = collect(child.stderr.take().expect("it is piped"), Arc::clone(&output.stderr));
        Self { child, output, readers: vec![stdout, stderr] }
    }

    /// Its identifier.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has written.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Its exit status, when it has ended.
    ///
    /// # Panics
    /// When the system cannot tell.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("a child can be waited for")
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn terminate(&self) {
        kill_process(pid(&self.child), Signal::TERM).expect("a child can be sent signals");
    }

    /// Stops it where it stands: to others it looks as if it hung.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn pause(&self) {
        kill_process(pid(&self.child), Signal::STOP).expect("a child can be sent signals");
    }

    /// Lets it go on after a [`pause`](Self::pause).
    ///
    /// # Panics
    /// When the system refuses.
    pub fn resume(&self) {
        kill_process(pid(&self.child), Signal::CONT).expect("a child can be sent signals");
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not within the deadline.
    pub async fn wait(&mut self) -> ExitStatus {
        wait::until("the process to end", async || self.ended().ok_or_else(|| "it runs".to_owned())).await
    }

    /// Waits until it ends by itself, and gives all that it has written.
    ///
    /// # Panics
    /// When it does not within the deadline.
    pub async fn finish(mut self) -> Finished {
        let status = self.wait().await;
        for reader in self.readers.drain(..) {
            reader.join().expect("a reader does not panic");
        }
        let text = |lines: Vec<String>| lines.iter().map(|line| format!("{line}\n")).collect();
        Finished { status, stdout: text(self.output.stdout()), stderr: text(self.output.stderr()) }
    }

    /// Sends SIGKILL and waits until it is gone.
    ///
    /// # Panics
    /// When the system refuses.
    pub fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// When the process has ended, or the system has no `/proc`.
    pub fn resident_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let status = std::fs::read_to_string(&path).expect("a running process has a status in /proc");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has a VmRSS");
        let kilobytes = line.trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().expect("VmRSS is a number of kB") * 1024
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // It may end by itself right now, which is as good.
            drop(self.child.kill());
            drop(self.child.wait());
        }
        if thread::panicking() {
            self.output.show();
        }
    }
}

impl Output {
    /// Standard output so far.
    pub fn stdout(&self) -> Vec<String> {
        self.stdout.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Standard error so far.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for a line on standard output of which `read` makes something.
    ///
    /// # Panics
    /// When there is none within the deadline.
    pub async fn line<T>(&self, what: &str, read: impl Fn(&str) -> Option<T>) -> T {
        wait::until(what, async || {
            let lines = self.stdout();
            lines.iter().find_map(|line| read(line)).ok_or_else(|| lines.join("\n"))
        })
        .await
    }

    #[expect(clippy::print_stderr, reason = "the test runner shows it with the failure")]
    fn show(&self) {
        const SHOWN: usize = 200;
        for (name, lines) in [("standard output", self.stdout()), ("standard error", self.stderr())] {
            let skipped = lines.len().saturating_sub(SHOWN);
            eprintln!("---- {name} of the process, {skipped} lines left out");
            for line in lines.iter().skip(skipped) {
                eprintln!("{line}");
            }
        }
    }
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn collect(stream: impl Read + Send + 'static, lines: Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            line.clear();
        }
    })
}
