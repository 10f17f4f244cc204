//! The outputs of a rank: watched while they are written, indexed, and pushed to the mailbox where there is one.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

use super::files::{Version, list, read_file, read_piece};
use super::journal::{Journal, say};
use super::legacy;
use super::mailbox::{Mailbox, MailboxConfig};
use super::shipping::Shipping;
use crate::event::End;
use crate::registry::Blob;
use crate::sync::{File, Index, JournalCopy, Skipped};

/// How often the folder is looked at.
const INTERVAL: Duration = Duration::from_secs(2);
/// A file that is replaced all the time never stands still; one of its versions is taken so often.
const RESTLESS: Duration = Duration::from_secs(30);
/// How long the log may wait before it is sent, for each rank of the run, so that the mailbox has the same to do however
/// many there are; and the bounds of that.
const LOG_INTERVAL: Duration = Duration::from_millis(500);
const LOG_INTERVALS: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_secs(30);
/// Between two segments of a log that is sent while the program runs: 8 MiB/s, so that the program has the rest.
const BREATH: Duration = Duration::from_millis(250);
/// How long sending that has been told to stop may take to do so.
const HANDOVER: Duration = Duration::from_secs(1);

/// The outputs of a rank.
#[derive(Clone)]
pub(super) struct Outputs(Arc<Inner>);

struct Inner {
    run: String,
    rank: u32,
    folder: PathBuf,
    mailbox: Option<Mailbox>,
    /// What workstations are told: it changes with the files.
    index: watch::Sender<Arc<Index>>,
    /// What the mailbox was told last.
    published: tokio::sync::Mutex<Index>,
    /// The log's way to the mailbox, and the name of this start of the supervisor in it.
    shipping: tokio::sync::Mutex<Shipping>,
    instance: String,
    /// Counts the looks at which something had changed.
    moves: watch::Sender<u64>,
    /// What was seen of each file, and what was made of it once it stood still.
    seen: Mutex<BTreeMap<String, Seen>>,
    /// The journals of containers whose place this one has taken.
    former: Mutex<Vec<JournalCopy>>,
}

struct Seen {
    /// What it was at the last look.
    version: Version,
    /// What was made of it last.
    taken: Option<Taken>,
    /// When that was, or when it was first seen.
    since: Instant,
}

#[derive(Clone)]
struct Taken {
    version: Version,
    file: File,
    pushed: bool,
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
    pub(super) fn new(
        run: &str,
        rank: u32,
        instance: &str,
        folder: PathBuf,
        mailbox: Option<&MailboxConfig>,
    ) -> Result<Self, String> {
        let mailbox = mailbox.map(Mailbox::open).transpose().map_err(|error| error.to_string())?;
        let _ = fs::create_dir_all(&folder);
        let index = Index { schema: 1, run: run.to_owned(), rank, ..Index::default() };
        Ok(Self(Arc::new(Inner {
            run: run.to_owned(),
            rank,
            folder,
            mailbox,
            index: watch::Sender::new(Arc::new(index.clone())),
            published: tokio::sync::Mutex::new(index),
            shipping: tokio::sync::Mutex::default(),
            instance: instance.to_owned(),
            moves: watch::Sender::new(0),
            seen: Mutex::default(),
            former: Mutex::default(),
        })))
    }

    /// Takes over what a former container of this rank has left in the mailbox; gives how many files, where there was one.
    pub(super) async fn take_over(&self) -> Result<Option<usize>, String> {
        let Some(mailbox) = &self.0.mailbox else { return Ok(None) };
        let left = mailbox.left_by(&self.0.run, self.0.rank).await.map_err(|error| error.to_string())?;
        let Some(left) = left else { return Ok(None) };
        let restored = legacy::restore(mailbox, &left, &self.0.folder).await.map(Some);
        // Until there is something new, the mailbox goes on saying what it says now.
        let former: Vec<JournalCopy> = left.former.into_iter().chain(left.journal).collect();
        self.0.former.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone_from(&former);
        let mut published = self.0.published.lock().await;
        *published = Index { former, journal: None, complete: false, end: None, ..left };
        restored
    }

    /// The index as it changes.
    pub(super) fn subscribe(&self) -> watch::Receiver<Arc<Index>> {
        self.0.index.subscribe()
    }

    /// Changes whenever files have.
    pub(super) fn moves(&self) -> watch::Receiver<u64> {
        self.0.moves.subscribe()
    }

    /// Looks at the folder again and again.
    pub(super) async fn watch(&self) {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(problem) = self.pass().await {
                say(&format!("outputs will be sent later: {problem}"));
            }
        }
    }

    /// Sends the log as it grows, in a run of so many ranks, until the last pass.
    pub(super) async fn ship(&self, journal: Arc<Journal>, nodes: u32) {
        let Some(mailbox) = &self.0.mailbox else { return };
        let interval = (LOG_INTERVAL * nodes).clamp(*LOG_INTERVALS.start(), *LOG_INTERVALS.end());
        let mut grown = journal.end();
        let mut is_troubled = false;
        loop {
            if !is_troubled && grown.changed().await.is_err() {
                return;
            }
            tokio::time::sleep(interval).await;
            grown.mark_unchanged();
            match self.ship_news(mailbox, &journal).await {
                Ok(true) => is_troubled = false,
                Ok(false) => return,
                Err(problem) => {
                    if !std::mem::replace(&mut is_troubled, true) {
                        say(&format!("the log will be sent later: {problem}"));
                    }
                }
            }
        }
    }

    /// Sends what is new in the log; `false` when the last pass has begun.
    async fn ship_news(&self, mailbox: &Mailbox, journal: &Arc<Journal>) -> Result<bool, String> {
        let mut more = true;
        while more {
            let mut shipping = self.0.shipping.lock().await;
            if shipping.is_closed {
                return Ok(false);
            }
            more = shipping.step(mailbox, journal).await?;
            let copies = shipping.copies(&self.0.instance, false);
            self.publish(|index| self.0.tell_of_log(index, copies)).await?;
            drop(shipping);
            tokio::time::sleep(BREATH).await;
        }
        Ok(true)
    }

    /// Sends the rest of the log, and gives what the mailbox then has of it; nothing of it is sent behind that.
    async fn ship_rest(&self, mailbox: &Mailbox, journal: &Arc<Journal>) -> Result<Vec<JournalCopy>, String> {
        let mut shipping = self.0.shipping.lock().await;
        shipping.is_closed = true;
        while shipping.step(mailbox, journal).await? {}
        Ok(shipping.copies(&self.0.instance, true))
    }

    /// What the mailbox has of a log of which not everything could be sent; nothing where sending has not even stopped.
    async fn shipped_part(&self) -> Option<Vec<JournalCopy>> {
        // Whoever waited for the lock sees first that nothing more is to be sent.
        let shipping = tokio::time::timeout(HANDOVER, self.0.shipping.lock()).await.ok()?;
        Some(shipping.copies(&self.0.instance, false))
    }

    /// Changes what the mailbox is told.
    async fn publish(&self, change: impl FnOnce(&mut Index)) -> Result<(), String> {
        let mut published = self.0.published.lock().await;
        let mut index = published.clone();
        change(&mut index);
        index.sequence += 1;
        if let Some(mailbox) = &self.0.mailbox {
            mailbox.publish(&index).await.map_err(|error| error.to_string())?;
        }
        *published = index;
        Ok(())
    }

    /// Takes everything that is there now; the program is no more. Without an `end` another container goes on.
    pub(super) async fn finish(&self, end: Option<&End>, journal: &Arc<Journal>, deadline: Duration) -> Finished {
        let deadline = Instant::now() + deadline;
        let (copies, unsent) = match &self.0.mailbox {
            Some(mailbox) => match in_time(deadline, self.ship_rest(mailbox, journal)).await {
                Ok(copies) => (Some(copies), None),
                Err(problem) => (self.shipped_part().await, Some(problem)),
            },
            None => (None, None),
        };
        // The files are listed whatever became of the log: they can still be had over the control stream.
        let mut index = match self.look(Pass::Last, end).await {
            Ok(index) => index,
            Err(problem) => return Finished { in_mailbox: false, problem: Some(problem) },
        };
        if let Some(copies) = copies {
            self.0.tell_of_log(&mut index, copies);
        }
        let pushed = in_time(deadline, self.push(&index)).await;
        self.0.index.send_replace(Arc::new(index));
        let problem = unsent.or(pushed.err());
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
        let index = self.look(Pass::Running, None).await?;
        let current = Arc::clone(&self.0.index.borrow());
        if current.files == index.files && current.skipped == index.skipped {
            return Ok(());
        }
        self.push(&index).await?;
        self.0.index.send_replace(Arc::new(index));
        Ok(())
    }

    /// What the folder holds now.
    async fn look(&self, pass: Pass, end: Option<&End>) -> Result<Index, String> {
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
            ..Index::default()
        })
    }

    /// All blobs of files, then the index: whoever reads it finds all it names. What it says of the log is that of the last
    /// time, unless it is the last index.
    async fn push(&self, index: &Index) -> Result<(), String> {
        let Some(mailbox) = &self.0.mailbox else { return Ok(()) };
        for file in &index.files {
            if self.0.taken(file, |taken| taken.pushed) == Some(true) {
                continue;
            }
            push_file(mailbox, &self.0.folder.join(&file.path), file).await.map_err(|error| error.to_string())?;
            let _ = self.0.taken(file, |taken| taken.pushed = true);
        }
        let Index { complete, end, files, skipped, journal, former, .. } = index.clone();
        let log = journal.map(|journal| (former, journal));
        self.publish(|index| {
            (index.complete, index.end, index.files, index.skipped) = (complete, end, files, skipped);
            if let Some((former, journal)) = log {
                (index.former, index.journal) = (former, Some(journal));
            }
        })
        .await
    }
}

impl Inner {
    /// What an index says of the log: journals of former containers, then what is there of this one's.
    fn tell_of_log(&self, index: &mut Index, mut own: Vec<JournalCopy>) {
        index.journal = own.pop();
        index.former.clone_from(&self.former.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        index.former.append(&mut own);
    }

    /// The files that can be taken, and those that cannot.
    fn scan(&self, pass: Pass) -> (Vec<File>, Vec<Skipped>) {
        let (mut files, mut skipped) = (Vec::new(), Vec::new());
        let mut found = Vec::new();
        list(&self.folder, "", &mut found, &mut skipped);
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        seen.retain(|path, _| found.binary_search_by(|(other, _)| other.cmp(path)).is_ok());
        let mut moved = false;
        for (path, metadata) in found {
            let version = Version::of(&metadata);
            let before = seen.remove(&path);
            let stands_still = before.as_ref().is_some_and(|seen| seen.version == version);
            moved |= !stands_still;
            let is_due =
                stands_still || pass == Pass::Last || before.as_ref().is_some_and(|seen| seen.is_restless(&version));
            let since = before.as_ref().map_or_else(Instant::now, |seen| seen.since);
            let former = before.and_then(|seen| seen.taken);
            let entry = match former {
                Some(taken) if taken.version == version => Seen { version, taken: Some(taken), since },
                _ if is_due => match read_file(&self.folder.join(&path), &path) {
                    Ok((version, file)) => {
                        let taken = Taken { version: version.clone(), file, pushed: false };
                        Seen { version, taken: Some(taken), since: Instant::now() }
                    }
                    Err(error) => {
                        skipped.push(Skipped { path: path.clone(), reason: error.to_string() });
                        Seen { version, taken: None, since }
                    }
                },
                // What the mailbox has of it stays true until there is something newer.
                former => Seen { version, taken: former.filter(|taken| taken.pushed), since },
            };
            files.extend(entry.taken.as_ref().map(|taken| taken.file.clone()));
            seen.insert(path, entry);
        }
        if moved {
            self.moves.send_modify(|moves| *moves += 1);
        }
        (files, skipped)
    }

    /// What `with` makes of a file as it was taken, unless it is another one by now.
    fn taken<T>(&self, file: &File, with: impl FnOnce(&mut Taken) -> T) -> Option<T> {
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let taken = seen.get_mut(&file.path)?.taken.as_mut()?;
        (taken.file == *file).then(|| with(taken))
    }
}

impl Seen {
    /// Whether the file is replaced all the time, and it is time to take one of its versions.
    fn is_restless(&self, now: &Version) -> bool {
        self.version.is_replaced_by(now) && self.since.elapsed() >= RESTLESS
    }
}

/// The outcome of `sending`, unless it takes too long.
async fn in_time<T>(deadline: Instant, sending: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let late = |_| "not everything was sent in time".to_owned();
    tokio::time::timeout_at(deadline, sending).await.map_err(late)?
}

async fn push_file(mailbox: &Mailbox, path: &Path, file: &File) -> Result<(), crate::registry::RegistryError> {
    let mut offset = 0;
    for chunk in &file.chunks {
        mailbox.push(&Blob::from_file(path, offset, chunk.size, chunk.blob.clone())).await?;
        offset += chunk.size;
    }
    Ok(())
}
