//! Writing an archive, entry by entry.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags};

use super::hashing::{Hashing, Written};
use super::source::open_source;
use crate::diagnosis::{Diagnosis, Kind};
use crate::digest::{Digest, Hasher};

/// Archives are made of blocks of this many bytes, and end with two of zeros.
pub const BLOCK: u64 = 512;
const ZEROS: &[u8] = &[0; 1024];
/// Files of at most so many bytes are text, or may be; larger ones are data.
const TEXT: u64 = 1024 * 1024;

/// Why an archive could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A source file cannot be opened or read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The source file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A source file is a directory, a socket or the like.
    #[error("`{}` is no regular file", path.display())]
    NotAFile {
        /// The source file.
        path: PathBuf,
    },
    /// A source file was written to, replaced or truncated in the meantime.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The source file.
        path: PathBuf,
    },
    /// A name that no archive of ours holds: empty, absolute, with `..` or with a NUL.
    #[error("`{name}` is no name for an entry of an archive")]
    Name {
        /// The name, made printable.
        name: String,
    },
    /// The archive's own bytes could not be written.
    #[error("cannot write an archive")]
    Write(#[from] io::Error),
}

impl Diagnosis for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Name { .. } => Kind::Bug,
            _ => Kind::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Changed { path } => vec![
                format!("wait until `{}` is no longer written to, and run the command again", path.display()),
                "or leave it out with an ignore rule".to_owned(),
            ],
            Self::Read { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                vec!["make it readable, or leave it out with an ignore rule".to_owned()]
            }
            _ => Vec::new(),
        }
    }
}

/// What an entry says about itself besides its name and content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits (0o7777).
    pub mode: u32,
    /// Owner's user id.
    pub uid: u32,
    /// Owner's group id.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u64,
}

/// Writes an archive, entry by entry, and computes its digest on the way.
pub struct Writer<W: Write> {
    out: Hashing<W>,
    /// What a file holds, where that is read as a whole: the same memory for one after the other.
    text: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// An archive whose bytes go to `out`.
    pub fn new(out: W) -> Self {
        Self { out: Hashing::new(out), text: Vec::new() }
    }

    /// Adds a directory.
    pub fn directory(&mut self, name: impl AsRef<[u8]>, attributes: Attributes) -> Result<(), ArchiveError> {
        let mut name = checked(name.as_ref())?.to_vec();
        if name.last() != Some(&b'/') {
            name.push(b'/');
        }
        self.entry(tar::EntryType::Directory, &name, b"", attributes, 0)
    }

    /// Adds a symbolic link; `target` is stored as it is.
    pub fn symlink(
        &mut self,
        name: impl AsRef<[u8]>,
        target: impl AsRef<[u8]>,
        attributes: Attributes,
    ) -> Result<(), ArchiveError> {
        self.entry(tar::EntryType::Symlink, checked(name.as_ref())?, target.as_ref(), attributes, 0)
    }

    /// Adds a file whose content is at hand.
    pub fn bytes(
        &mut self,
        name: impl AsRef<[u8]>,
        content: &[u8],
        attributes: Attributes,
    ) -> Result<(), ArchiveError> {
        let size = content.len() as u64;
        self.entry(tar::EntryType::Regular, checked(name.as_ref())?, b"", attributes, size)?;
        self.out.write_all(content)?;
        self.pad(size)
    }

    /// Adds the content of the file at `source`; gives its size in bytes.
    ///
    /// The file's state is read before and after: an entry is either what the file was all the time, or when it was opened where it has
    /// only grown since; or an error.
    pub fn file(&mut self, name: impl AsRef<[u8]>, source: &Path, attributes: Attributes) -> Result<u64, ArchiveError> {
        let (mut file, before) = open_file(source)?;
        let digest = self.add(name.as_ref(), &mut file, before.len(), source, attributes)?;
        unchanged(&mut file, &before, &digest, source)?;
        Ok(before.len())
    }

    /// Adds the file at `source` as it was when it had this size and digest; another content is an error, and more at its end is none.
    /// `look` is shown the content first where it may be text (at most 1 MiB), and can refuse it.
    pub fn version<E: From<ArchiveError>>(
        &mut self,
        name: impl AsRef<[u8]>,
        source: &Path,
        attributes: Attributes,
        version: &Written,
        look: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut file, before) = open_file(source)?;
        if version.size > TEXT {
            let digest = self.add(name.as_ref(), &mut file, version.size, source, attributes)?;
            return Ok(is_version(&file, &before, version, &digest, source)?);
        }
        let mut text = std::mem::take(&mut self.text);
        whole(&mut file, version.size, &mut text, source)?;
        is_version(&file, &before, version, &Digest::of(&text), source)?;
        look(&text)?;
        self.bytes(name, &text, attributes)?;
        self.text = text;
        Ok(())
    }

    /// Adds the first `size` bytes of an open file; gives their digest.
    fn add(
        &mut self,
        name: &[u8],
        file: &mut File,
        size: u64,
        source: &Path,
        attributes: Attributes,
    ) -> Result<Digest, ArchiveError> {
        self.entry(tar::EntryType::Regular, checked(name)?, b"", attributes, size)?;
        let digest = self.content(file, size, source)?;
        self.pad(size)?;
        Ok(digest)
    }

    /// Marks `name` as deleted from the layers below (OCI image specification, "Whiteouts").
    pub fn whiteout(&mut self, name: impl AsRef<[u8]>, attributes: Attributes) -> Result<(), ArchiveError> {
        let name = checked(name.as_ref())?;
        let cut = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let marker = [&name[..cut], b".wh.", &name[cut..]].concat();
        self.bytes(marker, b"", attributes)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<(W, Written), ArchiveError> {
        self.out.write_all(ZEROS)?;
        self.out.flush()?;
        Ok(self.out.finish())
    }

    /// Gives back what was written without ending the archive, so that another archive's bytes may follow.
    pub fn into_part(mut self) -> Result<W, ArchiveError> {
        self.out.flush()?;
        Ok(self.out.finish().0)
    }

    /// Writes exactly `size` bytes of `file`, or fails; gives their digest.
    fn content(&mut self, file: &mut File, size: u64, source: &Path) -> Result<Digest, ArchiveError> {
        let mut hasher = Hasher::default();
        let mut buffer = vec![0; usize::try_from(size.clamp(1, 256 * 1024)).unwrap_or(256 * 1024)];
        let mut left = size;
        while left > 0 {
            let want = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            match file.read(&mut buffer[..want]) {
                Ok(0) => return Err(ArchiveError::Changed { path: source.to_owned() }),
                Ok(n) => {
                    self.out.write_all(&buffer[..n])?;
                    hasher.update(&buffer[..n]);
                    left -= n as u64;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(ArchiveError::Read { path: source.to_owned(), source: e }),
            }
        }
        Ok(hasher.finish())
    }

    fn entry(
        &mut self,
        kind: tar::EntryType,
        name: &[u8],
        target: &[u8],
        attributes: Attributes,
        size: u64,
    ) -> Result<(), ArchiveError> {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(attributes.mode & 0o7777);
        header.set_uid(attributes.uid.into());
        header.set_gid(attributes.gid.into());
        header.set_mtime(attributes.mtime);
        header.set_size(size);
        if !put_name(&mut header, name) {
            self.long(tar::EntryType::GNULongName, name)?;
        }
        if !put_target(&mut header, target) {
            self.long(tar::EntryType::GNULongLink, target)?;
        }
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        Ok(())
    }

    /// A name or target beyond USTAR's fields, as an entry of its own that every reader in use understands.
    fn long(&mut self, kind: tar::EntryType, text: &[u8]) -> Result<(), ArchiveError> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.as_old_mut().name[..13].copy_from_slice(b"././@LongLink");
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let size = text.len() as u64 + 1;
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes())?;
        self.out.write_all(text)?;
        self.out.write_all(&[0])?;
        self.pad(size)
    }

    fn pad(&mut self, size: u64) -> Result<(), ArchiveError> {
        let rest = usize::try_from(size % BLOCK).expect("a remainder of 512 fits");
        if rest > 0 {
            self.out.write_all(&ZEROS[ZEROS.len() / 2 + rest..])?;
        }
        Ok(())
    }
}

/// A regular file, and what the system says of it.
fn open_file(source: &Path) -> Result<(File, Metadata), ArchiveError> {
    let unreadable = |e| ArchiveError::Read { path: source.to_owned(), source: e };
    let file = open_source(CWD, source, OFlags::empty()).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(ArchiveError::NotAFile { path: source.to_owned() }) }
}

/// Fails when a file was written to since it was opened, but for more at its end: what was read is still its beginning.
fn unchanged(file: &mut File, before: &Metadata, digest: &Digest, source: &Path) -> Result<(), ArchiveError> {
    let unreadable = |e| ArchiveError::Read { path: source.to_owned(), source: e };
    let after = file.metadata().map_err(unreadable)?;
    let mut is_beginning = || -> io::Result<bool> {
        file.rewind()?;
        let again = Hasher::reading(file.take(before.len()), before.len())?;
        Ok(after.len() > before.len() && again.len() == before.len() && again.finish() == *digest)
    };
    if stamp(before) == stamp(&after) || is_beginning().map_err(unreadable)? {
        return Ok(());
    }
    Err(ArchiveError::Changed { path: source.to_owned() })
}

/// Fails when what was read of a file is another version of it, or something was written to it meanwhile but at its end.
fn is_version(
    file: &File,
    before: &Metadata,
    version: &Written,
    digest: &Digest,
    source: &Path,
) -> Result<(), ArchiveError> {
    let after = file.metadata().map_err(|e| ArchiveError::Read { path: source.to_owned(), source: e })?;
    let is_whole = stamp(before) == stamp(&after) || after.len() > version.size;
    if is_whole && *digest == version.digest { Ok(()) } else { Err(ArchiveError::Changed { path: source.to_owned() }) }
}

/// The first `size` bytes of a file, all at once, in place of what `text` holds.
fn whole(file: &mut File, size: u64, text: &mut Vec<u8>, source: &Path) -> Result<(), ArchiveError> {
    text.resize(usize::try_from(size).unwrap_or(0), 0);
    match file.read_exact(text) {
        Ok(()) => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Err(ArchiveError::Changed { path: source.to_owned() }),
        Err(e) => Err(ArchiveError::Read { path: source.to_owned(), source: e }),
    }
}

/// Puts the name into the header's fields; `false` when they are too small and only its beginning is there.
fn put_name(header: &mut tar::Header, name: &[u8]) -> bool {
    let fields = header.as_ustar_mut().expect("made as USTAR");
    if name.len() <= fields.name.len() {
        fields.name[..name.len()].copy_from_slice(name);
        return true;
    }
    // The slash between the two fields is implied; a directory's own slash at the end cannot be the one to cut at.
    let cut = (0..name.len() - 1)
        .rev()
        .find(|at| name[*at] == b'/' && *at <= fields.prefix.len())
        .filter(|at| *at > 0 && name.len() - at - 1 <= fields.name.len());
    if let Some(cut) = cut {
        fields.prefix[..cut].copy_from_slice(&name[..cut]);
        fields.name[..name.len() - cut - 1].copy_from_slice(&name[cut + 1..]);
        return true;
    }
    let len = fields.name.len();
    fields.name.copy_from_slice(&name[..len]);
    false
}

/// Puts a link's target into the header's field; `false` when it is too small.
fn put_target(header: &mut tar::Header, target: &[u8]) -> bool {
    let field = &mut header.as_old_mut().linkname;
    let len = target.len().min(field.len());
    field[..len].copy_from_slice(&target[..len]);
    len == target.len()
}

fn checked(name: &[u8]) -> Result<&[u8], ArchiveError> {
    let wrong = name.is_empty()
        || name.contains(&0)
        || name[0] == b'/'
        || name.split(|byte| *byte == b'/').any(|part| part == b"..");
    if wrong { Err(ArchiveError::Name { name: String::from_utf8_lossy(name).into_owned() }) } else { Ok(name) }
}

/// What changes when a file is written to.
fn stamp(metadata: &Metadata) -> (u64, i64, i64, i64, i64) {
    (metadata.len(), metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    const PLAIN: Attributes = Attributes { mode: 0o644, uid: 1000, gid: 1000, mtime: 1_700_000_000 };

    /// Name, type, target and content of an entry.
    type Entry = (Vec<u8>, u8, Option<Vec<u8>>, Vec<u8>);

    fn entries(archive: &[u8]) -> Vec<Entry> {
        tar::Archive::new(archive)
            .entries()
            .unwrap()
            .map(|entry| {
                let mut entry = entry.unwrap();
                let mut content = Vec::new();
                entry.read_to_end(&mut content).unwrap();
                let link = entry.link_name_bytes().map(Cow::into_owned);
                (entry.path_bytes().into_owned(), entry.header().entry_type().as_byte(), link, content)
            })
            .collect()
    }

    #[test]
    fn what_is_written_can_be_read_and_is_the_same_each_time() {
        let write = || {
            let mut writer = Writer::new(Vec::new());
            writer.directory("a", PLAIN).unwrap();
            writer.bytes("a/b", b"content", PLAIN).unwrap();
            writer.symlink("a/c", "../b", PLAIN).unwrap();
            writer.whiteout("a/d", PLAIN).unwrap();
            writer.finish().unwrap()
        };
        let (archive, written) = write();
        assert_eq!(written, Written { digest: Digest::of(&archive), size: archive.len() as u64 });
        assert_eq!(write().1, written);
        let entry = |name: &str, kind, target: Option<&str>, content: &str| -> Entry {
            (name.into(), kind, target.map(Into::into), content.into())
        };
        let expected = [
            entry("a/", b'5', None, ""),
            entry("a/b", b'0', None, "content"),
            entry("a/c", b'2', Some("../b"), ""),
            entry("a/.wh.d", b'0', None, ""),
        ];
        assert_eq!(entries(&archive), expected);
    }

    #[test]
    fn names_of_every_length_and_byte_survive() {
        for len in [1, 99, 100, 101, 155, 156, 255, 256, 257, 400, 5000] {
            for name in [vec![b'x'; len], "ab/".repeat(len).into_bytes(), [vec![0xff; len], b"/\n".to_vec()].concat()] {
                let name = name.strip_suffix(b"/").unwrap_or(&name);
                let mut writer = Writer::new(Vec::new());
                writer.bytes(name, b"1", PLAIN).unwrap();
                writer.symlink("link", name, PLAIN).unwrap();
                writer.directory(name, PLAIN).unwrap();
                let (archive, _) = writer.finish().unwrap();
                let found = entries(&archive);
                assert_eq!(found[0].0, name);
                assert_eq!(found[1].2.as_deref(), Some(name));
                assert_eq!(found[2].0, [name, b"/"].concat());
            }
        }
    }

    #[test]
    fn names_that_could_leave_the_target_are_refused() {
        for name in ["", "/etc/passwd", "a/../../b", "..", "a\0b"] {
            let mut writer = Writer::new(Vec::new());
            assert!(matches!(writer.bytes(name, b"", PLAIN), Err(ArchiveError::Name { .. })), "{name}");
        }
    }

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        std::fs::write(&path, vec![7; 300_000]).unwrap();
        let mut writer = Writer::new(Vec::new());
        assert_eq!(writer.file("data", &path, PLAIN).unwrap(), 300_000);
        assert_eq!(entries(&writer.finish().unwrap().0)[0].3, vec![7; 300_000]);

        let error = Writer::new(Vec::new()).file("d", folder.path(), PLAIN).expect_err("a directory");
        assert!(error.to_string().ends_with("is no regular file"), "{error}");
        let error = Writer::new(Vec::new()).file("d", &folder.path().join("none"), PLAIN).expect_err("missing");
        assert!(error.to_string().contains("none"), "{error}");
    }

    /// Changes the file below the writer, as an editor or a logger would.
    struct Meddler {
        path: PathBuf,
        change: fn(&Path),
        after: usize,
    }

    impl Write for Meddler {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.after == 0 {
                (self.change)(&self.path);
            }
            self.after = self.after.wrapping_sub(1);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_that_changes_is_named() {
        let append = |path: &Path| File::options().append(true).open(path).unwrap().write_all(b"more").unwrap();
        let changes: [fn(&Path); 3] = [
            |path| File::options().write(true).open(path).unwrap().set_len(10).unwrap(),
            |path| File::options().write(true).open(path).unwrap().write_all(b"other").unwrap(),
            |path| {
                let mut file = File::options().write(true).open(path).unwrap();
                file.write_all(b"other").unwrap();
                file.set_len(2_000_000).unwrap();
            },
        ];
        for change in changes {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("train.log");
            std::fs::write(&path, vec![7; 1_000_000]).unwrap();
            let meddler = Meddler { path: path.clone(), change, after: 2 };
            let error = Writer::new(meddler).file("train.log", &path, PLAIN).expect_err("changed");
            assert!(matches!(&error, ArchiveError::Changed { path: named } if *named == path), "{error}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("train.log");
        std::fs::write(&path, vec![7; 1_000_000]).unwrap();
        let meddler = Meddler { path: path.clone(), change: append, after: 2 };
        let added = Writer::new(meddler).file("train.log", &path, PLAIN);
        assert_eq!(added.expect("what has grown is what it was at first"), 1_000_000);
    }
}
