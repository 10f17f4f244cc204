//! What of a run's logs is shown: by rank, time, pattern and number of lines.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::{Buf as _, Bytes};
use regex::bytes::Regex;

use super::logs::LogsArgs;
use crate::event::{Event, Events, Stream};

/// What of the logs was asked for.
#[derive(Clone)]
pub(super) struct Selection {
    rank: Option<u32>,
    since: i64,
    until: i64,
    events: Events,
    /// With `--grep`: the lines it is looked for in.
    grep: Option<Arc<Mutex<Grep>>>,
    /// With `--tail`: the last lines of ranks whose past is still being read.
    tails: Option<Arc<Mutex<Tails>>>,
}

impl Selection {
    pub(super) fn new(args: &LogsArgs, events: Events) -> Self {
        let tails = args.tail.map(|most| Arc::new(Mutex::new(Tails { most, size: 0, ranks: BTreeMap::new() })));
        let grep = args.grep.clone().map(|pattern| Arc::new(Mutex::new(Grep { pattern, lines: BTreeMap::new() })));
        let (since, until) = (args.since.unwrap_or(i64::MIN), args.until.unwrap_or(i64::MAX));
        Self { rank: args.rank, since, until, events, grep, tails }
    }

    pub(super) fn events(&self) -> Events {
        let selection = self.clone();
        Events::new(move |event| selection.take(event))
    }

    /// How many bytes at the end of a rank's log are enough; nothing where all of it has to be looked at.
    pub(super) fn last(&self) -> Option<u64> {
        let is_the_end = self.grep.is_none() && self.until == i64::MAX;
        self.tails.as_ref().filter(|_| is_the_end).map(|_| Tails::MOST as u64)
    }

    fn take(&self, event: Event) {
        match event {
            Event::Log { rank, .. } if self.rank.is_some_and(|wanted| wanted != rank) => {}
            Event::Log { time, .. } if time < self.since || time > self.until => {}
            Event::Log { rank, stream, time, bytes } => {
                let bytes = match &self.grep {
                    Some(grep) => locked(grep).take(rank, stream, &bytes),
                    None => bytes,
                };
                self.pass(rank, stream, time, bytes);
            }
            Event::LogCurrent { rank } => {
                self.release(rank);
                self.events.send(Event::LogCurrent { rank });
            }
            other => self.events.send(other),
        }
    }

    /// Passes on what is not held back.
    fn pass(&self, rank: u32, stream: Stream, time: i64, bytes: Bytes) {
        // Of lines in which nothing was found.
        if bytes.is_empty() {
            return;
        }
        let passed = match &self.tails {
            Some(tails) => locked(tails).hold(rank, stream, time, bytes),
            None => Some(bytes),
        };
        if let Some(bytes) = passed {
            self.events.send(Event::Log { rank, stream, time, bytes });
        }
    }

    /// The past is all there is.
    pub(super) fn finish(&self) {
        let rest = self.grep.as_ref().map(|grep| locked(grep).rest()).unwrap_or_default();
        for (rank, stream, line) in rest {
            self.pass(rank, stream, self.until.min(jiff::Timestamp::now().as_millisecond()), line);
        }
        let Some(tails) = &self.tails else { return };
        let ranks: Vec<u32> = locked(tails).ranks.keys().copied().collect();
        for rank in ranks {
            self.release(rank);
        }
    }

    /// Passes on what was held back of a rank.
    fn release(&self, rank: u32) {
        let held = self.tails.as_ref().map(|tails| locked(tails).release(rank));
        for Piece { stream, time, bytes } in held.into_iter().flatten() {
            self.events.send(Event::Log { rank, stream, time, bytes });
        }
    }
}

fn locked<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whole lines, and whether something is found in them.
struct Grep {
    pattern: Regex,
    /// What of each stream waits for the end of its line.
    lines: BTreeMap<(u32, Stream), Vec<u8>>,
}

impl Grep {
    /// A line is not looked for an end for longer than this, in bytes.
    const LONGEST: usize = 1024 * 1024;

    /// The lines that `bytes` complete and the pattern is in.
    fn take(&mut self, rank: u32, stream: Stream, bytes: &[u8]) -> Bytes {
        let waiting = self.lines.entry((rank, stream)).or_default();
        let mut found = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            waiting.extend_from_slice(piece);
            if piece.ends_with(b"\n") || waiting.len() > Self::LONGEST {
                let line = std::mem::take(waiting);
                if is_in(&self.pattern, &line) {
                    found.extend(line);
                }
            }
        }
        found.into()
    }

    /// Lines that never ended.
    fn rest(&mut self) -> Vec<(u32, Stream, Bytes)> {
        let lines = std::mem::take(&mut self.lines);
        let found = lines.into_iter().filter(|(_, line)| !line.is_empty() && is_in(&self.pattern, line));
        found.map(|((rank, stream), line)| (rank, stream, line.into())).collect()
    }
}

/// Whether a pattern is found in a line, whose end is none of it.
fn is_in(pattern: &Regex, line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    pattern.is_match(line.strip_suffix(b"\r").unwrap_or(line))
}

/// The last lines of each rank; `None` once a rank is current.
struct Tails {
    most: usize,
    /// Bytes that are held back.
    size: usize,
    ranks: BTreeMap<u32, Option<Tail>>,
}

/// The last lines of a rank, in the pieces in which they came: a list of lines would need more memory than their text.
#[derive(Default)]
struct Tail {
    pieces: VecDeque<Piece>,
    /// Ends of lines in them.
    ends: usize,
}

struct Piece {
    stream: Stream,
    time: i64,
    bytes: Bytes,
}

impl Piece {
    /// Bytes that it needs.
    const fn size(&self) -> usize {
        size_of::<Self>() + self.bytes.len()
    }
}

impl Tail {
    fn push(&mut self, piece: Piece) {
        self.ends += piece.bytes.split(|byte| *byte == b'\n').count() - 1;
        self.pieces.push_back(piece);
    }

    fn lines(&self) -> usize {
        self.ends + usize::from(self.pieces.back().is_some_and(|last| !last.bytes.ends_with(b"\n")))
    }

    /// Lets the first line go, or what the first piece has of it; gives the bytes that this frees.
    fn pop(&mut self) -> Option<usize> {
        let piece = self.pieces.front_mut()?;
        let end = piece.bytes.iter().position(|byte| *byte == b'\n').map(|end| end + 1);
        self.ends -= usize::from(end.is_some());
        match end {
            Some(end) if end < piece.bytes.len() => {
                piece.bytes.advance(end);
                Some(end)
            }
            _ => self.pieces.pop_front().map(|piece| piece.size()),
        }
    }
}

impl Tails {
    /// No more than this is held back, in bytes: the oldest lines go first.
    const MOST: usize = 8 * 1024 * 1024;

    /// Holds bytes back; gives them where there is no more reason to.
    fn hold(&mut self, rank: u32, stream: Stream, time: i64, bytes: Bytes) -> Option<Bytes> {
        let Some(tail) = self.ranks.entry(rank).or_insert_with(|| Some(Tail::default())) else { return Some(bytes) };
        let piece = Piece { stream, time, bytes };
        self.size += piece.size();
        tail.push(piece);
        while tail.lines() > self.most || self.size > Self::MOST {
            let Some(freed) = tail.pop() else { break };
            self.size -= freed;
        }
        None
    }

    fn release(&mut self, rank: u32) -> VecDeque<Piece> {
        let held = self.ranks.insert(rank, None).flatten().unwrap_or_default().pieces;
        self.size -= held.iter().map(Piece::size).sum::<usize>();
        held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tail_is_the_last_lines_however_they_were_cut() {
        let mut tails = Tails { most: 2, size: 0, ranks: BTreeMap::new() };
        for piece in ["a\nb", "b\nc", "\nd"] {
            assert_eq!(tails.hold(0, Stream::Stdout, 0, Bytes::from_static(piece.as_bytes())), None);
        }
        let text: Vec<u8> = tails.release(0).into_iter().flat_map(|piece| piece.bytes).collect();
        assert_eq!((text, tails.size), (b"c\nd".to_vec(), 0));
        assert!(tails.hold(0, Stream::Stdout, 0, Bytes::from_static(b"e")).is_some());
    }

    #[test]
    fn a_tail_keeps_streams_and_times() {
        let mut tails = Tails { most: 4, size: 0, ranks: BTreeMap::new() };
        let parts = [
            (Stream::Stdout, 1, "a\nb\nc"),
            (Stream::Stderr, 1, "d\n"),
            (Stream::Stdout, 2, "c\ne\n"),
            (Stream::Stderr, 3, "f"),
        ];
        for (stream, time, text) in parts {
            tails.hold(0, stream, time, Bytes::from_static(text.as_bytes()));
        }
        let held: Vec<_> = tails.release(0).into_iter().map(|piece| (piece.stream, piece.time, piece.bytes)).collect();
        let expected = [
            (Stream::Stdout, 1, "c"),
            (Stream::Stderr, 1, "d\n"),
            (Stream::Stdout, 2, "c\ne\n"),
            (Stream::Stderr, 3, "f"),
        ];
        assert_eq!(held, expected.map(|(stream, time, text)| (stream, time, Bytes::from_static(text.as_bytes()))));
        assert_eq!(tails.size, 0);
    }

    #[test]
    fn a_line_without_end_does_not_fill_the_memory() {
        let mut tails = Tails { most: 1000, size: 0, ranks: BTreeMap::new() };
        let piece = Bytes::from(vec![b'x'; 64 * 1024]);
        for _ in 0..1024 {
            assert_eq!(tails.hold(0, Stream::Stdout, 0, piece.clone()), None);
        }
        assert!(tails.size <= Tails::MOST && tails.size > Tails::MOST / 2, "{}", tails.size);
    }
}
