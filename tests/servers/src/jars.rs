//! Java, and Kafka's jars: those of a distribution that is there, or else fetched with Maven, once.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// Names a folder with Kafka's jars, such as `libs` of a Kafka 4 distribution; without it, Maven fetches them.
pub(crate) const VARIABLE: &str = "TRIGON_TEST_KAFKA_LIBS";

/// The oldest Java that Kafka 4 runs on.
const OLDEST_JAVA: u32 = 17;

/// What to run and with which classes.
#[derive(Clone, Debug)]
pub(crate) struct Java {
    /// The program.
    pub(crate) program: PathBuf,
    /// The folder of the jars.
    pub(crate) jars: PathBuf,
}

impl Java {
    /// Finds both, and fetches the jars when nobody has.
    ///
    /// # Errors
    /// When that cannot be done.
    pub(crate) fn find() -> Result<&'static Self, String> {
        static FOUND: OnceLock<Result<Java, String>> = OnceLock::new();
        FOUND.get_or_init(|| Ok(Self { program: program()?, jars: jars()? })).as_ref().map_err(Clone::clone)
    }

    /// The classpath.
    pub(crate) fn classpath(&self) -> String {
        self.jars.join("*").display().to_string()
    }
}

fn program() -> Result<PathBuf, String> {
    let home = env::var_os("JAVA_HOME").map(|home| PathBuf::from(home).join("bin/java"));
    let program = home.filter(|java| java.is_file()).unwrap_or_else(|| "java".into());
    let said = Command::new(&program).arg("-version").stdin(Stdio::null()).output();
    let said = said.map_err(|error| {
        format!(
            "this test starts Kafka, which needs Java {OLDEST_JAVA} or later: {}: {error}",
            program.display()
        )
    })?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    match major(&said) {
        Some(version) if version >= OLDEST_JAVA => Ok(program),
        _ => Err(format!("Kafka needs Java {OLDEST_JAVA} or later; {} is: {said}", program.display())),
    }
}

/// `17` of `openjdk version "17.0.15" 2025-04-15`.
fn major(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("version \"")?;
    version.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn jars() -> Result<PathBuf, String> {
    if let Some(folder) = env::var_os(VARIABLE) {
        let folder = PathBuf::from(folder);
        return match folder.is_dir() {
            true => Ok(folder),
            false => Err(format!("{VARIABLE} names {}, which is not a folder", folder.display())),
        };
    }
    let servers = folder();
    fs::create_dir_all(&servers)
        .map_err(|error| format!("could not create {}: {error}", servers.display()))?;
    // Tests are processes of their own: one fetches, the others wait for it.
    let failed = |error| format!("could not lock {}: {error}", servers.display());
    let lock = File::create(servers.join("kafka-lib.lock")).map_err(failed)?;
    lock.lock().map_err(failed)?;
    fetch(&servers.join("kafka-lib"))
}

/// Where servers keep what outlives a test: `target/test-servers`.
pub(crate) fn folder() -> PathBuf {
    let program = env::current_exe().unwrap_or_default();
    // Cargo marks its target folder, wherever that is.
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    let fallback = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
    target.map_or(fallback, Path::to_owned).join("test-servers")
}

fn fetch(folder: &Path) -> Result<PathBuf, String> {
    const PROJECT: &str = include_str!("../kafka/pom.xml");
    // Beside the jars lies the project that they were fetched for: another one fetches anew.
    let project = folder.join("pom.xml");
    if fs::read_to_string(&project).is_ok_and(|text| text == PROJECT) {
        return Ok(folder.to_owned());
    }
    say(&format!("fetching Kafka with Maven, once, into {}", folder.display()));
    let failed = |error| format!("could not write to {}: {error}", folder.display());
    let part = folder.with_extension("part");
    for old in [&part, &folder.to_owned()] {
        if old.exists() {
            fs::remove_dir_all(old).map_err(failed)?;
        }
    }
    fs::create_dir_all(&part).map_err(failed)?;
    fs::write(part.join("pom.xml"), PROJECT).map_err(failed)?;
    let mut maven = Command::new("mvn");
    maven.args(["-B", "-ntp", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", part.display())).current_dir(&part).stdin(Stdio::null());
    let status = maven.status().map_err(|error| {
        format!(
            "this test starts Kafka, which Maven fetches, and mvn cannot be started ({error}): install Maven, or set \
             {VARIABLE} to the libs folder of a Kafka 4 distribution"
        )
    })?;
    if !status.success() {
        return Err(format!(
            "Maven could not fetch Kafka: {maven:?} ended with {status}; what it said is above"
        ));
    }
    fs::rename(&part, folder).map_err(failed)?;
    Ok(folder.to_owned())
}

#[expect(clippy::print_stderr, reason = "a download takes its time, and whoever waits should know for what")]
fn say(text: &str) {
    eprintln!("{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_java_is_read() {
        assert_eq!(major("openjdk version \"17.0.15\" 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(major("java version \"1.8.0_292\""), Some(1));
        assert_eq!(major("openjdk version \"21\" 2023-09-19"), Some(21));
        assert_eq!(major("command not found"), None);
    }
}
