//! Programs that rank 0's program starts on other ranks, as MPI and DeepSpeed do; and launchers that each rank runs.
//!
//! Owns: what `accelerate launch` has to be told ([`complete`]), nauta's `ssh`, `rsh` and `pdsh` ([`front()`]), the way from them to the rank (`server`), what happens there
//! ([`Remotes`], `serve`), and the hostfile. Does not own: the streams between ranks (`gang`). Start reading at `protocol`.
//!
//! A front connects to its supervisor's socket and says which host is to run what. The supervisor opens a stream to that
//! rank, where the other end of the conversation is; between them bytes are only passed on.

mod accelerate;
mod front;
pub(crate) mod fuzz;
mod hostfile;
mod options;
mod pdsh;
mod protocol;
mod remotes;
mod serve;
mod server;

pub(super) use accelerate::{Machine, complete};
pub(super) use front::front;
pub(super) use hostfile::Hostfile;
pub(super) use remotes::Remotes;
pub(super) use serve::serve;
pub(super) use server::{Launcher, inquest};
