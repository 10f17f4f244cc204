//! All integration tests, in one binary. `tests/run` starts what they need and runs them all.

#![allow(clippy::disallowed_methods, reason = "tests are edges themselves")]

mod cli;
mod cluster;
mod credentials;
mod docker;
mod fuzz;
mod job;
mod meta;
mod outputs;
mod registry;
mod supervisor;
mod support;
