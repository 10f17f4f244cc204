//! A run as a value: what was asked for, and what an engine needs to know to start it.
//!
//! Owns: [`RunSpec`] and what it consists of; names, quantities; the Kubernetes objects ([`objects`]) and what the
//! cluster's answers mean ([`state`]). Does not own: any connection. Start reading at [`RunSpec`].

pub(crate) mod fuzz;
pub mod last_words;
pub mod launch;
pub mod nodes;
pub mod objects;
pub mod outputs;
pub mod placeholders;
pub mod program_secret;
pub mod quantity;
pub mod restarts;
pub mod spec;
pub mod state;
pub mod variables;

pub use launch::Launch;
pub use nodes::Nodes;
pub use outputs::{InvalidPattern, OutputPatterns, OutputRules, matcher};
pub use program_secret::{ProgramSecret, SecretValue, is_variable_name};
pub use quantity::{Cpu, Memory, duration};
pub use restarts::{RestartOn, Restarts};
pub use spec::{Deadlines, Mailbox, Resources, RunSpec};
pub use variables::Variables;
