//! The outputs of a rank: watched while they are written, indexed, and pushed to the mailbox where there is one.

use std::collections::BTreeMap;
use std::fs::{self, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use rustix::fs::OFlags;
use tokio::sync::watch;
use tokio::time::Instant;

use super::journal::Journal;
use super::legacy;
use super::mailbox::{Mailbox, MailboxConfig};
use crate::digest::Hasher;
use crate::event::End;
use crate::registry::Blob;
use crate::sync::{CHUNK, Chunk, File, Index, JournalCopy, Skipped};

/// How often the folder is looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// The outputs of a rank.
#[derive(Clone)]
pub(super) struct Outputs(Arc<Inner>);

struct Inner {
    run: String,
    rank: u32,
    folder: PathBuf,
    mailbox: Option<Mailbox>,
    index: watch::Sender<Arc<Index>>,
    /// What was seen of each file, and what was made of it once it stood still.
    seen: Mutex<BTreeMap<String, Seen>>,
    /// The journals of containers whose place this one has taken.
    former: Mutex<Vec<JournalCopy>>,
}

#[derive(Clone)]
struct Seen {
    version: Version,
    file: Option<File>,
    pushed: bool,
}

/// What changes whenever a file's content may have.
#[derive(Clone, PartialEq, Eq)]
struct Version(u64, u64, i64, i64, i64, i64);

impl Version {
    fn of(m: &Metadata) -> Self {
        Self(m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec())
    }
}

/// What came of the last pass.
pub(super) struct Finished {
    /// Whether everything is in the mailbox.
    pub(super) in_mailbox: bool,
    /// What went wrong, in one sentence.
    pub(super) problem: Option<String>,
}

/// Whether files must have stood still since the last look.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pass {
    Running,
    Last,
}

impl Outputs {
    pub(super) fn new(run: &str, rank: u32, folder: PathBuf, mailbox: Option<&MailboxConfig>) -> Result<Self, String> {
        let mailbox = mailbox.map(Mailbox::open).transpose().map_err(|error| error.to_string())?;
        let _ = fs::create_dir_all(&folder);
        let index = watch::Sender::new(Arc::new(Index { schema: 1, run: run.to_owned(), rank, ..Index::default() }));
        let (seen, former) = (Mutex::default(), Mutex::default());
        Ok(Self(Arc::new(Inner { run: run.to_owned(), rank, folder, mailbox, index, seen, former })))
    }

    /// Takes over what a former container of this rank has left in the mailbox; gives how many files, where there was one.
    pub(super) async fn take_over(&self) -> Result<Option<usize>, String> {
        let Some(mailbox) = &self.0.mailbox else { return Ok(None) };
        let left = mailbox.left_by(&self.0.run, self.0.rank).await.map_err(|error| error.to_string())?;
        let Some(left) = left else { return Ok(None) };
        let restored = legacy::restore(mailbox, &left, &self.0.folder).await.map(Some);
        let mut former = self.0.former.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        former.extend(left.former.into_iter().chain(left.journal));
        restored
    }

    /// The index as it changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Index>> {
        self.0.index.subscribe()
    }

    /// Looks at the folder again and again.
    pub(super) async fn watch(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(problem) = self.pass().await {
                super::journal::say(&format!("outputs will be sent later: {problem}"));
            }
        }
    }

    /// Takes everything that is there now; the program is no more. Without an `end` another container goes on.
    pub(super) async fn finish(
        &self,
        end: Option<&End>,
        journal: &Journal,
        instance: &str,
        deadline: Duration,
    ) -> Finished {
        let deadline = Instant::now() + deadline;
        let copied = match &self.0.mailbox {
            Some(mailbox) => in_time(deadline, push_journal(mailbox, journal, instance)).await.map(Some),
            None => Ok(None),
        };
        // The files are listed whatever became of the log: they can still be had over the control stream.
        let (copy, log_problem) = copied.map_or_else(|problem| (None, Some(problem)), |copy| (copy, None));
        let index = match self.look(Pass::Last, end, copy).await {
            Ok(index) => index,
            Err(problem) => return Finished { in_mailbox: false, problem: Some(problem) },
        };
        let pushed = in_time(deadline, self.push(&index)).await;
        self.0.index.send_replace(Arc::new(index));
        let problem = log_problem.or(pushed.err());
        Finished { in_mailbox: self.0.mailbox.is_some() && problem.is_none(), problem }
    }

    /// A piece of a file that the index names.
    pub(super) async fn fetch(&self, path: &str, offset: u64, len: u32) -> Result<Bytes, String> {
        if !self.0.index.borrow().files.iter().any(|file| file.path == path) {
            return Err(format!("`{path}` is none of the outputs"));
        }
        let path = self.0.folder.join(path);
        let read = tokio::task::spawn_blocking(move || read_piece(&path, offset, len));
        read.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
    }

    /// Takes what has stood still since the last look.
    async fn pass(&self) -> Result<(), String> {
        let index = self.look(Pass::Running, None, None).await?;
        let current = Arc::clone(&self.0.index.borrow());
        if current.files == index.files && current.skipped == index.skipped {
            return Ok(());
        }
        self.push(&index).await?;
        self.0.index.send_replace(Arc::new(index));
        Ok(())
    }

    /// What the folder holds now.
    async fn look(&self, pass: Pass, end: Option<&End>, journal: Option<JournalCopy>) -> Result<Index, String> {
        let inner = Arc::clone(&self.0);
        let scan = tokio::task::spawn_blocking(move || inner.scan(pass));
        let (files, skipped) = scan.await.map_err(|error| error.to_string())?;
        Ok(Index {
            schema: 1,
            run: self.0.run.clone(),
            rank: self.0.rank,
            sequence: self.0.index.borrow().sequence + 1,
            complete: end.is_some(),
            end: end.cloned(),
            files,
            skipped,
            journal,
            former: self.0.former.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone(),
        })
    }

    /// All blobs, then the index: whoever reads it finds all it names.
    async fn push(&self, index: &Index) -> Result<(), String> {
        let Some(mailbox) = &self.0.mailbox else { return Ok(()) };
        for file in &index.files {
            let known = |seen: &BTreeMap<String, Seen>| seen.get(&file.path).is_some_and(|s| s.pushed);
            if known(&self.0.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner)) {
                continue;
            }
            push_file(mailbox, &self.0.folder.join(&file.path), file).await.map_err(|error| error.to_string())?;
            let mut seen = self.0.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if let Some(entry) = seen.get_mut(&file.path).filter(|entry| entry.file.as_ref() == Some(file)) {
                entry.pushed = true;
            }
        }
        mailbox.publish(index).await.map_err(|error| error.to_string())
    }
}

impl Inner {
    /// The files that can be taken, and those that cannot.
    fn scan(&self, pass: Pass) -> (Vec<File>, Vec<Skipped>) {
        let (mut files, mut skipped) = (Vec::new(), Vec::new());
        let mut found = Vec::new();
        list(&self.folder, "", &mut found, &mut skipped);
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.retain(|path, _| found.binary_search_by(|(other, _)| other.cmp(path)).is_ok());
        for (path, metadata) in found {
            let version = Version::of(&metadata);
            let before = seen.get(&path).filter(|seen| seen.version == version).cloned();
            let stands_still = before.is_some() || pass == Pass::Last;
            let known = before.and_then(|seen| seen.file.map(|file| (file, seen.pushed)));
            let entry = match known {
                Some((file, pushed)) => Seen { version, file: Some(file), pushed },
                None if stands_still => match read_file(&self.folder.join(&path), &path) {
                    Ok((version, file)) => Seen { version, file: Some(file), pushed: false },
                    Err(error) => {
                        skipped.push(Skipped { path: path.clone(), reason: error.to_string() });
                        Seen { version, file: None, pushed: false }
                    }
                },
                None => Seen { version, file: None, pushed: false },
            };
            files.extend(entry.file.clone());
            seen.insert(path, entry);
        }
        (files, skipped)
    }
}

/// The outcome of `sending`, unless it takes too long.
async fn in_time<T>(deadline: Instant, sending: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| "not everything was sent in time".to_owned();
    tokio::time::timeout_at(deadline, sending).await.map_err(late)?
}

/// Regular files below `folder`, sorted by path.
fn list(folder: &Path, prefix: &str, files: &mut Vec<(String, Metadata)>, skipped: &mut Vec<Skipped>) {
    let mut entries: Vec<_> = match fs::read_dir(folder) {
        Ok(entries) => entries.flatten().collect(),
        Err(error) => return skipped.push(Skipped { path: prefix.to_owned(), reason: error.to_string() }),
    };
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let Some(text) = name.to_str().filter(|text| !text.contains(['\\', '\n', '\r'])) else {
            let reason = "its name cannot be had on every system".to_owned();
            skipped.push(Skipped { path: format!("{prefix}{}", name.to_string_lossy().escape_debug()), reason });
            continue;
        };
        let path = format!("{prefix}{text}");
        match fs::symlink_metadata(entry.path()) {
            Ok(metadata) if metadata.is_dir() => list(&entry.path(), &format!("{path}/"), files, skipped),
            Ok(metadata) if metadata.is_file() => files.push((path, metadata)),
            Ok(_) => skipped.push(Skipped { path, reason: "it is no regular file".to_owned() }),
            Err(error) => skipped.push(Skipped { path, reason: error.to_string() }),
        }
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
}

/// Reads a file once: its digest, its chunks, and the version that they belong to.
fn read_file(path: &Path, relative: &str) -> io::Result<(Version, File)> {
    let mut file = open(path)?;
    let before = file.metadata()?;
    let mut whole = Hasher::default();
    let mut chunks = Vec::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut chunk = Hasher::default();
    loop {
        let room = usize::try_from(CHUNK - chunk.len()).unwrap_or(buffer.len()).min(buffer.len());
        let n = file.read(&mut buffer[..room])?;
        whole.update(&buffer[..n]);
        chunk.update(&buffer[..n]);
        if !chunk.is_empty() && (n == 0 || chunk.len() == CHUNK) {
            let size = chunk.len();
            let digest = std::mem::take(&mut chunk).finish();
            chunks.push(Chunk { blob: digest.clone(), offset: 0, size, digest });
        }
        if n == 0 {
            break;
        }
    }
    let after = file.metadata()?;
    let size = whole.len();
    if Version::of(&before) != Version::of(&after) || size != after.size() {
        return Err(io::Error::other("it was written to while it was read"));
    }
    let mode = after.permissions().mode() & 0o777;
    let file = File { path: relative.to_owned(), size, mode, modified: after.mtime(), digest: whole.finish(), chunks };
    Ok((Version::of(&after), file))
}

/// Opens a regular file, and nothing that took its place since it was listed: a link may lead anywhere, a pipe may wait.
fn open(path: &Path) -> io::Result<fs::File> {
    let flags = (OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed();
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file any more")) }
}

fn read_piece(path: &Path, offset: u64, len: u32) -> io::Result<Bytes> {
    let mut file = open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut piece = Vec::new();
    file.take(u64::from(len)).read_to_end(&mut piece)?;
    Ok(piece.into())
}

async fn push_file(mailbox: &Mailbox, path: &Path, file: &File) -> Result<(), crate::registry::RegistryError> {
    let mut offset = 0;
    for chunk in &file.chunks {
        mailbox.push(&Blob::from_file(path, offset, chunk.size, chunk.blob.clone())).await?;
        offset += chunk.size;
    }
    Ok(())
}

/// The journal's files, pushed one behind the other.
async fn push_journal(mailbox: &Mailbox, journal: &Journal, instance: &str) -> Result<JournalCopy, String> {
    let (start, paths) = journal.files();
    let mut copy = JournalCopy { instance: instance.to_owned(), start, chunks: Vec::new() };
    for path in paths {
        let (_, file) = read_file(&path, "journal").map_err(|error| format!("the log: {error}"))?;
        push_file(mailbox, &path, &file).await.map_err(|error| error.to_string())?;
        copy.chunks.extend(file.chunks);
    }
    Ok(copy)
}
