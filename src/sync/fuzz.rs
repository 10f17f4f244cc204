//! Any bytes as what ranks leave and send.

use super::journal::{Damaged, HEADER, Record, Records, whole_records};
use super::{Index, acceptable};

/// An index says the same once it is written anew, and what passes its checks can be added up.
pub(crate) fn index(bytes: &[u8]) {
    let Ok(index) = serde_json::from_slice::<Index>(bytes) else { return };
    for file in &index.files {
        let _ = acceptable(&file.path, index.rank);
        if file.check().is_ok() && !file.chunks.is_empty() {
            assert_eq!(file.chunks.iter().map(|chunk| chunk.size).sum::<u64>(), file.size);
        }
    }
    for journal in index.journal.iter().chain(&index.former) {
        if journal.check().is_ok() {
            assert!(journal.chunks.iter().fold(journal.start, |end, chunk| end + chunk.size) >= journal.start);
        }
    }
    let text = serde_json::to_vec(&index).expect("an index has text keys only");
    assert_eq!(serde_json::from_slice::<Index>(&text).expect("our own"), index);
}

/// A journal's records are the same in whatever pieces it comes, and are all that is in it.
pub(crate) fn journal(bytes: &[u8]) {
    let whole = in_pieces(bytes, usize::MAX);
    for step in [1, 7, HEADER, 1000] {
        assert_eq!(in_pieces(bytes, step), whole, "in pieces of {step} bytes");
    }
    assert_eq!(whole_records(bytes).is_err(), whole.1.is_err());
    if let Ok(end) = whole_records(bytes) {
        let again: Vec<u8> = whole.0.iter().flat_map(Record::encode).collect();
        assert_eq!(again, bytes[..end]);
    }
}

fn in_pieces(bytes: &[u8], step: usize) -> (Vec<Record>, Result<(), Damaged>) {
    let (mut records, mut read) = (Records::default(), Vec::new());
    for piece in bytes.chunks(step) {
        records.push(piece);
        loop {
            match records.next_record() {
                Ok(Some(record)) => read.push(record),
                Ok(None) => break,
                Err(damaged) => return (read, Err(damaged)),
            }
        }
    }
    (read, Ok(()))
}
