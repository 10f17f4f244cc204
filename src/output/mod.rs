//! Streams, colours, progress, tables, JSON and failure reports: the only place that prints.
//!
//! stdout is the result, stderr everything else. Owns: how things look. Does not own: what happened (`event`). Start
//! reading at [`Output`].

mod folding;
pub(crate) mod fuzz;
mod live;
mod log_lines;
mod logs;
mod masked;
mod progress;
mod reporter;
mod shown;
mod table;
#[cfg(test)]
mod terminal_tests;
mod timings;
mod waits;

pub use masked::MaskedStderr;
pub use progress::{bytes, counted};
pub use reporter::{Format, LogStyle, Output, UnwrittenResult};
pub use shown::shown;
pub use table::{Table, terminal_width};
pub use timings::{Span, timings_text};
