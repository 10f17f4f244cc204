//! The paths that Git tracks, out of a repository's index: <https://git-scm.com/docs/index-format>.
//!
//! Only the paths are read, of versions 2 to 4. A crate for it (`gix-index`) brings Git's objects and hashes along; `git` itself
//! may not be there, and may run what a repository's configuration names.

/// Bytes before an entry's object name, and behind it.
const STAT: usize = 40;
const FLAGS: usize = 2;
/// In an entry's flags: two more bytes of them follow.
const EXTENDED: u8 = 0x40;
/// Names of more bytes than this are no repository's: version 4 can repeat a long one in a few bytes.
const MOST: usize = 1 << 30;

/// Paths in the order of their bytes, as Git keeps them.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    names: Vec<u8>,
    ends: Vec<usize>,
}

impl Tracked {
    /// Reads an index whose object names have so many bytes; nothing where it is none, or is damaged.
    pub(super) fn read(index: &[u8], object: usize) -> Option<Self> {
        let mut rest = index.strip_prefix(b"DIRC")?;
        let (version, count) = (number(&mut rest)?, number(&mut rest)?);
        if !(2..=4).contains(&version) {
            return None;
        }
        let mut tracked = Self::default();
        for _ in 0..count {
            let flags = *rest.get(STAT + object)?;
            let head = STAT + object + FLAGS + if version > 2 && flags & EXTENDED != 0 { 2 } else { 0 };
            let name = rest.get(head..)?;
            let begin = tracked.ends.last().copied().unwrap_or(0);
            if version == 4 {
                let (strip, name) = varint(name)?;
                let before = tracked.ends.len().checked_sub(2).map_or(0, |at| tracked.ends[at]);
                let keep = (begin - before).checked_sub(strip)?;
                let end = name.iter().position(|byte| *byte == 0)?;
                tracked.names.extend_from_within(before..before + keep);
                tracked.names.extend_from_slice(&name[..end]);
                rest = &name[end + 1..];
            } else {
                let end = name.iter().position(|byte| *byte == 0)?;
                tracked.names.extend_from_slice(&name[..end]);
                // Entries are filled up with zeros, one at least.
                rest = rest.get((head + end + 8) / 8 * 8..)?;
            }
            if tracked.names.len() > MOST {
                return None;
            }
            tracked.ends.push(tracked.names.len());
        }
        Some(tracked)
    }

    fn name(&self, at: usize) -> &[u8] {
        let begin = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.names[begin..self.ends[at]]
    }

    /// The first path that is not before this one.
    fn first_from(&self, path: &[u8]) -> Option<&[u8]> {
        let (mut low, mut high) = (0, self.ends.len());
        while low < high {
            let middle = usize::midpoint(low, high);
            if self.name(middle) < path { low = middle + 1 } else { high = middle }
        }
        (low < self.ends.len()).then(|| self.name(low))
    }

    /// Whether this very path is tracked: a file, a link, or a submodule.
    pub(super) fn has(&self, path: &[u8]) -> bool {
        self.first_from(path) == Some(path)
    }

    /// Whether something in this folder is.
    pub(super) fn has_below(&self, folder: &[u8]) -> bool {
        let inside = [folder, b"/"].concat();
        self.first_from(&inside).is_some_and(|path| path.starts_with(&inside))
    }
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(u32::from_be_bytes(*bytes))
}

/// A number of so many bytes as it needs, the highest first (as offsets in Git's packs).
fn varint(text: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_usize;
    for (at, byte) in text.iter().take(8).enumerate() {
        value = (value << 7) | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value, &text[at + 1..]));
        }
        value += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An index of version 2 with these paths.
    fn index(paths: &[&str]) -> Vec<u8> {
        let mut bytes = [b"DIRC".as_slice(), &2_u32.to_be_bytes()].concat();
        bytes.extend(u32::try_from(paths.len()).expect("few").to_be_bytes());
        for path in paths {
            let begin = bytes.len();
            bytes.extend([0; STAT + 20 + FLAGS]);
            bytes.extend(path.as_bytes());
            let length = (bytes.len() - begin + 8) / 8 * 8;
            bytes.resize(begin + length, 0);
        }
        bytes
    }

    #[test]
    fn paths_and_the_folders_on_the_way_are_found() {
        let tracked = Tracked::read(&index(&["a-b", "a/b/c", "d"]), 20).expect("an index");
        assert!(tracked.has(b"a-b") && tracked.has(b"a/b/c") && !tracked.has(b"a") && !tracked.has(b"e"));
        assert!(tracked.has_below(b"a") && tracked.has_below(b"a/b") && !tracked.has_below(b"a-b"));
        assert!(!tracked.has_below(b"d") && !Tracked::default().has(b"a"));
    }

    #[test]
    fn what_is_cut_off_is_no_index() {
        let whole = index(&["one", "two/three"]);
        for length in 0..whole.len() {
            // Zeros at the end of the last entry say nothing.
            let read = Tracked::read(&whole[..length], 20);
            assert!(read.is_none_or(|tracked| tracked.has(b"two/three")), "{length}");
        }
        assert!(Tracked::read(b"DIRC\0\0\0\x04\xff\xff\xff\xff", 20).is_none());
    }
}
