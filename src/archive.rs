//! Deterministic tar archives: the same files give the same bytes.
