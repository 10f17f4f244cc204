//! What programs write, on its way to the screen or a file.

use std::io::Write;
use std::time::Instant;

use anstream::StripStream;

use super::{FAINT, Inner};
use crate::event::Stream;
use crate::output::logs::Line;

impl Inner {
    pub(super) fn log(&mut self, rank: u32, stream: Stream, time: i64, bytes: &[u8]) -> bool {
        if self.log_style.raw {
            self.raw(stream, bytes);
            return false;
        }
        let lines = self.logs.push(Instant::now(), rank, stream, time, bytes);
        self.lines(lines);
        self.draw_bars();
        self.waits() && !std::mem::replace(&mut self.is_awaited, true)
    }

    /// Whether something is to be shown a little later.
    pub(super) fn waits(&self) -> bool {
        !self.logs.nothing_waits() || self.live.is_stale()
    }

    /// Draws the bars that programs draw, in place, where a person looks on.
    pub(super) fn draw_bars(&mut self) {
        if self.logs.folds() && (self.logs.has_bars() || !self.live.is_empty()) {
            let row = |line: &Line| format!("{}{}", line.prefix(), line.text);
            let logs = &self.logs;
            let shown = self.live.show(|| logs.bars().iter().map(row).collect());
            self.written(shown);
        }
    }

    pub(super) fn lines(&mut self, lines: Vec<Line>) {
        for line in lines {
            self.line(&line);
        }
    }

    fn line(&mut self, line: &Line) {
        // Lines are whole here; bytes as they are (`raw`) have secrets in pieces.
        let (text, prefix) = (self.mask.apply(&line.text).into_owned(), line.prefix());
        match line.stream {
            Stream::Supervisor if self.log_style.file.is_none() => {
                self.err(&format!("{prefix}{FAINT}nauta: {text}{FAINT:#}\n"));
            }
            Stream::Supervisor => self.write_log(format!("{prefix}nauta: {text}\n").as_bytes()),
            Stream::Stdout | Stream::Stderr => self.write_log(format!("{prefix}{text}\n").as_bytes()),
        }
    }

    fn raw(&mut self, stream: Stream, bytes: &[u8]) {
        let written = match (stream, &mut self.log_style.file) {
            (Stream::Supervisor, _) => Ok(()),
            (_, Some(file)) => file.write_all(bytes),
            (Stream::Stdout, None) => std::io::stdout().write_all(bytes).and_then(|()| std::io::stdout().flush()),
            (Stream::Stderr, None) => std::io::stderr().write_all(bytes),
        };
        self.written(written);
    }

    fn write_log(&mut self, text: &[u8]) {
        self.suspend();
        let written = match &mut self.log_style.file {
            Some(file) => StripStream::new(file).write_all(text),
            None => self.stdout.write_all(text).and_then(|()| self.stdout.flush()),
        };
        self.written(written);
    }
}
