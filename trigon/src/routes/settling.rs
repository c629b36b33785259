//! Whether a folder has changed and come to rest: files are read only when two looks agree, so that one that is
//! being written is not read half.

use crate::manifests::Fingerprint;

/// What the last looks at a folder have shown.
#[derive(Debug)]
pub(super) struct Settling {
    /// What was read; nothing after a failure, so that what comes back is read again.
    taken: Option<Fingerprint>,
    last: Fingerprint,
}

/// What a look means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is to be done: nothing has changed, or it goes on changing.
    AsBefore,
    /// The folder has changed and rests: read it.
    Changed,
    /// The folder cannot be looked at.
    Failed(String),
}

impl Settling {
    /// Starts with what was read at the start.
    pub(super) fn new(taken: Fingerprint) -> Self {
        Self { last: taken.clone(), taken: Some(taken) }
    }

    /// Takes note of a look.
    pub(super) fn look(&mut self, seen: Result<Fingerprint, String>) -> Verdict {
        let seen = match seen {
            Ok(seen) => seen,
            Err(reason) => {
                self.taken = None;
                return Verdict::Failed(reason);
            }
        };
        let rests = seen == self.last;
        self.last = seen;
        if rests && self.taken.as_ref() != Some(&self.last) { Verdict::Changed } else { Verdict::AsBefore }
    }

    /// Whether this is what was seen last.
    pub(super) fn is(&self, fingerprint: &Fingerprint) -> bool {
        self.last == *fingerprint
    }

    /// What was seen last needs no further reading.
    pub(super) fn taken(&mut self) {
        self.taken = Some(self.last.clone());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn folders() -> (tempfile::TempDir, impl Fn(&str) -> Fingerprint) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().to_owned();
        let print = move |text: &str| {
            std::fs::write(Path::new(&path).join("a.yaml"), text).unwrap();
            Fingerprint::of(&path).unwrap()
        };
        (folder, print)
    }

    #[test]
    fn a_change_is_read_when_two_looks_agree_and_only_until_it_is_taken() {
        let (_folder, print) = folders();
        let (one, two, three) = (print("1"), print("22"), print("333"));
        let mut settling = Settling::new(one.clone());
        assert_eq!(settling.look(Ok(one)), Verdict::AsBefore);
        assert_eq!(settling.look(Ok(two)), Verdict::AsBefore);
        assert_eq!(settling.look(Ok(three.clone())), Verdict::AsBefore);
        assert_eq!(settling.look(Ok(three.clone())), Verdict::Changed);
        assert_eq!(settling.look(Ok(three.clone())), Verdict::Changed);
        assert!(settling.is(&three));
        settling.taken();
        assert_eq!(settling.look(Ok(three)), Verdict::AsBefore);
    }

    #[test]
    fn a_change_that_is_taken_back_is_none() {
        let (_folder, print) = folders();
        let (one, two) = (print("1"), print("22"));
        let mut settling = Settling::new(one.clone());
        assert_eq!(settling.look(Ok(two)), Verdict::AsBefore);
        assert_eq!(settling.look(Ok(one.clone())), Verdict::AsBefore);
        assert_eq!(settling.look(Ok(one)), Verdict::AsBefore);
    }

    #[test]
    fn after_a_failure_the_folder_is_read_again_though_it_looks_the_same() {
        let (_folder, print) = folders();
        let one = print("1");
        let mut settling = Settling::new(one.clone());
        assert_eq!(settling.look(Err("gone".to_owned())), Verdict::Failed("gone".to_owned()));
        assert_eq!(settling.look(Ok(one)), Verdict::Changed);
    }
}
