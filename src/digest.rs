//! SHA-256 digests in the form registries use, and the readers and writers that compute them on the way.
//!
//! Owns: [`Digest`], [`Hasher`]. Form: `sha256:` and 64 lower-case hexadecimal digits (OCI image specification,
//! "Digests"). SHA-256 is the only algorithm: registries demand it, and processors have instructions for it.

use std::fmt;
use std::io::{self, Read, Write};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

/// The name of some bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(Arc<str>); // lists of many files name a blob again and again: a copy costs a pointer

/// What is wrong with a text that should be a digest.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a SHA-256 digest (expected `sha256:` and 64 hexadecimal digits)")]
pub struct InvalidDigest(String);

impl Digest {
    /// The digest of bytes at hand.
    #[must_use]
    pub fn of(bytes: impl AsRef<[u8]>) -> Self {
        Self::from_bytes(Hasher::of(bytes.as_ref()))
    }

    /// With the algorithm: `sha256:<hex>`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// From the digest's own 32 bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = String::with_capacity(71);
        text.push_str("sha256:");
        for byte in bytes {
            text.push(char::from(DIGITS[usize::from(byte >> 4)]));
            text.push(char::from(DIGITS[usize::from(byte & 15)]));
        }
        Self(text.into())
    }

    /// The 64 hexadecimal digits alone.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }

    /// The first twelve digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.hex()[..12]
    }
}

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        let is_hex =
            |hex: &str| hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        match text.strip_prefix("sha256:") {
            Some(hex) if is_hex(hex) => Ok(Self(text.into())),
            _ => Err(InvalidDigest(text.chars().take(100).collect())),
        }
    }
}

impl TryFrom<String> for Digest {
    type Error = InvalidDigest;
    fn try_from(text: String) -> Result<Self, InvalidDigest> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0.as_ref().to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Computes a digest piece by piece; also a [`Write`] that keeps nothing.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    len: u64,
}

impl Hasher {
    /// Adds bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.len += bytes.len() as u64;
    }

    /// Bytes seen so far.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.len
    }

    /// Whether nothing was added yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The digest of all bytes added.
    #[must_use]
    pub fn finish(self) -> Digest {
        Digest::from_bytes(self.finish_bytes())
    }

    /// The same as 32 bytes, for who keeps very many of them.
    #[must_use]
    pub fn finish_bytes(self) -> [u8; 32] {
        self.state.finalize().into()
    }

    /// The digest of these bytes, as 32 bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> [u8; 32] {
        let mut hasher = Self::default();
        hasher.update(bytes);
        hasher.finish_bytes()
    }

    /// The digest and length of all that `reader` still gives.
    ///
    /// # Errors
    /// When reading fails.
    pub fn read_to_end(reader: impl Read) -> io::Result<(Digest, u64)> {
        let hasher = Self::reading(reader, u64::MAX)?;
        let len = hasher.len();
        Ok((hasher.finish(), len))
    }

    /// Everything that `reader` still gives, added. `about`: how many bytes that may be; small files need no large buffer.
    ///
    /// # Errors
    /// When reading fails.
    pub fn reading(mut reader: impl Read, about: u64) -> io::Result<Self> {
        const MOST: usize = 256 * 1024;
        let mut hasher = Self::default();
        let mut buffer = vec![0; usize::try_from(about).unwrap_or(MOST).clamp(1, MOST)];
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => hasher.update(&buffer[..n]),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(hasher)
    }
}

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_digest_is_the_known_one() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of("").as_str(), empty);
        assert_eq!(Hasher::read_to_end(&b""[..]).expect("reads"), (empty.parse().expect("valid"), 0));
    }

    #[test]
    fn only_sha256_in_lower_case_is_a_digest() {
        let upper = Digest::of("x").as_str().to_uppercase();
        for text in ["", "sha256:", "sha512:00", "sha256:zz", &upper] {
            assert!(text.parse::<Digest>().is_err(), "{text}");
        }
    }
}
