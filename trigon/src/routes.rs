//! The routing table of standalone: read from a folder of YAML files at the start, and again when they change.
//!
//! A change is in force within a second. A bad file changes nothing: what is wrong with it is logged once and
//! shown by the admin port, and the last good table stays. Whoever applies a table (creates topics, swaps it in)
//! is not known here.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use trigon_core::name::Installation;
use trigon_core::record::Timestamp;
use trigon_core::routing::RoutingTable;
use trigon_crds::Problem;
use trigon_runtime::shutdown::Drain;

use crate::check;
use crate::failure::Failure;
use crate::manifests::{Fingerprint, Manifests};
use crate::shown;

mod settling;

use settling::{Settling, Verdict};

/// How often the folder is looked at. Two looks that agree make a change, so it is in force after two or three.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Where the table comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The manifests in this folder.
    Folder(PathBuf),
    /// One Broker, `default/default`, and nothing else.
    BuiltIn,
}

/// What is known about the table in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RoutesStatus {
    /// Where it comes from.
    pub(crate) source: Source,
    /// Counts the tables that were put in force, from 1.
    pub(crate) generation: u64,
    /// When it was put in force.
    pub(crate) since: Timestamp,
    /// Why the files as they are now are not in force; none when they are.
    pub(crate) trouble: Option<Trouble>,
}

/// Why the files as they are now are not in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Something is wrong with what they say.
    Problems(Vec<Problem>),
    /// They cannot be read.
    Failed(String),
    /// What they ask for is done, except for this, which is tried again and again.
    Partly(String),
}

/// Puts a table in force.
pub(crate) trait Apply: Send + Sync {
    /// Resolves when it is in force.
    ///
    /// # Errors
    /// What of it is not, in words; the rest is, and the same table is tried again later.
    fn apply(&self, table: &Arc<RoutingTable>) -> impl Future<Output = Result<(), String>> + Send;
}

/// The table of the start, and what it needs to be followed by others.
#[derive(Debug)]
pub(crate) struct Routes {
    source: Source,
    installation: Installation,
    fingerprint: Option<Fingerprint>,
    status: watch::Sender<RoutesStatus>,
}

impl Routes {
    /// Reads the first table.
    ///
    /// # Errors
    /// When the folder cannot be read or something is wrong with the files: nothing runs yet that a bad file
    /// could disturb, so it is told where it is seen.
    pub(crate) fn load(source: Source, installation: Installation) -> Result<(Self, RoutingTable), Failure> {
        let (fingerprint, table) = match &source {
            Source::BuiltIn => (None, trigon_crds::built_in(&installation)),
            Source::Folder(folder) => {
                let (fingerprint, table) = read(folder, &installation).map_err(|trouble| match trouble {
                    Trouble::Failed(reason) | Trouble::Partly(reason) => Failure::Failed(reason),
                    Trouble::Problems(problems) => {
                        let lines = check::lines(&problems);
                        let errors = check::count(problems.len(), "error");
                        Failure::Failed(format!(
                            "{lines}{errors} in {}: nothing was started",
                            folder.display()
                        ))
                    }
                })?;
                (Some(fingerprint), table)
            }
        };
        let status =
            RoutesStatus { source: source.clone(), generation: 1, since: shown::now(), trouble: None };
        Ok((Self { source, installation, fingerprint, status: watch::Sender::new(status) }, table))
    }

    /// Tells what is known about the table, now and later.
    pub(crate) fn status(&self) -> watch::Receiver<RoutesStatus> {
        self.status.subscribe()
    }

    /// Follows the folder until the drain starts.
    pub(crate) async fn follow(self, every: Duration, apply: impl Apply, drain: Drain) {
        let (Source::Folder(folder), Some(fingerprint)) = (self.source, self.fingerprint) else { return };
        let folder: Arc<Path> = folder.into();
        let installation = self.installation;
        // What is in force in part, and of which files.
        let mut partly: Option<(Fingerprint, Arc<RoutingTable>)> = None;
        let mut settling = Settling::new(fingerprint);
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = drain.draining() => return,
                _ = looks.tick() => {}
            }
            let seen =
                blocking(&folder, |folder| Fingerprint::of(folder).map_err(|error| error.to_string())).await;
            match settling.look(seen) {
                Verdict::AsBefore => {}
                Verdict::Failed(reason) => set_trouble(&self.status, Trouble::Failed(reason)),
                Verdict::Changed => {
                    match next_table(&folder, &installation, &settling, partly.take()).await {
                        // What was read is newer than what had settled: look again.
                        Ok((fingerprint, _)) if !settling.is(&fingerprint) => {}
                        Ok((fingerprint, table)) => {
                            let applied = tokio::select! {
                                biased;
                                () = drain.draining() => return,
                                applied = apply.apply(&table) => applied,
                            };
                            match applied {
                                Ok(()) => {
                                    settling.taken();
                                    set_in_force(&self.status);
                                }
                                Err(missing) => {
                                    partly = Some((fingerprint, table));
                                    set_trouble(&self.status, Trouble::Partly(missing));
                                }
                            }
                        }
                        Err(trouble) => {
                            // Read again only when the files change; but a file that could not be read may be
                            // readable later without a change that shows.
                            if let Trouble::Problems(_) = trouble {
                                settling.taken();
                            }
                            set_trouble(&self.status, trouble);
                        }
                    }
                }
            }
        }
    }
}

/// The table to put in force: the one that is in part, if the files are still the same, else what they say now.
async fn next_table(
    folder: &Arc<Path>,
    installation: &Installation,
    settling: &Settling,
    partly: Option<(Fingerprint, Arc<RoutingTable>)>,
) -> Result<(Fingerprint, Arc<RoutingTable>), Trouble> {
    if let Some(partly) = partly.filter(|(fingerprint, _)| settling.is(fingerprint)) {
        return Ok(partly);
    }
    let installation = installation.clone();
    let (fingerprint, table) = blocking(folder, move |folder| read(folder, &installation)).await?;
    Ok((fingerprint, Arc::new(table)))
}

/// The folder's table, and what the folder looked like before it was read.
fn read(folder: &Path, installation: &Installation) -> Result<(Fingerprint, RoutingTable), Trouble> {
    let failed = |error: crate::manifests::Unreadable| Trouble::Failed(error.to_string());
    let fingerprint = Fingerprint::of(folder).map_err(failed)?;
    let manifests = Manifests::read(&[folder]).map_err(failed)?;
    let table = manifests.table(installation).map_err(Trouble::Problems)?;
    for note in manifests.notes() {
        tracing::info!(%note, "a setting of the routes decides nothing");
    }
    Ok((fingerprint, table))
}

/// Looks at files without holding up the threads that serve.
async fn blocking<T: Send + 'static, E: From<String> + Send + 'static>(
    folder: &Arc<Path>,
    look: impl FnOnce(&Path) -> Result<T, E> + Send + 'static,
) -> Result<T, E> {
    let folder = Arc::clone(folder);
    match tokio::task::spawn_blocking(move || look(&folder)).await {
        Ok(looked) => looked,
        Err(error) => Err(E::from(format!("reading the routes failed: {error}"))),
    }
}

impl From<String> for Trouble {
    fn from(reason: String) -> Self {
        Self::Failed(reason)
    }
}

fn set_in_force(status: &watch::Sender<RoutesStatus>) {
    status.send_modify(|status| {
        status.generation += 1;
        status.since = shown::now();
        status.trouble = None;
        tracing::info!(generation = status.generation, "routes are in force");
    });
}

/// Shows the trouble; logs it when it is news.
fn set_trouble(status: &watch::Sender<RoutesStatus>, trouble: Trouble) {
    status.send_if_modified(|status| {
        if status.trouble.as_ref() == Some(&trouble) {
            return false;
        }
        match &trouble {
            Trouble::Failed(reason) => {
                tracing::error!(reason, generation = status.generation, "routes stay as they were");
            }
            Trouble::Partly(missing) => {
                tracing::error!(
                    missing,
                    generation = status.generation,
                    "new routes are in force in part only"
                );
            }
            Trouble::Problems(problems) => {
                for problem in problems {
                    tracing::error!(%problem, generation = status.generation, "routes stay as they were");
                }
            }
        }
        status.trouble = Some(trouble);
        true
    });
}

#[cfg(test)]
mod tests;
