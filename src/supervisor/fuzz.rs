//! Any bytes as what comes to a rank from others.

pub(crate) use super::gang::fuzz::{handshake, messages};
pub(crate) use super::launch::fuzz::frames as launcher_frames;
