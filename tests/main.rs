//! All integration tests, in one binary. `tests/run` starts what they need and runs them all.

mod cli;
mod cluster;
mod credentials;
mod docker;
mod job;
mod meta;
mod outputs;
mod registry;
mod supervisor;
mod support;
