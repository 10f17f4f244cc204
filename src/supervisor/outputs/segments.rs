//! The pieces in which a journal is in the mailbox: which of them are joined, and what the index says of them.
//!
//! What a rank has just written goes as a small segment, soon. Small ones are joined, eight neighbours to one of the next
//! level and all of them to one that is full: the list stays short however slowly a log grows, no byte is sent more than
//! a few times, and what is full is never sent again.

use crate::sync::{Chunk, JournalCopy};

/// A segment of this length, in bytes, is full.
pub(super) const FULL: u64 = 2 * 1024 * 1024;
/// So many neighbours of one level make one of the next.
const NEIGHBOURS: usize = 8;

/// A journal's segments in the mailbox, oldest first.
#[derive(Debug, Default)]
pub(super) struct Segments(Vec<Segment>);

#[derive(Debug)]
struct Segment {
    /// Journal offset of its first byte.
    start: u64,
    chunk: Chunk,
    level: u32,
}

impl Segment {
    const fn end(&self) -> u64 {
        self.start + self.chunk.size
    }
}

/// What is sent next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Next {
    /// Journal offset of its first byte.
    pub(super) start: u64,
    /// How many of the last segments it takes the place of.
    joins: usize,
    level: u32,
}

impl Segments {
    /// The journal offset behind the last segment.
    pub(super) fn end(&self) -> u64 {
        self.0.last().map_or(0, Segment::end)
    }

    /// What is sent when the journal has `news` more bytes and none from before `oldest`.
    pub(super) fn next(&self, news: u64, oldest: u64) -> Next {
        let behind = |pair: &[Segment]| pair[0].end() == pair[1].start;
        let unbroken = 1 + self.0.windows(2).rev().take_while(|pair| behind(pair)).count();
        let open = |segment: &&Segment| segment.chunk.size < FULL && segment.start >= oldest;
        let open: Vec<&Segment> = self.0.iter().rev().take(unbroken).take_while(open).collect();
        let size: u64 = open.iter().map(|segment| segment.chunk.size).sum();
        let (mut joins, mut level) = (0, 0);
        if self.end() < oldest {
            return Next { start: oldest, joins, level };
        }
        if size + news >= FULL {
            joins = open.len();
        } else {
            while open[joins..].iter().take_while(|segment| segment.level == level).count() >= NEIGHBOURS - 1 {
                joins += NEIGHBOURS - 1;
                level += 1;
            }
        }
        Next { start: joins.checked_sub(1).map_or(self.end(), |last| open[last].start), joins, level }
    }

    /// What was to be sent is in the mailbox; it begins at `start`.
    pub(super) fn add(&mut self, next: Next, start: u64, chunk: Chunk) {
        self.0.truncate(self.0.len() - next.joins);
        self.0.push(Segment { start, chunk, level: next.level });
    }

    /// Forgets the oldest segments that are more than `most` bytes altogether.
    pub(super) fn limit(&mut self, most: u64) {
        let mut size: u64 = self.0.iter().map(|segment| segment.chunk.size).sum();
        let too_many = self.0.iter().take_while(|segment| {
            let drops = size > most;
            size -= segment.chunk.size;
            drops
        });
        let count = too_many.count();
        self.0.drain(..count);
    }

    /// What an index says: a copy for each unbroken row of segments. `whole`: the last one is the journal's end.
    pub(super) fn copies(&self, instance: &str, whole: bool) -> Vec<JournalCopy> {
        let rows = self.0.chunk_by(|one, other| one.end() == other.start);
        let copy = |row: &[Segment]| JournalCopy {
            instance: instance.to_owned(),
            start: row[0].start,
            whole,
            chunks: row.iter().map(|segment| segment.chunk.clone()).collect(),
        };
        rows.map(copy).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;
    use proptest::prelude::*;

    fn chunk(size: u64) -> Chunk {
        let digest = Digest::of(size.to_be_bytes());
        Chunk { blob: digest.clone(), offset: 0, size, digest }
    }

    /// Sends `news` bytes; gives how many bytes went over the wire.
    fn send(segments: &mut Segments, news: u64) -> u64 {
        let next = segments.next(news, 0);
        let size = segments.end() + news - next.start;
        segments.add(next, next.start, chunk(size));
        size
    }

    proptest! {
        #[test]
        fn the_list_is_short_and_no_byte_is_sent_often(news in prop::collection::vec(1_u64..6_000_000, 1..200)) {
            let mut segments = Segments::default();
            let sent: u64 = news.iter().map(|news| send(&mut segments, (*news).min(FULL))).sum();
            let total: u64 = news.iter().map(|news| (*news).min(FULL)).sum();
            prop_assert_eq!(segments.end(), total);
            prop_assert_eq!(segments.copies("a", false).len(), 1, "an unbroken row");
            prop_assert!(segments.0.len() as u64 <= total / FULL + 3 * (NEIGHBOURS as u64 - 1) + 1);
            prop_assert!(sent <= 4 * total, "{sent} for {total}");
            prop_assert!(segments.0.iter().all(|segment| segment.chunk.size < 2 * FULL));
        }
    }

    #[test]
    fn a_day_of_short_lines_is_a_few_segments() {
        let mut segments = Segments::default();
        let sent: u64 = (0..17_280).map(|_| send(&mut segments, 60)).sum();
        assert!(segments.0.len() <= 5 * (NEIGHBOURS - 1), "{}", segments.0.len());
        assert!(sent <= 6 * segments.end(), "{sent}");
    }

    #[test]
    fn what_is_full_is_never_sent_again() {
        let mut segments = Segments::default();
        for _ in 0..20 {
            assert_eq!(send(&mut segments, FULL), FULL);
        }
        segments.limit(4 * FULL);
        assert_eq!((segments.0.len(), segments.copies("a", true)[0].start), (4, 16 * FULL));
    }

    #[test]
    fn bytes_that_the_journal_has_dropped_are_a_gap_between_two_copies() {
        let mut segments = Segments::default();
        send(&mut segments, 100);
        // The journal has gone on to 1000, and has nothing from before 500.
        let next = segments.next(900, 500);
        assert_eq!(next, Next { start: 500, joins: 0, level: 0 });
        segments.add(next, 500, chunk(500));
        send(&mut segments, 10);
        let copies = segments.copies("a", true);
        assert_eq!(copies.iter().map(|copy| (copy.start, copy.chunks.len())).collect::<Vec<_>>(), [(0, 1), (500, 2)]);
    }
}
