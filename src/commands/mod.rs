//! The verbs: one file each, with its arguments (whose doc comments are the help) and what it does.

pub mod cancel;
pub mod completions;
pub mod doctor;
pub mod files;
pub(crate) mod fuzz;
pub mod init;
pub mod list;
pub mod lock;
mod log_selection;
pub mod login;
pub mod logs;
pub mod pull;
pub mod run;
pub mod secret;
pub mod status;
pub mod target;
pub mod template;
pub mod version;

mod advice;
mod budget;
mod build_files;
mod cluster_access;
mod cluster_follow;
mod complete;
mod end;
mod interrupt;
mod local_follow;
pub mod rebase;
mod record;
mod secret_input;
mod several;
