//! Streams, colours, progress, tables, JSON and failure reports: the only place that prints.
