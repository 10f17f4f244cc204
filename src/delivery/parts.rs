//! How code is cut into layers: files that are large alone, all others together up to a size.
//!
//! The cuts depend on the files' order and sizes and on nothing else, so that a delivery that was interrupted finds the
//! layers that have arrived, and a file that is large and stays the same is never sent again.

use std::ops::Range;

use crate::snapshot::{Difference, Snapshot};

/// A file of more bytes than this gets a layer of its own.
const LARGE: u64 = 32 * 1024 * 1024;
/// A layer holds at most this many bytes, unless it is one file: what breaks on the way is sent again as a whole.
const FULL: u64 = 64 * 1024 * 1024;
/// The most large files, and half of the most layers of others, that may come of one cut; of more bytes the limits grow.
const MOST: u64 = 16;
/// What an entry costs in an archive besides its content, in bytes.
pub(super) const ENTRY: u64 = 1024;

/// Something that can be put into a layer: positions 0…, some of them empty.
pub(super) trait Items {
    /// Bytes of content at each position; none where it is empty.
    fn sizes(&self) -> impl Iterator<Item = Option<u64>>;
    /// About how many bytes all of it has in archives.
    fn weight(&self) -> u64 {
        self.sizes().flatten().map(|size| size + ENTRY).sum()
    }
    /// What is at these positions.
    fn differences(&self, range: Range<usize>) -> impl Iterator<Item = Difference>;
}

impl Items for Snapshot {
    fn sizes(&self) -> impl Iterator<Item = Option<u64>> {
        self.sizes()
    }

    fn weight(&self) -> u64 {
        self.size() + ENTRY * self.count()
    }

    fn differences(&self, range: Range<usize>) -> impl Iterator<Item = Difference> {
        self.entries_in(range).map(|entry| Difference::Put { entry, is_new: true })
    }
}

impl Items for Vec<Difference> {
    fn sizes(&self) -> impl Iterator<Item = Option<u64>> {
        self.iter().map(|difference| Some(difference.size()))
    }

    fn differences(&self, range: Range<usize>) -> impl Iterator<Item = Difference> {
        self[range].iter().cloned()
    }
}

/// What goes into one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Positions.
    range: Range<usize>,
    /// Of those, files of more bytes than this are in layers of their own; none where this is such a layer.
    limit: Option<u64>,
    /// About how many bytes the archive will have.
    pub(super) size: u64,
}

impl Part {
    /// Whether it is one large file.
    pub(super) const fn is_alone(&self) -> bool {
        self.limit.is_none()
    }

    /// What is in it.
    pub(super) fn differences<'i>(&self, items: &'i impl Items) -> impl Iterator<Item = Difference> + 'i {
        let limit = self.limit;
        items.differences(self.range.clone()).filter(move |item| limit.is_none_or(|limit| item.size() <= limit))
    }
}

/// Cuts; the large files first, since what changes more often belongs above.
pub(super) fn parts(items: &impl Items) -> Vec<Part> {
    let total = items.weight();
    let (large, full) = (LARGE.max(total / MOST), FULL.max(total / MOST));
    let (mut alone, mut together) = (Vec::new(), Vec::new());
    let mut part = Part { range: 0..0, limit: Some(large), size: 0 };
    for (at, size) in items.sizes().enumerate() {
        match size {
            Some(size) if size > large => alone.push(Part { range: at..at + 1, limit: None, size: size + ENTRY }),
            Some(size) => {
                if part.size > 0 && part.size + size + ENTRY > full {
                    let next = Part { range: at..at, limit: Some(large), size: 0 };
                    together.push(std::mem::replace(&mut part, next));
                }
                part.size += size + ENTRY;
            }
            None => {}
        }
        part.range.end = at + 1;
    }
    together.push(part);
    alone.extend(together);
    alone
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sizes(Vec<Option<u64>>);

    impl Items for Sizes {
        fn sizes(&self) -> impl Iterator<Item = Option<u64>> {
            self.0.iter().copied()
        }

        fn differences(&self, _range: Range<usize>) -> impl Iterator<Item = Difference> {
            std::iter::empty()
        }
    }

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn large_files_are_alone_and_others_together() {
        let sizes = Sizes(vec![Some(1), None, Some(40 * MIB), Some(30 * MIB), Some(30 * MIB), Some(20 * MIB), Some(0)]);
        let found = parts(&sizes);
        let ranges: Vec<_> = found.iter().map(|part| part.range.clone()).collect();
        assert_eq!(ranges, [2..3, 0..5, 5..7]);
        assert_eq!(found.iter().map(|part| part.size).sum::<u64>(), sizes.weight());
        assert!(found.iter().all(|part| part.size <= FULL));
    }

    #[test]
    fn an_empty_project_is_one_layer() {
        assert_eq!(parts(&Sizes(Vec::new())).len(), 1);
    }

    #[test]
    fn there_are_never_many() {
        for size in [MIB, 31 * MIB, 33 * MIB, 100 * MIB] {
            let found = parts(&Sizes(vec![Some(size); 5000]));
            assert!(found.len() as u64 <= 3 * MOST + 1, "{} parts for files of {size} bytes", found.len());
        }
    }
}
