//! Runs on the workstation.
