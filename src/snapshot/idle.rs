//! Lines that are there to take something back, and do not.

use super::docker_ignore;
use super::error::SnapshotError;
use super::git_patterns;
use super::left::Levels;
use super::rules::{Rule, Verdict};
use super::tree::join;
use super::value::Snapshot;

/// So many paths that are left out are held against such lines, at most.
const MOST: usize = 10_000;

/// A `!` line without effect.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Idle {
    /// The line.
    #[serde(flatten)]
    pub rule: Rule,
    /// A path that it is about and that stays here, or the folder that it is in; a folder's ends with `/`.
    pub path: String,
    /// What leaves that out.
    pub by: Rule,
}

/// A line that takes something back.
enum Exception<'r> {
    Git(&'r git_patterns::Pattern),
    Docker(&'r docker_ignore::Pattern),
}

impl Exception<'_> {
    fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        match self {
            Self::Git(pattern) => pattern.matches(path, is_folder),
            Self::Docker(pattern) => pattern.matches(path),
        }
    }

    /// Whether it is about something in this folder; `is_there` tells whether a path is.
    fn is_about_inside(&self, folder: &[u8], is_there: impl Fn(&[u8]) -> bool) -> bool {
        match self {
            Self::Git(pattern) => match (pattern.literal(), pattern.name()) {
                (Some(path), _) => pattern.leads_below(folder) && is_there(path),
                (None, Some(name)) => is_there(&join(folder, name)),
                (None, None) => pattern.leads_below(folder),
            },
            Self::Docker(pattern) => {
                pattern.literal().is_some_and(|path| pattern.leads_below(folder) && is_there(path))
            }
        }
    }
}

/// A path that is left out, and by what.
struct LeftOut {
    path: Vec<u8>,
    is_folder: bool,
    by: Rule,
}

impl Snapshot {
    /// The lines with a `!` that take nothing back, since what they are about is in a folder that is left out, or a later line leaves
    /// it out again.
    pub fn idle(&self) -> Result<Vec<Idle>, SnapshotError> {
        let tree = self.tree();
        let (mut levels, mut left, mut idle) = (Levels::of(self.origin(), tree)?, None, Vec::new());
        for folder in tree.folders.iter().filter(|folder| folder.totals.has_rules() || tree.path(folder).is_empty()) {
            let place = tree.path(folder);
            let rules = levels.at(place)?;
            let git = rules.exceptions(place).map(|(rule, pattern)| (rule, Exception::Git(pattern)));
            let docker = rules.docker_exceptions().filter(|_| place.is_empty());
            for (rule, exception) in git.chain(docker.map(|(rule, pattern)| (rule, Exception::Docker(pattern)))) {
                let left = match &left {
                    Some(left) => left,
                    None => left.insert(self.left_out(&mut levels)?),
                };
                idle.extend(self.blocked(place, &rule, &exception, left));
            }
        }
        Ok(idle)
    }

    fn left_out(&self, levels: &mut Levels<'_>) -> Result<Vec<LeftOut>, SnapshotError> {
        let (tree, mut left) = (self.tree(), Vec::new());
        for (folder, record) in tree.all().filter(|(_, record)| record.kind().is_left()).take(MOST) {
            let (path, is_folder) = (join(tree.path(folder), tree.name(folder, record)), record.kind().is_folder());
            if let Verdict::Leave(by) = levels.at(tree.path(folder))?.verdict(&path, is_folder) {
                left.push(LeftOut { path, is_folder, by });
            }
        }
        Ok(left)
    }

    /// What keeps an exception in the ignore file of a folder from its effect.
    fn blocked(&self, place: &[u8], rule: &Rule, exception: &Exception<'_>, left: &[LeftOut]) -> Option<Idle> {
        let own = |path: &[u8]| -> Option<Vec<u8>> {
            let inside = path.strip_prefix(place)?;
            if place.is_empty() { Some(inside.to_vec()) } else { inside.strip_prefix(b"/").map(<[u8]>::to_vec) }
        };
        let is_there = |path: &[u8]| {
            let path = join(place, path);
            self.root().join(String::from_utf8_lossy(&path).as_ref()).symlink_metadata().is_ok()
        };
        let is_later = |by: &Rule| by.file == rule.file && by.line > rule.line;
        let takes_some = || {
            let taken = self.entries().filter_map(|entry| Some((own(&entry.path)?, entry)));
            taken
                .into_iter()
                .any(|(path, entry)| exception.matches(&path, entry.content == super::value::Content::Directory))
        };
        let mut inside = left.iter().filter_map(|left| Some((own(&left.path)?, left)));
        let (_, left) = inside.find(|(path, left)| {
            left.is_folder && exception.is_about_inside(path, is_there)
                || is_later(&left.by) && exception.matches(path, left.is_folder) && !takes_some()
        })?;
        let mut path = String::from_utf8_lossy(&left.path).into_owned();
        if left.is_folder {
            path.push('/');
        }
        Some(Idle { rule: rule.clone(), path, by: left.by.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::snapshot::take;

    #[test]
    fn lines_that_take_nothing_back_are_found() {
        for (name, text, told) in [
            (".gitignore", "data/\n!data/x.csv\n", Some((2, "data/", 1))),
            (".gitignore", "data/\n!x.csv\n", Some((2, "data/", 1))),
            (".gitignore", "data/\n!data/*.csv\n", Some((2, "data/", 1))),
            (".gitignore", "data/\n!data/other.csv\n", None),
            (".gitignore", "data/*\n!data/x.csv\n", None),
            (".gitignore", "!a.log\n*.log\n", Some((1, "a.log", 2))),
            (".gitignore", "!*.log\nb.log\n", None),
            (".nautaignore", "data/\n!data/x.csv\n", None),
            (".dockerignore", "*\n!data/x.csv\n", None),
            (".dockerignore", "!data\n*\n", Some((1, "data/", 2))),
            (".dockerignore", "!.git/config\n", None),
        ] {
            let temp = tempfile::tempdir().expect("a temporary directory");
            fs::create_dir(temp.path().join("data")).expect("created");
            for path in ["data/x.csv", "a.log", "b.log"] {
                fs::write(temp.path().join(path), "").expect("written");
            }
            fs::write(temp.path().join(name), text).expect("written");
            let idle = take(temp.path(), None).expect("readable").idle().expect("readable");
            let found: Vec<_> = idle.iter().map(|idle| (idle.rule.line, idle.path.as_str(), idle.by.line)).collect();
            let expected = told.map(|(line, path, by)| (Some(line), path, Some(by)));
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{name}: {text}");
        }
    }
}
