//! A rank, as rank 0 knows it.

use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::mpsc;

use super::Message;

/// A rank that has come.
pub(super) struct Member {
    pub(super) instance: String,
    pub(super) to: mpsc::UnboundedSender<Message>,
    /// Whether it can be reached.
    pub(super) linked: bool,
    /// Whether no program runs there.
    pub(super) idle: bool,
    /// Where it is reached.
    pub(super) address: Option<IpAddr>,
    /// How long its program had given no sign of life when it was last heard of.
    pub(super) quiet: Duration,
    /// Whether it has delivered what it left.
    pub(super) delivered: bool,
}
