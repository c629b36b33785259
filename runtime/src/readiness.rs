//! Whether the process is ready to serve, and if not, what it waits for.
//!
//! Every part registers a named check before the process starts; a check that nobody has reported on is not
//! ready. Who asks (the admin port) and what follows from the answer is not decided here.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The checks of a process. Cloning shares them.
#[derive(Clone, Default)]
pub struct Readiness {
    checks: Arc<Mutex<Vec<Entry>>>,
}

/// What one check says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// This part serves.
    Ready,
    /// It serves, though not everything: this is missing.
    ReadyExcept(String),
    /// It does not, for this reason.
    NotReady(String),
}

/// Reports for one named check.
#[derive(Clone, Debug)]
pub struct Check {
    state: Arc<Mutex<CheckState>>,
}

/// A check that is not ready, or not wholly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unready {
    /// The name of the check.
    pub check: &'static str,
    /// Why it is not ready.
    pub reason: String,
}

struct Entry {
    name: &'static str,
    state: Source,
}

enum Source {
    Reported(Arc<Mutex<CheckState>>),
    Asked(Box<dyn Fn() -> CheckState + Send + Sync>),
}

impl Readiness {
    /// Ready, until the first check is registered.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a check that is reported on; until the first report it is not ready.
    #[must_use]
    pub fn check(&self, name: &'static str) -> Check {
        let state = Arc::new(Mutex::new(CheckState::NotReady("starting".to_owned())));
        lock(&self.checks).push(Entry { name, state: Source::Reported(Arc::clone(&state)) });
        Check { state }
    }

    /// Registers a check that is asked each time; `ask` must not block.
    pub fn probe(&self, name: &'static str, ask: impl Fn() -> CheckState + Send + Sync + 'static) {
        lock(&self.checks).push(Entry { name, state: Source::Asked(Box::new(ask)) });
    }

    /// The checks that are not ready, in the order in which they were registered.
    pub fn unready(&self) -> Vec<Unready> {
        self.those(|state| match state {
            CheckState::Ready | CheckState::ReadyExcept(_) => None,
            CheckState::NotReady(reason) => Some(reason),
        })
    }

    /// What is missing where a check is ready all the same, in the same order.
    pub fn remarks(&self) -> Vec<Unready> {
        self.those(|state| match state {
            CheckState::ReadyExcept(reason) => Some(reason),
            CheckState::Ready | CheckState::NotReady(_) => None,
        })
    }

    fn those(&self, reason: impl Fn(CheckState) -> Option<String>) -> Vec<Unready> {
        let checks = lock(&self.checks);
        let reasons = checks.iter().map(|entry| Some((entry.name, reason(entry.state.now())?)));
        reasons.flatten().map(|(check, reason)| Unready { check, reason }).collect()
    }
}

impl Check {
    /// Reports that this part serves.
    pub fn ready(&self) {
        *lock(&self.state) = CheckState::Ready;
    }

    /// Reports that it does not.
    pub fn not_ready(&self, reason: impl Into<String>) {
        *lock(&self.state) = CheckState::NotReady(reason.into());
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readiness").field("unready", &self.unready()).finish()
    }
}

impl fmt::Display for Unready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.check, self.reason)
    }
}

impl Source {
    fn now(&self) -> CheckState {
        match self {
            Self::Reported(state) => lock(state).clone(),
            Self::Asked(ask) => ask(),
        }
    }
}

// Every section under these locks is an assignment or a read, so a poisoned value is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_without_a_report_is_not_ready() {
        let readiness = Readiness::new();
        assert!(readiness.unready().is_empty());
        let routes = readiness.check("routes");
        let log = readiness.check("event log");
        assert_eq!(readiness.unready().len(), 2);

        routes.ready();
        log.not_ready("the disk is full");
        let unready: Vec<String> = readiness.unready().iter().map(ToString::to_string).collect();
        assert_eq!(unready, ["event log: the disk is full"]);

        log.ready();
        assert!(readiness.unready().is_empty());
    }

    #[test]
    fn a_probe_is_asked_each_time() {
        let state = Arc::new(Mutex::new(CheckState::Ready));
        let readiness = Readiness::new();
        let asked = Arc::clone(&state);
        readiness.probe("event log", move || asked.lock().unwrap().clone());
        assert!(readiness.unready().is_empty());
        *state.lock().unwrap() = CheckState::NotReady("closed".to_owned());
        assert_eq!(readiness.unready()[0].to_string(), "event log: closed");
    }
}
