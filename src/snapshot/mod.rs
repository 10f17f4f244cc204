//! The project's files at one moment, named by a tree digest.
