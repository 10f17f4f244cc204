//! The moments of putting a file in place. Tests are told of each, and let somebody else act there, or let nauta die.

use std::io;

#[cfg(test)]
type Observer = Box<dyn FnMut(&'static str) -> io::Result<()> + Send>;

/// Who is told.
#[derive(Default)]
pub(super) struct Steps {
    #[cfg(test)]
    pub(super) observer: Option<Observer>,
}

impl Steps {
    /// Something is about to be done. With an error, nothing more is.
    #[cfg(test)]
    pub(super) fn before(&mut self, what: &'static str) -> io::Result<()> {
        self.observer.as_mut().map_or(Ok(()), |observer| observer(what))
    }

    /// Something is about to be done.
    #[cfg(not(test))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "tests have it fail")]
    pub(super) const fn before(&mut self, _what: &'static str) -> io::Result<()> {
        Ok(())
    }
}
