//! What a crash has left, understood when the folder is opened next: the ledger's intents, and the staged files that show what
//! became of them.

use std::collections::BTreeSet;
use std::io;

use cap_std::fs::{Dir, MetadataExt as _};

use super::OutputsFolder;
use super::ledger::Intent;
use super::place::{digest_of, open_regular, split};
use super::stage::{NEW, OLD, PART};
use crate::digest::{Digest, Hasher};

/// A staged file of more bytes than this is worth to be gone on with.
const LARGE: u64 = 1024 * 1024;

/// Staged files that were left, by their numbers.
pub(super) struct Left {
    new: BTreeSet<u64>,
    /// Those that had to make way for a moment.
    old: BTreeSet<u64>,
}

impl Left {
    pub(super) fn serials(&self) -> BTreeSet<u64> {
        self.new.union(&self.old).copied().collect()
    }
}

pub(super) fn left_in(own: &Dir) -> io::Result<Left> {
    let mut left = Left { new: BTreeSet::new(), old: BTreeSet::new() };
    for entry in own.entries()? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let serial = |prefix| name.strip_prefix(prefix).and_then(|number| number.parse::<u64>().ok());
        left.new.extend(serial(NEW));
        left.old.extend(serial(OLD));
    }
    Ok(left)
}

impl OutputsFolder {
    /// Does or undoes what was left undone.
    pub(super) fn recover(&mut self, mut left: Left) -> io::Result<()> {
        for intent in self.ledger.open_intents() {
            let (new, old) = (left.new.remove(&intent.serial), left.old.remove(&intent.serial));
            if old {
                self.recover_aside(&intent, new)?;
            }
            match &intent.former {
                _ if new => self.recover_staged(&intent)?,
                // It was given up, and the staged file is gone.
                Some(former) if self.has(&intent.path, former) => self.ledger.void(intent.serial)?,
                _ => drop(self.ledger.written(intent.serial)?),
            }
        }
        // Without an intent nothing of anybody's can be in them.
        for serial in left.new {
            self.salvage(&format!("{NEW}{serial}"))?;
        }
        for serial in left.old {
            self.keep(&format!("{OLD}{serial}"), "nauta-recovered")?;
        }
        self.ledger.flush()
    }

    /// What had to make way: back, if the new one did not get there.
    fn recover_aside(&mut self, intent: &Intent, is_staged: bool) -> io::Result<()> {
        let name = format!("{OLD}{}", intent.serial);
        match &intent.former {
            Some(former) if !is_staged => self.clear_aside(&name, former, &intent.path),
            _ => self.keep(&name, &intent.path),
        }
    }

    fn recover_staged(&mut self, intent: &Intent) -> io::Result<()> {
        let name = format!("{NEW}{}", intent.serial);
        let found = digest_of(&self.own, &name).ok();
        if found.as_ref() == Some(&intent.entry.digest) {
            // Under two names for a moment, where the file system can do no better.
            if self.is_same_file(&name, &intent.path) {
                self.ledger.written(intent.serial)?;
                return self.own.remove_file(&name);
            }
            self.ledger.void(intent.serial)?;
            return self.salvage(&name);
        }
        let Some(former) = &intent.former else {
            // It never was whole.
            self.ledger.void(intent.serial)?;
            return self.own.remove_file(&name);
        };
        self.ledger.written(intent.serial)?;
        if self.is_as_left(&name, former) {
            self.steps.before("remove the former")?;
            self.own.remove_file(&name)
        } else {
            // Somebody had changed what came out.
            self.keep(&name, &intent.path)
        }
    }

    fn has(&self, path: &str, digest: &Digest) -> bool {
        let (folder, name) = split(path);
        let open = if folder.is_empty() { self.dir.try_clone() } else { self.dir.open_dir(folder) };
        open.and_then(|open| digest_of(&open, name)).is_ok_and(|found| found == *digest)
    }

    fn is_same_file(&self, name: &str, path: &str) -> bool {
        let id = |dir: &Dir, path: &str| dir.symlink_metadata(path).map(|found| (found.dev(), found.ino())).ok();
        let there = id(&self.dir, path);
        there.is_some() && there == id(&self.own, name)
    }

    /// Keeps a large staged file as one that has arrived so far: whether it is whole is seen when it is gone on with.
    fn salvage(&mut self, name: &str) -> io::Result<()> {
        self.steps.before("salvage")?;
        if self.own.symlink_metadata(name)?.is_symlink() {
            return self.own.remove_file(name);
        }
        let file = open_regular(&self.own, name)?;
        if file.metadata()?.len() < LARGE {
            return self.own.remove_file(name);
        }
        let digest = Hasher::read_to_end(file)?.0;
        self.own.rename(name, &self.own, format!("{PART}{}", digest.hex()))
    }
}
