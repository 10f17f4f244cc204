//! What is known of one name in a folder: what it is, which version the file system tells of, and the digest of its content.

use zerocopy::little_endian::{I64, U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

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
    /// Left out by a rule of Git's, and only as long as Git does not track it.
    GitFile,
    GitFolder,
    /// Left out because of its name: it may hold a secret.
    WithheldFile,
    WithheldFolder,
    /// Neither file nor folder nor link, or a name that images cannot hold.
    Unsendable,
    /// Where this very nauta writes what it says: it changes while it is read.
    OwnOutput,
    /// Left out by a rule and entered nonetheless, and nothing is taken in it.
    Hollow,
    /// Left out for what is in it: an environment of Python's or conda's.
    Environment,
}

/// How many bits of a record's code are its kind; the others are its marks.
const KIND_BITS: u8 = 0x1f;

/// Marks of what is taken: more about it than its kind.
pub(super) mod mark {
    /// Only Git's index takes it: its rules would leave it out.
    pub(crate) const TRACKED: u8 = 0x80;
    /// It stands for a file that Git LFS keeps elsewhere.
    pub(crate) const POINTER: u8 = 0x40;
    /// It has grown while it was read.
    pub(crate) const GROWN: u8 = 0x20;
}

const KINDS: [Kind; 14] = [
    Kind::File,
    Kind::Executable,
    Kind::Link,
    Kind::Folder,
    Kind::LeftFile,
    Kind::LeftFolder,
    Kind::GitFile,
    Kind::GitFolder,
    Kind::WithheldFile,
    Kind::WithheldFolder,
    Kind::Unsendable,
    Kind::OwnOutput,
    Kind::Hollow,
    Kind::Environment,
];

impl Kind {
    /// What stands for it in a [`Record`].
    pub(super) fn code(self) -> u8 {
        KINDS.iter().position(|kind| *kind == self).and_then(|at| u8::try_from(at).ok()).unwrap_or(u8::MAX)
    }

    pub(super) const fn is_taken(self) -> bool {
        matches!(self, Self::File | Self::Executable | Self::Link | Self::Folder)
    }

    pub(super) const fn is_file(self) -> bool {
        matches!(self, Self::File | Self::Executable)
    }

    /// Whether rules saw it as a folder.
    pub(super) const fn is_folder(self) -> bool {
        matches!(self, Self::Folder | Self::LeftFolder | Self::GitFolder | Self::WithheldFolder) || self.is_entered()
    }

    /// Whether the walk looks into it: what is in it tells whether it is taken.
    pub(super) const fn is_entered(self) -> bool {
        matches!(self, Self::Folder | Self::Hollow | Self::Environment)
    }

    /// Whether a rule leaves it out.
    pub(super) const fn is_left(self) -> bool {
        matches!(self, Self::LeftFile | Self::LeftFolder | Self::GitFile | Self::GitFolder)
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

/// Something in a folder.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Record {
    /// Where its name begins, from the folder's texts on.
    pub(super) at: U32,
    pub(super) name: U16,
    /// Of a link: its target stands behind its name.
    pub(super) target: U16,
    pub(super) code: u8,
    pub(super) stamp: Stamp,
    /// Of a file's content.
    pub(super) digest: [u8; 32],
}

impl Record {
    pub(super) fn kind(&self) -> Kind {
        KINDS.get(usize::from(self.code & KIND_BITS)).copied().unwrap_or(Kind::Unsendable)
    }

    pub(super) const fn marks(&self) -> u8 {
        self.code & !KIND_BITS
    }

    pub(super) fn set_kind(&mut self, kind: Kind) {
        self.code = kind.code() | self.marks();
    }
}

/// Something in a folder, on its way into a [`Tree`](super::tree::Tree).
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: Vec<u8>,
    pub(super) kind: Kind,
    /// See [`mark`].
    pub(super) marks: u8,
    pub(super) stamp: Stamp,
    pub(super) digest: [u8; 32],
    pub(super) target: Vec<u8>,
}

impl Row {
    /// Without a content of its own.
    pub(super) fn bare(name: Vec<u8>, kind: Kind) -> Self {
        Self { name, kind, marks: 0, stamp: Stamp::default(), digest: [0; 32], target: Vec::new() }
    }

    /// What stands for its kind and marks in a [`Record`].
    pub(super) fn code(&self) -> u8 {
        self.kind.code() | self.marks
    }
}

/// What a folder's digest depends on.
pub(super) fn describe(fields: &mut Vec<u8>, kind: Kind, name: &[u8], target: &[u8], digest: &[u8; 32]) {
    let mark: &[u8] = match kind {
        Kind::File => b"f",
        Kind::Executable => b"x",
        Kind::Link => b"l",
        Kind::Folder => b"d",
        _ => return,
    };
    field(fields, mark, name);
    match kind {
        Kind::Link => field(fields, b"", target),
        Kind::Folder => {}
        _ => fields.extend_from_slice(digest),
    }
}

/// A field with its length before it, so that no two lists of fields give the same bytes.
pub(super) fn field(fields: &mut Vec<u8>, mark: &[u8], text: &[u8]) {
    fields.extend_from_slice(mark);
    fields.extend_from_slice(&(text.len() as u64).to_le_bytes());
    fields.extend_from_slice(text);
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
