//! Configuration in layers, every value remembering where it came from.
