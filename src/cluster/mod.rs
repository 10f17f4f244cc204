//! The Kubernetes API: checks, objects, watches, control streams. Never bulk data.
