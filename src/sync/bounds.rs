//! What an index may say, whoever wrote it: checked before anything is asked for or reserved on its word.

use super::link::{acceptable_link, digest_of_link};
use super::{CHUNK, Chunk, File, JournalCopy, MAX_BLOB};

impl File {
    /// Whether its sizes can be: chunks within their blobs, and all of them together as long as the file.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), &'static str> {
        if i64::try_from(self.size).is_err() {
            return Err("no file can be so large");
        }
        if let Some(target) = &self.link {
            let is_plain = self.size == 0 && self.chunks.is_empty() && self.digest == digest_of_link(target);
            return if is_plain { acceptable_link(&self.path, target) } else { Err("no link is like that") };
        }
        // Over the control stream there are no chunks.
        if !self.chunks.is_empty() && total(&self.chunks)? != self.size {
            return Err("its pieces together have another size than it");
        }
        Ok(())
    }
}

impl JournalCopy {
    /// Whether its sizes can be.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), &'static str> {
        total(&self.chunks)?.checked_add(self.start).map(drop).ok_or("no log can be so long")
    }
}

/// All of their lengths.
fn total(chunks: &[Chunk]) -> Result<u64, &'static str> {
    chunks.iter().try_fold(0_u64, |total, chunk| {
        if !(1..=CHUNK).contains(&chunk.size) {
            return Err("a piece of it has a size that no piece has");
        }
        if chunk.offset.checked_add(chunk.size).is_none_or(|end| end > MAX_BLOB) {
            return Err("a piece of it lies beyond the end of any blob");
        }
        total.checked_add(chunk.size).ok_or("no file can be so large")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn file(size: u64, chunks: &[(u64, u64)]) -> File {
        let digest = Digest::of("");
        let chunk = |&(offset, size)| Chunk { blob: digest.clone(), offset, size, digest: digest.clone() };
        let chunks = chunks.iter().map(chunk).collect();
        File {
            path: "a".to_owned(),
            size,
            mode: 0o644,
            modified: 0,
            digest: digest.clone(),
            chunks,
            link: None,
            origin: crate::sync::Origin::Outputs,
        }
    }

    #[test]
    fn sizes_that_cannot_be_are_found_before_they_are_believed() {
        for good in
            [file(0, &[]), file(5, &[]), file(5, &[(0, 5)]), file(CHUNK + 1, &[(MAX_BLOB - CHUNK, CHUNK), (0, 1)])]
        {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        for bad in [
            file(u64::MAX, &[]),
            file(0, &[(0, 0)]),
            file(6 << 30, &[(0, 6 << 30)]),
            file(CHUNK + 1, &[(0, CHUNK + 1)]),
            file(5, &[(MAX_BLOB - 4, 5)]),
            file(5, &[(u64::MAX - 2, 5)]),
            file(5, &[(0, 4)]),
            file(5, &[(0, u64::MAX), (0, 6)]),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
        let journal = |start, chunks| JournalCopy { instance: String::new(), start, whole: true, chunks };
        assert_eq!(journal(7, file(5, &[(0, 5)]).chunks).check(), Ok(()));
        assert!(journal(u64::MAX, file(5, &[(0, 5)]).chunks).check().is_err());
        assert!(journal(0, file(5, &[(0, 6 << 30)]).chunks).check().is_err());
    }
}
