//! A file that is read while it is still being written.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;

use tokio::sync::watch;

/// The writing end. When it is dropped, the file is whole.
pub struct GrowingWriter {
    file: File,
    size: watch::Sender<u64>,
}

/// The reading end.
#[derive(Clone, Debug)]
pub struct GrowingFile {
    /// The file.
    pub path: PathBuf,
    size: watch::Receiver<u64>,
}

/// Both ends of a new, empty file.
#[must_use]
pub fn growing(file: File, path: PathBuf) -> (GrowingWriter, GrowingFile) {
    let (size_tx, size) = watch::channel(0);
    (GrowingWriter { file, size: size_tx }, GrowingFile { path, size })
}

impl GrowingFile {
    /// How large the file is once it is larger than `than`, in bytes; `None` when it will not grow any more.
    pub async fn grown(&mut self, than: u64) -> Option<u64> {
        let grown = self.size.wait_for(|size| *size > than).await.map(|size| *size);
        // What was written just before the end counts too.
        grown.ok().or_else(|| Some(*self.size.borrow()).filter(|size| *size > than))
    }
}

impl Write for GrowingWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.file.write(bytes)?;
        self.size.send_modify(|size| *size += n as u64);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_reader_sees_all_bytes_and_then_the_end() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let (mut writer, mut reader) = growing(file.reopen().expect("opens"), file.path().to_owned());
        writer.write_all(b"one").expect("written");
        assert_eq!(reader.grown(0).await, Some(3));
        let late = tokio::spawn(async move { reader.grown(3).await.zip(Some(reader.grown(6).await)) });
        writer.write_all(b"two").expect("written");
        drop(writer);
        assert_eq!(late.await.expect("ends"), Some((6, None)));
    }
}
