//! Outputs arrive: verified piece by piece, put in place at once, and never over what is not ours.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::task::spawn_blocking;

use super::fetch::Pieces;
use super::folder::OutputsFolder;
use super::outcome::Brought;
use super::received::{Missing, Received};
use super::round::Round;
use crate::diagnosis::{Diagnosis, Kind};
use crate::digest::Digest;
use crate::event::Events;
use crate::output::{bytes, counted};
use crate::registry::RegistryError;
use crate::sync::{self, Budget, LeftOut, Origin};

/// What can go wrong while outputs arrive.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    /// A local file or folder cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another nauta brings them.
    #[error("another nauta brings the outputs to `{}`", folder.display())]
    Busy {
        /// The run's folder.
        folder: PathBuf,
    },
    /// Not everything arrived.
    #[error("{first}{}", and_others(*others))]
    Incomplete {
        /// The first that did not.
        first: Missing,
        /// How many more did not.
        others: usize,
        /// What to do.
        hints: Vec<String>,
    },
    /// The rank cannot give the file (any more).
    #[error("`{path}` of rank {rank} cannot be had: {reason}")]
    Source {
        /// The file.
        path: String,
        /// The rank.
        rank: u32,
        /// Why.
        reason: String,
    },
    /// The mailbox cannot give it.
    #[error(transparent)]
    Mailbox(#[from] RegistryError),
}

fn and_others(others: usize) -> String {
    match others {
        0 => String::new(),
        1 => ", nor is another file".to_owned(),
        _ => format!(", nor are {others} others"),
    }
}

impl Diagnosis for CollectError {
    fn kind(&self) -> Kind {
        match self {
            Self::Write { .. } => Kind::Input,
            Self::Busy { .. } | Self::Incomplete { .. } | Self::Source { .. } => Kind::Unavailable,
            Self::Mailbox(error) => error.kind(),
        }
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Write { .. } => vec!["make room or check the permissions, then `nauta pull RUN`".to_owned()],
            Self::Busy { .. } => vec![
                "wait until it is done, or end it (a `nauta run` or `nauta logs -f` in another terminal)".to_owned(),
            ],
            Self::Incomplete { hints, .. } => hints.clone(),
            Self::Source { .. } => vec!["`nauta pull RUN` tries again".to_owned()],
            Self::Mailbox(error) => error.hints(),
        }
    }
}

/// Receives the outputs of one run into `runs/<run>/`.
pub struct Collector {
    path: PathBuf,
    pub(super) folder: Arc<Mutex<OutputsFolder>>,
    pub(super) budget: Budget,
    /// What has been here since this nauta began: who deletes it meanwhile does not want it back.
    pub(super) brought: HashMap<String, Digest>,
    /// What was said of files that do not come, once each.
    said: BTreeSet<String>,
    /// What each rank has at the paths of its working directory.
    versions: HashMap<String, BTreeMap<u32, Digest>>,
}

impl Collector {
    /// Receives into `folder`, which is made if need be. Fails with [`CollectError::Busy`] when another nauta does.
    pub fn open(folder: &Path) -> Result<Self, CollectError> {
        let opened = OutputsFolder::open(folder);
        let opened = opened.map_err(|source| CollectError::Write { path: folder.to_owned(), source })?;
        let open = opened.ok_or_else(|| CollectError::Busy { folder: folder.to_owned() })?;
        let folder = Arc::new(Mutex::new(open));
        let path = lock(&folder).path().to_owned();
        let (brought, said, versions) = (HashMap::new(), BTreeSet::new(), HashMap::new());
        Ok(Self { path, folder, budget: Budget::default(), brought, said, versions })
    }

    /// Receives no more than this.
    #[must_use]
    pub fn with_budget(self, budget: Budget) -> Self {
        Self { budget, ..self }
    }

    /// Where outputs go.
    pub fn folder(&self) -> &Path {
        &self.path
    }

    /// Brings all files of an index that are not here yet. Nothing is ever deleted, and nothing that nauta has not
    /// written is replaced: the new file then goes beside it. A file that cannot come, or has no place here, does not keep
    /// the others away: it is told of in what is given back.
    pub async fn receive(
        &mut self,
        index: &sync::Index,
        pieces: &mut Pieces<'_>,
        events: &Events,
    ) -> Result<Received, CollectError> {
        let mut round = Round::new(self, index.rank, events);
        let wanted = round.choose(index).await;
        let brought = round.bring(wanted, pieces).await;
        let received = round.received;
        in_folder(&self.folder, OutputsFolder::settle).await.map_err(|source| self.write_error("", source))?;
        brought.map(|()| received)
    }

    /// What of the outputs is here: what came since this was opened, and what had come before and is listed still.
    pub(super) fn here(&self) -> Brought {
        let folder = lock(&self.folder);
        let size = self.brought.keys().map(|path| folder.taken_at(path)).sum();
        Brought { files: self.brought.len() as u64, size }
    }

    /// Removes what arrived of files that are no longer wanted, and files of working directories that several ranks have: the
    /// lowest rank's stays. For when everything is here.
    pub fn tidy(&mut self) -> Result<(), CollectError> {
        let mut folder = lock(&self.folder);
        let mut withdrawn = false;
        for (path, ranks) in std::mem::take(&mut self.versions) {
            let is_elsewhere = |rank: u32, digest: &Digest| ranks.range(..rank).any(|(_, other)| other == digest);
            for (rank, _) in ranks.iter().filter(|(rank, digest)| is_elsewhere(**rank, digest)) {
                let path = path_of(*rank, &path);
                folder.withdraw(&path).map_err(|source| self.write_error(&path, source))?;
                self.brought.remove(&path);
                withdrawn = true;
            }
        }
        if withdrawn {
            folder.recount();
        }
        folder.tidy().map_err(|source| self.write_error(".nauta", source))
    }

    /// Notes what a rank has in its working directory; gives whether a lower rank has the same there.
    pub(super) fn is_of_lower_rank(&mut self, rank: u32, file: &sync::File) -> bool {
        if file.origin != Origin::Workspace {
            return false;
        }
        let ranks = self.versions.entry(file.path.clone()).or_default();
        ranks.insert(rank, file.digest.clone());
        ranks.range(..rank).any(|(_, other)| *other == file.digest)
    }

    /// Says once what of the working directory stays behind.
    pub fn say_left_out(&mut self, left_out: &LeftOut, events: &Events) {
        let LeftOut { path, files, by, .. } = left_out;
        let is_group = path.ends_with(['/', '*']);
        let count = if is_group { counted(*files, "file") + ", " } else { String::new() };
        let (name, size) = (path.escape_debug(), bytes(left_out.bytes));
        let pattern = shlex::try_quote(path).unwrap_or_default();
        let pattern = pattern.escape_debug();
        self.say(format!("`{name}` ({count}{size}) stays behind, as {by}; `--outputs {pattern}` brings it"), events);
    }

    /// Says something of files that do not come, once, and no more often than anybody reads.
    pub(super) fn say(&mut self, text: String, events: &Events) {
        const MOST: usize = 20;
        if self.said.len() > MOST {
            return;
        }
        let text =
            if self.said.len() == MOST { "more files are not taken, or not put in place".to_owned() } else { text };
        if self.said.insert(text.clone()) {
            events.warn(text);
        }
    }

    pub(super) fn write_error(&self, path: &str, source: io::Error) -> CollectError {
        CollectError::Write { path: self.path.join(path), source }
    }
}

/// Where a rank's file goes, relative to the run's folder.
#[must_use]
pub fn path_of(rank: u32, path: &str) -> String {
    if rank == 0 { path.to_owned() } else { format!("rank-{rank}/{path}") }
}

/// Does something with the folder on a thread that may wait for the disk.
pub(super) async fn in_folder<T: Send + 'static>(
    folder: &Arc<Mutex<OutputsFolder>>,
    doing: impl FnOnce(&mut OutputsFolder) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let folder = Arc::clone(folder);
    let done = spawn_blocking(move || doing(&mut lock(&folder))).await;
    done.unwrap_or_else(|error| Err(io::Error::other(error)))
}

/// A panic while it was held is told by the one who panicked.
pub(super) fn lock(folder: &Mutex<OutputsFolder>) -> MutexGuard<'_, OutputsFolder> {
    folder.lock().unwrap_or_else(PoisonError::into_inner)
}
