//! What nauta has written, in a file that only grows: `.nauta/ledger.jsonl`.
//!
//! Before a file is put in place, a line says what is meant to be where (an intent); afterwards another says that it is. Whoever
//! comes after a crash finds out by the staged file whether an intent came true. Written anew, without what is past, when most of
//! it is past.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{self, Read, Write};

use cap_std::fs::{Dir, OpenOptions};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::sync;

const NAME: &str = "ledger.jsonl";
/// What nauta 0.1.0 wrote: digests by path.
const OLD_NAME: &str = "ledger.json";
/// So many lines may be past before the file is written anew.
const SLACK: usize = 10_000;

/// A file that nauta has written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) digest: Digest,
    pub(super) size: u64,
    /// Seconds since 1970; what else shows that nobody has touched it.
    pub(super) modified: i64,
    /// The path that it would have, where another file has that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) of: Option<Box<str>>,
}

/// A staged file is meant to be put at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Intent {
    /// The staged file's number.
    pub(super) serial: u64,
    pub(super) path: String,
    #[serde(flatten)]
    pub(super) entry: Entry,
    /// What is there now, and nauta's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) former: Option<Digest>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    /// It is there.
    Entry {
        path: String,
        #[serde(flatten)]
        entry: Entry,
    },
    Intent(Intent),
    /// The intent of this number came true.
    Written(u64),
    /// It did not.
    Void(u64),
}

impl Entry {
    /// What a file of the outputs will be, at `path`.
    pub(super) fn new(file: &sync::File, wanted: &str, path: &str) -> Self {
        let of = (wanted != path).then(|| wanted.into());
        Self { digest: file.digest.clone(), size: file.size, modified: file.modified, of }
    }
}

pub(super) struct Ledger {
    own: Dir,
    file: File,
    entries: HashMap<String, Entry>,
    /// Intents of which it is not known what became.
    open: BTreeMap<u64, Intent>,
    /// Lines in the file.
    lines: usize,
    /// Lines that are not in the file yet.
    buffer: Vec<u8>,
    serial: u64,
}

impl Ledger {
    /// Reads it from nauta's own folder, in which these staged files were left.
    pub(super) fn open(own: &Dir, left: &BTreeSet<u64>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        let mut file = own.open_with(NAME, &options)?.into_std();
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let mut ledger = Self {
            own: own.try_clone()?,
            file,
            entries: HashMap::new(),
            open: BTreeMap::new(),
            lines: 0,
            buffer: Vec::new(),
            serial: left.last().map_or(0, |last| last + 1),
        };
        // A line that was cut off says nothing, and must not spoil the next one.
        if text.last().is_some_and(|last| *last != b'\n') {
            ledger.buffer.push(b'\n');
        }
        for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            ledger.lines += 1;
            if let Ok(line) = serde_json::from_slice(line) {
                ledger.take(line, left);
            }
        }
        Ok(ledger)
    }

    fn take(&mut self, line: Line, left: &BTreeSet<u64>) {
        match line {
            Line::Entry { path, entry } => drop(self.entries.insert(path, entry)),
            Line::Intent(intent) => {
                self.serial = self.serial.max(intent.serial + 1);
                self.open.insert(intent.serial, intent);
            }
            // After a power cut this may be known of a file that is not there.
            Line::Written(serial) if left.contains(&serial) => {}
            Line::Written(serial) => self.apply(serial),
            Line::Void(serial) => drop(self.open.remove(&serial)),
        }
    }

    fn apply(&mut self, serial: u64) {
        if let Some(Intent { path, entry, .. }) = self.open.remove(&serial) {
            self.entries.insert(path, entry);
        }
    }

    /// What nauta 0.1.0 noted, once: only the digests; `size_of` gives the size of what is there.
    pub(super) fn migrate(&mut self, size_of: impl Fn(&str) -> Option<u64>) -> io::Result<()> {
        let Ok(text) = self.own.read(OLD_NAME) else { return Ok(()) };
        // One that cannot be read only means that files are compared again.
        let old: BTreeMap<String, Digest> = serde_json::from_slice(&text).unwrap_or_default();
        for (path, digest) in old {
            if let Some(size) = size_of(&path).filter(|_| !self.entries.contains_key(&path)) {
                self.entries.insert(path, Entry { digest, size, modified: i64::MIN, of: None });
            }
        }
        self.rewrite()?;
        self.own.remove_file(OLD_NAME)
    }

    /// The intents of which it is not known what became, in order.
    pub(super) fn open_intents(&self) -> Vec<Intent> {
        self.open.values().cloned().collect()
    }

    pub(super) fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter()
    }

    /// Forgets files that are no more.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.entries.retain(|path, _| is_there(path));
    }

    /// A number that no staged file has had.
    pub(super) const fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial - 1
    }

    /// Notes what is meant to be done.
    pub(super) fn intend(&mut self, intent: Intent) -> io::Result<()> {
        self.append(&Line::Intent(intent.clone()))?;
        self.open.insert(intent.serial, intent);
        Ok(())
    }

    /// Notes that an intent came true; gives what was there before.
    pub(super) fn written(&mut self, serial: u64) -> io::Result<Option<Entry>> {
        self.append(&Line::Written(serial))?;
        let Some(Intent { path, entry, .. }) = self.open.remove(&serial) else { return Ok(None) };
        Ok(self.entries.insert(path, entry))
    }

    /// Notes that an intent did not come true. Without this line it is found out again.
    pub(super) fn void(&mut self, serial: u64) -> io::Result<()> {
        if self.open.remove(&serial).is_some() {
            self.append(&Line::Void(serial))?;
        }
        Ok(())
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut self.buffer, line)?;
        self.buffer.push(b'\n');
        self.lines += 1;
        Ok(())
    }

    /// Hands all lines to the system: they survive nauta.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            if let Err(error) = self.file.write_all(&self.buffer) {
                // Some of it may be there, and a line that was cut off must not spoil the next one.
                self.buffer.insert(0, b'\n');
                return Err(error);
            }
            self.buffer.clear();
        }
        Ok(())
    }

    /// They survive the machine.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Writes it anew when most of it is past.
    pub(super) fn compact(&mut self) -> io::Result<()> {
        if self.open.is_empty() && self.lines > 2 * self.entries.len() + SLACK {
            self.rewrite()?;
        }
        Ok(())
    }

    pub(super) fn rewrite(&mut self) -> io::Result<()> {
        const NEW: &str = "ledger.jsonl.new";
        let mut text = Vec::new();
        let entries = self.entries.iter().map(|(path, entry)| Line::Entry { path: path.clone(), entry: entry.clone() });
        let intents = self.open.values().cloned().map(Line::Intent);
        let mut lines = 0;
        for line in entries.chain(intents) {
            serde_json::to_writer(&mut text, &line)?;
            text.push(b'\n');
            lines += 1;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        let _ = self.own.remove_file(NEW);
        let mut file = self.own.open_with(NEW, &options)?.into_std();
        file.write_all(&text)?;
        file.sync_all()?;
        self.own.rename(NEW, &self.own, NAME)?;
        self.own.open(".")?.sync_all()?;
        (self.file, self.lines) = (file, lines);
        self.buffer.clear();
        Ok(())
    }
}
