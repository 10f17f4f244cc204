//! What ignore files keep from a run, and the line that would send it.
//!
//! What nauta leaves out by its own lists (caches, virtual environments, `runs`) is nobody's surprise, and not told.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use super::disk::rules_in;
use super::error::SnapshotError;
use super::own_rules::default_pattern;
use super::record::Kind;
use super::rules::{Origin, Rule, Rules, Verdict};
use super::tree::{Folder, Presence, Tree, join};
use super::value::Snapshot;
use crate::bounded_file::Enclosure;

/// Ends of names that data sets and checkpoints have.
const DATA: &[&str] = &[
    "arrow",
    "avro",
    "bin",
    "bz2",
    "ckpt",
    "csv",
    "db",
    "feather",
    "gguf",
    "gz",
    "h5",
    "hdf5",
    "jsonl",
    "lmdb",
    "mat",
    "mdb",
    "msgpack",
    "npy",
    "npz",
    "onnx",
    "orc",
    "parquet",
    "pickle",
    "pkl",
    "pt",
    "pth",
    "rec",
    "safetensors",
    "sqlite",
    "tar",
    "tfrecord",
    "tfrecords",
    "tsv",
    "txt",
    "wav",
    "xz",
    "zarr",
    "zip",
    "zst",
];

/// A smaller file is not said without being asked for.
const LARGE: u64 = 1 << 20;

/// So many files that look like data are measured, at most.
const MOST_DATA: usize = 1000;

/// Whether a file of this name may be what a program reads.
pub(super) fn looks_like_data(name: &[u8]) -> bool {
    let Some(dot) = name.iter().rposition(|byte| *byte == b'.').filter(|dot| *dot > 0) else { return false };
    std::str::from_utf8(&name[dot + 1..]).is_ok_and(|end| DATA.iter().any(|known| known.eq_ignore_ascii_case(end)))
}

/// What one rule leaves out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Left {
    /// The rule.
    #[serde(flatten)]
    pub rule: Rule,
    /// What it leaves out: files and whole folders, relative to the project.
    pub paths: Vec<LeftPath>,
    /// How many files that are, those in the folders among them.
    pub files: u64,
    /// Their bytes.
    pub size: u64,
    /// Whether there is more: not everything was counted.
    pub more: bool,
    /// The line in the project's `.nautaignore` that sends it; none where such a file has the rule itself.
    pub sent_by: Option<String>,
}

/// One path that is left out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LeftPath {
    /// Relative to the project; a folder's ends with `/`.
    pub path: String,
    /// Its bytes, and those of all that is in it.
    pub size: u64,
}

impl LeftPath {
    fn is_folder(&self) -> bool {
        self.path.ends_with('/')
    }
}

impl Left {
    /// What one rule does to one path; folders' names end with `/`.
    pub fn one(rule: Rule, path: String, size: u64) -> Self {
        let mut left = Self { rule, paths: vec![LeftPath { path, size }], files: 1, size, more: false, sent_by: None };
        left.sent_by = sent_by(&left.rule, &left.paths);
        left
    }

    /// What to do to have it sent, as the end of a sentence.
    pub fn remedy(&self) -> String {
        match (&self.sent_by, &self.rule.file) {
            (Some(line), _) => {
                format!("`{line}` in .nautaignore sends {}", if self.files == 1 { "it" } else { "them" })
            }
            (None, Some(file)) => format!("a later line `!{}` in {file} takes that back", self.rule.pattern),
            (None, None) => format!("`!{}` in .nautaignore takes that back", self.rule.pattern),
        }
    }
}

/// How much is walked for sizes, at most.
struct Walk {
    left: usize,
}

impl Walk {
    /// Files and bytes in a folder, links not followed.
    fn measure(&mut self, folder: &Path) -> (u64, u64) {
        let (mut files, mut size) = (0, 0);
        let mut folders = vec![folder.to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                if self.left == 0 {
                    return (files, size);
                }
                self.left -= 1;
                match entry.metadata() {
                    Ok(found) if found.is_dir() => folders.push(entry.path()),
                    Ok(found) => (files, size) = (files + 1, size + found.len()),
                    Err(_) => {}
                }
            }
        }
        (files, size)
    }
}

/// What is being gathered: by the rule, in the order of the first path.
#[derive(Default)]
struct Gathered {
    all: Vec<Left>,
    places: HashMap<(Option<String>, Option<usize>, String), usize>,
}

impl Gathered {
    fn add(&mut self, rule: Rule, path: LeftPath, (files, more): (u64, bool)) {
        let key = (rule.file.clone(), rule.line, rule.pattern.clone());
        let at = *self.places.entry(key).or_insert(self.all.len());
        if at == self.all.len() {
            self.all.push(Left { rule, paths: Vec::new(), files: 0, size: 0, more: false, sent_by: None });
        }
        let left = &mut self.all[at];
        left.files += files;
        left.size += path.size;
        left.more |= more;
        left.paths.push(path);
    }

    /// The largest first.
    fn finish(mut self) -> Vec<Left> {
        for left in &mut self.all {
            left.paths.sort_by_key(|path| std::cmp::Reverse(path.size));
            left.sent_by = sent_by(&left.rule, &left.paths);
        }
        self.all.sort_by_key(|left| std::cmp::Reverse(left.size));
        self.all
    }
}

/// The rules of the project's folders, each made once.
pub(super) struct Levels<'s> {
    project: Enclosure,
    tree: &'s Tree,
    made: HashMap<Vec<u8>, Rules>,
    top: Rules,
}

impl<'s> Levels<'s> {
    pub(super) fn of(origin: &Origin, tree: &'s Tree) -> Result<Self, SnapshotError> {
        let project = Enclosure::open(&origin.root).map_err(|error| SnapshotError::unreadable(b"", error))?;
        Ok(Self { project, tree, made: HashMap::new(), top: Rules::top(origin)? })
    }

    /// Those that hold in the folder of this path.
    pub(super) fn at(&mut self, path: &[u8]) -> Result<Rules, SnapshotError> {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        let mut rules = self.top.clone();
        let steps = std::iter::once(0).chain(ends).chain((!path.is_empty()).then_some(path.len()));
        for end in steps {
            let step = &path[..end];
            rules = if let Some(rules) = self.made.get(step) {
                rules.clone()
            } else {
                let folder = self.tree.folder(step);
                let records = folder.map(|folder| self.tree.records(folder)).unwrap_or_default();
                let names = records.iter().filter_map(|record| Some(self.tree.name(folder?, record)));
                let is_passage = |folder: &&Folder| matches!(folder.presence(), Presence::Passage | Presence::Hollow);
                let left = folder.filter(is_passage).map(|_| rules.judge(step, true));
                let left = left.filter(|left| left.verdict != Verdict::Take);
                let rules = rules_in(&self.project, step, names, &rules, left)?;
                self.made.insert(step.to_vec(), rules.clone());
                rules
            };
        }
        Ok(rules)
    }
}

/// Names that rules left out, each with its folder and its kind.
fn names<'t>(tree: &'t Tree, folder: &'t Folder) -> impl Iterator<Item = (&'t [u8], Kind)> {
    let records = tree.records(folder).iter().map(move |record| (tree.name(folder, record), record.kind()));
    records.filter(|(_, kind)| kind.is_left())
}

impl Snapshot {
    /// Everything that ignore files leave out, by rule. Folders are walked for their sizes, as far as `most` names.
    pub fn left(&self, most: usize) -> Result<Vec<Left>, SnapshotError> {
        let (tree, root) = (self.tree(), self.root());
        let (mut levels, mut gathered) = (Levels::of(self.origin(), tree)?, Gathered::default());
        let mut walk = Walk { left: most };
        for folder in &tree.folders {
            for (name, kind) in names(tree, folder) {
                let path = join(tree.path(folder), name);
                let Verdict::Leave(rule) = levels.at(tree.path(folder))?.verdict(&path, kind.is_folder()) else {
                    continue;
                };
                if rule.file.is_none() || default_pattern(&path, kind.is_folder()).is_some() {
                    continue;
                }
                let text = String::from_utf8_lossy(&path).into_owned();
                if kind.is_folder() {
                    let (files, size) = walk.measure(&root.join(&text));
                    let path = LeftPath { path: text + "/", size };
                    gathered.add(rule, path, (files, walk.left == 0));
                } else {
                    let size = root.join(&text).symlink_metadata().map_or(0, |found| found.len());
                    gathered.add(rule, LeftPath { path: text, size }, (1, false));
                }
            }
        }
        Ok(gathered.finish())
    }

    /// The large files among them that look like data: only what the walk has seen anyway is looked at.
    pub fn left_data(&self) -> Result<Vec<Left>, SnapshotError> {
        let (tree, root) = (self.tree(), self.root());
        let folders = || tree.folders.iter().filter(|folder| folder.totals.leaves_data());
        if folders().next().is_none() {
            return Ok(Vec::new());
        }
        let (mut levels, mut gathered) = (Levels::of(self.origin(), tree)?, Gathered::default());
        let all = folders().flat_map(|folder| names(tree, folder).map(move |(name, kind)| (folder, name, kind)));
        let data = all.filter(|(_, name, kind)| !kind.is_folder() && looks_like_data(name));
        for (folder, name, _) in data.take(MOST_DATA) {
            let path = join(tree.path(folder), name);
            let text = String::from_utf8_lossy(&path).into_owned();
            let size =
                root.join(&text).symlink_metadata().map_or(0, |found| if found.is_file() { found.len() } else { 0 });
            if size < LARGE {
                continue;
            }
            if let Verdict::Leave(rule) = levels.at(tree.path(folder))?.verdict(&path, false) {
                gathered.add(rule, LeftPath { path: text, size }, (1, false));
            }
        }
        Ok(gathered.finish())
    }
}

/// The line in the project's `.nautaignore` that sends these paths, which one rule leaves out: as narrow as one line can be.
fn sent_by(rule: &Rule, paths: &[LeftPath]) -> Option<String> {
    if rule.file.as_deref().is_some_and(|file| file.ends_with(".nautaignore")) {
        return None;
    }
    let above = |path: &LeftPath| match path.path.trim_end_matches('/').rsplit_once('/') {
        Some((above, _)) => above.to_owned(),
        None => String::new(),
    };
    let first = paths.first()?;
    let name = rule.pattern.trim_end_matches('/');
    let name = name.rsplit_once('/').map_or(name, |(_, name)| name);
    let is_one_folder = paths.iter().all(|path| above(path) == above(first));
    let (is_one, has_star) = (paths.len() == 1, name.contains('*') && name.len() > 1);
    if is_one_folder && has_star && !paths.iter().any(LeftPath::is_folder) {
        return Some(format!("!{}/{name}", literal(&above(first))));
    }
    if is_one {
        let root = if first.path.trim_end_matches('/').contains('/') { "" } else { "/" };
        return Some(format!("!{root}{}", literal(&first.path)));
    }
    // Seen from the project's folder.
    match rule.file.as_deref().and_then(|file| file.rsplit_once('/')) {
        None => Some(format!("!{}", rule.pattern)),
        Some((folder, _)) if !folder.starts_with('/') => {
            let deep = if rule.pattern.trim_end_matches('/').contains('/') { "/" } else { "/**/" };
            Some(format!("!{folder}{deep}{}", rule.pattern.trim_start_matches('/')))
        }
        Some(_) => Some(format!("!**/{}", rule.pattern.trim_start_matches('/'))),
    }
}

/// A path as a pattern that means just it.
fn literal(path: &str) -> String {
    let escaped = |c: char| ['\\', '*', '?', '[', ']', '{', '}'].contains(&c).then_some('\\').into_iter().chain([c]);
    path.chars().flat_map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::{explain, take};

    fn project(files: &[(&str, usize)], ignore: &str) -> tempfile::TempDir {
        let temp = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(temp.path().join(".git")).expect("created");
        fs::write(temp.path().join(".gitignore"), ignore).expect("written");
        for (path, size) in files {
            let path = temp.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("created");
            fs::write(path, vec![b'x'; *size]).expect("written");
        }
        temp
    }

    /// Every line that is offered sends everything that it is offered for, and is found in the tree then.
    #[test]
    fn the_line_that_is_offered_sends_what_was_left_out() {
        let files = [
            ("train.py", 1),
            ("data/train.bin", 2 << 20),
            ("data/val.bin", 10),
            ("deep/er/x.bin", 10),
            ("input.txt", 5),
            ("cache/a/b.npz", 7),
            ("sub/out/c", 7),
            ("__pycache__/a.pyc", 3),
            ("pics/one.png", 3),
            ("pics/two.png", 3),
        ];
        let ignores = ["data/*.bin", "*.bin", "input.txt", "cache/", "out", "pics/*", "/data", "*.png\n__pycache__/"];
        for ignore in ignores {
            let temp = project(&files, ignore);
            let left = take(temp.path(), None).expect("readable").left(100).expect("readable");
            assert_eq!(left.len(), 1, "{ignore}: {left:?}");
            let line = left[0].sent_by.clone().expect("a line");
            fs::write(temp.path().join(".nautaignore"), &line).expect("written");
            for LeftPath { path, .. } in &left[0].paths {
                let (_, verdict) = explain(temp.path(), path).expect("readable");
                assert_eq!(verdict, Verdict::Take, "{ignore}: `{line}` for {path}");
            }
            assert_eq!(take(temp.path(), None).expect("readable").left(100).expect("readable"), [], "{ignore}: {line}");
        }
    }

    #[test]
    fn rules_are_told_with_their_files_lines_and_sizes() {
        let temp = project(
            &[("data/train.bin", 2 << 20), ("data/small.bin", 9), ("big/a/b", 100), ("big/c", 1)],
            "\n*.bin\nbig/\n",
        );
        let snapshot = take(temp.path(), None).expect("readable");
        let left = snapshot.left(100).expect("readable");
        let told = |left: &Left| (left.rule.line, left.files, left.size, left.sent_by.clone().unwrap_or_default());
        let bins = (Some(2), 2, (2 << 20) + 9, "!data/*.bin".to_owned());
        assert_eq!(left.iter().map(told).collect::<Vec<_>>(), [bins, (Some(3), 2, 101, "!/big/".to_owned())]);
        assert!(!left[0].more && snapshot.left(1).expect("readable")[1].more, "what is not counted is said");
        // Unasked, only what is large and looks like data.
        let data = snapshot.left_data().expect("readable");
        assert_eq!(data.iter().map(|left| (left.files, left.size)).collect::<Vec<_>>(), [(1, 2 << 20)]);
    }

    #[test]
    fn data_is_known_by_its_name() {
        for name in ["a.bin", "x.PT", "b.tar.gz", "model.safetensors"] {
            assert!(looks_like_data(name.as_bytes()), "{name}");
        }
        for name in ["a.py", "bin", ".bin", "x.log", "a.pyc", ""] {
            assert!(!looks_like_data(name.as_bytes()), "{name}");
        }
    }
}
