//! What was seen of each file: which of them stand still, and which have not been taken as they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::files::{Found, Version};
use crate::sync::{LeftOut, Origin, Skipped};

/// A file that is replaced all the time never stands still; one of its versions is taken so often.
const RESTLESS: Duration = Duration::from_secs(30);

/// Whether files must have stood still since the last look.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Pass {
    Running,
    Last,
}

/// What was seen at all looks so far.
#[derive(Default)]
pub(super) struct Looks {
    seen: HashMap<Arc<str>, Seen>,
    count: u64,
}

struct Seen {
    /// What it was at the last look.
    version: Version,
    /// What of it was taken last.
    taken: Option<Version>,
    /// When that was, or when it was first seen.
    since: Instant,
    /// The last look at which it was there.
    look: u64,
}

/// A file that is to be taken.
#[derive(Clone)]
pub(super) struct Due {
    pub(super) path: Arc<str>,
    /// Bytes.
    pub(super) size: u64,
    pub(super) origin: Origin,
    pub(super) is_link: bool,
}

impl Due {
    fn new(path: Arc<str>, version: &Version) -> Self {
        Self { path, size: version.size(), origin: version.origin, is_link: version.is_link }
    }
}

/// What came of a look.
#[derive(Default)]
pub(super) struct Look {
    pub(super) due: Vec<Due>,
    pub(super) skipped: Vec<Skipped>,
    pub(super) left_out: Vec<LeftOut>,
    /// Files that are no more.
    pub(super) gone: Vec<Arc<str>>,
    /// Whether anything had changed.
    pub(super) moved: bool,
}

impl Looks {
    /// Compares what was found with what was there before.
    pub(super) fn look(&mut self, found: Found, pass: Pass) -> Look {
        self.count += 1;
        let mut look = Look { skipped: found.skipped, left_out: found.left_out, ..Look::default() };
        for (path, version) in found.files {
            let count = self.count;
            let path: Arc<str> = path.into();
            let Some(seen) = self.seen.get_mut(&path) else {
                look.moved = true;
                if pass == Pass::Last {
                    look.due.push(Due::new(Arc::clone(&path), &version));
                }
                let seen = Seen { version, taken: None, since: Instant::now(), look: count };
                self.seen.insert(path, seen);
                continue;
            };
            let stands_still = seen.version == version;
            look.moved |= !stands_still;
            let is_due = stands_still || pass == Pass::Last || seen.is_restless(&version);
            if is_due && seen.taken.as_ref() != Some(&version) {
                look.due.push(Due::new(path, &version));
            }
            (seen.version, seen.look) = (version, count);
        }
        let count = self.count;
        look.gone = self.seen.extract_if(|_, seen| seen.look != count).map(|(path, _)| path).collect();
        look.moved |= !look.gone.is_empty();
        look
    }

    /// Whether a file was there at the last look.
    pub(super) fn knows(&self, path: &str) -> bool {
        self.seen.contains_key(path)
    }

    /// A file was taken in this version.
    pub(super) fn take(&mut self, path: &str, version: Version) {
        let look = self.count;
        let seen = Seen { taken: Some(version.clone()), since: Instant::now(), look, version };
        match self.seen.get_mut(path) {
            Some(known) => *known = seen,
            None => drop(self.seen.insert(path.into(), seen)),
        }
    }

    /// The version of a file that was taken.
    pub(super) fn taken(&self, path: &str) -> Option<Version> {
        self.seen.get(path)?.taken.clone()
    }

    /// Files that are to be taken again, though they are what they were.
    pub(super) fn again(&self, paths: Vec<Arc<str>>) -> Vec<Due> {
        let unchanged = |path: &Arc<str>| {
            let seen = self.seen.get(path)?;
            (seen.taken.as_ref() == Some(&seen.version)).then(|| seen.version.clone())
        };
        paths.into_iter().filter_map(|path| Some(Due::new(Arc::clone(&path), &unchanged(&path)?))).collect()
    }
}

impl Seen {
    /// Whether the file is replaced all the time, and it is time to take one of its versions.
    fn is_restless(&self, now: &Version) -> bool {
        self.version.is_replaced_by(now) && self.since.elapsed() >= RESTLESS
    }
}

#[cfg(test)]
mod tests {
    use super::super::activity::Activity;
    use super::super::places::Places;
    use super::*;
    use crate::job::OutputRules;

    #[test]
    fn a_file_is_due_once_it_stands_still_and_as_it_is_at_the_end() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let mut looks = Looks::default();
        let patterns = OutputRules::default().patterns().expect("valid");
        let places = Places { outputs: folder.path().to_owned(), workspace: None, shared: None, patterns };
        let mut look = |pass| {
            let mut found = Found::default();
            found.list(&places, &Activity::new());
            let look = looks.look(found, pass);
            for due in &look.due {
                let metadata = std::fs::metadata(folder.path().join(&*due.path)).expect("there");
                looks.take(&due.path, Version::of(due.origin, &metadata));
            }
            let names = |paths: Vec<Arc<str>>| paths.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            (names(look.due.into_iter().map(|due| due.path).collect()), names(look.gone), look.moved)
        };
        let empty = String::new;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
        assert_eq!(look(Pass::Running), (empty(), empty(), false));
        write("a", "1");
        assert_eq!(look(Pass::Running), (empty(), empty(), true));
        assert_eq!(look(Pass::Running), ("a".to_owned(), empty(), false));
        assert_eq!(look(Pass::Running), (empty(), empty(), false));
        write("a", "longer");
        write("b", "1");
        assert!(look(Pass::Last).2);
        assert_eq!(look(Pass::Last), (empty(), empty(), false));
        std::fs::remove_file(folder.path().join("a")).expect("removed");
        assert_eq!(look(Pass::Running), (empty(), "a".to_owned(), true));
    }
}
