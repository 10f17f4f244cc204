//! Credentials: real helper programs, a real keyring, and sessions without one.

mod helpers;
pub(crate) mod keyring;
