//! The form of a journal: what a rank wrote, in records that say when and where to.
//!
//! A record is one byte for the stream, eight for the time, four for the length (all big-endian), and the bytes. The same
//! form is on the rank's disk, in the mailbox, and beside the outputs on the workstation.

use bytes::{Buf, Bytes, BytesMut};

use crate::event::Stream;

/// Bytes of a record before its content.
pub const HEADER: usize = 13;
/// The largest content of a record, in bytes.
pub const LARGEST: usize = 64 * 1024;

/// What a rank wrote at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Where to.
    pub stream: Stream,
    /// When, in milliseconds since 1970.
    pub time: i64,
    /// The bytes, at most [`LARGEST`].
    pub bytes: Bytes,
}

impl Record {
    /// Its length in a journal, in bytes.
    pub fn len(&self) -> u64 {
        (HEADER + self.bytes.len()) as u64
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The record as it is in a journal.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(HEADER + self.bytes.len());
        record.push(code(self.stream));
        record.extend_from_slice(&self.time.to_be_bytes());
        record.extend_from_slice(&u32::try_from(self.bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
        record.extend_from_slice(&self.bytes);
        record
    }
}

/// These bytes are no journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal is damaged")]
pub struct Damaged;

/// The stream, time and content length that a header announces.
pub fn parse_header(header: &[u8; HEADER]) -> Result<(Stream, i64, usize), Damaged> {
    let [stream, t0, t1, t2, t3, t4, t5, t6, t7, len @ ..] = *header;
    let stream = match stream {
        1 => Stream::Stdout,
        2 => Stream::Stderr,
        3 => Stream::Supervisor,
        _ => return Err(Damaged),
    };
    let len = u32::from_be_bytes(len) as usize;
    if len > LARGEST {
        return Err(Damaged);
    }
    Ok((stream, i64::from_be_bytes([t0, t1, t2, t3, t4, t5, t6, t7]), len))
}

/// How many of these bytes, which begin with a record, are whole records.
pub fn whole_records(bytes: &[u8]) -> Result<usize, Damaged> {
    let mut end = 0;
    while let Some(header) = bytes[end..].first_chunk::<HEADER>() {
        let (.., len) = parse_header(header)?;
        match bytes.len() - end - HEADER {
            room if room < len => break,
            _ => end += HEADER + len,
        }
    }
    Ok(end)
}

const fn code(stream: Stream) -> u8 {
    match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
        Stream::Supervisor => 3,
    }
}

/// Reads records from bytes that arrive in pieces. A record that was cut off at the end is never given.
#[derive(Default)]
pub struct Records {
    buffer: BytesMut,
}

/// Of bytes that nobody else holds, without copying them.
impl From<Bytes> for Records {
    fn from(bytes: Bytes) -> Self {
        Self { buffer: bytes.into() }
    }
}

impl Records {
    /// Adds bytes that follow the former ones.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole record.
    pub fn next_record(&mut self) -> Result<Option<Record>, Damaged> {
        let Some(header) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let (stream, time, len) = parse_header(header)?;
        if self.buffer.len() < HEADER + len {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        Ok(Some(Record { stream, time, bytes: self.buffer.split_to(len).freeze() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_any_cutting() {
        let records =
            [(Stream::Stdout, 1, &b"one\n"[..]), (Stream::Stderr, -5, b""), (Stream::Supervisor, i64::MAX, b"\0\xff")]
                .map(|(stream, time, bytes)| Record { stream, time, bytes: Bytes::from_static(bytes) });
        let wire: Vec<u8> = records.iter().flat_map(Record::encode).collect();
        for step in 1..=wire.len() {
            let mut reader = Records::default();
            let mut read = Vec::new();
            for piece in wire.chunks(step) {
                reader.push(piece);
                while let Some(record) = reader.next_record().expect("whole") {
                    read.push(record);
                }
            }
            assert_eq!(read, records, "cut every {step} bytes");
        }
        assert_eq!(whole_records(&wire), Ok(wire.len()));
        assert_eq!(whole_records(&wire[..wire.len() - 1]), Ok(wire.len() - HEADER - 2));
        let mut cut = Records::default();
        cut.push(&wire[..wire.len() - 1]);
        assert_eq!(std::iter::from_fn(|| cut.next_record().expect("whole")).count(), 2);
    }

    #[test]
    fn what_is_no_journal_is_refused() {
        let mut reader = Records::default();
        reader.push(&[0xff; 100]);
        assert_eq!(reader.next_record(), Err(Damaged));
    }
}
