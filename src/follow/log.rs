//! What ranks wrote, kept beside the outputs: `runs/<run>/.nauta/rank-<r>.journal`.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::event::{Event, Events};
use crate::sync::journal::{Record, Records};

fn path(folder: &Path, rank: u32) -> PathBuf {
    folder.join(".nauta").join(format!("rank-{rank}.journal"))
}

/// A rank's log as it arrives.
pub(super) struct Log {
    rank: u32,
    file: Option<File>,
    events: Events,
}

impl Log {
    /// Begins anew; without a folder the log is only shown.
    pub(super) fn create(folder: Option<&Path>, rank: u32, events: Events) -> Self {
        let file = folder.and_then(|folder| File::create(path(folder, rank)).ok());
        Self { rank, file, events }
    }

    /// Keeps and shows what a rank wrote. A disk that takes no more costs the kept log, which is said once.
    pub(super) fn write(&mut self, record: Record) {
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.write_all(&record.encode())) {
            self.file = None;
            self.events.warn(format!("the log of rank {} is shown but not kept: {error}", self.rank));
        }
        let Record { stream, time, bytes } = record;
        self.events.send(Event::Log { rank: self.rank, stream, time, bytes });
    }

    /// Says that something is missing.
    pub(super) fn gap(&self, message: impl Into<String>) {
        self.events.send(Event::LogGap { rank: self.rank, message: message.into() });
    }
}

/// A log that grows while it is read.
pub struct KeptLog {
    rank: u32,
    file: File,
    records: Records,
}

impl KeptLog {
    /// The log of a rank in a run's folder; `None` when none was kept.
    pub fn open(folder: &Path, rank: u32) -> Option<Self> {
        let file = File::open(path(folder, rank)).ok()?;
        Some(Self { rank, file, records: Records::default() })
    }

    /// Shows what was added since the last time.
    pub fn show(&mut self, events: &Events) -> io::Result<()> {
        let mut buffer = vec![0; 1024 * 1024];
        loop {
            let n = self.file.read(&mut buffer)?;
            if n == 0 {
                return Ok(());
            }
            self.records.push(&buffer[..n]);
            while let Some(Record { stream, time, bytes }) = self.records.next_record().map_err(io::Error::other)? {
                events.send(Event::Log { rank: self.rank, stream, time, bytes });
            }
        }
    }
}
