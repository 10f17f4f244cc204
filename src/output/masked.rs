//! Standard error for what libraries trace, without secrets.

use std::io::{self, Write};

use crate::secret::Mask;

/// Standard error without secrets. Each write is one event, so none is in two pieces.
#[derive(Clone)]
pub struct MaskedStderr(pub Mask);

impl Write for MaskedStderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        io::stderr().write_all(self.0.apply(&String::from_utf8_lossy(bytes)).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
