//! What the edge reads once: directory, environment, settings, terminal.
