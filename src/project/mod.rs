//! The working directory: its root, its configuration and its templates.
