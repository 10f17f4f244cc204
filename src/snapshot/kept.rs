//! The file that a snapshot's tree is kept in: written while others go on with the snapshot.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use rustix::fs::{AtFlags, CWD, linkat};

use super::index;
use super::tree::Tree;

/// Where a tree is kept. What is still being written is waited for when this goes.
pub(super) struct Kept(Mutex<State>);

#[derive(Default)]
enum State {
    #[default]
    Nowhere,
    Writing(JoinHandle<io::Result<File>>),
    In(File),
}

impl Kept {
    /// In this file, or nowhere.
    pub(super) fn new(file: Option<File>) -> Self {
        Self(Mutex::new(file.map_or(State::Nowhere, State::In)))
    }

    /// Begins to keep a tree in the file of this name.
    pub(super) fn write(path: PathBuf, tree: &Arc<Tree>) -> Self {
        let tree = Arc::clone(tree);
        let writing = std::thread::Builder::new().spawn(move || index::save(&path, &tree));
        // Only a cache: where there is no thread to be had, the next snapshot reads more.
        Self(Mutex::new(writing.map_or(State::Nowhere, State::Writing)))
    }

    /// Gives the file another name, which costs nothing: an index is replaced and never changed. Fails where there is no
    /// file, or none any more.
    pub(super) fn link(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle();
        let State::In(file) = &*state else { return Err(io::ErrorKind::NotFound.into()) };
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
        let new = path.with_added_extension(format!("{}", std::process::id()));
        // By what is open, and not by its name: another process may have put another tree there.
        linkat(CWD, format!("/proc/self/fd/{}", file.as_raw_fd()), CWD, &new, AtFlags::SYMLINK_FOLLOW)?;
        let renamed = fs::rename(&new, path);
        // Where both were names of this file already, the first one is still there.
        let _ = fs::remove_file(&new);
        renamed
    }
}

impl State {
    /// Waits for what is being written.
    fn settle(&mut self) {
        match std::mem::take(self) {
            Self::Writing(writing) => match writing.join() {
                Ok(Ok(file)) => *self = Self::In(file),
                Ok(Err(error)) => tracing::debug!(%error, "the index is not kept; the next snapshot reads everything"),
                Err(_) => tracing::debug!("the index is not kept: its thread stopped"),
            },
            settled => *self = settled,
        }
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner).settle();
    }
}
