//! What ranks wrote, kept beside the outputs: `runs/<run>/.nauta/rank-<r>.journal`, and whose journals it is from:
//! `rank-<r>.parts`. Whoever comes back to a run goes on where the last one was.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::bounded_file::{Enclosure, KEPT, OpenOptions};
use crate::event::{Event, Events, Stream};
use crate::sync::journal::{Record, Records};

/// The end of what was shown is remembered up to this length, in bytes: the kubelet's copy is sewn on there.
const SEAM: usize = 4096;
/// Bytes read at a time.
const PIECE: usize = 1024 * 1024;

fn path(folder: &Path, rank: u32) -> PathBuf {
    folder.join(".nauta").join(format!("rank-{rank}.journal"))
}

/// The folder of the run that a log is in: whatever links a project brings, nothing leads out of it.
fn own(path: &Path) -> io::Result<Enclosure> {
    Enclosure::open(path.ancestors().nth(2).unwrap_or(path))
}

/// A row of records that follow each other in one journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Where it begins in the kept file.
    at: u64,
    /// Whose journal it is from.
    pub(super) instance: String,
    /// Journal offset of its first record.
    start: u64,
}

/// A rank's log as it arrives.
pub(super) struct Log {
    rank: u32,
    kept: Option<Kept>,
    /// When the last record was written, and the end of what was.
    last: i64,
    seam: Vec<u8>,
    events: Events,
}

/// The file that a log is kept in.
struct Kept {
    path: PathBuf,
    file: File,
    len: u64,
    parts: Vec<Part>,
}

impl Log {
    /// A log that is only shown.
    pub(super) const fn shown(rank: u32, events: Events) -> Self {
        Self { rank, kept: None, last: i64::MIN, seam: Vec::new(), events }
    }

    /// A log that is kept in a run's folder. What was kept before is shown, and goes on.
    pub(super) fn kept(folder: &Path, rank: u32, events: Events) -> Self {
        let mut log = Self::shown(rank, events);
        let path = path(folder, rank);
        match Kept::open(&path) {
            Ok(mut kept) => {
                // What cannot be read was written by no nauta of this kind, or was lost with the power: it begins anew.
                let kept = if log.show_again(&mut kept).is_ok() { Ok(kept) } else { Kept::create(path) };
                log.kept = log.unless_full(kept);
            }
            Err(_) => log.kept = log.unless_full(Kept::create(path)),
        }
        log
    }

    /// What of journals was kept, oldest first, and the offset behind the last of it.
    pub(super) fn parts(&self) -> (&[Part], u64) {
        let Some(Kept { len, parts, .. }) = &self.kept else { return (&[], 0) };
        (parts, parts.last().map_or(0, |last| last.start + (len - last.at)))
    }

    /// Shows what was kept; a record that was cut off goes.
    fn show_again(&mut self, kept: &mut Kept) -> io::Result<()> {
        let (mut records, mut buffer, mut len) = (Records::default(), vec![0; PIECE], 0);
        let mut seams =
            kept.parts.windows(2).map(|pair| (pair[1].at, missing(pair))).collect::<Vec<_>>().into_iter().peekable();
        loop {
            match kept.file.read(&mut buffer)? {
                0 => break,
                n => records.push(&buffer[..n]),
            }
            while let Some(record) = records.next_record().map_err(io::Error::other)? {
                while let Some((_, bytes)) = seams.next_if(|(at, _)| *at <= len) {
                    if let Some(bytes) = bytes {
                        self.gap_of(bytes);
                    }
                }
                len += record.len();
                self.show(record);
            }
        }
        if kept.parts.last().is_some_and(|last| last.at > len) || kept.parts.is_empty() && len > 0 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        kept.file.set_len(len)?;
        kept.file.seek(SeekFrom::Start(len))?;
        kept.len = len;
        Ok(())
    }

    /// Keeps and shows what a rank wrote.
    pub(super) fn write(&mut self, record: Record) {
        let kept = self.kept.as_mut().map(|kept| kept.write(&record));
        self.still_kept(kept);
        self.show(record);
    }

    fn show(&mut self, record: Record) {
        let Record { stream, time, bytes } = record;
        self.last = time;
        if stream == Stream::Supervisor {
            self.seam.extend_from_slice(b"nauta: ");
        }
        self.seam.extend_from_slice(&bytes[bytes.len().saturating_sub(SEAM)..]);
        let too_many = self.seam.len().saturating_sub(SEAM);
        self.seam.drain(..too_many);
        self.events.send(Event::Log { rank: self.rank, stream, time, bytes });
    }

    /// What is written next is from this journal, and begins there.
    pub(super) fn goes_on(&mut self, instance: &str, start: u64) {
        let kept = self.kept.as_mut().map(|kept| kept.begin(instance, start));
        self.still_kept(kept);
    }

    /// A disk that takes no more costs the kept log, which is said once.
    fn still_kept(&mut self, outcome: Option<io::Result<()>>) {
        if let Some(Err(error)) = outcome {
            self.kept = None;
            self.unless_full::<()>(Err(error));
        }
    }

    fn unless_full<T>(&self, outcome: io::Result<T>) -> Option<T> {
        let warn = |error| self.events.warn(format!("the log of rank {} is shown but not kept: {error}", self.rank));
        outcome.map_err(warn).ok()
    }

    /// When the last record was written, and the last line so far, with its end if it has one.
    pub(super) fn seam(&self) -> (i64, &[u8]) {
        let whole = self.seam.strip_suffix(b"\n").unwrap_or(&self.seam);
        let start = whole.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        (self.last, &self.seam[start..])
    }

    /// Says that something is missing.
    pub(super) fn gap(&self, message: impl Into<String>) {
        self.events.send(Event::LogGap { rank: self.rank, message: message.into() });
    }

    /// Says that a journal has dropped its oldest bytes.
    pub(super) fn gap_of(&self, bytes: u64) {
        self.gap(format!("{bytes} bytes are no longer in the journal"));
    }
}

/// How many bytes are missing between two parts of one journal.
fn missing(pair: &[Part]) -> Option<u64> {
    let [one, other] = pair else { return None };
    (one.instance == other.instance).then(|| other.start.saturating_sub(one.start + (other.at - one.at)))
}

impl Kept {
    fn open(path: &Path) -> io::Result<Self> {
        let folder = own(path)?;
        let file = folder.open_with(path, OpenOptions::new().read(true).write(true))?;
        let parts = folder.read(path.with_extension("parts"), KEPT)?;
        let parts = serde_json::from_slice(&parts).map_err(io::Error::other)?;
        Ok(Self { path: path.to_owned(), file, len: 0, parts })
    }

    fn create(path: PathBuf) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = own(&path)?.open_with(&path, options.write(true).create(true).truncate(true))?;
        let kept = Self { file, path, len: 0, parts: Vec::new() };
        kept.save()?;
        Ok(kept)
    }

    fn write(&mut self, record: &Record) -> io::Result<()> {
        self.file.write_all(&record.encode())?;
        self.len += record.len();
        Ok(())
    }

    fn begin(&mut self, instance: &str, start: u64) -> io::Result<()> {
        self.parts.push(Part { at: self.len, instance: instance.to_owned(), start });
        self.save()
    }

    /// In one piece: whoever is killed here leaves the old or the new one.
    fn save(&self) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&self.parts)?)?;
        file.persist(self.path.with_extension("parts"))?;
        Ok(())
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
        let path = path(folder, rank);
        let file = own(&path).ok()?.open_with(&path, OpenOptions::new().read(true)).ok()?;
        Some(Self { rank, file, records: Records::default() })
    }

    /// Shows what was added since the last time.
    pub fn show(&mut self, events: &Events) -> io::Result<()> {
        let mut buffer = vec![0; PIECE];
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

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;

    use super::*;

    fn record(text: &str) -> Record {
        Record { stream: Stream::Stdout, time: 7, bytes: Bytes::copy_from_slice(text.as_bytes()) }
    }

    /// What is shown when a log is opened again, and where it goes on.
    fn again(folder: &Path) -> (String, Vec<String>, u64) {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        let events = Events::new(move |event| match event {
            Event::Log { bytes, .. } => sink.lock().expect("not poisoned").push_str(&String::from_utf8_lossy(&bytes)),
            Event::LogGap { message, .. } => sink.lock().expect("not poisoned").extend(["<", &message, ">"]),
            _ => {}
        });
        let log = Log::kept(folder, 0, events);
        let (parts, offset) = log.parts();
        let instances = parts.iter().map(|part| part.instance.clone()).collect();
        let shown = text.lock().expect("not poisoned").clone();
        (shown, instances, offset)
    }

    #[test]
    fn a_kept_log_goes_on_where_it_was() {
        let folder = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(folder.path().join(".nauta")).expect("made");
        assert_eq!(again(folder.path()), (String::new(), Vec::new(), 0));
        let mut log = Log::kept(folder.path(), 0, Events::new(|_| {}));
        log.goes_on("a", 0);
        log.write(record("one"));
        log.goes_on("a", 500);
        log.write(record("two"));
        log.goes_on("b", 0);
        log.write(record("three"));
        drop(log);
        let names = ["a", "a", "b"].map(str::to_owned).to_vec();
        let len = record("three").len();
        let gap = 500 - record("one").len();
        let shown = format!("one<{gap} bytes are no longer in the journal>twothree");
        assert_eq!(again(folder.path()), (shown.clone(), names.clone(), len));
        // A record that was cut off when nauta was killed is fetched again.
        let file = path(folder.path(), 0);
        let bytes = std::fs::read(&file).expect("readable");
        std::fs::write(&file, [&bytes[..], &record("four").encode()[..9]].concat()).expect("written");
        assert_eq!(again(folder.path()), (shown, names, len));
        assert_eq!(std::fs::read(&file).expect("readable"), bytes);
        // What is no log of ours begins anew.
        std::fs::write(&file, [0xff; 100]).expect("written");
        assert_eq!(again(folder.path()), (String::new(), Vec::new(), 0));
    }
}
