//! The project's files as one table: names in one piece of memory, records of a fixed size.
//!
//! The order is that of folders by their path, and of names in each (bytes). A folder comes before what is in it, and
//! what is in it stands together: so a walk compares folder by folder.

use std::ops::Range;

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::left::looks_like_data;
use super::level::is_ignore_file;
use super::record::{Kind, Record, Row, Stamp, describe, field, mark};
use crate::digest::{Digest, Hasher};

/// A folder and the records of what is in it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Folder {
    /// Where its texts begin in [`Tree::names`]: its path, then names and targets in the order of its records. Theirs are counted from
    /// here, so that whole runs of folders are copied as they are.
    texts: U64,
    path: U16,
    first: U64,
    count: U64,
    pub(super) stamp: Stamp,
    /// Names all rules that hold here.
    pub(super) rules: [u8; 32],
    /// Depends on names, contents, executable bits and links of what is taken right here, and on nothing else.
    pub(super) digest: [u8; 32],
    pub(super) presence: u8,
    pub(super) totals: Totals,
}

/// Why a folder is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Presence {
    /// It is taken.
    #[default]
    Taken,
    /// Rules leave it out: it is taken only for what is taken in it.
    Passage,
    /// The same, and nothing is.
    Hollow,
    /// It is an environment, and nothing in it was looked at.
    Environment,
}

const PRESENCES: [Presence; 4] = [Presence::Taken, Presence::Passage, Presence::Hollow, Presence::Environment];

impl Folder {
    pub(super) fn presence(&self) -> Presence {
        PRESENCES.get(usize::from(self.presence)).copied().unwrap_or_default()
    }
}

/// What is known of a folder besides what is in it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    pub(super) stamp: Stamp,
    /// Names all rules that hold there.
    pub(super) rules: [u8; 32],
    pub(super) presence: Presence,
}

/// In [`Totals`]: something stays here that somebody may want to know of.
const NAMED: u8 = 1;
/// In [`Totals`]: a rule leaves a file out that looks like data.
const DATA: u8 = 2;
/// In [`Totals`]: a folder is not taken for what is in it, or is not.
const ENTERED: u8 = 4;
/// In [`Totals`]: there is an ignore file.
const RULES: u8 = 8;

/// What is right in a folder, all together: most questions need no look at each record.
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Totals {
    /// Files, links and folders that are taken.
    pub(super) taken: U64,
    /// Files among them, and their bytes.
    pub(super) files: U64,
    pub(super) size: U64,
    /// Bytes of the largest.
    pub(super) largest: U64,
    /// [`NAMED`], [`DATA`], [`ENTERED`] and [`RULES`].
    stays: u8,
}

impl Totals {
    pub(super) fn add(&mut self, kind: Kind, marks: u8, size: u64, name: &[u8]) {
        if is_ignore_file(name) {
            self.stays |= RULES;
        }
        if marks & (mark::POINTER | mark::GROWN) != 0 {
            self.stays |= NAMED;
        }
        match kind {
            kind if kind.is_file() => {
                self.taken += 1;
                self.files += 1;
                self.size += size;
                self.largest = U64::new(self.largest.get().max(size));
            }
            kind if kind.is_taken() => self.taken += 1,
            Kind::WithheldFile | Kind::WithheldFolder | Kind::Unsendable | Kind::OwnOutput => self.stays |= NAMED,
            Kind::LeftFile | Kind::GitFile if looks_like_data(name) => self.stays |= DATA,
            Kind::Hollow | Kind::Environment => self.stays |= ENTERED,
            _ => {}
        }
    }

    /// Whether a folder is not taken for what is in it, or is not.
    pub(super) const fn has_entered(&self) -> bool {
        self.stays & ENTERED != 0
    }

    /// Whether there is an ignore file.
    pub(super) const fn has_rules(&self) -> bool {
        self.stays & RULES != 0
    }

    /// Whether something is withheld, can't be sent, or is sent as something that somebody may want to know of.
    pub(super) const fn names_something(&self) -> bool {
        self.stays & NAMED != 0
    }

    /// Whether a rule leaves a file out that looks like data.
    pub(super) const fn leaves_data(&self) -> bool {
        self.stays & DATA != 0
    }
}

/// Digest and totals of a folder with these rows.
fn sum_up<'r>(rows: impl Iterator<Item = &'r Row>) -> ([u8; 32], Totals) {
    let (mut fields, mut totals) = (Vec::new(), Totals::default());
    for row in rows {
        describe(&mut fields, row.kind, &row.name, &row.target, &row.digest);
        totals.add(row.kind, row.marks, row.stamp.size.get(), &row.name);
    }
    (Hasher::of(&fields), totals)
}

/// The whole table.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    pub(super) names: Vec<u8>,
    pub(super) folders: Vec<Folder>,
    pub(super) records: Vec<Record>,
}

impl Tree {
    /// So many bytes of a folder's texts.
    fn text(&self, folder: &Folder, at: u32, len: U16) -> &[u8] {
        let at = usize::try_from(folder.texts.get() + u64::from(at)).unwrap_or(usize::MAX);
        self.names.get(at..at.saturating_add(len.get().into())).unwrap_or_default()
    }

    pub(super) fn path(&self, folder: &Folder) -> &[u8] {
        self.text(folder, 0, folder.path)
    }

    pub(super) fn name(&self, folder: &Folder, record: &Record) -> &[u8] {
        self.text(folder, record.at.get(), record.name)
    }

    pub(super) fn target(&self, folder: &Folder, record: &Record) -> &[u8] {
        self.text(folder, record.at.get() + u32::from(record.name.get()), record.target)
    }

    pub(super) fn range(&self, folder: &Folder) -> Range<usize> {
        let (first, count) = (folder.first.get(), folder.count.get());
        let place = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(self.records.len());
        place(first)..place(first.saturating_add(count))
    }

    /// What is in a folder, by name.
    pub(super) fn records(&self, folder: &Folder) -> &[Record] {
        &self.records[self.range(folder)]
    }

    /// Where the folder of this path is among [`Self::folders`].
    pub(super) fn position(&self, path: &[u8]) -> Option<usize> {
        self.folders.binary_search_by(|folder| self.path(folder).cmp(path)).ok()
    }

    /// The same for a folder that stands not before `from`, and most likely near: what is in a folder stands behind it.
    pub(super) fn position_from(&self, from: usize, path: &[u8]) -> Option<usize> {
        let rest = self.folders.get(from..)?;
        let mut end = 1;
        while rest.get(end).is_some_and(|folder| self.path(folder) < path) {
            end *= 2;
        }
        let begin = end / 2;
        let near = &rest[begin..rest.len().min(end + 1)];
        near.binary_search_by(|folder| self.path(folder).cmp(path)).ok().map(|at| from + begin + at)
    }

    pub(super) fn folder(&self, path: &[u8]) -> Option<&Folder> {
        self.position(path).map(|at| &self.folders[at])
    }

    pub(super) fn record(&self, folder: &Folder, name: &[u8]) -> Option<&Record> {
        let records = self.records(folder);
        records.binary_search_by(|record| self.name(folder, record).cmp(name)).ok().map(|i| &records[i])
    }

    /// Adds a folder behind all others; `rows` by name.
    pub(super) fn push<'r>(
        &mut self,
        path: &[u8],
        Head { stamp, rules, presence }: Head,
        rows: impl Iterator<Item = &'r Row> + Clone,
    ) {
        let (digest, totals) = sum_up(rows.clone());
        let presence = presence as u8;
        let (texts, first) = (self.names.len(), self.records.len());
        self.names.extend_from_slice(path);
        for row in rows {
            let at = U32::new(u32::try_from(self.names.len() - texts).unwrap_or(u32::MAX));
            self.names.extend_from_slice(&row.name);
            self.names.extend_from_slice(&row.target);
            let (name, target, code) = (length(&row.name), length(&row.target), row.code());
            self.records.push(Record { at, name, target, code, stamp: row.stamp, digest: row.digest });
        }
        let count = U64::new((self.records.len() - first) as u64);
        let (texts, first) = (U64::new(texts as u64), U64::new(first as u64));
        self.folders.push(Folder { texts, path: length(path), first, count, stamp, rules, digest, presence, totals });
    }

    /// Whether a folder has just these names, and links to the same places.
    pub(super) fn has_names<'r>(&self, folder: &Folder, rows: impl Iterator<Item = &'r Row>) -> bool {
        let texts = self.records(folder).iter().map(|one| (self.name(folder, one), self.target(folder, one)));
        texts.eq(rows.map(|row| (row.name.as_slice(), row.target.as_slice())))
    }

    /// Puts something else into the folder at this position, under [the same names](Self::has_names).
    pub(super) fn replace<'r>(
        &mut self,
        at: usize,
        Head { stamp, rules, presence }: Head,
        rows: impl Iterator<Item = &'r Row> + Clone,
    ) {
        let folder = self.folders[at];
        let range = self.range(&folder);
        for (record, row) in self.records[range].iter_mut().zip(rows.clone()) {
            *record = Record { code: row.code(), stamp: row.stamp, digest: row.digest, ..*record };
        }
        let (digest, totals) = sum_up(rows);
        let presence = presence as u8;
        self.folders[at] = Folder { stamp, rules, digest, presence, totals, ..folder };
    }

    /// Adds folders that stand together in another tree, as they are there.
    pub(super) fn push_from(&mut self, other: &Self, range: Range<usize>) {
        let place = |at: usize| match other.folders.get(at) {
            Some(folder) => (folder.texts.get(), folder.first.get()),
            None => (other.names.len() as u64, other.records.len() as u64),
        };
        let (from, to) = (place(range.start), place(range.end));
        let (texts, first) = (self.names.len() as u64, self.records.len() as u64);
        let bytes = |from: u64, to: u64| usize::try_from(from).unwrap_or(0)..usize::try_from(to).unwrap_or(0);
        self.names.extend_from_slice(other.names.get(bytes(from.0, to.0)).unwrap_or_default());
        self.records.extend_from_slice(other.records.get(bytes(from.1, to.1)).unwrap_or_default());
        let moved = |folder: &Folder| Folder {
            texts: U64::new((folder.texts.get() - from.0) + texts),
            first: U64::new((folder.first.get() - from.1) + first),
            ..*folder
        };
        self.folders.extend(other.folders[range].iter().map(moved));
    }

    /// All records with their folders, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Folder, &Record)> {
        self.within(self.folders.iter())
    }

    /// All records of some folders, each with its folder.
    pub(super) fn within<'t>(
        &'t self,
        folders: impl Iterator<Item = &'t Folder>,
    ) -> impl Iterator<Item = (&'t Folder, &'t Record)> {
        folders.flat_map(|folder| self.records(folder).iter().map(move |record| (folder, record)))
    }

    /// Depends on the folders' paths and digests, and on nothing else.
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(b"nauta tree 3\n");
        let mut fields = Vec::new();
        for folder in &self.folders {
            if matches!(folder.presence(), Presence::Hollow | Presence::Environment) {
                continue;
            }
            field(&mut fields, b"D", self.path(folder));
            fields.extend_from_slice(&folder.digest);
            // Many small pieces cost more than what is hashed.
            hasher.update(&fields);
            fields.clear();
        }
        hasher.finish()
    }

    /// Where the folders are that `other` has not, or not with the same content; in order.
    fn unlike_folders<'t>(&'t self, other: &'t Self) -> impl Iterator<Item = usize> {
        let mut others = other.folders.iter().peekable();
        let is_unlike = move |folder: &Folder| {
            let path = self.path(folder);
            while others.next_if(|one| other.path(one) < path).is_some() {}
            others.peek().is_none_or(|one| other.path(one) != path || one.digest != folder.digest)
        };
        self.folders.iter().map(is_unlike).enumerate().filter_map(|(at, is_unlike)| is_unlike.then_some(at))
    }

    /// What is taken in those folders.
    pub(super) fn unlike<'t>(&'t self, other: &'t Self) -> impl Iterator<Item = (&'t Folder, &'t Record)> {
        let all = self.within(self.unlike_folders(other).map(|at| &self.folders[at]));
        all.filter(|(_, record)| record.kind().is_taken())
    }

    /// Fetches the records of those folders, where only the folders are here; the others become empty. `fetch` fills records with
    /// those from a position on. `None` when it cannot, or when they are not what the folders' digests say.
    pub(super) fn with_unlike(
        mut self,
        other: &Self,
        fetch: impl Fn(u64, &mut [Record]) -> Option<()>,
    ) -> Option<Self> {
        let unlike: Vec<usize> = self.unlike_folders(other).collect();
        let mut folders = std::mem::take(&mut self.folders);
        let mut is_unlike = vec![false; folders.len()];
        for run in unlike.chunk_by(|one, next| one + 1 == *next) {
            let run = run[0]..run[0] + run.len();
            let (from, here) = (folders[run.start].first, self.records.len());
            let count: u64 = folders[run.clone()].iter().map(|folder| folder.count.get()).sum();
            self.records.resize(here + usize::try_from(count).ok()?, Record::new_zeroed());
            fetch(from.get(), &mut self.records[here..])?;
            for folder in &mut folders[run.clone()] {
                folder.first = U64::new(folder.first.get().checked_sub(from.get())? + here as u64);
            }
            is_unlike[run].fill(true);
        }
        for (folder, is_unlike) in folders.iter_mut().zip(is_unlike) {
            if !is_unlike {
                folder.count = U64::ZERO;
            } else if self.content(folder) != folder.digest {
                return None;
            }
        }
        Some(Self { folders, ..self })
    }

    /// What a folder's digest has to be.
    pub(super) fn content(&self, folder: &Folder) -> [u8; 32] {
        let mut fields = Vec::new();
        for record in self.records(folder) {
            let (name, target) = (self.name(folder, record), self.target(folder, record));
            describe(&mut fields, record.kind(), name, target, &record.digest);
        }
        Hasher::of(&fields)
    }
}

/// The length of a name, path or target: all are shorter than 4096 bytes on every system there is.
fn length(text: &[u8]) -> U16 {
    U16::new(u16::try_from(text.len()).unwrap_or(u16::MAX))
}

/// `name` in the folder of this path.
pub(super) fn join(folder: &[u8], name: &[u8]) -> Vec<u8> {
    if folder.is_empty() { name.to_vec() } else { [folder, b"/", name].concat() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_found_from_every_place_before_them() {
        let mut tree = Tree::default();
        let paths = ["", "a", "a-b", "a-b/c", "a/b", "a/b/c", "a/b/d", "a/c", "b", "c/d/e", "c/d/e/f"];
        for path in paths {
            tree.push(path.as_bytes(), Head::default(), [].iter());
        }
        for (at, path) in paths.iter().enumerate() {
            assert_eq!(tree.position(path.as_bytes()), Some(at), "{path}");
            for from in 0..=at {
                assert_eq!(tree.position_from(from, path.as_bytes()), Some(at), "{path} from {from}");
            }
            for missing in ["0", "a/a", "a/b/c/d", "d"] {
                assert_eq!(tree.position_from(at, missing.as_bytes()), None, "{missing} from {at}");
            }
        }
        assert_eq!(tree.position_from(paths.len(), b"d"), None);
    }
}
