//! Any bytes as what a kubelet has of a log.

use super::kubelet::{record, timed};

/// Of a line nothing is lost but its time.
pub(crate) fn kubelet_log(bytes: &[u8]) {
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let (time, text) = timed(line);
        assert!(line.ends_with(text));
        assert!(line.ends_with(&record(time, text).bytes));
    }
}
