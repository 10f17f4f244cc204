//! A run as a stream of events, whichever engine it is on; and its outputs on their way back.
//!
//! Owns: [`Engine`], [`follow`], [`Collector`]. Does not own: the streams themselves (`docker`, `cluster`). Start reading
//! at [`follow`].

mod collect;
mod engine;
mod rank;
mod run;

pub use collect::{CollectError, Collector, Pieces};
pub use engine::Engine;
pub use run::{FollowError, Outcome, follow};
