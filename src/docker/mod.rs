//! The Docker engine: image builds, image export, and runs on the workstation.
