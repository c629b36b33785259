//! The binary's commands, run to their end.

use std::process::ExitStatus;

use crate::binary;
use crate::process::Process;

/// A command that has ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it said about it.
    pub stderr: String,
}

/// Runs `trigon` with these arguments.
///
/// # Panics
/// When it does not end within the deadline.
pub async fn trigon(arguments: &[&str]) -> Finished {
    start(arguments).finish().await
}

/// Starts `trigon` with these arguments.
pub fn start(arguments: &[&str]) -> Process {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    Process::start(binary::path(), &arguments)
}

impl Finished {
    /// Asserts that it succeeded, and gives what it printed.
    ///
    /// # Panics
    /// When it did not.
    pub fn success(self) -> String {
        assert!(self.status.success(), "{}: {}{}", self.status, self.stdout, self.stderr);
        self.stdout
    }
}
