//! What ranks write, as lines to be shown: whole, stamped, and those that many ranks write at once folded.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anstyle::AnsiColor;

use super::folding::{Folded, Folding, ranges};
use super::log_lines::{LogLines, Text, gist};
use crate::event::Stream;

/// Bytes of all ranks on their way to being lines.
pub(super) struct Logs {
    /// What of each stream waits for the end of its line, and when its last bytes were written.
    unended: BTreeMap<(u32, Stream), (LogLines, i64)>,
    timestamps: bool,
    folding: Option<Folding>,
}

/// A line, ready to be shown.
pub(super) struct Line {
    /// The ranks that wrote it: `0-3,7`.
    pub(super) who: String,
    /// The first of them.
    pub(super) first: u32,
    pub(super) stream: Stream,
    pub(super) text: String,
}

/// Colours that ranks take turns with.
const RANK_COLOURS: [AnsiColor; 6] =
    [AnsiColor::Cyan, AnsiColor::Yellow, AnsiColor::Green, AnsiColor::Magenta, AnsiColor::Blue, AnsiColor::Red];

impl Line {
    /// Who wrote it, as it is shown.
    pub(super) fn prefix(&self) -> String {
        let colour = RANK_COLOURS[self.first as usize % RANK_COLOURS.len()].on_default();
        format!("{colour}[{}]{colour:#} ", self.who)
    }
}

impl From<Folded> for Line {
    fn from(Folded { ranks, stream, line, .. }: Folded) -> Self {
        Self { who: ranges(&ranks), first: ranks.first().copied().unwrap_or_default(), stream, text: line }
    }
}

impl Logs {
    pub(super) fn new(folds: bool) -> Self {
        Self { unended: BTreeMap::new(), timestamps: false, folding: folds.then(Folding::default) }
    }

    /// Lines with their times differ, and are never folded.
    pub(super) fn style(&mut self, timestamps: bool, folds: bool) {
        self.timestamps = timestamps;
        self.folding = (folds && !timestamps).then(Folding::default);
    }

    pub(super) const fn folds(&self) -> bool {
        self.folding.is_some()
    }

    /// Takes bytes; gives the lines to be shown now.
    pub(super) fn push(&mut self, now: Instant, rank: u32, stream: Stream, time: i64, bytes: &[u8]) -> Vec<Line> {
        let (unended, last) = self.unended.entry((rank, stream)).or_default();
        *last = time;
        let lines = unended.push(bytes);
        let Some(folding) = &mut self.folding else {
            return lines.into_iter().map(|text| self.line(rank, stream, time, text)).collect();
        };
        for line in lines {
            folding.push(now, rank, stream, line);
        }
        self.due(now)
    }

    /// Whether a progress bar has not come to its end.
    pub(super) fn has_bars(&self) -> bool {
        self.unended.values().any(|(unended, _)| unended.is_bar())
    }

    /// The progress bars that have not come to their end, those of one kind together.
    pub(super) fn bars(&self) -> Vec<Line> {
        let mut kinds: Vec<(String, Stream, BTreeSet<u32>, String)> = Vec::new();
        for ((rank, stream), (unended, _)) in &self.unended {
            let Some(bar) = unended.bar() else { continue };
            let kind = gist(&bar);
            match kinds.iter_mut().find(|known| known.0 == kind && known.1 == *stream) {
                Some((.., ranks, _)) => drop(ranks.insert(*rank)),
                None => kinds.push((kind, *stream, BTreeSet::from([*rank]), bar)),
            }
        }
        let line = |(_, stream, ranks, text): (_, _, BTreeSet<u32>, _)| Line {
            who: ranges(&ranks),
            first: ranks.first().copied().unwrap_or_default(),
            stream,
            text,
        };
        kinds.into_iter().map(line).collect()
    }

    /// The lines that have waited long enough for others like them.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Line> {
        self.folding.as_mut().map(|folding| folding.due(now)).unwrap_or_default().into_iter().map(Line::from).collect()
    }

    /// The lines that wait for others like them.
    pub(super) fn waiting(&mut self) -> Vec<Line> {
        self.folding.as_mut().map(Folding::all).unwrap_or_default().into_iter().map(Line::from).collect()
    }

    pub(super) fn nothing_waits(&self) -> bool {
        self.folding.as_ref().is_none_or(Folding::is_empty)
    }

    /// All that is left, lines without an end too.
    pub(super) fn rest(&mut self) -> Vec<Line> {
        let ranks: BTreeSet<u32> = self.unended.keys().map(|(rank, _)| *rank).collect();
        let mut lines = self.waiting();
        lines.extend(ranks.into_iter().flat_map(|rank| self.last_words(rank)));
        lines
    }

    /// What a rank that has ended wrote without an end of line.
    pub(super) fn last_words(&mut self, rank: u32) -> Vec<Line> {
        let mut lines = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr, Stream::Supervisor] {
            let Some((mut unended, time)) = self.unended.remove(&(rank, stream)) else { continue };
            lines.extend(unended.take().map(|text| self.line(rank, stream, time, text)));
        }
        lines
    }

    /// A line of one rank.
    fn line(&self, rank: u32, stream: Stream, time: i64, Text { text, .. }: Text) -> Line {
        let text = match jiff::Timestamp::from_millisecond(time) {
            Ok(time) if self.timestamps => format!("{time:.3} {text}"),
            _ => text,
        };
        Line { who: rank.to_string(), first: rank, stream, text }
    }
}
