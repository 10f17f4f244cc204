//! Lines that many ranks write at about the same time, shown once.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use super::log_lines::{Text, first_number, gist};
use crate::event::Stream;

/// How long a line waits for others like it.
pub(super) const WINDOW: Duration = Duration::from_millis(150);
/// How long the last word of a progress bar waits: ranks do not finish theirs at one moment.
const BAR_WINDOW: Duration = Duration::from_millis(600);
/// More lines than this do not wait.
const MOST: usize = 2000;
/// Nor do more bytes: lines may be long.
const MOST_BYTES: usize = 1024 * 1024;

/// Lines that wait for others like them. The order of each stream of each rank is kept.
#[derive(Default)]
pub(super) struct Folding {
    held: VecDeque<Folded>,
    /// How long all held lines are together.
    bytes: usize,
}

/// A line, and who wrote it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Folded {
    pub(super) ranks: BTreeSet<u32>,
    pub(super) stream: Stream,
    pub(super) line: String,
    /// With this in common, lines are shown once.
    key: Key,
    since: Instant,
}

/// What lines must have in common.
#[derive(Debug, PartialEq, Eq)]
enum Key {
    /// All of it.
    Line,
    /// For progress bars, what kind they are, and the first number.
    Bar(String),
}

impl Folded {
    fn window(&self) -> Duration {
        if self.key == Key::Line { WINDOW } else { BAR_WINDOW }
    }

    fn is_like(&self, key: &Key, line: &str) -> bool {
        self.key == *key && (*key != Key::Line || self.line == line)
    }
}

impl Folding {
    /// Takes a line.
    pub(super) fn push(&mut self, now: Instant, rank: u32, stream: Stream, line: Text) {
        let Text { text: line, redrawn } = line;
        let key = if redrawn { Key::Bar(format!("{} {}", first_number(&line), gist(&line))) } else { Key::Line };
        let own = |held: &Folded| held.stream == stream && held.ranks.contains(&rank);
        let behind_own = self.held.iter().rposition(own).map_or(0, |at| at + 1);
        let mut candidates = self.held.range_mut(behind_own..);
        if let Some(same) = candidates.find(|held| held.stream == stream && held.is_like(&key, &line)) {
            same.ranks.insert(rank);
            return;
        }
        self.bytes += line.len();
        self.held.push_back(Folded { ranks: BTreeSet::from([rank]), stream, line, key, since: now });
    }

    /// The lines that have waited long enough.
    pub(super) fn due(&mut self, now: Instant) -> Vec<Folded> {
        let mut due = Vec::new();
        while let Some(first) = self.held.front() {
            let is_much = self.held.len() > MOST || self.bytes > MOST_BYTES;
            if !is_much && now.duration_since(first.since) < first.window() {
                break;
            }
            self.bytes -= first.line.len();
            due.extend(self.held.pop_front());
        }
        due
    }

    /// All lines.
    pub(super) fn all(&mut self) -> Vec<Folded> {
        self.bytes = 0;
        self.held.drain(..).collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// `0-3,7`
pub(super) fn ranges(ranks: &BTreeSet<u32>) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for rank in ranks {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *rank => *last = *rank,
            _ => runs.push((*rank, *rank)),
        }
    }
    let text = |(first, last): &(u32, u32)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(line: &str) -> Text {
        Text { text: line.to_owned(), redrawn: false }
    }

    fn shown(lines: Vec<Folded>) -> Vec<String> {
        lines.into_iter().map(|line| format!("[{}] {}", ranges(&line.ranks), line.line)).collect()
    }

    #[test]
    fn what_many_say_is_shown_once_and_each_ones_order_is_kept() {
        let mut folding = Folding::default();
        let now = Instant::now();
        for (rank, line) in
            [(0, "a"), (0, "b"), (1, "a"), (3, "b"), (1, "b"), (3, "a"), (0, "a"), (2, "a"), (2, "own"), (2, "b")]
        {
            folding.push(now, rank, Stream::Stdout, plain(line));
        }
        folding.push(now, 7, Stream::Stderr, plain("a"));
        assert!(folding.due(now).is_empty());
        let expected = ["[0-2] a", "[0-1,3] b", "[0,3] a", "[2] own", "[2] b", "[7] a"];
        assert_eq!(shown(folding.due(now + WINDOW)), expected);
        assert!(folding.is_empty());
    }

    #[test]
    fn bars_of_many_ranks_end_in_one_line() {
        let mut folding = Folding::default();
        let now = Instant::now();
        for (rank, line) in [
            (0, "1: 100%|##| 9/9 [00:05, 2it/s]"),
            (1, "1: 100%|##| 9/9 [00:07, 1it/s]"),
            (0, "2: 100%|##| 9/9 [00:01]"),
        ] {
            folding.push(now, rank, Stream::Stderr, Text { text: line.to_owned(), redrawn: true });
        }
        assert!(folding.due(now + WINDOW).is_empty());
        let expected = ["[0-1] 1: 100%|##| 9/9 [00:05, 2it/s]", "[0] 2: 100%|##| 9/9 [00:01]"];
        assert_eq!(shown(folding.due(now + BAR_WINDOW)), expected);
    }

    #[test]
    fn a_flood_does_not_wait() {
        let mut folding = Folding::default();
        let now = Instant::now();
        for i in 0..MOST + 5 {
            folding.push(now, 0, Stream::Stdout, plain(&format!("line {i}")));
        }
        assert_eq!(shown(folding.due(now)).last().map(String::as_str), Some("[0] line 4"));
        assert_eq!(folding.all().len(), MOST);
        for i in 0..4 {
            folding.push(now, 0, Stream::Stdout, plain(&format!("{i}{}", "x".repeat(MOST_BYTES / 2))));
        }
        assert_eq!((folding.due(now).len(), folding.all().len()), (3, 1));
    }
}
