//! What arrives, from a real registry.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nauta::digest::Digest;
use nauta::event::{Event, Events};
use nauta::follow::{Cause, CollectError, Collector, Pieces, Received};
use nauta::registry::{Auth, Blob, Endpoint, Registry};
use nauta::sync::{Budget, Chunk, File, Index, Limit};

use crate::support::docker_registry::DockerRegistry;
use crate::support::small_disk::SmallDisk;

const REPOSITORY: &str = "outputs";

/// A mailbox on a registry of its own, and a run's folder.
struct Mailbox {
    _server: DockerRegistry,
    registry: Registry,
    temp: tempfile::TempDir,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Mailbox {
    fn new() -> Self {
        let server = DockerRegistry::start();
        let registry = Registry::new(Endpoint::new(&server.address).expect("an address"), Auth::Anonymous);
        let temp = tempfile::tempdir().expect("a folder");
        Self { _server: server, registry, temp, warnings: Arc::default() }
    }

    fn folder(&self) -> PathBuf {
        self.temp.path().join("runs/run")
    }

    /// A file that is in the mailbox, in chunks of these sizes.
    async fn file(&self, path: &str, chunks: &[&[u8]]) -> File {
        let mut described = Vec::new();
        for chunk in chunks {
            let blob = Blob::from_bytes(chunk.to_vec());
            self.registry.push_blob(REPOSITORY, &blob, |_| ()).await.expect("takes it");
            let digest = blob.digest().clone();
            described.push(Chunk { blob: digest.clone(), offset: 0, size: blob.size(), digest });
        }
        let whole = chunks.concat();
        let (size, digest) = (whole.len() as u64, Digest::of(&whole));
        File {
            path: path.to_owned(),
            size,
            mode: 0o644,
            modified: 1_000_000_000,
            digest,
            chunks: described,
            link: None,
            origin: nauta::sync::Origin::Outputs,
        }
    }

    async fn receive_into(&self, folder: &Path, rank: u32, files: Vec<File>) -> Result<Received, CollectError> {
        self.receive_within(Budget::default(), folder, rank, files).await
    }

    async fn receive_within(
        &self,
        budget: Budget,
        folder: &Path,
        rank: u32,
        files: Vec<File>,
    ) -> Result<Received, CollectError> {
        let index = Index { schema: 1, run: "run".to_owned(), rank, complete: true, files, ..Index::default() };
        let mut collector = Collector::open(folder)?.with_budget(budget);
        collector.receive(&index, &mut Pieces::Mailbox(&self.registry, REPOSITORY), &self.events()).await
    }

    fn events(&self) -> Events {
        let warnings = Arc::clone(&self.warnings);
        Events::new(move |event| {
            if let Event::Warning { text } = event {
                warnings.lock().expect("unbroken").push(text);
            }
        })
    }

    async fn receive(&self, rank: u32, files: Vec<File>) -> Result<Received, CollectError> {
        self.receive_into(&self.folder(), rank, files).await
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.folder().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }
}

#[tokio::test]
async fn files_arrive_as_they_were_and_once() {
    let mailbox = Mailbox::new();
    let mut deep = mailbox.file("a/b/c.txt", &[b"one ", b"two"]).await;
    deep.mode = 0o4777;
    let files = || vec![deep.clone()];
    assert_eq!(mailbox.receive(0, files()).await.expect("arrives").files, 1);
    assert_eq!(mailbox.receive(3, files()).await.expect("arrives").files, 1);
    assert_eq!(mailbox.receive(0, files()).await.expect("is here").files, 0, "nothing comes twice");
    assert_eq!((mailbox.read("a/b/c.txt"), mailbox.read("rank-3/a/b/c.txt")), ("one two".into(), "one two".into()));
    let metadata = mailbox.folder().join("a/b/c.txt").metadata().expect("there");
    assert_eq!((metadata.permissions().mode() & 0o7777, metadata.mtime()), (0o755, 1_000_000_000));
    let empty = File { size: 0, digest: Digest::of(""), chunks: Vec::new(), ..mailbox.file("empty", &[]).await };
    assert_eq!(mailbox.receive(0, vec![empty]).await.expect("arrives").files, 1);
    assert_eq!(mailbox.read("empty"), "");
}

#[tokio::test]
async fn what_is_not_ours_is_never_replaced() {
    let mailbox = Mailbox::new();
    let first = mailbox.file("model.pt", &[b"first"]).await;
    mailbox.receive(0, vec![first]).await.expect("arrives");
    let second = mailbox.file("model.pt", &[b"second"]).await;
    mailbox.receive(0, vec![second]).await.expect("replaces what nauta wrote");
    assert_eq!(mailbox.read("model.pt"), "second");
    std::fs::write(mailbox.folder().join("model.pt"), "the user's").expect("written");
    std::fs::write(mailbox.folder().join("notes"), "the user's").expect("written");
    let third = mailbox.file("model.pt", &[b"third"]).await;
    let notes = mailbox.file("notes", &[b"the rank's"]).await;
    mailbox.receive(0, vec![third, notes]).await.expect("goes beside it");
    assert_eq!((mailbox.read("model.pt"), mailbox.read("notes")), ("the user's".into(), "the user's".into()));
    let beside = |name| mailbox.read(&format!("{name}.nauta-conflict-1"));
    assert_eq!((beside("model.pt"), beside("notes")), ("third".into(), "the rank's".into()));
}

#[tokio::test]
async fn nothing_is_written_outside_whatever_the_names_are() {
    let mailbox = Mailbox::new();
    let mut files = Vec::new();
    let names = [
        "../out",
        "/tmp/nauta-out",
        "a/../../out",
        ".git/config",
        "x/.ssh/authorized_keys",
        "rank-1/x",
        "a\nb",
        "",
        ".nauta/record.json",
    ];
    for name in names {
        files.push(mailbox.file(name, &[b"bad"]).await);
    }
    files.push(mailbox.file("good", &[b"good"]).await);
    assert_eq!(mailbox.receive(0, files).await.expect("the good one arrives").files, 1);
    assert_eq!(mailbox.warnings.lock().expect("unbroken").len(), names.len());
    let entries = |folder: &Path| {
        let mut names: Vec<String> = std::fs::read_dir(folder)
            .expect("readable")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(entries(&mailbox.folder()), [".nauta", "good"]);
    assert_eq!(entries(mailbox.temp.path()), ["runs"]);
    assert!(!Path::new("/tmp/nauta-out").exists());
}

#[tokio::test]
async fn a_link_that_somebody_plants_leads_nowhere() {
    let mailbox = Mailbox::new();
    let outside = mailbox.temp.path().join("outside");
    std::fs::create_dir(&outside).expect("made");
    std::fs::write(outside.join("kept"), "kept").expect("written");
    std::fs::create_dir_all(mailbox.folder()).expect("made");
    symlink(&outside, mailbox.folder().join("sub")).expect("planted");
    symlink(outside.join("kept"), mailbox.folder().join("file")).expect("planted");
    let files = vec![
        mailbox.file("sub/new", &[b"bad"]).await,
        mailbox.file("sub/kept", &[b"bad"]).await,
        mailbox.file("file", &[b"beside"]).await,
        mailbox.file("good", &[b"good"]).await,
    ];
    let received = mailbox.receive(0, files).await.expect("all have a place");
    assert_eq!((received.files, received.missing.len(), received.beside.len()), (4, 0, 3), "{received:?}");
    assert_eq!(mailbox.read("sub.nauta-conflict-1/kept"), "bad", "beside what is no folder here");
    assert_eq!((mailbox.read("good"), mailbox.read("file.nauta-conflict-1")), ("good".into(), "beside".into()));
    assert_eq!(std::fs::read_to_string(outside.join("kept")).expect("there"), "kept");
    assert_eq!(std::fs::read_dir(&outside).expect("readable").count(), 1);
}

#[tokio::test]
async fn a_file_that_became_a_folder_stays_and_the_new_goes_beside_it() {
    let mailbox = Mailbox::new();
    mailbox.receive(0, vec![mailbox.file("a", &[b"file"]).await]).await.expect("arrives");
    let files = vec![mailbox.file("a/b", &[b"below"]).await, mailbox.file("c", &[b"c"]).await];
    let received = mailbox.receive(0, files).await.expect("both arrive");
    assert_eq!(received.beside, [("a/b".to_owned(), "a.nauta-conflict-1/b".to_owned())]);
    assert_eq!((mailbox.read("a"), mailbox.read("a.nauta-conflict-1/b")), ("file".into(), "below".into()));
    let said = mailbox.warnings.lock().expect("unbroken").join("\n");
    assert!(said.contains("`a/b`") && said.contains("`a.nauta-conflict-1/b`"), "{said}");
}

#[tokio::test]
async fn what_arrived_before_a_crash_is_gone_on_with_and_verified() {
    let mailbox = Mailbox::new();
    let file = mailbox.file("big", &[b"aaaa", b"bbbb", b"cccc"]).await;
    let part = mailbox.folder().join(format!(".nauta/part-{}", file.digest.hex()));
    std::fs::create_dir_all(part.parent().expect("has one")).expect("made");
    // The middle chunk is gone from the registry's answers: only what is here already can have it.
    let mut resumed = file.clone();
    resumed.chunks[0].blob = Digest::of("not there");
    std::fs::write(&part, "aaaabb").expect("half a chunk too much");
    assert_eq!(mailbox.receive(0, vec![resumed.clone()]).await.expect("goes on").files, 1);
    assert_eq!(mailbox.read("big"), "aaaabbbbcccc");
    assert!(!part.exists());
    // Damaged beginnings are found out by the whole's digest, and fetched anew.
    std::fs::remove_file(mailbox.folder().join("big")).expect("removed");
    std::fs::write(&part, "xxxxbbbb").expect("damaged");
    assert_eq!(mailbox.receive(0, vec![file]).await.expect("starts again").files, 1);
    assert_eq!(mailbox.read("big"), "aaaabbbbcccc");
    // A list that lies about a file gets nothing in place.
    let mut lie = mailbox.file("lie", &[b"truth"]).await;
    lie.digest = Digest::of("something else");
    let received =
        mailbox.receive(0, vec![lie, mailbox.file("next", &[b"next"]).await]).await.expect("the next arrives");
    assert!(matches!(received.missing[0].cause, Cause::Lost(_)), "{received:?}");
    let error = received.whole().expect_err("its bytes are others");
    assert!(error.to_string().contains("not those that were announced"), "{error}");
    assert!(!mailbox.folder().join("lie").exists());
}

/// An index is a stranger's word: what it says of sizes is checked before a byte is asked for.
#[tokio::test]
async fn sizes_that_cannot_be_are_refused_and_said_once() {
    let mailbox = Mailbox::new();
    let with = |change: &dyn Fn(&mut File), mut file: File| {
        change(&mut file);
        file
    };
    let files = vec![
        with(&|file| file.chunks[0].size = 6 << 30, mailbox.file("huge-chunk", &[b"a"]).await),
        with(&|file| (file.size, file.chunks[0].size) = (6 << 30, 6 << 30), mailbox.file("huge", &[b"a"]).await),
        with(&|file| file.size = u64::MAX, mailbox.file("endless", &[b"a"]).await),
        with(&|file| file.chunks[0].offset = u64::MAX, mailbox.file("beyond", &[b"a"]).await),
        with(&|file| file.chunks[0].size = 0, mailbox.file("nothing", &[b"a"]).await),
        with(&|file| file.size = 7, mailbox.file("sum", &[b"a", b"b"]).await),
        mailbox.file("good", &[b"good"]).await,
    ];
    let index = Index { schema: 1, run: "run".to_owned(), complete: true, files, ..Index::default() };
    let mut collector = Collector::open(&mailbox.folder()).expect("nobody else");
    for files in [1, 0] {
        let mut pieces = Pieces::Mailbox(&mailbox.registry, REPOSITORY);
        let received = collector.receive(&index, &mut pieces, &mailbox.events()).await.expect("the good one arrives");
        assert_eq!((received.files, received.missing.len()), (files, 6), "{received:?}");
        assert!(received.missing.iter().all(|missing| matches!(missing.cause, Cause::Refused(_))), "{received:?}");
    }
    assert_eq!(mailbox.warnings.lock().expect("unbroken").len(), 6, "each is said once, however often it is listed");
}

/// A download takes its time, and a user does not wait for it.
#[tokio::test]
async fn a_file_that_the_user_makes_while_a_download_runs_stays() {
    let mailbox = Mailbox::new();
    let files = || async {
        let large: [&[u8]; 2] = [&vec![1; 1024 * 1024], &vec![2; 1024 * 1024]];
        vec![mailbox.file("early", &[b"early"]).await, mailbox.file("model.bin", &large).await]
    };
    let index = Index { schema: 1, run: "run".to_owned(), complete: true, files: files().await, ..Index::default() };
    let theirs = mailbox.folder().join("model.bin");
    // The first file is here, and the second was looked for, and is on its way.
    let events = Events::new(move |event| {
        if matches!(&event, Event::Output { path, .. } if path == "early") {
            std::fs::write(&theirs, "the user's").expect("written");
        }
    });
    let mut collector = Collector::open(&mailbox.folder()).expect("nobody else");
    let mut pieces = Pieces::Mailbox(&mailbox.registry, REPOSITORY);
    let received = collector.receive(&index, &mut pieces, &events).await.expect("arrives");
    assert_eq!(received.beside, [("model.bin".to_owned(), "model.bin.nauta-conflict-1".to_owned())]);
    assert_eq!(mailbox.read("model.bin"), "the user's");
    let beside = std::fs::read(mailbox.folder().join("model.bin.nauta-conflict-1")).expect("there");
    assert_eq!(Digest::of(beside), index.files[1].digest);
    drop(collector);
    let received = mailbox.receive(0, files().await).await.expect("is here");
    assert_eq!((received.files, received.missing.len()), (0, 0), "and does not come again");
}

/// A user who deletes a checkpoint to make room does not find it again two seconds later.
#[tokio::test]
async fn what_the_user_deletes_comes_again_only_when_asked_for_or_changed() {
    let mailbox = Mailbox::new();
    let first = mailbox.file("model.pt", &[b"first"]).await;
    let index = |file: &File| Index { schema: 1, run: "run".to_owned(), files: vec![file.clone()], ..Index::default() };
    let mut collector = Collector::open(&mailbox.folder()).expect("nobody else");
    let path = mailbox.folder().join("model.pt");
    for (file, files) in [(&first, 1), (&first, 0), (&mailbox.file("model.pt", &[b"second"]).await, 1)] {
        let mut pieces = Pieces::Mailbox(&mailbox.registry, REPOSITORY);
        let received = collector.receive(&index(file), &mut pieces, &mailbox.events()).await.expect("arrives");
        assert_eq!((received.files, path.exists()), (files, files == 1));
        let _ = std::fs::remove_file(&path);
    }
    drop(collector);
    assert_eq!(
        mailbox.receive(0, vec![first]).await.expect("arrives").files,
        1,
        "`nauta pull` brings what is not here"
    );
}

/// One blob of a mebibyte, named again and again, is a mebibyte each time.
#[tokio::test]
async fn a_run_takes_no_more_than_its_budget_and_that_is_said_once() {
    let mailbox = Mailbox::new();
    let one = mailbox.file("0", &[&vec![7; 1024 * 1024]]).await;
    let bomb = || (0..64).map(|i| File { path: format!("bomb-{i:02}"), ..one.clone() }).collect::<Vec<_>>();
    let count = |received: &Received, limit| {
        let is_limit = |missing: &&nauta::follow::Missing| missing.cause == Cause::OverBudget(limit);
        (received.files, received.missing.iter().filter(is_limit).count())
    };
    let within = |size, files| Budget { size, files, keep_free: None };
    let folder = mailbox.folder();
    let received = mailbox.receive_within(within(5 << 20, 1000), &folder, 0, bomb()).await.expect("some arrive");
    assert_eq!(count(&received, Limit::Size), (5, 59));
    let said = std::mem::take(&mut *mailbox.warnings.lock().expect("unbroken"));
    assert!(said.len() == 1 && said[0].contains("`outputs.max_size`"), "{said:?}");
    let error = received.whole().expect_err("not all is here");
    assert!(error.to_string().contains("59") || error.to_string().contains("58"), "{error}");
    // What is here counts, and what the user removes no longer does.
    let received = mailbox.receive_within(within(6 << 20, 1000), &folder, 0, bomb()).await.expect("one arrives");
    assert_eq!(count(&received, Limit::Size), (1, 58));
    std::fs::remove_file(folder.join("bomb-00")).expect("removed");
    let received = mailbox.receive_within(within(6 << 20, 1000), &folder, 1, bomb()).await.expect("one arrives");
    assert_eq!(count(&received, Limit::Size), (1, 63));
    // Folders count as files do.
    let deep = mailbox.file("a/b/c/d", &[b"deep"]).await;
    let flat = mailbox.file("flat", &[b"flat"]).await;
    let other = mailbox.temp.path().join("other");
    let received = mailbox.receive_within(within(1 << 20, 4), &other, 0, vec![deep, flat]).await.expect("one arrives");
    assert_eq!((received.files, received.missing.len()), (2, 0), "the list is looked at before folders are made");
    let received = mailbox.receive_within(within(1 << 20, 5), &other, 0, vec![mailbox.file("x", &[b"x"]).await]).await;
    assert_eq!(count(&received.expect("nothing arrives"), Limit::Files), (0, 1));
}

#[tokio::test]
async fn a_disk_keeps_room_for_the_user() {
    let mailbox = Mailbox::new();
    let disk = SmallDisk::mount("8m");
    let file = mailbox.file("large", &[&vec![7; 1024 * 1024], &vec![8; 1024 * 1024]]).await;
    let files = || vec![file.clone()];
    let keeping = |keep_free| Budget { keep_free: Some(keep_free), ..Budget::default() };
    let received = mailbox.receive_within(keeping(7 << 20), disk.path(), 0, files()).await.expect("nothing arrives");
    assert_eq!(received.missing[0].cause, Cause::OverBudget(Limit::Disk));
    assert!(mailbox.warnings.lock().expect("unbroken")[0].contains("`keep_free`"));
    let received = mailbox.receive_within(keeping(5 << 20), disk.path(), 0, files()).await.expect("arrives");
    assert_eq!(received.files, 1);
}

/// Small files share blobs; some of a blob may be here, or nobody's.
#[tokio::test]
async fn files_of_a_pack_arrive_together() {
    let mailbox = Mailbox::new();
    let contents: Vec<String> = (0..500).map(|i| format!("content of {i}")).collect();
    let pack = Blob::from_bytes(format!("????{}", contents.concat()).into_bytes());
    mailbox.registry.push_blob(REPOSITORY, &pack, |_| ()).await.expect("takes it");
    let mut offset = 4;
    let mut files: Vec<File> = Vec::new();
    for (i, content) in contents.iter().enumerate() {
        let (size, digest) = (content.len() as u64, Digest::of(content));
        let chunk = Chunk { blob: pack.digest().clone(), offset, size, digest: digest.clone() };
        offset += size;
        let path = format!("{}/{i:03}", i % 3);
        files.push(File {
            path,
            size,
            mode: 0o644,
            modified: 1_000_000_000,
            digest,
            chunks: vec![chunk],
            link: None,
            origin: nauta::sync::Origin::Outputs,
        });
    }
    let few: Vec<File> = files.iter().step_by(50).cloned().collect();
    assert_eq!(mailbox.receive(0, few).await.expect("arrive").files, 10);
    files[7].digest = Digest::of("another");
    files[8].chunks[0].blob = Digest::of("no blob");
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let received = mailbox.receive(0, files).await.expect("the others arrive");
    assert_eq!((received.files, received.missing.len()), (488, 2), "{:?}", received.missing);
    assert!(received.missing.iter().all(|missing| matches!(missing.cause, Cause::Lost(_))));
    for (i, content) in contents.iter().enumerate().filter(|(i, _)| ![7, 8].contains(i)) {
        assert_eq!(mailbox.read(&format!("{}/{i:03}", i % 3)), *content);
    }
}

#[tokio::test]
async fn one_nauta_at_a_time_writes_to_a_run() {
    let mailbox = Mailbox::new();
    let first = Collector::open(&mailbox.folder()).expect("nobody else");
    let second = Collector::open(&mailbox.folder());
    assert!(matches!(second, Err(CollectError::Busy { .. })));
    drop(first);
    Collector::open(&mailbox.folder()).expect("the lock goes with its holder");
}

/// Fills a folder's disk as soon as something of a large file has arrived there.
fn fill_while_it_arrives(folder: PathBuf, filler: PathBuf) -> std::thread::JoinHandle<()> {
    use std::io::Write;
    let has_begun = move || {
        let entries = std::fs::read_dir(folder.join(".nauta")).into_iter().flatten().flatten();
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("part-")).count() > 0
    };
    std::thread::spawn(move || {
        while !has_begun() {
            std::thread::yield_now();
        }
        let mut filler = std::fs::File::create(filler).expect("made");
        while filler.write_all(&[0; 16 * 1024]).is_ok() {}
    })
}

#[tokio::test]
async fn a_full_disk_loses_nothing() {
    let mailbox = Mailbox::new();
    let small = SmallDisk::mount("1m");
    let (folder, filler) = (small.path().join("run"), small.path().join("filler"));
    let large: Vec<Vec<u8>> = (0..96_u8).map(|i| vec![i; 64 * 1024]).collect();
    let chunks: Vec<&[u8]> = large.iter().map(Vec::as_slice).collect();
    let files = vec![mailbox.file("early", &[b"early"]).await, mailbox.file("large", &chunks).await];
    let received = mailbox.receive_into(&folder, 0, files.clone()).await.expect("the other arrives");
    assert_eq!((received.files, &received.missing[0].cause), (1, &Cause::OverBudget(Limit::Disk)));
    assert_eq!(std::fs::read_to_string(folder.join("early")).expect("is whole"), "early");
    small.resize("8m");
    std::fs::remove_dir_all(folder.join(".nauta")).expect("removed");
    let filling = fill_while_it_arrives(folder.clone(), filler.clone());
    let error = mailbox.receive_into(&folder, 0, files.clone()).await.expect_err("somebody fills the disk meanwhile");
    filling.join().expect("filled");
    assert!(
        matches!(&error, CollectError::Write { source, .. } if source.kind() == std::io::ErrorKind::StorageFull),
        "{error:?}"
    );
    assert!(!folder.join("large").exists(), "no half file");
    std::fs::remove_file(filler).expect("removed");
    assert_eq!(mailbox.receive_into(&folder, 0, files).await.expect("now it fits").files, 1);
    assert_eq!(std::fs::read(folder.join("large")).expect("is whole"), chunks.concat());
}
