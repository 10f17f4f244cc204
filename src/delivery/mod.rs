//! From a snapshot to a run image in the registry.
