//! Files of Brokers and Triggers: which ones a path means, their text, and how to tell that they have changed.
//!
//! A folder means the `.yaml`, `.yml` and `.json` files directly in it, in the order of their names. What starts
//! with a dot is left out: editors and mounted ConfigMaps keep their own there.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use trigon_core::name::Installation;
use trigon_core::routing::RoutingTable;
use trigon_crds::{Interest, MAX_FILE, Objects, Problem, uris_only};

/// The endings of files that are read in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// What a folder looks like from outside; another one means that something in it has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(Vec<Seen>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    path: PathBuf,
    modified: (i64, i64),
    length: u64,
    inode: u64,
}

/// Why a path cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("could not read {}: {source}", path.display())]
pub(crate) struct Unreadable {
    path: PathBuf,
    source: io::Error,
}

/// The text of files, each beside its path.
#[derive(Debug, Default)]
pub(crate) struct Manifests {
    /// As [`trigon_crds::load`] takes them.
    texts: Vec<(String, String)>,
    /// What is no text at all.
    problems: Vec<Problem>,
}

/// The files that a path means: itself, or those directly in it when it is a folder.
///
/// # Errors
/// When it is not there or not to be read.
pub(crate) fn files(path: &Path) -> Result<Vec<PathBuf>, Unreadable> {
    let unreadable = |source| Unreadable { path: path.to_owned(), source };
    if !fs::metadata(path).map_err(unreadable)?.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let file = entry.map_err(unreadable)?.path();
        let is_hidden = file.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        let ending = file.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
        if !is_hidden && ENDINGS.contains(&ending) && !file.is_dir() {
            files.push(file);
        }
    }
    files.sort();
    Ok(files)
}

impl Fingerprint {
    /// Looks at a folder. A file that vanishes meanwhile is not in it.
    ///
    /// # Errors
    /// When the folder is not to be read.
    pub(crate) fn of(folder: &Path) -> Result<Self, Unreadable> {
        let seen = files(folder)?.into_iter().filter_map(|path| {
            // Through a link, as mounted ConfigMaps have them.
            let metadata = fs::metadata(&path).ok()?;
            Some(Seen::new(path, &metadata))
        });
        Ok(Self(seen.collect()))
    }
}

impl Seen {
    fn new(path: PathBuf, metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { path, modified, length: metadata.len(), inode: metadata.ino() }
    }
}

impl Manifests {
    /// Reads the files that the paths mean, each once.
    ///
    /// # Errors
    /// When a path or a file is not to be read.
    pub(crate) fn read<P: AsRef<Path>>(paths: &[P]) -> Result<Self, Unreadable> {
        let mut all = Vec::new();
        for path in paths {
            all.extend(files(path.as_ref())?);
        }
        let mut known = std::collections::BTreeSet::new();
        all.retain(|path| known.insert(path.clone()));
        let mut manifests = Self::default();
        for path in all {
            let name = path.display().to_string();
            let bytes = read(&path).map_err(|source| Unreadable { path, source })?;
            match String::from_utf8(bytes) {
                Ok(text) => manifests.texts.push((name, text)),
                Err(error) => manifests.problems.push(Problem {
                    file: name,
                    line: 1,
                    column: 1,
                    field: String::new(),
                    message: format!(
                        "the file is not UTF-8 from byte {} on",
                        error.utf8_error().valid_up_to()
                    ),
                }),
            }
        }
        Ok(manifests)
    }

    /// How many files there are.
    pub(crate) fn len(&self) -> usize {
        self.texts.len() + self.problems.len()
    }

    /// What is not wrong with them and yet may not do what somebody expects.
    pub(crate) fn notes(&self) -> Vec<Problem> {
        trigon_crds::notes(&self.texts)
    }

    /// What is not wrong with their expressions and yet does not what its author thinks.
    pub(crate) fn warnings(&self) -> Vec<Problem> {
        trigon_crds::remarks(&self.texts)
    }

    /// The Brokers and Triggers as they are written; none when something is wrong with their form.
    pub(crate) fn objects(&self) -> Objects {
        trigon_crds::parse(&self.texts).unwrap_or_default()
    }

    /// Which events their Triggers want.
    ///
    /// # Errors
    /// Everything that keeps the filters from being read.
    pub(crate) fn interests(&self) -> Result<Vec<Interest>, Vec<Problem>> {
        match trigon_crds::interests(&self.texts) {
            Ok(interests) if self.problems.is_empty() => Ok(interests),
            Ok(_) => Err(self.problems.clone()),
            Err(problems) => Err(self.problems.iter().cloned().chain(problems).collect()),
        }
    }

    /// Builds the table of all of them.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn table(&self, installation: &Installation) -> Result<RoutingTable, Vec<Problem>> {
        self.whole(trigon_crds::load(installation, &self.texts, &uris_only))
    }

    /// The same for Triggers whose Brokers are elsewhere and whose subscribers are not asked for anything.
    ///
    /// # Errors
    /// Everything else that is wrong with them.
    pub(crate) fn triggers(&self, installation: &Installation) -> Result<RoutingTable, Vec<Problem>> {
        self.whole(trigon_crds::load_triggers(installation, &self.texts))
    }

    /// What was loaded, with what is no text counted among the problems.
    fn whole(&self, loaded: Result<RoutingTable, Vec<Problem>>) -> Result<RoutingTable, Vec<Problem>> {
        match loaded {
            Ok(table) if self.problems.is_empty() => Ok(table),
            Ok(_) => Err(self.problems.clone()),
            Err(problems) => Err(self.problems.iter().cloned().chain(problems).collect()),
        }
    }
}

/// Reads a file, up to one byte more than any manifest may have: enough to tell that it is too large.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    // Opening a pipe waits for a writer, and a device may never end.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is a pipe, a socket or a device, not a file; move it elsewhere"));
    }
    let most = u64::try_from(MAX_FILE).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let files = files(folder).unwrap();
        files.iter().map(|file| file.file_name().unwrap().to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_folder_means_the_visible_manifests_directly_in_it() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.yml", "a.yaml", "c.json", ".hidden.yaml", "a.yaml~", "README.md"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        fs::create_dir(folder.path().join("below.yaml")).unwrap();
        assert_eq!(names(folder.path()), ["a.yaml", "b.yml", "c.json"]);
        let file = folder.path().join("README.md");
        assert_eq!(files(&file).unwrap(), [file]);
        let error = files(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.starts_with("could not read /") && error.contains("/none: "), "{error}");
    }

    #[test]
    fn every_kind_of_change_leaves_another_fingerprint() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        let mut prints = vec![Fingerprint::of(folder.path()).unwrap()];
        let mut change = |what: &dyn Fn()| {
            what();
            prints.push(Fingerprint::of(folder.path()).unwrap());
        };
        change(&|| fs::write(&file, "a").unwrap());
        change(&|| fs::write(&file, "ab").unwrap());
        change(&|| {
            let time = std::time::SystemTime::UNIX_EPOCH;
            fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        });
        change(&|| {
            // As editors write: another file of the same length and time takes the name.
            let other = folder.path().join("other");
            fs::write(&other, "ab").unwrap();
            let time = std::time::SystemTime::UNIX_EPOCH;
            fs::File::options().write(true).open(&other).unwrap().set_modified(time).unwrap();
            fs::rename(&other, &file).unwrap();
        });
        change(&|| fs::rename(&file, folder.path().join("b.yaml")).unwrap());
        change(&|| fs::remove_file(folder.path().join("b.yaml")).unwrap());
        assert!(prints.windows(2).all(|pair| pair[0] != pair[1]), "{prints:#?}");
        assert_eq!(prints.first(), prints.last());
        assert_eq!(Fingerprint::of(folder.path()).unwrap(), prints[0]);
    }

    #[test]
    fn what_is_no_file_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let _socket = UnixListener::bind(folder.path().join("a.yaml")).unwrap();
        let error = Manifests::read(&[folder.path()]).unwrap_err().to_string();
        assert!(
            error.ends_with("/a.yaml: it is a pipe, a socket or a device, not a file; move it elsewhere"),
            "{error}"
        );
    }

    #[test]
    fn of_a_file_that_is_too_large_no_more_is_read_than_tells_so() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.yaml");
        fs::File::create(&file).unwrap().set_len(64 * u64::try_from(MAX_FILE).unwrap()).unwrap();
        assert_eq!(read(&file).unwrap().len(), MAX_FILE + 1);
        let problems = Manifests::read(&[&file]).unwrap().table(&Installation::default()).unwrap_err();
        assert!(problems[0].message.contains("split it into files"), "{problems:?}");
    }

    #[test]
    fn a_file_that_is_no_text_is_a_problem_beside_the_others() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.yaml"), [b'k', 0xff]).unwrap();
        fs::write(folder.path().join("b.yaml"), "kind: Boker\n").unwrap();
        let manifests = Manifests::read(&[folder.path(), folder.path()]).unwrap();
        assert_eq!(manifests.len(), 2);
        let problems = manifests.table(&Installation::default()).unwrap_err();
        assert_eq!(problems[0].message, "the file is not UTF-8 from byte 1 on");
        assert!(problems[1].message.contains("Broker"), "{problems:?}");
    }
}
