//! The journal: every byte the program wrote, in a file, with offsets that never change their meaning.
//!
//! Its form is that of [`crate::sync::journal`]. Offsets count from the first record ever written. When the journal is
//! full its oldest half is dropped, and readers are told how much is missing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;

use crate::event::Stream;
use crate::sync::journal::{Damaged, HEADER, LARGEST, Record, parse_header, whole_records};

/// Most bytes that a journal keeps on disk.
pub(super) const CAP: u64 = 1024 * 1024 * 1024;

/// Says something in the supervisor's own name where no journal is (yet).
pub(super) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "nauta: {text}");
}

/// The journal of a rank.
pub(super) struct Journal {
    files: Mutex<Files>,
    /// Offset behind the last record.
    end: watch::Sender<u64>,
    cap: u64,
    /// When the program last gave a sign of life.
    stirred: Mutex<Instant>,
}

/// The newer and the older half.
struct Files {
    folder: PathBuf,
    current: Half,
    older: Option<Half>,
    broken: bool,
}

struct Half {
    file: Arc<File>,
    /// Offset of its first record.
    start: u64,
}

/// What a reader finds at an offset.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A record, and the offset behind it.
    Record(Record, u64),
    /// This many bytes are gone; go on at that offset.
    Gap(u64, u64),
    /// Nothing yet.
    End,
}

impl Journal {
    /// An empty journal in `folder`.
    pub(super) fn create(folder: &Path) -> io::Result<Self> {
        Self::with_cap(folder, CAP)
    }

    fn with_cap(folder: &Path, cap: u64) -> io::Result<Self> {
        let current = Half { file: new_file(folder, 0)?, start: 0 };
        let files = Files { folder: folder.to_owned(), current, older: None, broken: false };
        Ok(Self { files: Mutex::new(files), end: watch::Sender::new(0), cap, stirred: Mutex::new(Instant::now()) })
    }

    /// Adds bytes; a disk that takes no more is said once and costs the log, not the program.
    pub(super) fn append(&self, stream: Stream, bytes: &[u8]) {
        if stream != Stream::Supervisor {
            self.stir();
        }
        let mut files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let time = jiff::Timestamp::now().as_millisecond();
        for piece in bytes.chunks(LARGEST) {
            let end = *self.end.borrow();
            let record = Record { stream, time, bytes: Bytes::copy_from_slice(piece) }.encode();
            if let Err(error) = files.write(end, &record, self.cap) {
                if !std::mem::replace(&mut files.broken, true) {
                    say(&format!("the log cannot be kept: {error}"));
                }
                return;
            }
            self.end.send_replace(end + record.len() as u64);
        }
    }

    /// Says something in the supervisor's own name.
    pub(super) fn say(&self, text: &str) {
        self.append(Stream::Supervisor, format!("{text}\n").as_bytes());
    }

    /// The program gives a sign of life.
    pub(super) fn stir(&self) {
        *self.stirred.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = Instant::now();
    }

    /// How long the program has given none.
    pub(super) fn quiet(&self) -> Duration {
        self.stirred.lock().unwrap_or_else(std::sync::PoisonError::into_inner).elapsed()
    }

    /// Offset behind the last record, as it grows.
    pub(super) fn end(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// What is at an offset that a former answer gave, or at 0.
    pub(super) fn read(&self, offset: u64) -> io::Result<Found> {
        let files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let end = *self.end.borrow();
        let oldest = files.older.as_ref().map_or(files.current.start, |older| older.start);
        if offset < oldest {
            return Ok(Found::Gap(oldest - offset, oldest));
        }
        if offset >= end {
            return Ok(Found::End);
        }
        let half = files.older.as_ref().filter(|_| offset < files.current.start).unwrap_or(&files.current);
        let at = offset - half.start;
        let mut header = [0; HEADER];
        half.file.read_exact_at(&mut header, at)?;
        let (stream, time, len) = parse_header(&header).map_err(|Damaged| io::ErrorKind::InvalidData)?;
        let mut bytes = vec![0; len];
        half.file.read_exact_at(&mut bytes, at + HEADER as u64)?;
        let record = Record { stream, time, bytes: bytes.into() };
        let next = offset + record.len();
        Ok(Found::Record(record, next))
    }

    /// The offset of the oldest record that is left.
    pub(super) fn oldest(&self) -> u64 {
        let files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        files.older.as_ref().map_or(files.current.start, |older| older.start)
    }

    /// Whole records from an offset on, or from the oldest that is left, `most` bytes or a little less; and the offset of
    /// the first one.
    pub(super) fn part(&self, offset: u64, most: u64) -> io::Result<(u64, Vec<u8>)> {
        let files = self.files.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let older = files.older.as_ref().filter(|_| offset < files.current.start);
        let half = older.unwrap_or(&files.current);
        let start = offset.max(half.start);
        let end = older.map_or_else(|| *self.end.borrow(), |_| files.current.start);
        let (file, at) = (Arc::clone(&half.file), start - half.start);
        // The program must not wait for this.
        drop(files);
        let mut bytes = vec![0; usize::try_from(most.min(end.saturating_sub(start))).unwrap_or(0)];
        file.read_exact_at(&mut bytes, at)?;
        let whole = whole_records(&bytes).map_err(|Damaged| io::ErrorKind::InvalidData)?;
        bytes.truncate(whole);
        Ok((start, bytes))
    }
}

impl Files {
    fn write(&mut self, end: u64, record: &[u8], cap: u64) -> io::Result<()> {
        if end - self.current.start > cap / 2 {
            let next = Half { file: new_file(&self.folder, end)?, start: end };
            let older = std::mem::replace(&mut self.current, next);
            if let Some(oldest) = self.older.replace(older) {
                std::fs::remove_file(path(&self.folder, oldest.start))?;
            }
        }
        self.current.file.write_all_at(record, end - self.current.start)
    }
}

fn path(folder: &Path, start: u64) -> PathBuf {
    folder.join(format!("journal-{start:020}"))
}

fn new_file(folder: &Path, start: u64) -> io::Result<Arc<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(true).open(path(folder, start)).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::journal::Records;

    fn read_all(journal: &Journal, mut offset: u64) -> (Vec<u8>, u64) {
        let (mut bytes, mut missing) = (Vec::new(), 0);
        loop {
            match journal.read(offset).expect("readable") {
                Found::Record(record, next) => {
                    bytes.extend_from_slice(&record.bytes);
                    offset = next;
                }
                Found::Gap(gone, next) => {
                    missing += gone;
                    offset = next;
                }
                Found::End => return (bytes, missing),
            }
        }
    }

    #[test]
    fn bytes_come_back_as_they_were() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let journal = Journal::create(temp.path()).expect("created");
        let bytes: Vec<u8> = (0..200_000_u32).map(|i| (i % 251) as u8).collect();
        journal.append(Stream::Stdout, &bytes);
        journal.append(Stream::Stderr, b"x");
        let (read, missing) = read_all(&journal, 0);
        assert!(missing == 0 && read[..bytes.len()] == bytes && read.last() == Some(&b'x'));
    }

    #[test]
    fn a_full_journal_drops_its_oldest_bytes_and_says_so() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let journal = Journal::with_cap(temp.path(), 4000).expect("created");
        for i in 0..1000 {
            journal.append(Stream::Stdout, format!("line {i}\n").as_bytes());
        }
        let (read, missing) = read_all(&journal, 0);
        assert!(missing > 0 && read.ends_with(b"line 999\n") && read.starts_with(b"line "));
        assert!(std::fs::read_dir(temp.path()).expect("readable").count() == 2 && read.len() < 4200);
        // In parts it is the same, and what is gone is skipped.
        let (mut offset, mut parts, mut first) = (0, Records::default(), None);
        while let Some((start, part)) =
            Some(journal.part(offset, 300).expect("readable")).filter(|part| !part.1.is_empty())
        {
            first = first.or(Some(start));
            parts.push(&part);
            offset = start + part.len() as u64;
        }
        assert_eq!(first, Some(journal.oldest()));
        let records = std::iter::from_fn(|| parts.next_record().expect("whole"));
        assert!(records.flat_map(|record| record.bytes).eq(read));
    }
}
