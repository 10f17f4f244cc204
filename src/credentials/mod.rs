//! Where registry credentials are kept: the system's keyring, Docker's credential helpers, Docker's `config.json`.
//!
//! Owns: [`find`], [`store`], [`erase`], and Docker's form of credentials for pods. Does not own: what credentials are used
//! for (`registry`), the environment (it arrives as [`CredentialSources`]). Start reading at [`find`].

mod credential;
mod docker_config;
mod error;
pub(crate) mod fuzz;
mod helper;
mod search;
mod system_keyring;

pub use crate::secret::Credential;
pub use credential::{Found, Lookup, Place, Skipped};
pub use docker_config::{credential_in_docker_config, docker_config_json};
pub use error::CredentialsError;
pub use search::{CredentialSources, Destination, Erased, erase, find, store};
