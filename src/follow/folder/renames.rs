//! Files move between nauta's own folder and their places without a moment at which another's file could be lost: the file system
//! refuses to replace, or gives back what it replaced.

use std::io::{self, ErrorKind, Read, Seek};

use cap_std::fs::{Dir, OpenOptions};
use rustix::fs::{AtFlags, RenameFlags, linkat, renameat_with};
use rustix::io::Errno;

/// How a file system puts a file at a new name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fresh {
    /// `renameat2` with a flag that forbids to replace.
    Flag,
    /// A second name, then without the first one (NFS).
    Link,
    /// An empty file that is made only where there is none, and then replaced (what can do no better).
    Placeholder,
}

/// What a file system can do; found out by trying.
#[derive(Clone, Copy, Debug)]
pub(super) struct Renames {
    pub(super) fresh: Fresh,
    pub(super) can_exchange: bool,
}

impl Default for Renames {
    fn default() -> Self {
        Self { fresh: Fresh::Flag, can_exchange: true }
    }
}

/// A name in an open folder.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a>(pub(super) &'a Dir, pub(super) &'a str);

impl Renames {
    /// Moves a file to a name that nothing has; [`ErrorKind::AlreadyExists`] where something has it.
    pub(super) fn move_to_new(&mut self, from: Spot<'_>, to: Spot<'_>) -> io::Result<()> {
        if self.fresh == Fresh::Flag {
            match renameat_with(from.0, from.1, to.0, to.1, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.fresh = Fresh::Link,
                done => return Ok(done?),
            }
        }
        if self.fresh == Fresh::Link {
            match linkat(from.0, from.1, to.0, to.1, AtFlags::empty()) {
                Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => self.fresh = Fresh::Placeholder,
                Err(error) => return Err(error.into()),
                Ok(()) => return from.0.remove_file(from.1),
            }
        }
        let mut placeholder = to.0.open_with(to.1, OpenOptions::new().read(true).write(true).create_new(true))?;
        from.0.rename(from.1, to.0, to.1)?;
        // Whoever was quick enough to write to it keeps what was written.
        if placeholder.metadata()?.len() > 0 {
            placeholder.rewind()?;
            let mut text = Vec::new();
            placeholder.read_to_end(&mut text)?;
            from.0.write(from.1, text)?;
            return Err(io::Error::other("somebody wrote to it at the same moment"));
        }
        Ok(())
    }

    /// Has two files change places; [`ErrorKind::NotFound`] where the second is not there. `aside` is a name beside the first that
    /// nothing has: where the system cannot exchange, the second goes there for a moment, and stays there with
    /// [`ErrorKind::AlreadyExists`] when somebody makes another second one in that moment.
    pub(super) fn exchange(&mut self, first: Spot<'_>, second: Spot<'_>, aside: &str) -> io::Result<()> {
        if self.can_exchange {
            match renameat_with(first.0, first.1, second.0, second.1, RenameFlags::EXCHANGE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.can_exchange = false,
                done => return Ok(done?),
            }
        }
        let aside = Spot(first.0, aside);
        self.move_to_new(second, aside)?;
        match self.move_to_new(first, second) {
            Ok(()) => self.move_to_new(aside, first),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Err(error),
            Err(error) => self.move_to_new(aside, second).and(Err(error)),
        }
    }
}
