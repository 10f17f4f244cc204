//! A project that is written to while it is sent.

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nauta::archive::{ArchiveError, Writer};
use nauta::delivery::write_code;
use nauta::snapshot::take;

const FILES: u64 = 24;
/// A version is one number, as often as it takes two pages and a bit.
const NUMBERS: usize = 1100;

fn version(number: u64) -> Vec<u8> {
    number.to_le_bytes().repeat(NUMBERS)
}

/// Changes one file each millisecond: every other one in place, the others by putting a new one there.
fn write(root: &Path, stop: &AtomicBool) {
    let began = Instant::now();
    for number in FILES.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let path = root.join(format!("file-{}", number % FILES));
        if number % 2 == 0 {
            let file = std::fs::File::options().write(true).open(path).expect("there");
            file.write_all_at(&version(number), 0).expect("written");
        } else {
            let new = root.with_extension("new");
            std::fs::write(&new, version(number)).expect("written");
            std::fs::rename(new, path).expect("same file system");
        }
        let next = Duration::from_millis(number);
        std::thread::sleep(next.saturating_sub(began.elapsed()));
    }
}

#[test]
fn what_is_sent_is_a_version_that_existed_or_the_file_is_named() {
    let (temp, state) = (tempfile::tempdir().expect("a folder"), tempfile::tempdir().expect("a folder"));
    let root = temp.path().join("project");
    std::fs::create_dir(&root).expect("made");
    for number in 0..FILES {
        std::fs::write(root.join(format!("file-{number}")), version(number)).expect("written");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writing = std::thread::spawn({
        let (root, stop) = (root.clone(), Arc::clone(&stop));
        move || write(&root, &stop)
    });
    let (mut sent, mut named) = (0, 0);
    for _ in 0..2000 {
        let snapshot = match take(root.as_path(), Some(state.path())) {
            Ok(snapshot) => snapshot,
            Err(error) => {
                assert!(error.to_string().contains("file-"), "{error}");
                named += 1;
                continue;
            }
        };
        let mut archive = Writer::new(Vec::new());
        match write_code(&mut archive, &snapshot, "p") {
            Ok(()) => sent += 1,
            Err(ArchiveError::Changed { path }) => {
                assert!(path.display().to_string().contains("file-"), "{path:?}");
                named += 1;
                continue;
            }
            Err(error) => panic!("{error:?}"),
        }
        let (bytes, _) = archive.finish().expect("memory");
        let mut files = 0;
        for entry in tar::Archive::new(&bytes[..]).entries().expect("an archive") {
            let mut entry = entry.expect("an entry");
            if entry.header().entry_type().is_file() {
                let mut content = Vec::new();
                std::io::Read::read_to_end(&mut entry, &mut content).expect("whole");
                let number = u64::from_le_bytes(content[..8].try_into().expect("eight bytes"));
                assert!(content == version(number), "no version of {:?}", entry.path());
                files += 1;
            }
        }
        assert_eq!(files, FILES);
    }
    stop.store(true, Ordering::SeqCst);
    writing.join().expect("no panic");
    assert!(sent > 0 && named > 0, "{sent} were sent, {named} stopped");
}
