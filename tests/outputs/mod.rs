//! Outputs on their way back: from real registries into real folders, and from real containers.

mod receive;
mod send;
