//! The registry: the data plane. OCI distribution protocol 1.1 over HTTP.
//!
//! Owns: [`Registry`], its errors, its authentication. Does not own: where credentials come from (`credentials`), what
//! is sent (`image`, `sync`). Start reading at [`Registry`].

mod auth;
mod blob;
mod client;
mod endpoint;
mod error;
mod manifest;

pub use auth::Auth;
pub use blob::{Blob, Content, Sent};
pub use client::{Access, Registry, Traffic};
pub use endpoint::Endpoint;
pub use error::RegistryError;
pub use manifest::{Manifest, ManifestContent};
