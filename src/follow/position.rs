//! How far a rank's log was read, through the journals of all containers that the rank had.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use super::collect::CollectError;
use super::log::Log;
use super::mailbox::Mailbox;
use crate::control::Reply;
use crate::sync::journal::Record;
use crate::sync::{Index, JournalCopy};

/// Stands for an instance where the kubelet's copy was read.
const COPY: &str = "kubelet";

/// Where reading goes on.
pub(super) struct Position {
    pub(super) rank: u32,
    /// Whose journal is being read.
    pub(super) instance: String,
    /// Offset in it.
    pub(super) offset: u64,
    /// Whether this instance has said its last word.
    pub(super) has_ended: bool,
    /// Whose journals are behind.
    left: BTreeSet<String>,
    log: Log,
}

impl Position {
    /// Where a log ends that was kept.
    pub(super) fn new(rank: u32, log: Log) -> Self {
        let (parts, offset) = log.parts();
        let instance = parts.last().map_or_else(String::new, |last| last.instance.clone());
        let left = parts.iter().map(|part| part.instance.clone()).filter(|other| *other != instance).collect();
        Self { rank, instance, offset, has_ended: false, left, log }
    }

    /// Keeps and shows a record that ends at `next`.
    pub(super) fn take(&mut self, record: Record, next: u64) {
        self.offset = next;
        self.log.write(record);
    }

    /// Takes what a supervisor says of its journal; gives back what is no such word.
    pub(super) fn hear(&mut self, reply: Reply, body: bytes::Bytes) -> Option<(Reply, bytes::Bytes)> {
        match reply {
            Reply::Log { stream, time, next } => self.take(Record { stream, time, bytes: body }, next),
            Reply::Gap { bytes, next } => self.skip(bytes, next),
            other => return Some((other, body)),
        }
        None
    }

    fn skip(&mut self, bytes: u64, next: u64) {
        self.log.gap_of(bytes);
        self.offset = next;
        self.log.goes_on(&self.instance, next);
    }

    /// Shows a record of the kubelet's copy, which has no offsets.
    pub(super) fn take_copied(&mut self, record: Record) {
        if self.instance != COPY {
            let former = std::mem::replace(&mut self.instance, COPY.to_owned());
            self.left.insert(former);
            self.log.goes_on(COPY, 0);
        }
        self.log.write(record);
    }

    /// Says that something is missing.
    pub(super) fn gap(&self, message: impl Into<String>) {
        self.log.gap(message);
    }

    /// When the last record was written, and the last line so far, with its end if it has one.
    pub(super) fn seam(&self) -> (i64, &[u8]) {
        self.log.seam()
    }

    /// Begins where the last so many bytes are that the mailbox has of all journals, or a little before.
    pub(super) fn pass_over_all_but(&mut self, last: u64, index: &Index) {
        let mut missing = last;
        for copy in index.former.iter().chain(&index.journal).rev() {
            if missing == 0 {
                self.left.insert(copy.instance.clone());
                continue;
            }
            self.instance.clone_from(&copy.instance);
            self.offset = copy.start + copy.chunks.iter().map(|chunk| chunk.size).sum::<u64>();
            for chunk in copy.chunks.iter().rev() {
                if missing == 0 {
                    break;
                }
                self.offset -= chunk.size;
                missing = missing.saturating_sub(chunk.size);
            }
        }
        // Of one journal there are several copies where something is missing between them.
        self.left.remove(&self.instance);
    }

    /// Takes what the mailbox has of all journals that was not read yet.
    pub(super) async fn read_mailbox(&mut self, mailbox: &Mailbox, index: &Index) -> Result<(), CollectError> {
        for copy in index.former.iter().chain(&index.journal) {
            if !self.left.contains(&copy.instance) {
                self.read_copy(mailbox, copy).await?;
            }
        }
        Ok(())
    }

    async fn read_copy(&mut self, mailbox: &Mailbox, copy: &JournalCopy) -> Result<(), CollectError> {
        if copy.instance != self.instance {
            self.begin(&copy.instance);
        }
        if copy.start > self.offset {
            self.skip(copy.start - self.offset, copy.start);
        }
        let from = self.offset;
        let rank = self.rank;
        let take = |record, next| {
            self.take(record, next);
            ControlFlow::Continue(())
        };
        mailbox.journal(rank, copy, from, take).await?;
        self.has_ended |= copy.whole;
        Ok(())
    }

    /// Another supervisor writes another journal.
    pub(super) fn begin(&mut self, instance: &str) {
        if !self.instance.is_empty() && !self.has_ended {
            self.gap("the rank was started anew; what it had written since the last word is lost");
        }
        let former = std::mem::replace(&mut self.instance, instance.to_owned());
        self.left.insert(former);
        (self.offset, self.has_ended) = (0, false);
        self.log.goes_on(instance, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use crate::event::Events;
    use crate::sync::Chunk;

    fn copy(instance: &str, start: u64, sizes: &[u64]) -> JournalCopy {
        let chunk = |size: &u64| Chunk { blob: Digest::of(b""), offset: 0, size: *size, digest: Digest::of(b"") };
        let chunks = sizes.iter().map(chunk).collect();
        JournalCopy { instance: instance.to_owned(), start, whole: true, chunks }
    }

    #[test]
    fn the_last_bytes_begin_with_a_chunk() {
        let index = Index {
            former: vec![copy("a", 0, &[5]), copy("b", 7, &[10, 10]), copy("c", 50, &[5])],
            journal: Some(copy("c", 100, &[10, 10])),
            ..Index::default()
        };
        let begin = |last| {
            let mut position = Position::new(0, Log::shown(0, Events::new(|_| ())));
            position.pass_over_all_but(last, &index);
            let left: Vec<String> = position.left.iter().cloned().collect();
            (position.instance, position.offset, left.concat())
        };
        for (last, expected) in [
            (1, ("c", 110, "ab")),
            (10, ("c", 110, "ab")),
            (11, ("c", 100, "ab")),
            (21, ("c", 50, "ab")),
            (26, ("b", 17, "a")),
            (46, ("a", 0, "")),
            (1000, ("a", 0, "")),
        ] {
            let (instance, offset, left) = expected;
            assert_eq!(begin(last), (instance.to_owned(), offset, left.to_owned()), "the last {last} bytes");
        }
    }
}
