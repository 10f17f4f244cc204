//! Each way in which somebody, or a crash, comes between nauta and a file.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::ledger::Entry;
use super::place::beside;
use super::renames::{Fresh, Renames};
use super::steps::Steps;
use super::{Look, OutputsFolder};
use crate::digest::Digest;
use crate::sync;

/// All ways of file systems to move files, the best first.
const WAYS: [Renames; 4] = [
    Renames { fresh: Fresh::Flag, can_exchange: true },
    Renames { fresh: Fresh::Flag, can_exchange: false },
    Renames { fresh: Fresh::Link, can_exchange: false },
    Renames { fresh: Fresh::Placeholder, can_exchange: false },
];

fn file(path: &str, content: &str) -> sync::File {
    let (size, digest) = (content.len() as u64, Digest::of(content));
    sync::File {
        path: path.to_owned(),
        size,
        mode: 0o644,
        modified: 1_000_000_000,
        digest,
        chunks: Vec::new(),
        link: None,
        origin: sync::Origin::Outputs,
    }
}

fn open(path: &Path) -> OutputsFolder {
    opened(|| OutputsFolder::open(path)).expect("opens")
}

/// Opens a folder that nobody else has. A process that another test starts at that moment has the lock of the last one too, until
/// it has become its program.
pub(super) fn opened(mut open: impl FnMut() -> io::Result<Option<OutputsFolder>>) -> io::Result<OutputsFolder> {
    for _ in 0..1000 {
        if let Some(folder) = open()? {
            return Ok(folder);
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    panic!("somebody else has it");
}

/// Where the file system of a workstation has no links, what a link leads to is there in its place.
#[test]
fn a_link_becomes_a_copy_where_there_are_none() {
    let root = in_memory();
    let mut folder = open(root.path());
    assert_eq!(bring(&mut folder, "a/epoch1.ckpt", "weights").expect("brought"), "a/epoch1.ckpt");
    let link = sync::File::of_link("a/last.ckpt".to_owned(), "epoch1.ckpt".to_owned(), 1_000_000_000);
    let staged = folder.stage_link("a/last.ckpt", &link).expect("staged");
    std::fs::remove_file(root.path().join(".nauta").join(staged.name())).expect("there");
    let copy = folder.stage_copy(staged, "epoch1.ckpt").expect("copied");
    assert_eq!(folder.put(&[copy]).remove(0).expect("put"), "a/last.ckpt");
    let last = root.path().join("a/last.ckpt");
    assert!(!last.is_symlink() && std::fs::read_to_string(last).expect("readable") == "weights");
}

/// Brings a file as a list of outputs does; gives where it is.
fn bring(folder: &mut OutputsFolder, path: &str, content: &str) -> io::Result<String> {
    let file = file(path, content);
    match folder.look(path, &file)? {
        Look::Here(at) => Ok(at),
        Look::Missing(_) => {
            let staged = folder.stage(content.as_bytes(), path, &file)?;
            folder.put(&[staged]).remove(0)
        }
    }
}

/// What is done before a step of this name, once.
fn at(step: &'static str, doing: impl FnOnce() -> io::Result<()> + Send + 'static) -> Steps {
    let mut doing = Some(doing);
    let observer = move |now: &'static str| match doing.take_if(|_| now == step) {
        Some(doing) => doing(),
        None => Ok(()),
    };
    Steps { observer: Some(Box::new(observer)) }
}

/// Ends nauta before its step of this number; counts them.
fn dying(at: usize, count: &Arc<Mutex<usize>>) -> Steps {
    let count = Arc::clone(count);
    let observer = move |_: &'static str| {
        let mut count = count.lock().expect("unbroken");
        *count += 1;
        if *count > at { Err(io::Error::other("killed")) } else { Ok(()) }
    };
    Steps { observer: Some(Box::new(observer)) }
}

/// A folder that need not wait for a disk, where the system has such.
pub(super) fn in_memory() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder")
}

struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Self {
        Self(in_memory())
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn entries(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).expect("readable").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.retain(|name| name != ".nauta");
        names.sort();
        names
    }

    fn staged(&self) -> usize {
        let entries = std::fs::read_dir(self.path(".nauta")).expect("readable").flatten();
        entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('l')).count()
    }
}

#[test]
fn a_file_that_somebody_makes_meanwhile_stays() {
    for way in WAYS {
        let disk = Disk::new();
        let mut folder = open(disk.0.path());
        folder.renames = way;
        let theirs = disk.path("model.pt");
        folder.steps = at("move", move || std::fs::write(theirs, "the user's"));
        assert_eq!(bring(&mut folder, "model.pt", "the rank's").expect("beside it"), "model.pt.nauta-conflict-1");
        assert_eq!(
            (disk.read("model.pt"), disk.read("model.pt.nauta-conflict-1")),
            ("the user's".into(), "the rank's".into())
        );
        assert_eq!(disk.staged(), 0, "{way:?}");
    }
}

/// In place, by another file in its place, or through a handle that was open before: each at every moment.
#[test]
fn an_edit_of_what_nauta_wrote_stays_whenever_it_is_made() {
    type Edit = fn(&Path) -> io::Result<()>;
    let in_place: Edit = |path| std::fs::write(path, "the user's");
    let replaced: Edit = |path| {
        std::fs::write(path.with_extension("tmp"), "the user's")?;
        std::fs::rename(path.with_extension("tmp"), path)
    };
    let moments = ["stage", "sync", "note what is replaced", "move", "check"];
    for ((way, edit), moment) in WAYS
        .iter()
        .flat_map(|way| [(way, in_place), (way, replaced)])
        .flat_map(|pair| moments.map(|moment| (pair, moment)))
    {
        let disk = Disk::new();
        let mut folder = open(disk.0.path());
        folder.renames = *way;
        bring(&mut folder, "a", "first").expect("arrives");
        let theirs = disk.path("a");
        folder.steps = at(moment, move || edit(&theirs));
        // At the last moment it is the new one that is edited: nothing of theirs was there before.
        let at = bring(&mut folder, "a", "second").expect("has a place");
        let expected =
            if moment == "check" { ("a", vec!["a"]) } else { ("a.nauta-conflict-1", vec!["a", "a.nauta-conflict-1"]) };
        assert_eq!(
            (at.as_str(), disk.entries()),
            (expected.0, expected.1.into_iter().map(str::to_owned).collect()),
            "{moment}, {way:?}"
        );
        assert_eq!(disk.read("a"), "the user's", "{moment}, {way:?}");
        folder.steps = Steps::default();
        bring(&mut folder, "a", "third").expect("has a place");
        assert_eq!(
            (disk.read("a"), disk.read("a.nauta-conflict-1"), disk.staged()),
            ("the user's".into(), "third".into(), 0),
            "{moment}"
        );
    }
}

#[test]
fn what_an_open_editor_writes_later_stays() {
    use std::io::Write;
    let disk = Disk::new();
    let mut folder = open(disk.0.path());
    bring(&mut folder, "notes", "first").expect("arrives");
    let mut editor = std::fs::OpenOptions::new().append(true).open(disk.path("notes")).expect("opens");
    assert_eq!(bring(&mut folder, "notes", "second").expect("beside"), "notes.nauta-conflict-1");
    editor.write_all(b", and the user's").expect("written");
    drop(editor);
    assert_eq!(
        (disk.read("notes"), disk.read("notes.nauta-conflict-1")),
        ("first, and the user's".into(), "second".into())
    );
}

/// Killed before any step of a first, then a second version: the third takes the place of what nauta wrote, and nothing is left over.
#[test]
fn after_a_kill_at_any_moment_what_nauta_wrote_is_known_as_its_own() {
    for way in WAYS {
        for kill in 0.. {
            let disk = Disk::new();
            let count = Arc::default();
            let mut folder = open(disk.0.path());
            (folder.renames, folder.steps) = (way, dying(kill, &count));
            let done = bring(&mut folder, "d/a.csv", "first").and_then(|_| bring(&mut folder, "d/a.csv", "second"));
            drop(folder);
            let mut folder = open(disk.0.path());
            folder.renames = way;
            assert_eq!(
                bring(&mut folder, "d/a.csv", "third").expect("arrives"),
                "d/a.csv",
                "killed at {kill}, {way:?}"
            );
            assert_eq!(
                (disk.read("d/a.csv"), disk.entries(), disk.staged()),
                ("third".into(), vec!["d".to_owned()], 0)
            );
            assert_eq!(std::fs::read_dir(disk.path("d")).expect("there").count(), 1, "killed at {kill}, {way:?}");
            if done.is_ok() {
                assert!(kill > 8, "all steps were killed at");
                break;
            }
        }
    }
}

#[test]
fn many_files_are_put_in_place_at_once() {
    let disk = Disk::new();
    let mut folder = open(disk.0.path());
    for version in ["first", "second"] {
        let files: Vec<_> =
            (0..100).map(|i| file(&format!("d{}/f{i}", i % 7), &format!("{version} {}", i % 10))).collect();
        let stage = |file: &sync::File| {
            let text = format!("{version} {}", file.path.chars().last().expect("not empty"));
            folder.stage(text.as_bytes(), &file.path, file)
        };
        let staged = files.iter().map(stage).collect::<io::Result<Vec<_>>>().expect("staged");
        let put: Vec<String> = folder.put(&staged).into_iter().map(|put| put.expect("put")).collect();
        assert!(put.iter().eq(files.iter().map(|file| &file.path)));
        folder.settle().expect("settles");
        assert!(files.iter().all(|file| Digest::of(disk.read(&file.path)) == file.digest));
    }
    assert_eq!((folder.taken().files, disk.staged()), (107, 0));
}

#[test]
fn a_file_of_the_same_content_is_not_taken_for_nautas() {
    let disk = Disk::new();
    std::fs::write(disk.path("a"), "same").expect("written");
    let mut folder = open(disk.0.path());
    assert_eq!(bring(&mut folder, "a", "same").expect("is here"), "a");
    assert_eq!(bring(&mut folder, "a", "next").expect("beside"), "a.nauta-conflict-1");
    assert_eq!(disk.read("a"), "same");
}

#[test]
fn two_files_do_not_share_a_place_beside() {
    let disk = Disk::new();
    for name in ["a", "a.nauta-conflict-1"] {
        std::fs::write(disk.path(name), "the user's").expect("written");
    }
    let mut folder = open(disk.0.path());
    let places = |folder: &mut OutputsFolder, version: &str| {
        ["a", "a.nauta-conflict-1", "a.nauta-conflict-2"]
            .map(|name| bring(folder, name, &format!("{name} {version}")).expect("arrives"))
    };
    let first = places(&mut folder, "one");
    assert_eq!(
        first,
        ["a.nauta-conflict-2", "a.nauta-conflict-1.nauta-conflict-1", "a.nauta-conflict-2.nauta-conflict-1"]
    );
    assert_eq!(places(&mut folder, "two"), first, "and each keeps its own");
    assert_eq!(disk.read("a.nauta-conflict-2"), "a two");
}

#[test]
fn long_names_have_places_beside_them_too() {
    let long = "\u{e4}".repeat(125);
    let names = [format!("{long}1"), format!("{long}2"), "x".repeat(255)];
    let disk = Disk::new();
    let mut folder = open(disk.0.path());
    let mut places = std::collections::BTreeSet::new();
    for name in &names {
        std::fs::write(disk.path(name), "the user's").expect("written");
        let at = bring(&mut folder, name, "the rank's").expect("beside");
        assert!(at.len() <= 255 && at.ends_with(".nauta-conflict-1"), "{at}");
        assert_eq!((disk.read(name), disk.read(&at)), ("the user's".into(), "the rank's".into()));
        places.insert(at);
    }
    assert_eq!(places.len(), names.len());
    assert_eq!(beside("a", 0), "a");
}

#[test]
fn a_file_that_became_a_folder_and_the_other_way_round_stay() {
    let disk = Disk::new();
    let mut folder = open(disk.0.path());
    bring(&mut folder, "a", "a file").expect("arrives");
    for path in ["a/b", "a/c/d"] {
        let at = bring(&mut folder, path, "below").expect("beside");
        assert_eq!(at, path.replacen('a', "a.nauta-conflict-1", 1));
        assert_eq!(bring(&mut folder, path, "below, later").expect("in its place"), at);
        assert_eq!(disk.read(&at), "below, later");
    }
    assert_eq!(disk.read("a"), "a file");
    bring(&mut folder, "f/g", "below").expect("arrives");
    assert_eq!(bring(&mut folder, "f", "a file").expect("beside"), "f.nauta-conflict-1");
    assert_eq!(bring(&mut folder, "f", "later").expect("beside"), "f.nauta-conflict-1");
    assert_eq!((disk.read("f/g"), disk.read("f.nauta-conflict-1")), ("below".into(), "later".into()));
}

#[test]
fn what_was_deleted_comes_again_only_when_it_is_asked_for() {
    let disk = Disk::new();
    let mut folder = open(disk.0.path());
    bring(&mut folder, "d/a", "first").expect("arrives");
    std::fs::remove_dir_all(disk.path("d")).expect("removed");
    let moment = disk.path("d");
    bring(&mut folder, "d/a", "first").expect("arrives");
    folder.steps = at("move", move || std::fs::remove_dir_all(moment));
    assert_eq!(bring(&mut folder, "d/a", "second").expect("arrives"), "d/a", "whatever is removed meanwhile");
    assert_eq!(disk.read("d/a"), "second");
}

#[test]
fn the_ledger_of_before_is_read_and_a_line_that_was_cut_off_spoils_nothing() {
    use std::io::Write;
    let disk = Disk::new();
    std::fs::create_dir(disk.path(".nauta")).expect("made");
    for name in ["a", "edited"] {
        std::fs::write(disk.path(name), "first").expect("written");
    }
    let old =
        serde_json::json!({ "a": Digest::of("first"), "edited": Digest::of("before"), "gone": Digest::of("first") });
    std::fs::write(disk.path(".nauta/ledger.json"), old.to_string()).expect("written");
    let mut folder = open(disk.0.path());
    assert_eq!(folder.taken().size, 10);
    assert!(!disk.path(".nauta/ledger.json").exists());
    for (name, at) in [("a", "a"), ("edited", "edited.nauta-conflict-1"), ("gone", "gone")] {
        assert_eq!(bring(&mut folder, name, "second").expect("arrives"), at);
    }
    drop(folder);
    let mut ledger = std::fs::OpenOptions::new().append(true).open(disk.path(".nauta/ledger.jsonl")).expect("there");
    ledger.write_all(b"{\"intent\":{\"serial\":9,\"path\":\"a\",\"dig").expect("written");
    let mut folder = open(disk.0.path());
    for (name, version) in [("a", "third"), ("b", "first")] {
        bring(&mut folder, name, version).expect("arrives");
    }
    drop(folder);
    let mut folder = open(disk.0.path());
    for name in ["a", "b"] {
        assert_eq!(bring(&mut folder, name, "last").expect("arrives"), name);
    }
}

#[test]
fn the_ledger_is_written_anew_when_most_of_it_is_past() {
    let disk = Disk::new();
    let mut folder = open(disk.0.path());
    for version in 0..6000 {
        bring(&mut folder, "latest", &version.to_string()).expect("arrives");
    }
    folder.settle().expect("settles");
    assert!(disk.path(".nauta/ledger.jsonl").metadata().expect("there").len() < 1000);
    drop(folder);
    assert_eq!(bring(&mut open(disk.0.path()), "latest", "last").expect("arrives"), "latest");
}

#[test]
fn what_is_taken_is_counted_with_folders_and_without_what_was_removed() {
    let disk = Disk::new();
    let mut folder = open(disk.0.path());
    for (path, content) in [("a/b/c", "12345"), ("a/d", "123"), ("e", "1")] {
        bring(&mut folder, path, content).expect("arrives");
    }
    let counted = |folder: &OutputsFolder| (folder.taken().size, folder.taken().files);
    assert_eq!(counted(&folder), (9, 5));
    bring(&mut folder, "a/d", "1").expect("arrives");
    assert_eq!((counted(&folder), folder.taken_at("a/d")), ((7, 5), 1));
    drop(folder);
    std::fs::remove_file(disk.path("a/b/c")).expect("removed");
    let mut folder = open(disk.0.path());
    assert_eq!(counted(&folder), (7, 5));
    folder.recount();
    assert_eq!(counted(&folder), (2, 3));
}

#[test]
fn a_large_file_that_was_whole_before_a_crash_is_gone_on_with() {
    let disk = Disk::new();
    let content = "x".repeat(2 * 1024 * 1024);
    let large = file("large", &content);
    let mut folder = open(disk.0.path());
    let mut part = folder.part(&large, |len| len).expect("opens");
    part.write(content.as_bytes()).expect("written");
    let staged = folder.stage_part(part, "large", &large).expect("staged");
    folder.steps = at("move", || Err(io::Error::other("killed")));
    folder.put(&[staged]).remove(0).expect_err("killed");
    drop(folder);
    let mut folder = open(disk.0.path());
    let part = folder.part(&large, |len| len).expect("opens");
    assert_eq!(part.hasher.clone().finish(), large.digest);
    let staged = folder.stage_part(part, "large", &large).expect("staged");
    assert_eq!(folder.put(&[staged]).remove(0).expect("arrives"), "large");
    let mode = disk.path("large").metadata().expect("there").permissions().mode();
    assert_eq!(mode & 0o7777, 0o644 & !super::umask());
}

#[test]
fn entries_know_what_they_are_beside_of() {
    let plain = Entry::new(&file("a", "x"), "a", "a");
    let other = Entry::new(&file("a", "x"), "a", "a.nauta-conflict-1");
    assert_eq!((plain.of.as_deref(), other.of.as_deref()), (None, Some("a")));
}
