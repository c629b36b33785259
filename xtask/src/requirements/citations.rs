//! The identifiers that the comments of test code cite.
//!
//! Test code is what stands in a folder `tests` (but not in a `src` below it), in `fuzz/`, and in modules that are
//! `#[cfg(test)]`. `CE-11, JSON-01 to JSON-03` cites four lines.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use super::rust::Masked;

/// The identifier of a line: its area, and the digits as they are written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) area: String,
    digits: String,
}

impl FromStr for Id {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (area, digits) = text.split_once('-').ok_or(())?;
        let is_area = !area.is_empty() && area.bytes().all(|byte| byte.is_ascii_uppercase());
        let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        if is_area && is_number {
            Ok(Self { area: area.to_owned(), digits: digits.to_owned() })
        } else {
            Err(())
        }
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.area, self.digits)
    }
}

impl Id {
    /// What lies behind this one, up to the other; nothing when the two are no range.
    fn up_to(&self, last: &Self) -> Vec<Self> {
        let (Ok(first), Ok(end)) = (self.digits.parse::<u16>(), last.digits.parse::<u16>()) else {
            return Vec::new();
        };
        if self.area != last.area {
            return Vec::new();
        }
        let width = self.digits.len();
        let id = |number| Self { area: self.area.clone(), digits: format!("{number:0width$}") };
        (first..end).skip(1).map(id).collect()
    }
}

/// An identifier in a comment.
#[derive(Debug)]
pub(super) struct Citation {
    pub(super) id: Id,
    /// Whether the line of the comment begins with an identifier.
    pub(super) is_listed: bool,
    file: String,
    line: usize,
}

impl fmt::Display for Citation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.id)
    }
}

/// What the test code below a folder cites, by file and line.
pub(super) fn of_tests(root: &Path) -> Result<Vec<Citation>, String> {
    let mut files = Vec::new();
    collect(root, &mut files)?;
    files.sort();
    let sources = files
        .into_iter()
        .map(|path| {
            let source = fs::read_to_string(&path)
                .map_err(|error| format!("could not read {}: {error}", path.display()))?;
            let path = path.strip_prefix(root).map(Path::to_path_buf).unwrap_or(path);
            Ok((path, Masked::new(&source)))
        })
        .collect::<Result<Vec<_>, String>>()?;
    let modules: BTreeSet<PathBuf> = sources
        .iter()
        .flat_map(|(path, source)| {
            let folder = folder(path);
            source.test_files().into_iter().map(move |name| folder.join(name))
        })
        .collect();
    let citations = sources.iter().flat_map(|(path, source)| {
        let is_test = is_test(path) || path.with_extension("").ancestors().any(|path| modules.contains(path));
        let comments = if is_test { source.comments().to_owned() } else { source.test_comments() };
        in_comments(&path.display().to_string(), &comments)
    });
    Ok(citations.collect())
}

/// The Rust files below a folder, but for what is built or found by fuzzing.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let unreadable = |error| format!("could not read {}: {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if entry.file_type().map_err(unreadable)?.is_dir() {
            if !name.starts_with('.') && !["target", "corpus", "artifacts"].contains(&&*name) {
                collect(&path, files)?;
            }
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
    Ok(())
}

/// Where the modules of a file have their files.
fn folder(file: &Path) -> PathBuf {
    let owns_folder = ["lib.rs", "main.rs"].iter().any(|name| file.ends_with(name));
    if owns_folder { file.parent().unwrap_or(file).to_path_buf() } else { file.with_extension("") }
}

fn is_test(path: &Path) -> bool {
    let folders: Vec<_> = path.parent().into_iter().flat_map(Path::components).collect();
    let is = |component: &Component<'_>, name: &str| component.as_os_str() == name;
    let in_tests = folders.iter().rposition(|component| is(component, "tests"));
    folders.first().is_some_and(|first| is(first, "fuzz"))
        || in_tests.is_some_and(|place| !folders[place..].iter().any(|component| is(component, "src")))
}

/// The identifiers in a text that has only comments, in their lines.
pub(super) fn in_comments(file: &str, comments: &str) -> Vec<Citation> {
    let mut citations: Vec<Citation> = Vec::new();
    // Whether the word before is an identifier, and whether the two before are one and the word that makes a range.
    let (mut is_behind_id, mut is_range) = (false, false);
    for (line, text) in (1..).zip(comments.lines()) {
        let is_part = |c: char| c.is_alphanumeric() || c == '-';
        let mut words = text.split(|c| !is_part(c)).filter(|word| !word.is_empty()).peekable();
        let is_listed = words.peek().is_some_and(|word| word.parse::<Id>().is_ok());
        for word in words {
            let Ok(id) = word.parse::<Id>() else {
                is_range = is_behind_id && word == "to";
                is_behind_id = false;
                continue;
            };
            let citation = |id| Citation { id, is_listed, file: file.to_owned(), line };
            let first = citations.last().filter(|_| is_range).map(|first| first.id.clone());
            citations.extend(first.iter().flat_map(|first| first.up_to(&id)).map(citation));
            citations.push(citation(id));
            (is_behind_id, is_range) = (true, false);
        }
    }
    citations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(comments: &str) -> Vec<String> {
        in_comments("f", comments).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn comments_cite_identifiers_and_ranges_of_them() {
        assert_eq!(
            found("/// FLN-01, X-09 (why)\n// SQLS-1.\n"),
            ["f:1: FLN-01", "f:1: X-09", "f:2: SQLS-1"]
        );
        assert_eq!(
            found("/// CE-11, JSON-08 to\n/// JSON-10, X-01"),
            ["f:1: CE-11", "f:1: JSON-08", "f:2: JSON-09", "f:2: JSON-10", "f:2: X-01"]
        );
        assert_eq!(
            found("// from CE-01 to JSON-03, KAF-01 and KAF-03"),
            ["f:1: CE-01", "f:1: JSON-03", "f:1: KAF-01", "f:1: KAF-03"]
        );
        assert_eq!(found("/// FLN-01 gives way to FLN-05"), ["f:1: FLN-01", "f:1: FLN-05"]);
        assert!(found("// lane-01, A-b, -5, 1-2, ISO-8601-1, a FLN -01 and X-").is_empty());
    }

    #[test]
    fn test_code_is_in_folders_for_tests_and_in_fuzz() {
        for path in [
            "tests/tests/conformance/filters.rs",
            "core/tests/tck.rs",
            "core/src/cesql/tests/a.rs",
            "fuzz/src/lib.rs",
        ] {
            assert!(is_test(Path::new(path)), "{path}");
        }
        for path in
            ["tests/src/event.rs", "tests/servers/src/kafka.rs", "core/src/cesql.rs", "xtask/src/tests.rs"]
        {
            assert!(!is_test(Path::new(path)), "{path}");
        }
    }

    #[test]
    fn a_module_for_tests_is_found_where_it_is_declared() {
        let root = tempfile::tempdir().expect("a folder");
        let write = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(path, text).expect("a file");
        };
        write("a/src/lib.rs", "mod code; // CE-01\n#[cfg(test)]\nmod model;\n");
        write("a/src/model.rs", "mod part; // CE-02\n");
        write("a/src/model/part.rs", "// CE-03\n");
        write(
            "a/src/code.rs",
            "// CE-04\n#[cfg(test)]\nmod tests {\n    // CE-05\n}\n#[cfg(test)]\nmod more;\n",
        );
        write("a/src/code/more.rs", "const A: &str = \"// CE-06\"; // CE-07\n");
        write("a/src/code/other.rs", "// CE-08\n");
        write("a/tests/it.rs", "// CE-09\n");
        write("target/tests/it.rs", "// CE-10\n");
        let found: Vec<_> =
            of_tests(root.path()).expect("readable").iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                "a/src/code/more.rs:1: CE-07",
                "a/src/code.rs:4: CE-05",
                "a/src/model/part.rs:1: CE-03",
                "a/src/model.rs:1: CE-02",
                "a/tests/it.rs:1: CE-09",
            ]
        );
    }
}
