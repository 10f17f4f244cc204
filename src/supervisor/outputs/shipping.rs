//! The journal on its way to the mailbox while it grows: what a rank has written outlives its pod and its node.

use std::sync::Arc;

use super::super::journal::{CAP, Journal};
use super::mailbox::Mailbox;
use super::segments::{FULL, Segments};
use crate::registry::Blob;
use crate::sync::{Chunk, JournalCopy};

/// What of a journal is in the mailbox.
#[derive(Default)]
pub(super) struct Shipping {
    segments: Segments,
    /// Whether the last pass has begun, and nothing else may follow it.
    pub(super) is_closed: bool,
}

impl Shipping {
    /// Sends what is new in the journal, at most one segment; gives whether there was something.
    pub(super) async fn step(&mut self, mailbox: &Mailbox, journal: &Arc<Journal>) -> Result<bool, String> {
        let end = *journal.end().borrow();
        let news = end.saturating_sub(self.segments.end()).min(FULL);
        if news == 0 {
            return Ok(false);
        }
        let next = self.segments.next(news, journal.oldest());
        let most = (self.segments.end() + news).saturating_sub(next.start).max(news);
        let source = Arc::clone(journal);
        let read = tokio::task::spawn_blocking(move || read(&source, next.start, most));
        let read = read.await.map_err(|error| error.to_string())?;
        let (start, bytes) = read.map_err(|error| format!("the log: {error}"))?;
        if start != next.start {
            // The journal has dropped it meanwhile; the next look sees that.
            return Ok(true);
        }
        if bytes.is_empty() {
            return Ok(false);
        }
        let blob = Blob::from_bytes(bytes);
        mailbox.push(&blob).await.map_err(|error| error.to_string())?;
        let digest = blob.digest().clone();
        self.segments.add(next, start, Chunk { blob: digest.clone(), offset: 0, size: blob.size(), digest });
        self.segments.limit(CAP);
        Ok(true)
    }

    /// What an index says of it.
    pub(super) fn copies(&self, instance: &str, whole: bool) -> Vec<JournalCopy> {
        self.segments.copies(instance, whole)
    }
}

/// Whole records from an offset on, at most `most` bytes; and the offset of the first one.
fn read(journal: &Journal, offset: u64, most: u64) -> std::io::Result<(u64, Vec<u8>)> {
    let (start, mut bytes) = journal.part(offset, most)?;
    // The journal may go on in its other file.
    while (bytes.len() as u64) < most {
        let (next, more) = journal.part(start + bytes.len() as u64, most - bytes.len() as u64)?;
        if more.is_empty() || next != start + bytes.len() as u64 {
            break;
        }
        bytes.extend(more);
    }
    Ok((start, bytes))
}
