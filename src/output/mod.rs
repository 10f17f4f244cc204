//! Streams, colours, progress, tables, JSON and failure reports: the only place that prints.
//!
//! stdout is the result, stderr everything else. Owns: how things look. Does not own: what happened (`event`). Start
//! reading at [`Output`].

mod log_lines;
mod reporter;
mod table;
mod timings;

pub use reporter::{Format, Output, UnwrittenResult, bytes};
pub use table::Table;
pub use timings::{Span, timings_text};
