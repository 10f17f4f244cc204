//! The registry: the data plane. OCI distribution protocol over HTTP.
