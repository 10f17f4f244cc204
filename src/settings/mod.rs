//! Configuration in layers: flags, `nauta.toml`, the user's own file, defaults. Every value remembers where it came from.
//!
//! Owns: the files' forms ([`ProjectFile`], [`UserFile`], [`LockFile`]) and how layers combine ([`Setting`]). Does not own: reading
//! the user's file or the environment (`context`). Start reading at [`ProjectFile`].

mod command_line;
pub(crate) mod fuzz;
mod lock_file;
mod parse;
mod project_file;
mod secrets_section;
mod setting;
mod user_file;

pub use command_line::CommandLine;
pub use lock_file::LockFile;
pub use parse::{SettingsError, parse_project_file, parse_user_file};
pub use project_file::{EnvironmentSection, OutputsSection, ProjectFile, ProjectSection, RunSection};
pub use secrets_section::{BuildSecretsSection, SecretsSection};
pub use setting::{Setting, Source};
pub use user_file::{Defaults, MailboxPolicy, OutputsDefaults, Target, UserFile, registry_address, registry_host};
