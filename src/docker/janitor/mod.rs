//! Cleaning up after a nauta that died.
