//! What both ends of a trunk agree on: one connection that leads to all ranks, over HTTP/2.

use std::time::Duration;

use super::{DEAD_AFTER, HEARTBEAT};

/// Between two signs of life on a connection.
pub const KEEP_ALIVE: Duration = Duration::from_secs(HEARTBEAT);
/// How long a sign of life may stay unanswered.
pub const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(DEAD_AFTER - HEARTBEAT);
/// Bytes that a rank may have on their way before they are taken: its share of both ends' memory.
pub const STREAM_WINDOW: u32 = 512 * 1024;
/// Bytes that all ranks may have on their way.
pub const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;
/// So many streams lead to ranks at once: one to each that the largest run may have.
pub const MOST_STREAMS: u32 = 4096;

/// The target that leads to a rank.
#[must_use]
pub fn target(rank: u32) -> String {
    format!("rank-{rank}")
}

/// The rank that a target leads to.
#[must_use]
pub fn rank_of(target: &str) -> Option<u32> {
    target.strip_prefix("rank-")?.parse().ok()
}
