//! The command line: global flags, the verbs, and the one match that dispatches them.
