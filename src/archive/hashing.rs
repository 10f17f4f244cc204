//! Bytes that are named by their digest while they are written.

use std::io::{self, Write};

use crate::digest::{Digest, Hasher};

/// The name and length of bytes that were written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Digest of the bytes.
    pub digest: Digest,
    /// How many bytes.
    pub size: u64,
}

/// A [`Write`] that computes the digest of what goes through it.
pub struct Hashing<W> {
    inner: W,
    hasher: Hasher,
}

impl<W> Hashing<W> {
    /// Passes everything on to `inner`.
    pub fn new(inner: W) -> Self {
        Self { inner, hasher: Hasher::default() }
    }

    /// The inner writer, and the name of what it was given.
    pub fn finish(self) -> (W, Written) {
        let size = self.hasher.len();
        (self.inner, Written { digest: self.hasher.finish(), size })
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..n]);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
