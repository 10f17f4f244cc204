//! The registry: the data plane. OCI distribution protocol over HTTP, in our own hands because delivery is what nauta
//! exists for: blobs are the unit of retry, every byte is verified by its digest, and credentials never leave the
//! registry they belong to.
//!
//! Owns: [`Registry`], its errors and the rules for hosts, TLS and tokens. Does not own: where credentials come from
//! (`credentials`), what an image consists of (`image`). Start reading at [`Registry`].

mod auth;
mod blob;
mod challenge;
mod check;
mod classify;
mod client;
mod download;
mod endpoint;
mod error;
mod exchange;
pub(crate) mod fuzz;
mod hints;
mod image;
mod manifest;
mod meter;
mod names;
mod retry;
mod tags;
mod tls;
mod token;
mod transport;
mod upload;

pub use auth::{Access, Auth, IssuedToken};
pub use blob::{Blob, Piece};
pub use client::{Counters, Registry};
pub use endpoint::Endpoint;
pub use error::{CertificateProblem, Reach, RegistryError};
pub use image::Taken;
pub use manifest::{MAX_MANIFEST, Manifest};
pub use retry::Patience;
pub use upload::Sent;
