//! What the cluster's answers mean: Jobs, pods and events, folded into the state of a run.
//!
//! Owns: [`Fold`], [`RunView`], [`RunState`], [`State`], [`Trouble`]. Does not own: fetching anything (`cluster`), nor the clock:
//! whoever asks says what time it is. Start reading at [`Fold::view`].

mod end;
mod fold;
mod pull;
mod rank;
mod run;
mod trouble;
mod word;

pub use end::{TerminationMessage, delivered, rank_end};
pub use fold::{Change, Fold};
pub use pull::{PullFailure, classify_pull, pull_words};
pub use rank::rank_of;
pub use run::{FailureCause, RankView, RunState, RunView, job_state};
pub use trouble::{Trouble, TroubleReason};
pub use word::State;
