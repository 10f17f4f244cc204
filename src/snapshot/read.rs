//! Taking a snapshot: the walk, and the index that makes the next one quick.

use std::path::Path;
use std::sync::Arc;

use super::disk::rules_in;
use super::error::SnapshotError;
use super::kept::Kept;
use super::level::IGNORE_FILES;
use super::own_rules::{ENVIRONMENT_MARKS, environment_mark};
use super::record::Row;
use super::rules::{Origin, Rules, Verdict};
use super::tree::Tree;
use super::value::Snapshot;
use super::walk::{Listed, New, walk};
use super::{index, tree};
use crate::bounded_file::Enclosure;

/// Reads a folder of a project (relative to it) that a build is told to read: Git's rules do not count in it, since what is built from is
/// often what Git ignores.
pub fn take_for_build(project: &Origin, folder: &str, state: Option<&Path>) -> Result<Snapshot, SnapshotError> {
    take_by(project.of_build(folder), state, "build")
}

/// Reads a project's files. With `state`, nauta's folder for what may be lost, what has not changed
/// since the last time is not read again.
pub fn take(origin: impl Into<Origin>, state: Option<&Path>) -> Result<Snapshot, SnapshotError> {
    take_by(origin.into(), state, index::ENDING)
}

/// `ending`: of the index's name.
fn take_by(origin: Origin, state: Option<&Path>, ending: &str) -> Result<Snapshot, SnapshotError> {
    let root = origin.root.as_path();
    let kept = state.map(|state| index::path(state, root).with_extension(ending));
    let (known, file) = kept.as_deref().and_then(index::load).unzip();
    let mut known = known.unwrap_or_default();
    let listed = walk(root, Rules::top(&origin)?, &known)?;
    let mut is_same = vec![false; known.folders.len()];
    let mut news = Vec::new();
    for folder in listed {
        match folder {
            Listed::Same(at) => is_same[at] = true,
            Listed::New(new) => news.push(new),
        }
    }
    if news.is_empty() && is_same.iter().all(|same| *same) {
        return Ok(Snapshot::new(origin, Arc::new(known), Kept::new(file)));
    }
    news.sort_unstable_by(|a, b| a.path.cmp(&b.path).then_with(|| a.first().cmp(&b.first())));
    let mut tree = if replace(&news, &mut known, &is_same) { known } else { assemble(&news, &known, &is_same) };
    tree.settle();
    let tree = Arc::new(tree);
    let kept = kept.map_or_else(|| Kept::new(None), |path| Kept::write(path, &tree));
    Ok(Snapshot::new(origin, tree, kept))
}

/// Makes the new tree of the known one where no name has come or gone, as after most edits; tells whether it has.
fn replace(news: &[New], known: &mut Tree, is_same: &[bool]) -> bool {
    let mut places = Vec::new();
    for parts in news.chunk_by(|a, b| a.path == b.path) {
        match known.position(&parts[0].path) {
            Some(at) if known.has_names(&known.folders[at], rows(parts)) => places.push((at, parts)),
            _ => return false,
        }
    }
    if places.len() != is_same.iter().filter(|same| !**same).count() {
        return false;
    }
    for (at, parts) in places {
        known.replace(at, parts[0].head, rows(parts));
    }
    true
}

/// The new tree, in order: what is new, and of the known one what is the same.
fn assemble(news: &[New], known: &Tree, is_same: &[bool]) -> Tree {
    let mut tree = Tree::default();
    tree.names.reserve(known.names.len());
    tree.records.reserve(known.records.len());
    let mut at = 0;
    let mut keep_to = |tree: &mut Tree, end: usize| {
        for run in is_same[at..end].chunk_by(|one, other| one == other) {
            if run[0] {
                tree.push_from(known, at..at + run.len());
            }
            at += run.len();
        }
    };
    for parts in news.chunk_by(|a, b| a.path == b.path) {
        let New { path, head, .. } = &parts[0];
        keep_to(&mut tree, known.folders.partition_point(|folder| known.path(folder) < path.as_slice()));
        tree.push(path, *head, rows(parts));
    }
    keep_to(&mut tree, known.folders.len());
    tree
}

fn rows(parts: &[New]) -> impl Iterator<Item = &Row> + Clone {
    parts.iter().flat_map(|part| &part.rows)
}

/// What becomes of a path (relative to the project, with `/`), and of the first folder on the way that is not taken.
pub fn explain(origin: impl Into<Origin>, wanted: &str) -> Result<(String, Verdict), SnapshotError> {
    let mut last = (String::new(), Verdict::Take);
    descend(&origin.into(), wanted, |rules, path, is_folder| {
        last = (path.to_owned(), rules.verdict(path.as_bytes(), is_folder));
        last.1 == Verdict::Take
    })
    .map(|environment| environment.unwrap_or(last))
}

/// Whether a `!pattern` in a `.nautaignore` takes a path in, or a folder on the way: the user means it.
pub fn is_allowed(origin: impl Into<Origin>, wanted: &str) -> Result<bool, SnapshotError> {
    let mut is_allowed = false;
    descend(&origin.into(), wanted, |rules, path, is_folder| {
        is_allowed = rules.takes(path.as_bytes(), is_folder);
        !is_allowed
    })?;
    Ok(is_allowed)
}

/// Shows `look` each folder on the way to a path, and at last the path itself, with the rules that hold there, until it has
/// seen enough; a folder that is left out and entered nonetheless is passed. Gives the folder on the way that is an environment.
fn descend(
    origin: &Origin,
    wanted: &str,
    mut look: impl FnMut(&Rules, &str, bool) -> bool,
) -> Result<Option<(String, Verdict)>, SnapshotError> {
    let root = &origin.root;
    let project = Enclosure::open(root).map_err(|error| SnapshotError::unreadable(b"", error))?;
    let (mut rules, mut left, mut folder) = (Rules::top(origin)?, None, String::new());
    let mut parts = wanted.split('/').filter(|part| !part.is_empty() && *part != ".").peekable();
    while let Some(part) = parts.next() {
        let is_there = |name: &str| root.join(&folder).join(name).symlink_metadata().is_ok();
        let repository = is_there(".git").then_some(".git");
        let names = IGNORE_FILES.iter().copied().chain(repository).map(str::as_bytes);
        rules = rules_in(&project, folder.as_bytes(), names, &rules, left.take())?;
        let path = String::from_utf8_lossy(&tree::join(folder.as_bytes(), part.as_bytes())).into_owned();
        let is_folder = parts.peek().is_some() || root.join(&path).symlink_metadata().is_ok_and(|found| found.is_dir());
        if is_folder {
            left = rules.entered(path.as_bytes());
        }
        let is_taken = look(&rules, &path, is_folder);
        if !is_taken && (left.is_none() || parts.peek().is_none()) {
            break;
        }
        if is_folder {
            let names = ENVIRONMENT_MARKS.iter().filter(|name| root.join(&path).join(name).symlink_metadata().is_ok());
            let mark = environment_mark(names.map(|name| name.as_bytes()));
            if let Some(mark) = mark.filter(|_| !rules.takes(path.as_bytes(), true)) {
                return Ok(Some((path, Verdict::Environment { mark: mark.to_owned() })));
            }
        }
        folder = path;
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;
    use crate::snapshot::difference::{between, differences};

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            let path = temp.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("created");
            fs::write(path, text).expect("written");
        }
        temp
    }

    fn paths(snapshot: &Snapshot) -> Vec<String> {
        snapshot.entries().map(|entry| entry.display()).collect()
    }

    #[test]
    fn ignore_files_and_defaults_leave_things_out() {
        let temp = tree(&[
            (".gitignore", "*.log\n"),
            (".dockerignore", "data/\n"),
            (".nautaignore", "scratch\n!keep.pem\n"),
            ("a.log", ""),
            ("data/x", ""),
            ("scratch", ""),
            ("src/__pycache__/a.pyc", ""),
            ("runs/old/x", ""),
            ("src/runs/x.py", ""),
            (".env", "TOKEN=1"),
            ("keys/id_rsa", ""),
            ("keep.pem", ""),
            ("src/a.py", ""),
        ]);
        fs::create_dir(temp.path().join(".git")).expect("created");
        let snapshot = take(temp.path(), None).expect("readable");
        let expected = [
            ".dockerignore",
            ".gitignore",
            ".nautaignore",
            "keep.pem",
            "keys",
            "src",
            "src/a.py",
            "src/runs",
            "src/runs/x.py",
        ];
        assert_eq!(paths(&snapshot), expected);
        let withheld: Vec<String> = snapshot.withheld().into_iter().map(|(path, _)| path).collect();
        assert_eq!(withheld, [".env", "keys/id_rsa"]);
    }

    #[test]
    fn the_digest_depends_on_content_names_modes_and_links_only() {
        let a = tree(&[("x/a.py", "one"), ("b.py", "two")]);
        let b = tree(&[("b.py", "two"), ("x/a.py", "one")]);
        let digest = |temp: &tempfile::TempDir| take(temp.path(), None).expect("readable").digest().clone();
        assert_eq!(digest(&a), digest(&b));
        let same = digest(&a);
        fs::set_permissions(b.path().join("b.py"), fs::Permissions::from_mode(0o755)).expect("set");
        assert_ne!(digest(&b), same);
        std::os::unix::fs::symlink("b.py", a.path().join("link")).expect("linked");
        assert_ne!(digest(&a), same);
    }

    #[test]
    fn a_large_folder_is_read_in_parts_and_is_one() {
        let name = |i: usize| format!("data/{}", (i * 7919) % 1000);
        let files: Vec<(String, String)> = (0..1000).map(|i| (name(i), i.to_string())).collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        let (temp, state) = (tree(&files), tempfile::tempdir().expect("a temporary directory"));
        let first = take(temp.path(), Some(state.path())).expect("readable");
        let mut expected: Vec<String> = files.iter().map(|(path, _)| (*path).to_owned()).collect();
        expected.extend(["data".to_owned()]);
        expected.sort_unstable();
        assert_eq!(paths(&first), expected);
        let digest = first.digest().clone();
        drop(first);
        // Another name makes the list another one, and what is in it stays.
        fs::write(temp.path().join("data/more"), "").expect("written");
        let second = take(temp.path(), Some(state.path())).expect("readable");
        assert_eq!(paths(&second).len(), expected.len() + 1);
        drop(second);
        fs::remove_file(temp.path().join("data/more")).expect("removed");
        assert_eq!(take(temp.path(), Some(state.path())).expect("readable").digest(), &digest);
    }

    #[test]
    fn odd_things_are_taken_right_or_named() {
        let temp = tree(&[]);
        let name = std::ffi::OsStr::from_bytes(b"new\nline \xff");
        fs::write(temp.path().join(name), "x").expect("written");
        fs::create_dir(temp.path().join("empty")).expect("created");
        fs::write(temp.path().join(".wh.odd"), "x").expect("written");
        nix::unistd::mkfifo(&temp.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        let _socket = std::os::unix::net::UnixListener::bind(temp.path().join("socket")).expect("made");
        let snapshot = take(temp.path(), None).expect("readable");
        assert_eq!(snapshot.unsendable(), [".wh.odd", "fifo", "socket"]);
        let paths: Vec<Vec<u8>> = snapshot.entries().map(|entry| entry.path).collect();
        assert_eq!(paths, [b"empty".to_vec(), b"new\nline \xff".to_vec()]);
    }

    #[test]
    fn what_is_at_a_path_and_below_it_is_found() {
        let temp = tree(&[("a", "1"), ("b/c/d", "22"), ("b/c.txt", "333"), ("bc/x", "4444"), ("b/e/f/g", "")]);
        let snapshot = take(temp.path(), None).expect("readable");
        for names in [&["b/c"][..], &["a", "b"], &["b/c.txt", "bc"], &["b/e/f/g", "b/e"], &[""], &["no", "a/b"], &[]] {
            let is_at = |path: &str, name: &str| name.is_empty() || Path::new(path).starts_with(name);
            let all = paths(&snapshot).into_iter();
            let expected: Vec<String> = all.filter(|path| names.iter().any(|name| is_at(path, name))).collect();
            let found: Vec<String> = snapshot.entries_at(names).map(|entry| entry.display()).collect();
            assert_eq!(found, expected, "{names:?}");
        }
        let largest: Vec<String> = snapshot.largest(3).iter().map(crate::snapshot::Entry::display).collect();
        assert_eq!(largest, ["bc/x", "b/c.txt", "b/c/d"]);
    }

    #[test]
    fn the_rule_that_leaves_a_path_out_is_named_with_its_place() {
        let temp = tree(&[
            (".gitignore", "# made\n*.log\n"),
            ("src/.nautaignore", "!keep.log\nscratch/\n"),
            ("src/keep.log", ""),
            ("src/scratch/deep/x", ""),
            (".env", ""),
        ]);
        let why = |path: &str| explain(temp.path(), path).expect("readable");
        let rule = |pattern: &str, file: Option<&str>, line| super::super::rules::Rule {
            pattern: pattern.to_owned(),
            file: file.map(str::to_owned),
            line,
        };
        assert_eq!(why("a.log"), ("a.log".to_owned(), Verdict::Leave(rule("*.log", Some(".gitignore"), Some(2)))));
        assert_eq!(why("src/keep.log").1, Verdict::Take);
        let scratch = Verdict::Leave(rule("scratch/", Some("src/.nautaignore"), Some(2)));
        assert_eq!(why("src/scratch/deep/x"), ("src/scratch".to_owned(), scratch));
        assert_eq!(why("./.env").1, Verdict::Withhold(rule(".env", None, None)));
        let taken = take(temp.path(), None).expect("readable");
        assert!(taken.entry("src/keep.log").is_some() && taken.entry("src/scratch").is_none());
    }

    #[test]
    fn a_broken_rule_is_named_where_its_tool_refuses_it_too() {
        let temp = tree(&[(".gitignore", "[a\n"), ("x", "")]);
        assert!(take(temp.path(), None).is_ok());
        for name in [".nautaignore", ".dockerignore"] {
            fs::write(temp.path().join(name), "ok\n[a\n").expect("written");
            let error = take(temp.path(), None).expect_err("broken").to_string();
            assert!(error.contains(&format!("`{name}` line 2")), "{error}");
            fs::remove_file(temp.path().join(name)).expect("removed");
        }
    }

    #[test]
    fn a_write_in_the_same_tick_is_noticed() {
        let (temp, state) = (tree(&[]), tempfile::tempdir().expect("a folder"));
        let path = temp.path().join("a");
        for i in 0..200 {
            fs::write(&path, format!("{i:03}")).expect("written");
            let taken = take(temp.path(), Some(state.path())).expect("readable");
            let Some(super::super::Content::File { digest, .. }) = taken.entry("a").map(|entry| entry.content) else {
                panic!("{i}");
            };
            assert_eq!(digest, crate::digest::Digest::of(format!("{i:03}")), "{i}");
        }
    }

    #[derive(Clone, Debug)]
    enum Edit {
        Write(u8, u8),
        Remove(u8),
        Folder(u8),
        Link(u8, u8),
        Execute(u8),
        Ignore(u8),
        Touch(u8),
        Settle,
    }

    fn edits() -> impl Strategy<Value = Vec<Edit>> {
        let edit = prop_oneof![
            (0..12_u8, any::<u8>()).prop_map(|(at, text)| Edit::Write(at, text)),
            (0..12_u8).prop_map(Edit::Remove),
            (0..12_u8).prop_map(Edit::Folder),
            (0..12_u8, 0..12_u8).prop_map(|(at, to)| Edit::Link(at, to)),
            (0..12_u8).prop_map(Edit::Execute),
            (0..12_u8).prop_map(Edit::Ignore),
            (0..12_u8).prop_map(Edit::Touch),
            Just(Edit::Settle),
        ];
        prop::collection::vec(edit, 1..30)
    }

    /// Does an edit where it can be done.
    fn apply(root: &Path, edit: &Edit) {
        let path = |at: u8| root.join(["", "a", "a/b", "c"][usize::from(at) % 4]).join(format!("f{}", at / 4));
        let parent = |path: &Path| fs::create_dir_all(path.parent().expect("has one"));
        let _ = match *edit {
            Edit::Write(at, text) => parent(&path(at)).and_then(|()| fs::write(path(at), [text; 3])),
            Edit::Remove(at) if path(at).is_dir() => fs::remove_dir_all(path(at)),
            Edit::Remove(at) => fs::remove_file(path(at)),
            Edit::Folder(at) => fs::create_dir_all(path(at)),
            Edit::Link(at, to) => std::os::unix::fs::symlink(format!("f{to}"), path(at)),
            Edit::Execute(at) => fs::set_permissions(path(at), fs::Permissions::from_mode(0o755)),
            Edit::Ignore(at) => fs::write(root.join("a/.gitignore"), format!("f{at}\n")),
            Edit::Touch(at) => fs::File::options()
                .append(true)
                .open(path(at))
                .and_then(|f| f.set_modified(std::time::SystemTime::UNIX_EPOCH)),
            Edit::Settle => {
                std::thread::sleep(std::time::Duration::from_millis(60));
                Ok(())
            }
        };
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn with_the_index_and_without_it_the_same_is_seen(edits in edits()) {
            let (temp, state) = (tree(&[("a/f0", "x"), ("a/b/f1", "y")]), tempfile::tempdir().expect("a folder"));
            let mut before: Option<Snapshot> = None;
            for edit in edits {
                apply(temp.path(), &edit);
                let quick = take(temp.path(), Some(state.path())).expect("readable");
                let slow = take(temp.path(), None).expect("readable");
                prop_assert_eq!(quick.digest(), slow.digest(), "{:?}", edit);
                prop_assert!(quick.entries().eq(slow.entries()), "{:?}", edit);
                let sizes: Vec<u64> = quick.sizes().flatten().collect();
                if let Some(before) = before.replace(quick.clone()) {
                    let kept = state.path().join("before");
                    before.save(&kept).expect("kept");
                    prop_assert_eq!(differences(&kept, &quick), Some(between(before.tree(), quick.tree())), "{:?}", edit);
                }
                prop_assert_eq!((quick.size(), quick.count()), (sizes.iter().sum(), sizes.len() as u64));
            }
        }
    }
}
