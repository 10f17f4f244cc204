//! The project's files as one table: names in one piece of memory, records of a fixed size.
//!
//! The order is that of folders by their path, and of names in each (bytes). A folder comes before what is in it, and
//! what is in it stands together: so a walk compares folder by folder.

use zerocopy::little_endian::{I64, U32, U64};
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

/// A piece of [`Tree::names`].
#[derive(Clone, Copy, Debug, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Span {
    at: U64,
    len: U32,
}

impl Span {
    fn end(self) -> u64 {
        self.at.get() + u64::from(self.len.get())
    }
}

/// A folder and the records of what is in it.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Folder {
    path: Span,
    first: U64,
    count: U64,
    pub(super) stamp: Stamp,
    /// Names all rules that hold here.
    pub(super) rules: [u8; 32],
    /// Depends on names, contents, executable bits and links of what is taken right here, and on nothing else.
    pub(super) digest: [u8; 32],
}

/// Something in a folder.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Record {
    name: Span,
    /// Of a link.
    target: Span,
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
    fn add_to(&self, hasher: &mut Hasher) {
        let mark: &[u8] = match self.kind {
            Kind::File => b"f",
            Kind::Executable => b"x",
            Kind::Link => b"l",
            Kind::Folder => b"d",
            _ => return,
        };
        field(hasher, mark, &self.name);
        match self.kind {
            Kind::Link => field(hasher, b"", &self.target),
            Kind::Folder => {}
            _ => hasher.update(&self.digest),
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
    pub(super) fn text(&self, span: Span) -> &[u8] {
        let at = usize::try_from(span.at.get()).unwrap_or(usize::MAX);
        self.names.get(at..at.saturating_add(span.len.get() as usize)).unwrap_or_default()
    }

    fn keep(&mut self, text: &[u8]) -> Span {
        let at = U64::new(self.names.len() as u64);
        self.names.extend_from_slice(text);
        // Names and targets are shorter than 4096 bytes on every system there is.
        Span { at, len: U32::new(u32::try_from(text.len()).unwrap_or(u32::MAX)) }
    }

    pub(super) fn path(&self, folder: &Folder) -> &[u8] {
        self.text(folder.path)
    }

    pub(super) fn name(&self, record: &Record) -> &[u8] {
        self.text(record.name)
    }

    pub(super) fn target(&self, record: &Record) -> &[u8] {
        self.text(record.target)
    }

    /// What is in a folder, by name.
    pub(super) fn records(&self, folder: &Folder) -> &[Record] {
        let (first, count) = (folder.first.get(), folder.count.get());
        let range = usize::try_from(first).unwrap_or(usize::MAX)..usize::try_from(first + count).unwrap_or(usize::MAX);
        self.records.get(range).unwrap_or_default()
    }

    pub(super) fn folder(&self, path: &[u8]) -> Option<&Folder> {
        self.folders.binary_search_by(|folder| self.path(folder).cmp(path)).ok().map(|i| &self.folders[i])
    }

    pub(super) fn record(&self, folder: &Folder, name: &[u8]) -> Option<&Record> {
        let records = self.records(folder);
        records.binary_search_by(|record| self.name(record).cmp(name)).ok().map(|i| &records[i])
    }

    /// Adds a folder behind all others; `rows` by name.
    pub(super) fn push<'r>(&mut self, path: &[u8], stamp: Stamp, rules: [u8; 32], rows: impl Iterator<Item = &'r Row>) {
        let (path, first) = (self.keep(path), self.records.len());
        let mut hasher = Hasher::default();
        for row in rows {
            row.add_to(&mut hasher);
            let (name, target) = (self.keep(&row.name), self.keep(&row.target));
            let kind = KINDS.iter().position(|kind| *kind == row.kind).unwrap_or(0);
            let kind = u8::try_from(kind).unwrap_or(0);
            self.records.push(Record { name, target, kind, stamp: row.stamp, digest: row.digest });
        }
        let (first, count) = (U64::new(first as u64), U64::new((self.records.len() - first) as u64));
        self.folders.push(Folder { path, first, count, stamp, rules, digest: hasher.finish_bytes() });
    }

    /// Adds a folder of another tree, as it is there.
    pub(super) fn push_from(&mut self, other: &Self, folder: &Folder) {
        let records = other.records(folder);
        // The texts of a folder stand together, its path first: see `push`.
        let begin = folder.path.at.get();
        let end = records.last().map_or(folder.path, |record| record.target).end();
        let texts = usize::try_from(begin).unwrap_or(usize::MAX)..usize::try_from(end).unwrap_or(usize::MAX);
        let shift = (self.names.len() as u64).wrapping_sub(begin);
        self.names.extend_from_slice(other.names.get(texts).unwrap_or_default());
        let moved = |span: Span| Span { at: U64::new(span.at.get().wrapping_add(shift)), ..span };
        let first = U64::new(self.records.len() as u64);
        self.folders.push(Folder { path: moved(folder.path), first, ..*folder });
        let moved = |record: &Record| Record { name: moved(record.name), target: moved(record.target), ..*record };
        self.records.extend(records.iter().map(moved));
    }

    /// All records with their folders, in order.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Folder, &Record)> {
        self.folders.iter().flat_map(|folder| self.records(folder).iter().map(move |record| (folder, record)))
    }

    /// Depends on the folders' paths and digests, and on nothing else.
    pub(super) fn digest(&self) -> Digest {
        let mut hasher = Hasher::default();
        hasher.update(b"nauta tree 3\n");
        for folder in &self.folders {
            field(&mut hasher, b"D", self.path(folder));
            hasher.update(&folder.digest);
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
fn field(hasher: &mut Hasher, mark: &[u8], text: &[u8]) {
    hasher.update(mark);
    hasher.update(&(text.len() as u64).to_le_bytes());
    hasher.update(text);
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
}
