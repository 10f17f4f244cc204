//! A rank's log as its kubelet has it: what is left of a rank whose supervisor cannot be asked any more.

use futures::StreamExt;

use super::position::Position;
use crate::cluster::{Cluster, LogRange};
use crate::diagnosis::Result;
use crate::event::Stream;
use crate::sync::journal::Record;

/// Shows what the kubelet has behind what was read. It keeps the last files only, streams mixed, each line with its time: where
/// its copy is sewn on is said.
pub(super) async fn from_kubelet(cluster: &Cluster, run: &str, position: &mut Position) -> Result<()> {
    let range = LogRange { timestamps: true, ..LogRange::default() };
    let pieces = cluster.logs(run, position.rank, range).await?;
    tokio::pin!(pieces);
    let mut unread = Vec::new();
    let mut seam = Seam::behind(position);
    while let Some(piece) = pieces.next().await {
        unread.extend_from_slice(&piece?);
        let whole = unread.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in unread.drain(..whole).as_slice().split_inclusive(|byte| *byte == b'\n') {
            seam.take(line, position);
        }
    }
    if !unread.is_empty() {
        seam.take(&unread, position);
    }
    seam.finish(position);
    Ok(())
}

/// Where the kubelet's copy is sewn on.
enum Seam {
    /// Nothing was read before.
    Nowhere,
    /// Behind this line, written at that time or later. Meanwhile, lines of later times wait.
    Sought { line: Vec<u8>, time: i64, later: Vec<Record> },
    /// It was found.
    Found,
}

impl Seam {
    /// Lines that wait for the seam, at most.
    const MOST: usize = 10_000;

    fn behind(position: &Position) -> Self {
        match position.seam() {
            (_, []) => Self::Nowhere,
            (time, line) => Self::Sought { line: line.to_owned(), time, later: Vec::new() },
        }
    }

    fn take(&mut self, line: &[u8], position: &mut Position) {
        let (time, text) = timed(line);
        match self {
            Self::Nowhere => {
                position.gap("this is the kubelet's copy, of which the beginning may be missing");
                *self = Self::Found;
                position.take_copied(record(time, text));
            }
            Self::Found => position.take_copied(record(time, text)),
            Self::Sought { line, time: from, later } if time >= *from => match text.strip_prefix(line.as_slice()) {
                Some(rest) if rest.is_empty() || !line.ends_with(b"\n") => {
                    *self = Self::Found;
                    position.gap("from here on this is the kubelet's copy");
                    if !rest.is_empty() {
                        position.take_copied(record(time, rest));
                    }
                }
                _ if later.len() < Self::MOST => later.push(record(time, text)),
                _ => self.finish(position),
            },
            Self::Sought { .. } => {}
        }
    }

    /// There is no more: without a seam, all that is later is shown.
    fn finish(&mut self, position: &mut Position) {
        if let Self::Sought { later, .. } = std::mem::replace(self, Self::Found) {
            position.gap("from here on this is the kubelet's copy, and something may be missing before it");
            for record in later {
                position.take_copied(record);
            }
        }
    }
}

/// A line of the kubelet's, and its time, which is before it.
pub(super) fn timed(line: &[u8]) -> (i64, &[u8]) {
    let (time, text) = line.split_at(line.iter().position(|byte| *byte == b' ').map_or(0, |at| at + 1));
    let time = std::str::from_utf8(time).ok().and_then(|time| time.trim_end().parse::<jiff::Timestamp>().ok());
    (time.map_or(0, jiff::Timestamp::as_millisecond), text)
}

pub(super) fn record(time: i64, text: &[u8]) -> Record {
    let (stream, text) = match text.strip_prefix(b"nauta: ") {
        Some(own) => (Stream::Supervisor, own),
        None => (Stream::Stdout, text),
    };
    Record { stream, time, bytes: bytes::Bytes::copy_from_slice(text) }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use bytes::Bytes;

    use super::*;
    use crate::event::{Event, Events};
    use crate::follow::log::Log;

    /// What is shown when so much was read before, at 1 ms, and the kubelet has these lines.
    fn shown(before: &str, lines: &[&str]) -> String {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        let events = Events::new(move |event| {
            let mut text = sink.lock().expect("not poisoned");
            match event {
                Event::Log { bytes, .. } => text.push_str(&String::from_utf8_lossy(&bytes)),
                Event::LogGap { message, .. } => {
                    text.extend(["<", message.rsplit(' ').next().unwrap_or_default(), ">"]);
                }
                _ => {}
            }
        });
        let mut position = Position::new(0, Log::shown(0, events));
        let bytes = Bytes::copy_from_slice(before.as_bytes());
        position.take(Record { stream: Stream::Stdout, time: 1, bytes }, 1);
        let mut seam = Seam::behind(&position);
        for line in lines {
            seam.take(format!("1970-01-01T00:00:00.{line}\n").as_bytes(), &mut position);
        }
        seam.finish(&mut position);
        text.lock().expect("not poisoned").clone()
    }

    #[test]
    fn the_kubelets_copy_is_sewn_on_behind_the_last_line() {
        let copy = ["000000001Z a", "001000000Z a", "001000001Z b"];
        assert_eq!(shown("a\n", &copy), "a\n<copy>b\n", "an earlier line that says the same is not it");
        assert_eq!(shown("x\na\n", &copy), "x\na\n<copy>b\n");
        assert_eq!(shown("", &copy), "<missing>a\na\nb\n");
        // A line that was cut off goes on.
        assert_eq!(shown("one\ntw", &["002Z one", "002Z two", "003Z three"]), "one\ntw<copy>o\nthree\n");
        // What was read last is no longer there.
        assert_eq!(shown("a\n", &["005Z b", "006Z c"]), "a\n<it>b\nc\n");
    }
}
