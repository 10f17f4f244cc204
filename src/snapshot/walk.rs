//! The walk through the project's folders, by as many threads as there are processors, and by more where all is read for the first
//! time.
//!
//! A folder whose stamp is the one of the index is not listed again; a file whose stamp is, is not read again; a path in a
//! folder whose rules are, is not judged again. What is left is one `stat` for each file.

use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::{FileType, Mode, OFlags};

use super::disk::OwnOutput;
use super::error::SnapshotError;
use super::record::Row;
use super::rules::Rules;
use super::tree::{Head, Tree};
use super::visit::Visit;
use crate::bounded_file::Enclosure;

/// A folder as the walk found it.
pub(super) enum Listed {
    /// As in the index, where it stands at this position, and so is all in it.
    Same(usize),
    New(New),
}

/// Another folder, or another content, or a part of one.
pub(super) struct New {
    pub(super) path: Vec<u8>,
    pub(super) head: Head,
    pub(super) rows: Vec<Row>,
}

impl New {
    /// The first name in it.
    pub(super) fn first(&self) -> Option<&[u8]> {
        self.rows.first().map(|row| row.name.as_slice())
    }
}

/// What all threads share.
pub(super) struct Walk<'a> {
    pub(super) root: OwnedFd,
    /// The same folder, for reading files of rules.
    pub(super) project: Enclosure,
    pub(super) known: &'a Tree,
    pub(super) own_output: OwnOutput,
    state: Mutex<State>,
    woken: Condvar,
    /// Threads that have nothing to do; looked at without the lock, since it only says when sharing pays.
    idle: AtomicUsize,
    /// Whether there is an error.
    failed: AtomicBool,
}

#[derive(Default)]
struct State {
    /// Tasks that any thread may take.
    waiting: Vec<Task>,
    /// Threads with tasks of their own, which may find more.
    busy: usize,
    listed: Vec<Listed>,
    error: Option<SnapshotError>,
}

/// What a thread takes up next.
pub(super) enum Task {
    /// A folder, the rules of the one above, where it stands in the index, and whether rules leave it out and something in it may be
    /// taken nonetheless.
    Folder {
        path: Vec<u8>,
        rules: Rules,
        known: Option<usize>,
        is_passage: bool,
    },
    Part(Part),
}

/// Some of the names in a folder.
pub(super) struct Part {
    pub(super) place: Arc<Place>,
    /// The folder's.
    pub(super) head: Head,
    pub(super) names: Vec<(Vec<u8>, FileType)>,
}

/// A folder that is open, and the rules that hold in it.
pub(super) struct Place {
    pub(super) handle: OwnedFd,
    pub(super) path: Vec<u8>,
    pub(super) rules: Rules,
    /// Where it stands in the index.
    pub(super) known: Option<usize>,
}

/// Walks through everything below `root`. `known` is what was there the last time.
pub(super) fn walk(root: &std::path::Path, top: Rules, known: &Tree) -> Result<Vec<Listed>, SnapshotError> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let unreadable = |error| SnapshotError::unreadable(root.as_os_str().as_encoded_bytes(), error);
    let project = Enclosure::open(root).map_err(unreadable)?;
    let root = rustix::fs::open(root, flags, Mode::empty()).map_err(|error| unreadable(error.into()))?;
    let state = State {
        waiting: vec![Task::Folder { path: Vec::new(), rules: top, known: known.position(b""), is_passage: false }],
        ..State::default()
    };
    let walk = Walk {
        root,
        project,
        known,
        own_output: OwnOutput::new(),
        state: Mutex::new(state),
        woken: Condvar::new(),
        idle: AtomicUsize::new(0),
        failed: AtomicBool::new(false),
    };
    std::thread::scope(|scope| {
        for _ in 1..threads(known) {
            scope.spawn(|| walk.work());
        }
        walk.work();
    });
    let state = walk.state.into_inner().unwrap_or_else(PoisonError::into_inner);
    match state.error {
        Some(error) => Err(error),
        None => Ok(state.listed),
    }
}

/// How many threads walk. Who looks at stamps needs the processors. Who reads a tree for the first time waits for the disk, file by file,
/// where it is not in memory: of 100,000 files, two threads read for 8.5 s, 16 for 3.7 s, and for as long as two where it is.
fn threads(known: &Tree) -> usize {
    let processors = std::thread::available_parallelism().map_or(2, NonZeroUsize::get);
    if known.folders.is_empty() { (8 * processors).min(32) } else { processors.min(8) }
}

impl Walk<'_> {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a thread finds it does itself, unless another one has nothing to do: with a lock and a wake-up for each folder, two threads
    /// made 23,000 futex calls for 17,000 folders, and now 26.
    fn work(&self) {
        let (mut listed, mut own) = (Vec::new(), Vec::new());
        while self.take(&mut own) {
            while let Some(task) = own.pop() {
                match (Visit { walk: self, found: &mut own }).take_up(task) {
                    Ok(Some(folder)) => listed.push(folder),
                    Ok(None) => {}
                    Err(error) => self.fail(error),
                }
                if self.failed.load(Ordering::Relaxed) {
                    own.clear();
                }
                if own.len() > 1 && self.idle.load(Ordering::Relaxed) > 0 {
                    // The oldest: they are the nearest to the top, and most is below them.
                    self.lock().waiting.extend(own.drain(..own.len() / 2));
                    self.woken.notify_all();
                }
            }
            self.lock().busy -= 1;
        }
        self.lock().listed.append(&mut listed);
        // Whoever waits finds that nobody is busy any more.
        self.woken.notify_all();
    }

    fn fail(&self, error: SnapshotError) {
        self.lock().error.get_or_insert(error);
        self.failed.store(true, Ordering::Relaxed);
    }

    /// Takes up a task that somebody shares; tells that there is none any more, or that the walk has failed.
    fn take(&self, own: &mut Vec<Task>) -> bool {
        let mut state = self.lock();
        loop {
            if state.error.is_some() {
                return false;
            }
            if let Some(task) = state.waiting.pop() {
                state.busy += 1;
                own.push(task);
                return true;
            }
            if state.busy == 0 {
                return false;
            }
            self.idle.fetch_add(1, Ordering::Relaxed);
            state = self.woken.wait(state).unwrap_or_else(PoisonError::into_inner);
            self.idle.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
