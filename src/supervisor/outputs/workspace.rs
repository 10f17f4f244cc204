//! What a program makes or changes in its working directory, told from what it found there, and what ranks share.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use super::activity::Activity;
use super::files::{Found, Item, Version};
use super::looks::Pass;
use super::places::Places;
use super::usual::{self, Kind};
use crate::sync::{LeftBy, LeftOut, Origin};

/// Folders that hold data by their names come back up to this size in bytes, and so many files.
const LARGE: (u64, u64) = (100 * 1024 * 1024, 10_000);

/// A folder that a program works in.
pub(super) struct Workspace {
    origin: Origin,
    /// What was there before the program was, by path, size and time: hashes, as there may be very much.
    before: HashSet<u64>,
    hashing: RandomState,
}

/// What a folder is part of.
#[derive(Clone, Copy, Default)]
struct Within<'a> {
    /// A folder that looks like data.
    data: Option<&'a str>,
    /// A cache: only what the user asks for by name is taken from it.
    cache: bool,
}

/// A walk through the directory.
struct Walk<'a> {
    workspace: &'a Workspace,
    places: &'a Places,
    activity: &'a Activity,
    found: Found,
    /// What looks like data, by the folder or file that does, and whether that was downloaded for certain.
    data: BTreeMap<String, Data>,
}

#[derive(Default)]
struct Data {
    files: Vec<(String, Version)>,
    bytes: u64,
    is_download: bool,
}

impl Workspace {
    /// Remembers what is there now, before the program is.
    pub(super) fn remember(places: &Places, activity: &Activity) -> Self {
        let none = Self::empty(Origin::Workspace);
        let mut walk = Walk::new(&none, places, activity);
        walk.folder("", Within::default());
        let data = walk.data.values().flat_map(|data| &data.files);
        let before = walk.found.files.iter().chain(data).map(|(path, version)| none.hash(path, version)).collect();
        Self { before, ..none }
    }

    /// What all ranks share: empty before the run.
    pub(super) fn shared() -> Self {
        Self::empty(Origin::Shared)
    }

    fn empty(origin: Origin) -> Self {
        Self { origin, before: HashSet::new(), hashing: RandomState::new() }
    }

    /// Adds what the program has made or changed. What looks like data is looked at when the program has ended, and is known to
    /// be whole.
    pub(super) fn look(&self, places: &Places, pass: Pass, activity: &Activity, found: &mut Found) {
        let mut walk = Walk::new(self, places, activity);
        walk.folder("", Within::default());
        let Walk { found: own, data, .. } = walk;
        let mut files = own.files;
        for (path, data) in data.into_iter().filter(|_| pass == Pass::Last) {
            let count = data.files.len() as u64;
            if data.is_download || data.bytes > LARGE.0 || count > LARGE.1 {
                found.left_out.push(LeftOut { path, files: count, bytes: data.bytes, by: LeftBy::Looks });
            } else {
                files.extend(data.files);
            }
        }
        // A copy of the same name in `$NAUTA_OUTPUTS` was put there to come back.
        let theirs: HashSet<&str> = found.files.iter().map(|(path, _)| path.as_str()).collect();
        files.retain(|(path, _)| !theirs.contains(path.as_str()));
        found.files.extend(files);
        found.skipped.extend(own.skipped);
    }

    fn hash(&self, path: &str, version: &Version) -> u64 {
        self.hashing.hash_one((path, version.content()))
    }

    fn was_there(&self, path: &str, version: &Version) -> bool {
        self.before.contains(&self.hash(path, version))
    }
}

impl<'a> Walk<'a> {
    fn new(workspace: &'a Workspace, places: &'a Places, activity: &'a Activity) -> Self {
        Self { workspace, places, activity, found: Found::default(), data: BTreeMap::new() }
    }

    fn folder(&mut self, prefix: &str, mut within: Within<'_>) {
        let items = self.found.read_folder(self.places, self.workspace.origin, prefix, self.activity);
        let name = |item: &Item| item.path[prefix.len()..].to_owned();
        let leads = self.places.patterns.leads_into(prefix.trim_end_matches('/'));
        within.cache |= !prefix.is_empty() && items.iter().any(|item| usual::marks_cache(&name(item)));
        if within.cache && !leads {
            return;
        }
        for item in items {
            let name = name(&item);
            if item.metadata.is_dir() {
                self.enter(&item.path, &name, within);
            } else {
                self.file(item, &name, within);
            }
        }
    }

    fn enter(&mut self, path: &str, name: &str, within: Within<'_>) {
        let patterns = &self.places.patterns;
        let kind = usual::folder(name);
        let cache = within.cache || kind == Kind::Cache;
        if cache && !patterns.leads_into(path) || patterns.excludes(path, true) && !patterns.has_includes() {
            return;
        }
        let prefix = format!("{path}/");
        let is_data = matches!(kind, Kind::Data | Kind::Download);
        let begins = is_data && (within.data.is_none() || kind == Kind::Download);
        let data = if begins { Some(&*prefix) } else { within.data };
        if kind == Kind::Download {
            self.data.entry(prefix.clone()).or_default().is_download = true;
        }
        self.folder(&prefix, Within { data, cache });
        if self.data.get(&prefix).is_some_and(|data| data.files.is_empty()) {
            self.data.remove(&prefix);
        }
    }

    fn file(&mut self, item: Item, name: &str, within: Within<'_>) {
        let Item { path, metadata } = item;
        let version = Version::of(self.workspace.origin, &metadata);
        if self.workspace.was_there(&path, &version) || !(metadata.is_file() || version.is_link) {
            return;
        }
        let patterns = &self.places.patterns;
        let is_included = patterns.includes(&path);
        let is_cached = within.cache || usual::is_cached_file(name);
        if !is_included && (is_cached || patterns.excludes(&path, false)) {
            return;
        }
        let is_archive = version.size() > LARGE.0 && usual::is_archive(name);
        let group = within.data.map(str::to_owned).or_else(|| is_archive.then(|| path.clone()));
        match group.filter(|_| !is_included && metadata.is_file()) {
            Some(group) => {
                let data = self.data.entry(group).or_default();
                data.bytes += version.size();
                data.files.push((path, version));
            }
            None => self.found.add(self.places, path, version, metadata.is_file()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::job::OutputRules;

    struct Project {
        folder: tempfile::TempDir,
        places: Places,
        workspace: Workspace,
    }

    impl Project {
        fn new(rules: &OutputRules, files: &[&str]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let (outputs, workspace) = (folder.path().join("outputs"), folder.path().join("p"));
            fs::create_dir_all(&outputs).expect("made");
            for path in files {
                write(&workspace.join(path), "before");
            }
            let patterns = rules.patterns().expect("valid");
            let places = Places { outputs, workspace: Some(workspace), shared: None, patterns };
            let workspace = Workspace::remember(&places, &Activity::new());
            Self { folder, places, workspace }
        }

        fn write(&self, path: &str, text: &str) {
            write(&self.folder.path().join("p").join(path), text);
        }

        fn look(&self, pass: Pass) -> (String, Vec<LeftOut>) {
            let (mut found, activity) = (Found::default(), Activity::new());
            found.list(&self.places, &activity);
            self.workspace.look(&self.places, pass, &activity, &mut found);
            let mut names: Vec<String> = found.files.into_iter().map(|(path, _)| path).collect();
            names.sort();
            (names.join(" "), found.left_out)
        }
    }

    fn write(path: &std::path::Path, text: &str) {
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    #[test]
    fn what_the_program_makes_or_changes_comes_back() {
        let project = Project::new(&OutputRules::default(), &["train.py", "log.txt", "conf/a.yaml"]);
        assert_eq!(project.look(Pass::Last).0, "");
        for path in ["model.pt", "log.txt", "out/ckpt.pt", "__pycache__/train.pyc", ".venv/lib/x.py"] {
            project.write(path, "made");
        }
        project.write("mine/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55");
        project.write("mine/x", "made");
        symlink("ckpt.pt", project.folder.path().join("p/out/last.pt")).expect("made");
        assert_eq!(project.look(Pass::Running).0, "log.txt model.pt out/ckpt.pt out/last.pt");
        // A copy in `$NAUTA_OUTPUTS` is the one that comes.
        write(&project.places.outputs.join("model.pt"), "copied");
        assert_eq!(project.look(Pass::Running).0, "log.txt model.pt out/ckpt.pt out/last.pt");
    }

    #[test]
    fn data_comes_back_when_it_is_little_and_was_not_downloaded() {
        let project = Project::new(&OutputRules::default(), &["data/known.csv"]);
        for path in ["data/prepared.bin", "data/MNIST/raw/train", "data/known.csv", "corpus.tar.gz"] {
            project.write(path, "made since");
        }
        assert_eq!(project.look(Pass::Running).0, "corpus.tar.gz");
        let left = |path: &str, files, bytes| LeftOut { path: path.to_owned(), files, bytes, by: LeftBy::Looks };
        let (files, left_out) = project.look(Pass::Last);
        assert_eq!(files, "corpus.tar.gz data/known.csv data/prepared.bin");
        assert_eq!(left_out, [left("data/MNIST/", 1, 10)]);
        let large = fs::File::create(project.folder.path().join("p/data/large.bin")).expect("made");
        large.set_len(LARGE.0).expect("grown");
        fs::File::options()
            .write(true)
            .open(project.folder.path().join("p/corpus.tar.gz"))
            .and_then(|file| file.set_len(LARGE.0 + 1))
            .expect("grown");
        let (files, left_out) = project.look(Pass::Last);
        assert_eq!(files, "");
        let expected =
            [left("corpus.tar.gz", 1, LARGE.0 + 1), left("data/", 3, LARGE.0 + 20), left("data/MNIST/", 1, 10)];
        assert_eq!(left_out, expected);
    }

    #[test]
    fn the_user_has_the_last_word() {
        let mut rules = OutputRules::default();
        rules.add(&["data/MNIST".to_owned(), ".cache/mine/".to_owned(), "!*.log".to_owned(), "!tmp/".to_owned()]);
        let project = Project::new(&rules, &[]);
        for path in ["data/MNIST/raw/train", ".cache/mine/x", ".cache/other/x", "a.log", "tmp/x", "b.txt"] {
            project.write(path, "made");
        }
        assert_eq!(project.look(Pass::Last), (".cache/mine/x b.txt data/MNIST/raw/train".to_owned(), Vec::new()));
        let only =
            OutputRules { include: vec!["*.pt".to_owned()], exclude: vec!["*".to_owned()], ..OutputRules::default() };
        let project = Project::new(&only, &[]);
        for path in ["a.log", "out/b.pt", "c.pt"] {
            project.write(path, "made");
        }
        assert_eq!(project.look(Pass::Last).0, "c.pt out/b.pt");
    }
}
