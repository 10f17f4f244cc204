//! A run as a stream of events, whichever engine it is on; and its outputs on their way back.
//!
//! Owns: [`Engine`], [`follow`], [`history()`], [`Collector`], [`Mailbox`]. Does not own: the streams themselves (`docker`, `cluster`). Start reading
//! at [`follow`].

mod collect;
mod engine;
mod fetch;
mod folder;
pub(crate) mod fuzz;
mod gather;
mod history;
mod kubelet;
mod listing;
mod log;
mod mailbox;
mod outcome;
mod position;
mod rank;
mod received;
mod round;
mod run;
mod sight;
mod stop;
mod trunk;
mod ways;

pub use collect::{CollectError, Collector, path_of};
pub use engine::Engine;
pub use fetch::Pieces;
pub use gather::missing_of;
pub use history::history;
pub use listing::Listing;
pub use log::KeptLog;
pub use mailbox::Mailbox;
pub use outcome::{Brought, Outcome};
pub use received::{Cause, Missing, Received};
pub use run::{FollowError, follow};
pub use stop::{cancel, states};
pub use trunk::{RankStream, Trunk};
pub use ways::Ways;
