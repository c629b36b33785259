//! A Java program as a child process that never outlives us.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::jars::Java;

/// They start faster than the defaults do, and need less memory; none of them has to run for long.
const FLAGS: [&str; 3] = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto"];

/// How much of what a program wrote is shown.
const SHOWN_LINES: usize = 60;

/// A running program.
#[derive(Debug)]
pub(crate) struct Jvm {
    child: Child,
    /// Kills the child when our end of its standard input closes, which it does with us at the latest. The
    /// alternative, Linux's parent death signal, is sent when the *thread* ends that started the child.
    watchdog: Child,
}

impl Jvm {
    /// Starts a class that writes to the end of a file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub(crate) fn start(
        flags: &[&str],
        class: &str,
        arguments: &[&OsStr],
        output: &Path,
    ) -> Result<Self, String> {
        let failed = |error| format!("could not start {class}: {error}");
        let file = File::options().create(true).append(true).open(output).map_err(failed)?;
        let mut command = command(flags, class)?;
        command.args(arguments).stdin(Stdio::null());
        command.stdout(file.try_clone().map_err(failed)?).stderr(file);
        let mut child = command.spawn().map_err(failed)?;
        // Ctrl-C reaches the whole group: the watchdog must live to see us go.
        let script = "trap '' INT TERM HUP; read _; kill -9 \"$1\"";
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", script, "watchdog", &child.id().to_string()]);
        watchdog.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        match watchdog.spawn() {
            Ok(watchdog) => Ok(Self { child, watchdog }),
            Err(error) => {
                drop(child.kill());
                drop(child.wait());
                Err(failed(error))
            }
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), String> {
        kill_process(Pid::from_child(&self.child), signal)
            .map_err(|error| format!("could not send {signal:?} to a Java process: {error}"))
    }

    /// How it ended, when it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Asks it to end, and waits; after the deadline it is killed.
    ///
    /// # Errors
    /// When it had to be killed.
    pub(crate) fn stop(mut self, deadline: Duration) -> Result<(), String> {
        self.signal(Signal::TERM)?;
        let end = Instant::now() + deadline;
        while self.ended().is_none() {
            if Instant::now() > end {
                return Err(format!("a Java process did not end within {deadline:?}, and was killed"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        // The watchdog first: once the child is waited for, its id may be another's. Either may be gone already.
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Runs a class to its end, and gives what it printed.
///
/// # Errors
/// When it fails; all that it wrote is in the error.
pub(crate) fn run(flags: &[&str], class: &str, arguments: &[&OsStr]) -> Result<String, String> {
    let mut command = command(flags, class)?;
    command.args(arguments).stdin(Stdio::null());
    let done = command.output().map_err(|error| format!("could not start {class}: {error}"))?;
    let stdout = String::from_utf8_lossy(&done.stdout).into_owned();
    match done.status.success() {
        true => Ok(stdout),
        false => {
            let stderr = String::from_utf8_lossy(&done.stderr);
            Err(format!("{class} {arguments:?} ended with {}: {stdout}{stderr}", done.status))
        }
    }
}

/// The last lines of what a program wrote.
pub(crate) fn tail(output: &PathBuf) -> String {
    let text = fs::read(output).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}

fn command(flags: &[&str], class: &str) -> Result<Command, String> {
    let java = Java::find()?;
    let mut command = Command::new(&java.program);
    command.args(FLAGS).args(flags).args(["-cp", &java.classpath(), class]);
    // What the person who runs the tests has set for Java is not meant for these.
    for variable in ["JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS", "CLASSPATH"] {
        command.env_remove(variable);
    }
    Ok(command)
}
