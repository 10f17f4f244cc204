//! Progress bars of a program, drawn in place below its other lines.
//!
//! The cursor stays behind the last row, and rows are never longer than the terminal is wide: so they can be taken away
//! again by going up as many rows as were drawn.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use anstream::adapter::strip_str;
use console::{Term, truncate_str};

/// Not drawn more often than this.
const INTERVAL: Duration = Duration::from_millis(100);
/// More rows than this are only counted.
const MOST: usize = 4;

/// What is drawn below the lines.
#[derive(Debug, Default)]
pub(super) struct Live {
    rows: Vec<String>,
    /// How many rows are on the screen.
    drawn: usize,
    is_stale: bool,
    last: Option<Instant>,
    has_colours: bool,
}

impl Live {
    pub(super) fn new(has_colours: bool) -> Self {
        Self { has_colours, ..Self::default() }
    }

    /// Shows rows on standard output; where that is too early, the next call does.
    pub(super) fn show(&mut self, rows: impl FnOnce() -> Vec<String>) -> io::Result<()> {
        let now = Instant::now();
        if self.last.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            self.is_stale = true;
            return Ok(());
        }
        self.set(rows());
        if !self.is_stale {
            return Ok(());
        }
        let width = Term::stdout().size_checked().map_or(80, |(_, columns)| usize::from(columns));
        self.last = Some(now);
        let text = self.draw(width);
        write(&text)
    }

    /// Whether nothing is shown, nor will be.
    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty() && !self.is_stale
    }

    /// There are no rows any more.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        let text = self.erase();
        (self.rows, self.is_stale) = (Vec::new(), false);
        write(&text)
    }

    /// Takes the rows off the screen, so that something else can be written.
    pub(super) fn take_away(&mut self) -> io::Result<()> {
        let text = self.erase();
        write(&text)
    }

    /// These are the rows from now on.
    pub(super) fn set(&mut self, mut rows: Vec<String>) {
        let more = rows.len().saturating_sub(MOST);
        if more > 0 {
            rows.truncate(MOST);
            rows.push(format!("\u{2026} and {more} more"));
        }
        self.is_stale |= rows != self.rows;
        self.rows = rows;
    }

    /// Whether the screen shows something else than it should.
    pub(super) const fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// What takes the rows off the screen.
    pub(super) fn erase(&mut self) -> String {
        let drawn = std::mem::take(&mut self.drawn);
        if drawn == 0 {
            return String::new();
        }
        self.is_stale = !self.rows.is_empty();
        format!("\r\x1b[K{}", "\x1b[A\x1b[K".repeat(drawn - 1))
    }

    /// What draws the rows on a terminal of so many columns.
    pub(super) fn draw(&mut self, width: usize) -> String {
        let mut text = self.erase();
        // The last column stays free: some terminals go on to the next row as soon as it is written.
        let row = |row: &String| {
            let row = row.replace('\t', " ");
            let row = if self.has_colours { row } else { strip_str(&row).to_string() };
            let row = truncate_str(&row, width.saturating_sub(1).max(1), "\u{2026}");
            if self.has_colours { format!("{row}\x1b[0m") } else { row.into_owned() }
        };
        text += &self.rows.iter().map(row).collect::<Vec<_>>().join("\r\n");
        (self.drawn, self.is_stale) = (self.rows.len(), false);
        text
    }
}

/// What moves the cursor goes to the terminal itself: streams without colours would leave it out.
fn write(text: &str) -> io::Result<()> {
    if text.is_empty() {
        return Ok(());
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}
