//! All integration tests, in one binary.

mod credentials;
mod registry;
mod support;
