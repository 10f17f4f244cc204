//! The project's files as one table: names in one piece of memory, records of a fixed size.
//!
//! The order is that of folders by their path, and of names in each (bytes). A folder comes before what is in it, and
//! what is in it stands together: so a walk compares folder by folder.

use std::ops::Range;

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::digest::{Digest, Hasher};

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Executable,
    Link,
    Folder,
    /// Left out by a rule.
    LeftFile,
    LeftFolder,
    /// Left out because of its name: it may hold a secret.
    WithheldFile,
    WithheldFolder,
    /// Neither file nor folder nor link, or a name that images cannot hold.
    Unsendable,
}

const KINDS: [Kind; 9] = [
    Kind::File,
    Kind::Executable,
    Kind::Link,
    Kind::Folder,
    Kind::LeftFile,
    Kind::LeftFolder,
    Kind::WithheldFile,
    Kind::WithheldFolder,
    Kind::Unsendable,
];

impl Kind {
    pub(super) const fn is_taken(self) -> bool {
        matches!(self, Self::File | Self::Executable | Self::Link | Self::Folder)
    }

    pub(super) const fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Executable)
    }

    /// Whether rules saw it as a folder.
    pub(super) const fn is_folder(self) -> bool {
        matches!(self, Self::Folder | Self::LeftFolder | Self::WithheldFolder)
    }
}

/// What the file system says about a version of a file: when all of it is the same, so is the content (see
/// [`Stamp::is_settled`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Stamp {
    pub(super) inode: U64,
    pub(super) size: U64,
    pub(super) modified: I64,
    pub(super) modified_nanos: U32,
    pub(super) changed: I64,
    pub(super) changed_nanos: U32,
    pub(super) mode: U32,
    /// 1: nothing can have written since without leaving another stamp.
    pub(super) settled: u8,
}

impl Stamp {
    pub(super) fn of(stat: &rustix::fs::Stat) -> Self {
        Self {
            inode: U64::new(stat.st_ino),
            size: U64::new(stat.st_size.cast_unsigned()),
            modified: I64::new(stat.st_mtime),
            modified_nanos: U32::new(u32::try_from(stat.st_mtime_nsec).unwrap_or(0)),
            changed: I64::new(stat.st_ctime),
            changed_nanos: U32::new(u32::try_from(stat.st_ctime_nsec).unwrap_or(0)),
            mode: U32::new(stat.st_mode),
            settled: 0,
        }
    }

    /// The stamp of something that was read not before `read_at` (seconds and nanoseconds since 1970).
    ///
    /// Clocks of file systems tick: what is written in the same tick as it was read has the same stamp again (Git's "racy"
    /// files). A stamp is settled when it is older than the read by more than a tick: 50 ms where nanoseconds are told (kernels
    /// tick every 10 ms at most), 2 s where they are not.
    pub(super) fn read_at(mut self, read_at: (i64, u32)) -> Self {
        let nanos = |seconds: i64, nanos: u32| i128::from(seconds) * 1_000_000_000 + i128::from(nanos);
        let latest = nanos(self.modified.get(), self.modified_nanos.get())
            .max(nanos(self.changed.get(), self.changed_nanos.get()));
        let is_coarse = self.modified_nanos == 0 || self.changed_nanos == 0;
        let tick = if is_coarse { 2_000_000_000 } else { 50_000_000 };
        self.settled = u8::from(latest + tick < nanos(read_at.0, read_at.1));
        self
    }

    pub(super) const fn is_settled(&self) -> bool {
        self.settled == 1
    }

    /// Whether nothing has changed since `earlier`, and that was settled.
    pub(super) fn is_still(&self, earlier: &Self) -> bool {
        earlier.is_settled() && Self { settled: 1, ..*self } == *earlier
    }

    /// Whether this is the same version, settled or not.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Self { settled: 0, ..*self } == Self { settled: 0, ..*other }
    }
}

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
    pub(super) totals: Totals,
}

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
    /// 1: something stays here that somebody may want to know of.
    stays: u8,
}

impl Totals {
    fn add(&mut self, row: &Row) {
        let size = row.stamp.size.get();
        match row.kind {
            kind if kind.is_file() => {
                self.taken += 1;
                self.files += 1;
                self.size += size;
                self.largest = U64::new(self.largest.get().max(size));
            }
            kind if kind.is_taken() => self.taken += 1,
            Kind::WithheldFile | Kind::WithheldFolder | Kind::Unsendable => self.stays = 1,
            _ => {}
        }
    }

    /// Whether something is withheld, or can't be sent.
    pub(super) const fn names_something(&self) -> bool {
        self.stays == 1
    }
}

/// Something in a folder.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Record {
    /// Where its name begins, from the folder's texts on.
    at: U32,
    name: U16,
    /// Of a link: its target stands behind its name.
    target: U16,
    kind: u8,
    pub(super) stamp: Stamp,
    /// Of a file's content.
    pub(super) digest: [u8; 32],
}

impl Record {
    pub(super) fn kind(&self) -> Kind {
        KINDS.get(usize::from(self.kind)).copied().unwrap_or(Kind::Unsendable)
    }
}

/// Something in a folder, on its way into a [`Tree`].
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    pub(super) stamp: Stamp,
    pub(super) digest: [u8; 32],
    pub(super) target: Vec<u8>,
}

impl Row {
    /// Without a content of its own.
    pub(super) fn bare(name: Vec<u8>, kind: Kind) -> Self {
        Self { name, kind, stamp: Stamp::default(), digest: [0; 32], target: Vec::new() }
    }

    /// What a folder's digest depends on.
    fn add_to(&self, fields: &mut Vec<u8>) {
        let mark: &[u8] = match self.kind {
            Kind::File => b"f",
            Kind::Executable => b"x",
            Kind::Link => b"l",
            Kind::Folder => b"d",
            _ => return,
        };
        field(fields, mark, &self.name);
        match self.kind {
            Kind::Link => field(fields, b"", &self.target),
            Kind::Folder => {}
            _ => fields.extend_from_slice(&self.digest),
        }
    }
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

    /// What is in a folder, by name.
    pub(super) fn records(&self, folder: &Folder) -> &[Record] {
        let (first, count) = (folder.first.get(), folder.count.get());
        let range = usize::try_from(first).unwrap_or(usize::MAX)..usize::try_from(first + count).unwrap_or(usize::MAX);
        self.records.get(range).unwrap_or_default()
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
    pub(super) fn push<'r>(&mut self, path: &[u8], stamp: Stamp, rules: [u8; 32], rows: impl Iterator<Item = &'r Row>) {
        let (texts, first) = (self.names.len(), self.records.len());
        self.names.extend_from_slice(path);
        let (mut fields, mut totals) = (Vec::new(), Totals::default());
        for row in rows {
            row.add_to(&mut fields);
            totals.add(row);
            let at = U32::new(u32::try_from(self.names.len() - texts).unwrap_or(u32::MAX));
            let kind = KINDS.iter().position(|kind| *kind == row.kind).unwrap_or(0);
            let kind = u8::try_from(kind).unwrap_or(0);
            self.names.extend_from_slice(&row.name);
            self.names.extend_from_slice(&row.target);
            let (name, target) = (length(&row.name), length(&row.target));
            self.records.push(Record { at, name, target, kind, stamp: row.stamp, digest: row.digest });
        }
        let count = U64::new((self.records.len() - first) as u64);
        let (texts, first) = (U64::new(texts as u64), U64::new(first as u64));
        let digest = Hasher::of(&fields);
        self.folders.push(Folder { texts, path: length(path), first, count, stamp, rules, digest, totals });
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
        self.folders.iter().flat_map(|folder| self.records(folder).iter().map(move |record| (folder, record)))
    }

    /// Depends on the folders' paths and digests, and on nothing else.
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(b"nauta tree 3\n");
        let mut fields = Vec::new();
        for folder in &self.folders {
            field(&mut fields, b"D", self.path(folder));
            fields.extend_from_slice(&folder.digest);
            // Many small pieces cost more than what is hashed.
            hasher.update(&fields);
            fields.clear();
        }
        hasher.finish()
    }

    /// What is taken in folders that `other` has not, or not with the same content; in order.
    pub(super) fn unlike<'t>(&'t self, other: &'t Self) -> impl Iterator<Item = (&'t Folder, &'t Record)> {
        let mut others = other.folders.iter().peekable();
        let is_unlike = move |folder: &&Folder| {
            let path = self.path(folder);
            while others.next_if(|one| other.path(one) < path).is_some() {}
            others.peek().is_none_or(|one| other.path(one) != path || one.digest != folder.digest)
        };
        let folders = self.folders.iter().filter(is_unlike);
        let all = folders.flat_map(|folder| self.records(folder).iter().map(move |record| (folder, record)));
        all.filter(|(_, record)| record.kind().is_taken())
    }
}

/// A field with its length before it, so that no two lists of fields give the same bytes.
fn field(fields: &mut Vec<u8>, mark: &[u8], text: &[u8]) {
    fields.extend_from_slice(mark);
    fields.extend_from_slice(&(text.len() as u64).to_le_bytes());
    fields.extend_from_slice(text);
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
    fn a_stamp_is_settled_only_when_its_tick_is_over() {
        let stamp = Stamp {
            modified: I64::new(100),
            modified_nanos: U32::new(5),
            changed: I64::new(100),
            changed_nanos: U32::new(500_000_000),
            ..Stamp::default()
        };
        for (read_at, settled) in
            [((100, 500_000_000), false), ((100, 540_000_000), false), ((100, 560_000_000), true), ((99, 0), false)]
        {
            assert_eq!(stamp.read_at(read_at).is_settled(), settled, "{read_at:?}");
        }
        let coarse = Stamp { modified_nanos: U32::new(0), ..stamp };
        assert!(!coarse.read_at((101, 0)).is_settled() && coarse.read_at((103, 0)).is_settled());
        assert!(stamp.is_still(&stamp.read_at((200, 0))) && !stamp.is_still(&stamp));
    }

    #[test]
    fn folders_are_found_from_every_place_before_them() {
        let mut tree = Tree::default();
        let paths = ["", "a", "a-b", "a-b/c", "a/b", "a/b/c", "a/b/d", "a/c", "b", "c/d/e", "c/d/e/f"];
        for path in paths {
            tree.push(path.as_bytes(), Stamp::default(), [0; 32], [].iter());
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
