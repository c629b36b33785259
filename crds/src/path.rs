//! The path of a field in an object, as people write it: `spec.filters[0].exact.type`.

use std::fmt;

/// A path from the root of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

/// One step down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Into a field of an object, or a key of a map.
    Name(String),
    /// Into an element of a list, counted from 0.
    Index(usize),
}

impl Path {
    /// The path through these fields.
    pub(crate) fn of(names: &[&str]) -> Self {
        Self(names.iter().map(|name| Step::Name((*name).to_owned())).collect())
    }

    /// The path of a field or key of this one.
    pub(crate) fn name(&self, name: &str) -> Self {
        self.step(Step::Name(name.to_owned()))
    }

    /// The path of an element of this one.
    pub(crate) fn index(&self, index: usize) -> Self {
        self.step(Step::Index(index))
    }

    /// The path without its last step; the root is its own parent.
    pub(crate) fn parent(&self) -> Self {
        Self(self.0[..self.0.len().saturating_sub(1)].to_vec())
    }

    /// Whether this is the other path or one below it.
    pub(crate) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }

    /// From the root down.
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }

    fn step(&self, step: Step) -> Self {
        let mut steps = self.0.clone();
        steps.push(step);
        Self(steps)
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Name(name) if is_plain(name) && place == 0 => f.write_str(name)?,
                Step::Name(name) if is_plain(name) => write!(f, ".{name}")?,
                Step::Name(name) => write!(f, "[{}]", name.escape_debug())?,
            }
        }
        Ok(())
    }
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_shown_with_dots_indexes_and_brackets() {
        let path = Path::of(&["spec", "filters"]).index(0).name("exact").name("type");
        assert_eq!(path.to_string(), "spec.filters[0].exact.type");
        assert_eq!(path.parent().to_string(), "spec.filters[0].exact");
        let path = Path::of(&["metadata", "annotations"]).name("trigon.dev/order");
        assert_eq!(path.to_string(), "metadata.annotations[trigon.dev/order]");
        assert_eq!(Path::default().parent(), Path::default());
    }
}
