//! Files on their way into the list, and to the mailbox where there is one: small ones together in packs, large ones chunk by
//! chunk while they are read, several at a time. What has arrived is listed at once.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, TryStreamExt};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::Inner;
use super::files::{Pack, Reading, Version};
use super::looks::Due;
use super::mailbox::{MAX_BLOBS, Mailbox};
use crate::registry::{Blob, RegistryError};
use crate::sync::{Chunk, File, Skipped};

/// Files up to this size go into packs, in bytes.
const SMALL: u64 = 1024 * 1024;
/// The most that is in one pack: bytes and files.
const PACK: (u64, usize) = (4 * 1024 * 1024, 2048);
/// So many packs and large files are read and sent at once.
const JOBS: usize = 4;
/// So many chunks of one file are on their way at once.
const CHUNKS: usize = 4;
/// How often the mailbox is told what has arrived in it.
const NEWS: Duration = Duration::from_secs(2);

/// What could not be taken.
#[derive(Default)]
pub(super) struct Failed {
    /// Files that could not be read as they are.
    pub(super) unread: Vec<Skipped>,
    /// Files that the mailbox did not take, and why not.
    pub(super) unsent: Vec<Due>,
    pub(super) reason: Option<String>,
}

enum Job {
    Pack(Vec<Due>),
    Large(Due),
}

/// Files as they were read, and those that could not be.
type Taken = (Vec<(Version, File)>, Vec<(String, String)>);

/// Takes files, sends them unless `mailbox` is `None`, and lists them.
pub(super) async fn send(inner: &Arc<Inner>, mailbox: Option<&Mailbox>, due: Vec<Due>) -> Failed {
    let mut failed = Failed::default();
    let mut waiting = jobs(due).into_iter();
    let mut running = JoinSet::new();
    let mut told = Instant::now();
    loop {
        while running.len() < JOBS
            && let Some(job) = waiting.next()
        {
            let (inner, mailbox) = (Arc::clone(inner), mailbox.cloned());
            running.spawn_local(async move { do_job(&inner, mailbox.as_ref(), job).await });
        }
        match running.join_next().await {
            None => return failed,
            Some(Ok(done)) => failed.add(done),
            Some(Err(error)) => failed.reason = Some(error.to_string()),
        }
        inner.activity.stirs();
        if told.elapsed() >= NEWS {
            inner.tell_followers(false);
            if mailbox.is_some()
                && let Err(problem) = inner.publish(|_| ()).await
            {
                failed.reason = Some(problem);
            }
            told = Instant::now();
        }
    }
}

/// What is sent together, in the files' order.
fn jobs(due: Vec<Due>) -> Vec<Job> {
    let (mut jobs, mut pack, mut size) = (Vec::new(), Vec::new(), 0);
    for file in due {
        if file.size > SMALL {
            jobs.push(Job::Large(file));
            continue;
        }
        if size + file.size > PACK.0 || pack.len() == PACK.1 {
            jobs.push(Job::Pack(std::mem::take(&mut pack)));
            size = 0;
        }
        size += file.size;
        pack.push(file);
    }
    if !pack.is_empty() {
        jobs.push(Job::Pack(pack));
    }
    jobs
}

async fn do_job(inner: &Arc<Inner>, mailbox: Option<&Mailbox>, job: Job) -> Failed {
    let (due, taken) = match job {
        Job::Pack(due) => {
            let taken = send_pack(inner, mailbox, &due).await;
            (due, taken)
        }
        Job::Large(due) => {
            let taken = send_large(inner, mailbox, &due).await;
            (vec![due], taken)
        }
    };
    match taken {
        Ok((files, unread)) => {
            inner.list(files, mailbox.is_some());
            let unread = unread.into_iter().map(|(path, reason)| Skipped { path, reason, special: false });
            Failed { unread: unread.collect(), ..Failed::default() }
        }
        Err(reason) => Failed { unsent: due, reason: Some(reason), ..Failed::default() },
    }
}

async fn send_pack(inner: &Arc<Inner>, mailbox: Option<&Mailbox>, due: &[Due]) -> Result<Taken, String> {
    let (own, due) = (Arc::clone(inner), due.to_vec());
    let reading = tokio::task::spawn_blocking(move || Pack::read(&own.places, &due, &own.activity));
    let Pack { files, bytes, failed } = reading.await.map_err(|error| error.to_string())?;
    if let Some(mailbox) = mailbox.filter(|_| !bytes.is_empty()) {
        room_for(inner, 1)?;
        mailbox.push(&Blob::from_bytes(bytes)).await.map_err(|error| error.to_string())?;
    }
    Ok((files, failed))
}

/// A file on its way: its chunks, and behind them what it is.
enum Step {
    Chunk(u64, Chunk),
    Whole(Box<(Version, File)>),
}

async fn send_large(inner: &Arc<Inner>, mailbox: Option<&Mailbox>, due: &Due) -> Result<Taken, String> {
    let unread = |error: std::io::Error| Ok((Vec::new(), vec![(due.path.to_string(), error.to_string())]));
    let reading = match Reading::open(&inner.places, due) {
        Ok(reading) => reading,
        Err(error) => return unread(error),
    };
    let steps = stream::try_unfold(Some(reading), |reading| async {
        let Some(reading) = reading else { return Ok::<_, Trouble>(None) };
        let (reading, step) = next_step(inner, reading).await?;
        Ok(Some((step, reading)))
    });
    let sent = steps.map_ok(|step| send_step(inner, mailbox, due, step)).try_buffered(CHUNKS);
    let last = sent.try_fold(None, |last, step| std::future::ready(Ok(step.or(last)))).await;
    match last {
        Ok(whole) => Ok((whole.map(|whole| *whole).into_iter().collect(), Vec::new())),
        Err(Trouble::Unread(error)) => unread(error),
        Err(Trouble::Unsent(reason)) => Err(reason),
    }
}

enum Trouble {
    Unread(std::io::Error),
    Unsent(String),
}

/// Reads the next chunk; behind the last one there is no more to read.
async fn next_step(inner: &Arc<Inner>, mut reading: Reading) -> Result<(Option<Reading>, Step), Trouble> {
    let activity = inner.activity.clone();
    let step = tokio::task::spawn_blocking(move || match reading.next(&activity)? {
        Some((offset, chunk)) => Ok((Some(reading), Step::Chunk(offset, chunk))),
        None => reading.finish().map(|whole| (None, Step::Whole(Box::new(whole)))),
    });
    step.await.map_err(|error| Trouble::Unsent(error.to_string()))?.map_err(Trouble::Unread)
}

async fn send_step(
    inner: &Arc<Inner>,
    mailbox: Option<&Mailbox>,
    due: &Due,
    step: Step,
) -> Result<Option<Box<(Version, File)>>, Trouble> {
    let (offset, chunk) = match step {
        Step::Chunk(offset, chunk) => (offset, chunk),
        Step::Whole(whole) => return Ok(Some(whole)),
    };
    let Some(mailbox) = mailbox else { return Ok(None) };
    room_for(inner, 1).map_err(Trouble::Unsent)?;
    let blob = Blob::from_file(inner.places.path(due.origin, &due.path), offset, chunk.size, chunk.blob);
    match mailbox.push(&blob).await {
        Ok(()) => Ok(None),
        Err(error @ RegistryError::FileChanged { .. }) => {
            Err(Trouble::Unread(std::io::Error::other(error.to_string())))
        }
        Err(error) => Err(Trouble::Unsent(error.to_string())),
    }
}

/// Whether the list of blobs, which is one manifest, has room for more.
fn room_for(inner: &Inner, more: usize) -> Result<(), String> {
    if inner.catalogue().blob_count() + more <= MAX_BLOBS {
        return Ok(());
    }
    Err(format!("a mailbox holds {MAX_BLOBS} blobs of a rank, and these outputs need more"))
}

impl Failed {
    fn add(&mut self, other: Self) {
        self.unread.extend(other.unread);
        self.unsent.extend(other.unsent);
        self.reason = other.reason.or(self.reason.take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Origin;

    #[test]
    fn small_files_go_together_and_large_ones_alone() {
        let due = |size| Due { path: "x".into(), size, origin: Origin::Outputs, is_link: false };
        let sizes = |due: Vec<Due>| -> Vec<usize> {
            let len = |job: Job| match job {
                Job::Pack(files) => files.len(),
                Job::Large(_) => 0,
            };
            jobs(due).into_iter().map(len).collect()
        };
        assert_eq!(sizes(vec![due(4); 5000]), [2048, 2048, 904]);
        assert_eq!(sizes(vec![due(SMALL), due(SMALL + 1), due(SMALL)]), [0, 2]);
        assert_eq!(sizes(vec![due(SMALL); 5]), [4, 1]);
        assert!(sizes(Vec::new()).is_empty());
    }
}
