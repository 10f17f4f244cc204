//! Reading files that others may have made: regular ones only, of a size with a bound, and those of a project only inside it.
//!
//! A project comes out of a repository, and Git carries links to `/dev/zero` as readily as text. Owns: [`read`], [`open`] and
//! [`Enclosure`], which every part of nauta reads files by (`tests/meta` keeps it so). Does not own: what is in the files.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptionsExt as _};
use rustix::fs::OFlags;

pub use cap_std::fs::OpenOptions;

/// The most that is read of what people write by hand, in bytes: configuration, rules, lists of requirements.
pub const HAND_WRITTEN: u64 = 1 << 20;
/// The most that is read of what programs keep for each other, in bytes: records, Docker's and clusters' configuration.
pub const KEPT: u64 = 4 << 20;

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Reading it may never end, or may do something.
    #[error("it is {0}; only regular files are read")]
    Special(&'static str),
    /// Nobody wrote that by hand.
    #[error("it is larger than {} KiB, the most that is read of such a file", .0 / 1024)]
    TooLarge(u64),
    /// A project is data, and says nothing about the rest of the workstation.
    #[error("it is outside the project, or a link on the way leads out of it")]
    Outside,
}

impl From<Unfit> for io::Error {
    fn from(unfit: Unfit) -> Self {
        Self::new(ErrorKind::InvalidInput, unfit)
    }
}

impl Unfit {
    /// Why an error means that a file is not read; nothing where it is another error.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// What to do about it.
    const fn hint(self) -> &'static str {
        match self {
            Self::Special(_) => "put a regular file there",
            Self::TooLarge(_) => "is it the file that is meant? make it smaller",
            Self::Outside => "put a copy into the project; your own configuration may name files anywhere",
        }
    }
}

/// What to do about an error of reading; `otherwise` where the file might be read.
pub fn hint(error: &io::Error, otherwise: &str) -> String {
    Unfit::of(error).map_or_else(|| otherwise.to_owned(), |unfit| unfit.hint().to_owned())
}

/// Opens a regular file, by whatever links.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening a device may do something, and opening a FIFO waits for a writer.
    regular(&std::fs::metadata(path)?)?;
    let file = File::options().read(true).custom_flags(flags()).open(path)?;
    regular(&file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file of at most `limit` bytes, by whatever links: one that the user names, or nauta made.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_open(&open(path)?, limit)
}

/// The same as text.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    text(read(path, limit)?)
}

/// Whether [`read`] would read it, for those who have it read by others.
pub fn fits(path: &Path, limit: u64) -> io::Result<()> {
    if open(path)?.metadata()?.len() > limit { Err(Unfit::TooLarge(limit).into()) } else { Ok(()) }
}

/// Reads a file of a project: see [`Enclosure::read`].
pub fn read_inside(root: &Path, path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
    Enclosure::open(root)?.read(path, limit)
}

/// The same as text.
pub fn read_text_inside(root: &Path, path: impl AsRef<Path>, limit: u64) -> io::Result<String> {
    text(read_inside(root, path, limit)?)
}

/// A folder that nothing which is read through it leads out of: neither `..` nor links.
#[derive(Debug)]
pub struct Enclosure {
    root: PathBuf,
    dir: Dir,
}

impl Enclosure {
    /// The folder at `root` (absolute).
    pub fn open(root: &Path) -> io::Result<Self> {
        Ok(Self { root: root.to_owned(), dir: Dir::open_ambient_dir(root, ambient_authority())? })
    }

    /// Reads a regular file of at most `limit` bytes in the folder. Absolute paths count when they are below it as they are
    /// written.
    pub fn read(&self, path: impl AsRef<Path>, limit: u64) -> io::Result<Vec<u8>> {
        read_open(&self.open_with(path.as_ref(), OpenOptions::new().read(true))?, limit)
    }

    /// Opens a regular file in the folder.
    pub fn open_with(&self, path: &Path, options: &OpenOptions) -> io::Result<File> {
        let inside = path.strip_prefix(&self.root).unwrap_or(path);
        let options = options.clone().custom_flags(flags()).to_owned();
        let file = self.dir.open_with(inside, &options).map_err(outside)?.into_std();
        regular(&file.metadata()?)?;
        Ok(file)
    }
}

/// A path relative to `root`, without `.` and `..`; nothing where it is outside as it is written.
pub fn relative(root: &Path, path: &Path) -> Option<PathBuf> {
    let mut clean = PathBuf::new();
    for part in path.strip_prefix(root).unwrap_or(path).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir if clean.pop() => {}
            _ => return None,
        }
    }
    Some(clean)
}

/// What leaves the folder has no number of the system's.
fn outside(error: io::Error) -> io::Error {
    let is_escape = error.kind() == ErrorKind::PermissionDenied && error.raw_os_error().is_none();
    if is_escape { Unfit::Outside.into() } else { error }
}

fn flags() -> i32 {
    (OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC).bits().cast_signed()
}

/// Whether a file may be read.
fn regular(found: &Metadata) -> io::Result<()> {
    let kind = found.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        () if kind.is_symlink() => "a link",
        () if kind.is_fifo() => "a pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    };
    Err(Unfit::Special(what).into())
}

fn read_open(file: &File, limit: u64) -> io::Result<Vec<u8>> {
    let found = file.metadata()?;
    regular(&found)?;
    let mut bytes = Vec::new();
    if found.len() <= limit {
        // It may grow meanwhile, and files of the kernel's say that they are empty.
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 <= limit {
            return Ok(bytes);
        }
    }
    Err(Unfit::TooLarge(limit).into())
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|_| io::Error::new(ErrorKind::InvalidData, "it is no UTF-8 text"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn unfit<T: std::fmt::Debug>(outcome: io::Result<T>) -> Option<Unfit> {
        Unfit::of(&outcome.expect_err("refused"))
    }

    #[test]
    fn only_regular_files_of_a_bounded_size_are_read() {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        std::fs::write(at("a"), "four").expect("written");
        symlink("a", at("link")).expect("linked");
        assert_eq!(read_text(&at("link"), 4).expect("read"), "four");
        assert_eq!(unfit(read(&at("a"), 3)), Some(Unfit::TooLarge(3)));
        symlink("/dev/zero", at("zero")).expect("linked");
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("made");
        for (name, what) in [("zero", "a device"), ("fifo", "a pipe"), ("socket", "a socket")] {
            assert_eq!(unfit(read(&at(name), 9)), Some(Unfit::Special(what)), "{name}");
        }
        assert_eq!(read(temp.path(), 9).expect_err("a folder").kind(), ErrorKind::IsADirectory);
        assert_eq!(read(&at("none"), 9).expect_err("nothing").kind(), ErrorKind::NotFound);
        // What the kernel makes up while it is read has no size of its own.
        assert_eq!(unfit(read(Path::new("/proc/self/maps"), 9)), Some(Unfit::TooLarge(9)));
        std::fs::write(at("latin"), b"\xe4").expect("written");
        assert!(read_text(&at("latin"), 9).is_err());
    }

    #[test]
    fn nothing_leads_out_of_an_enclosure() {
        let temp = tempfile::tempdir().expect("a folder");
        let root = temp.path().join("project");
        std::fs::create_dir_all(root.join("sub")).expect("made");
        std::fs::write(temp.path().join("secret"), "canary").expect("written");
        std::fs::write(root.join("own"), "own").expect("written");
        let links: [(&str, PathBuf); 5] = [
            ("sub/in", "../own".into()),
            ("out", "../secret".into()),
            ("absolute", temp.path().join("secret")),
            ("up", "..".into()),
            ("zero", "/dev/zero".into()),
        ];
        for (link, to) in links {
            symlink(to, root.join(link)).expect("linked");
        }
        let inside = |path: &Path| read_inside(&root, path, 100);
        for good in ["own", "./own", "sub/../own", "sub/in"] {
            assert_eq!(inside(Path::new(good)).expect(good), b"own", "{good}");
        }
        assert_eq!(inside(&root.join("own")).expect("below as it is written"), b"own");
        for bad in ["../secret", "out", "absolute", "up/secret", "zero", "/etc/passwd", "sub/../../secret"] {
            assert_eq!(unfit(inside(Path::new(bad))), Some(Unfit::Outside), "{bad}");
        }
        assert_eq!(inside(Path::new("none")).expect_err("nothing").kind(), ErrorKind::NotFound);
    }

    #[test]
    fn paths_are_relative_to_the_folder_or_nothing() {
        let of = |path: &str| relative(Path::new("/p"), Path::new(path)).map(|path| path.display().to_string());
        for (path, clean) in [("a/./b", "a/b"), ("a/../b", "b"), ("/p/a", "a"), (".", "")] {
            assert_eq!(of(path).as_deref(), Some(clean), "{path}");
        }
        for path in ["..", "a/../../b", "/etc/passwd", "/"] {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
