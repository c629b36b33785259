//! What says how connections to Kafka are secured: properties, the files that they name, and the folder of a
//! mounted Secret. Looked at again and again, because whoever changes a certificate does not restart us.
//!
//! A change counts when two looks in a row agree, so that a certificate is not taken without the key that is
//! written after it. A bad change is told and changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use trigon_eventlog::kafka::security::{self, Security, SecurityError, SecurityProblem, properties, secret};
use trigon_runtime::shutdown::Drain;

use super::Properties;

/// How often the files are looked at: a change is in force within a second.
pub(crate) const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// The largest certificate, key or token, in bytes: a Secret of Kubernetes holds as much in all.
const MAX_FILE: u64 = 1 << 20;

/// What was read, and where it was.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    places: Places,
    current: Arc<Security>,
}

#[derive(Clone, Debug)]
struct Places {
    secret: Option<PathBuf>,
    properties: Properties,
}

impl Credentials {
    /// Reads everything for the first time.
    ///
    /// # Errors
    /// Everything that is wrong, each with the file or flag it stands in, and without a secret.
    pub(crate) fn read(secret: Option<PathBuf>, properties: Properties) -> Result<Self, String> {
        let places = Places { secret, properties };
        let current = Arc::new(places.read()?);
        Ok(Self { places, current })
    }

    /// What was read at first.
    pub(crate) fn current(&self) -> &Arc<Security> {
        &self.current
    }

    /// Passes changes on until the drain starts.
    pub(crate) async fn follow(self, every: Duration, changes: watch::Sender<Arc<Security>>, drain: Drain) {
        if self.places.secret.is_none() && properties::files(&self.places.values()).is_empty() {
            return;
        }
        let mut rotation = Rotation::new(self.current);
        let places = Arc::new(self.places);
        let mut looks = interval(every);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = drain.draining() => return,
                _ = looks.tick() => {}
            }
            let places = Arc::clone(&places);
            let Ok(seen) = tokio::task::spawn_blocking(move || places.read()).await else { continue };
            match rotation.look(seen) {
                Verdict::AsBefore => {}
                Verdict::Changed(security) => {
                    tracing::info!("the credentials for kafka have changed: new connections use them");
                    changes.send_replace(security);
                }
                Verdict::Bad(reason) => {
                    tracing::warn!(reason, "the credentials for kafka have changed and cannot be used");
                }
            }
        }
    }
}

impl Places {
    fn read(&self) -> Result<Security, String> {
        let keys = self.secret.as_deref().map(keys).transpose()?;
        let values = self.values();
        let mut texts = BTreeMap::new();
        for (name, path) in properties::files(&values) {
            let text = text_of(Path::new(&path)).map_err(|reason| {
                let origin = self.properties.get(&name).map_or("", |property| &property.origin);
                format!("{origin}: {name}: {reason}")
            })?;
            texts.insert(name, text);
        }
        security::parse(keys.as_ref(), &values, &texts).map_err(|error| self.placed(&error))
    }

    fn values(&self) -> BTreeMap<String, String> {
        self.properties.iter().map(|(name, property)| (name.clone(), property.value.clone())).collect()
    }

    /// The problems, each with its place.
    fn placed(&self, error: &SecurityError) -> String {
        let placed = |SecurityProblem { key, message }: &SecurityProblem| {
            let place = match (self.properties.get(key), &self.secret) {
                (Some(property), _) => property.origin.clone(),
                (None, Some(folder)) => format!("--kafka-secret {}", folder.display()),
                (None, None) => "--kafka-config".to_owned(),
            };
            let colon = if key.is_empty() { "" } else { ": " };
            format!("{place}: {key}{colon}{message}")
        };
        error.0.iter().map(placed).collect::<Vec<_>>().join("\n")
    }
}

/// The keys in a folder that are read, each a file.
fn keys(folder: &Path) -> Result<BTreeMap<String, String>, String> {
    let failed = |error| format!("--kafka-secret: could not read {}: {error}", folder.display());
    let mut keys = BTreeMap::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
        if secret::is_known(name) {
            let text = text_of(&path).map_err(|reason| format!("--kafka-secret: {reason}"))?;
            keys.insert(name.to_owned(), text);
        }
    }
    Ok(keys)
}

fn text_of(path: &Path) -> Result<String, String> {
    let failed = |reason: &str| format!("could not read {}: {reason}", path.display());
    let metadata = fs::metadata(path).map_err(|error| failed(&error.to_string()))?;
    if !metadata.is_file() {
        return Err(failed("it is not a file"));
    }
    if metadata.len() > MAX_FILE {
        return Err(failed("it is too large for a certificate, a key or a token"));
    }
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
    read.map(|_| text).map_err(|error| failed(&error.to_string()))
}

/// What the last looks have shown.
struct Rotation {
    taken: Arc<Security>,
    last: Result<Security, String>,
    told: Option<String>,
}

/// What a look means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing has changed, or it goes on changing.
    AsBefore,
    /// This is to be used from now on.
    Changed(Arc<Security>),
    /// What is there now cannot be used, and that is news.
    Bad(String),
}

impl Rotation {
    fn new(taken: Arc<Security>) -> Self {
        Self { last: Ok((*taken).clone()), taken, told: None }
    }

    fn look(&mut self, seen: Result<Security, String>) -> Verdict {
        let rests = seen == self.last;
        self.last = seen;
        match &self.last {
            _ if !rests => Verdict::AsBefore,
            Ok(security) => {
                let had_trouble = self.told.take().is_some();
                if *security == *self.taken {
                    if had_trouble {
                        tracing::info!("the credentials for kafka are good again");
                    }
                    return Verdict::AsBefore;
                }
                self.taken = Arc::new(security.clone());
                Verdict::Changed(Arc::clone(&self.taken))
            }
            Err(reason) if self.told.as_ref() == Some(reason) => Verdict::AsBefore,
            Err(reason) => {
                self.told = Some(reason.clone());
                Verdict::Bad(reason.clone())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use trigon_eventlog::kafka::security::{Login, Sasl, Secret};
    use trigon_runtime::shutdown::{DrainSettings, Shutdown};

    use super::*;

    fn security(password: &str) -> Security {
        let login = Login { user: "me".to_owned(), password: Secret::new(password) };
        Security { tls: None, sasl: Some(Sasl::Plain(login)) }
    }

    #[test]
    fn a_change_counts_when_two_looks_agree_and_a_bad_one_is_told_once() {
        let mut rotation = Rotation::new(Arc::new(security("a")));
        let bad = || Err("no user".to_owned());
        assert_eq!(rotation.look(Ok(security("a"))), Verdict::AsBefore);
        assert_eq!(rotation.look(Ok(security("b"))), Verdict::AsBefore);
        assert_eq!(rotation.look(Ok(security("c"))), Verdict::AsBefore);
        assert_eq!(rotation.look(Ok(security("c"))), Verdict::Changed(Arc::new(security("c"))));
        assert_eq!(rotation.look(Ok(security("c"))), Verdict::AsBefore);
        assert_eq!(rotation.look(bad()), Verdict::AsBefore);
        assert_eq!(rotation.look(bad()), Verdict::Bad("no user".to_owned()));
        assert_eq!(rotation.look(bad()), Verdict::AsBefore);
        assert_eq!(rotation.look(Ok(security("c"))), Verdict::AsBefore);
        assert_eq!(rotation.look(Ok(security("c"))), Verdict::AsBefore);
        assert_eq!(rotation.look(bad()), Verdict::AsBefore);
        assert_eq!(rotation.look(bad()), Verdict::Bad("no user".to_owned()));
    }

    /// A mount of Kubernetes: the keys are links into a folder that is itself a link, which is replaced.
    #[tokio::test]
    async fn a_mounted_secret_that_is_replaced_is_passed_on() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let version = |name: &str, password: &str| {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join("user"), "me\n").unwrap();
            fs::write(at(name).join("password"), password).unwrap();
            std::os::unix::fs::symlink(at(name), at("..next")).unwrap();
            fs::rename(at("..next"), at("..data")).unwrap();
        };
        version("..1", "a");
        for key in ["user", "password"] {
            std::os::unix::fs::symlink(Path::new("..data").join(key), at(key)).unwrap();
        }
        let credentials = Credentials::read(Some(folder.path().to_owned()), Properties::new()).unwrap();
        assert_eq!(**credentials.current(), security("a"));
        let (sender, mut changes) = watch::channel(Arc::clone(credentials.current()));
        let shutdown = Shutdown::new(DrainSettings::default());
        let followed = credentials.follow(Duration::from_millis(2), sender, shutdown.watch());
        let rotate = async {
            version("..2", "b");
            changes.wait_for(|now| **now == security("b")).await.unwrap();
            shutdown.drain();
        };
        let both = async { tokio::join!(followed, rotate) };
        tokio::time::timeout(Duration::from_secs(20), both).await.expect("the change is passed on");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("sasl.mechanism"), "SCRAM-SHA-512").unwrap();
        fs::write(folder.path().join("password"), [0xff]).unwrap();
        let error = Credentials::read(Some(folder.path().to_owned()), Properties::new()).unwrap_err();
        assert!(
            error.starts_with("--kafka-secret: could not read /") && error.contains("/password: "),
            "{error}"
        );
        fs::write(folder.path().join("password"), "hush").unwrap();
        let error = Credentials::read(Some(folder.path().to_owned()), Properties::new()).unwrap_err();
        let place = folder.path().display();
        let told =
            format!("--kafka-secret {place}: user: sasl.mechanism is SCRAM-SHA-512 but there is no user");
        assert_eq!(error, told);
    }
}
