//! What of a rank's outputs is listed, in the order in which it changed: whoever knows the list up to a number asks for what
//! came after it, and nobody needs the whole again.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use serde::Serialize;

use crate::digest::Digest;
use crate::sync::{Chunk, File, LeftOut, PAGE_FILES, Skipped};

/// A page is not much longer than this, in bytes of JSON, unless one file alone is.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Removed paths are remembered up to this number, and that of the files, for those who read the list meanwhile.
const REMOVED: usize = 10_000;

/// The listed outputs of a rank.
#[derive(Default)]
pub(super) struct Catalogue {
    sequence: u64,
    entries: HashMap<Arc<str>, Entry>,
    order: BTreeMap<u64, Arc<str>>,
    /// How many entries are of removed files.
    removed: usize,
    /// What was removed up to here is forgotten: who knows less of the list begins again.
    floor: u64,
    /// The blobs that the listed files are in: their sizes in bytes, and how many chunks there are in each.
    blobs: HashMap<Digest, (u64, usize)>,
    /// How often an entry has moved since the pages in the mailbox were last made anew.
    pub(super) superseded: usize,
}

struct Entry {
    sequence: u64,
    /// `None`: it is no more.
    file: Option<File>,
    /// What the mailbox has of it, where `file` is not there.
    sent: Option<Box<File>>,
}

/// Some of the list, as JSON (a [`crate::sync::Page`]).
pub(super) struct Part {
    pub(super) json: Vec<u8>,
    /// How many entries it has.
    pub(super) len: usize,
    /// Where the list goes on.
    pub(super) next: u64,
}

/// Whose list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Reader {
    /// Who reads files from the rank: all of them.
    Follower,
    /// Who reads them from the mailbox: those that are there.
    Mailbox,
}

#[derive(Serialize)]
struct Lines<'a> {
    files: Vec<&'a File>,
    removed: Vec<&'a str>,
    #[serde(flatten)]
    tail: Tail<'a>,
}

/// What goes with the end of a list.
#[derive(Clone, Copy, Default, Serialize)]
pub(super) struct Tail<'a> {
    pub(super) skipped: &'a [Skipped],
    pub(super) left_out: &'a [LeftOut],
}

impl Catalogue {
    /// The number of the last change.
    pub(super) const fn end(&self) -> u64 {
        self.sequence
    }

    /// How many changes there are behind a number that are not overtaken by later ones.
    pub(super) fn count(&self, after: u64) -> usize {
        self.behind(after, u64::MAX).count()
    }

    /// The changes behind a number, up to another.
    fn behind(&self, after: u64, until: u64) -> impl Iterator<Item = (&u64, &Arc<str>)> {
        self.order.range((Bound::Excluded(after), Bound::Included(until.max(after))))
    }

    /// How many entries the list has, those of removed files too.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many files are listed.
    pub(super) fn files(&self) -> usize {
        self.entries.len() - self.removed
    }

    /// Lists a file as it is now.
    pub(super) fn list(&mut self, file: File) {
        let path: Arc<str> = file.path.as_str().into();
        let former = self.entries.remove(&path);
        if let Some(Entry { file: Some(same), .. }) = &former
            && *same == file
        {
            self.entries.extend(former.map(|former| (path, former)));
            return;
        }
        let is_sent = is_sent(&file);
        self.count_blobs(&file.chunks, 1);
        let kept = former.and_then(|former| self.retire(former));
        if let Some(overtaken) = kept.as_ref().filter(|_| is_sent) {
            self.count_blobs(&overtaken.chunks, -1);
        }
        self.put(path, Some(file), kept.filter(|_| !is_sent));
    }

    /// A file is no more.
    pub(super) fn remove(&mut self, path: &str) {
        let Some((path, former)) = self.entries.remove_entry(path) else { return };
        if former.file.is_none() && former.sent.is_none() {
            self.entries.insert(path, former);
            return;
        }
        if let Some(sent) = self.retire(former) {
            self.count_blobs(&sent.chunks, -1);
        }
        self.put(path, None, None);
        if self.removed > REMOVED.max(self.entries.len() / 2) {
            self.forget_removed();
        }
    }

    fn put(&mut self, path: Arc<str>, file: Option<File>, sent: Option<Box<File>>) {
        self.sequence += 1;
        self.removed += usize::from(file.is_none());
        self.order.insert(self.sequence, Arc::clone(&path));
        self.entries.insert(path, Entry { sequence: self.sequence, file, sent });
    }

    /// Takes an entry out of the order; gives what of it is in the mailbox, whose chunks still count.
    fn retire(&mut self, entry: Entry) -> Option<Box<File>> {
        self.order.remove(&entry.sequence);
        self.superseded += 1;
        let Some(file) = entry.file else {
            self.removed -= 1;
            return entry.sent;
        };
        if is_sent(&file) {
            // Its chunks go on counting with it where it is kept; who does not keep it takes them back.
            return Some(Box::new(file));
        }
        entry.sent
    }

    fn forget_removed(&mut self) {
        let entries = &mut self.entries;
        self.order.retain(|_, path| {
            let is_removed = entries.get(path).is_some_and(|entry| entry.file.is_none());
            if is_removed {
                entries.remove(path);
            }
            !is_removed
        });
        (self.removed, self.floor) = (0, self.sequence);
        // Pages that still name what was removed have to go.
        self.superseded = usize::MAX / 2;
    }

    fn count_blobs(&mut self, chunks: &[Chunk], by: isize) {
        for chunk in chunks {
            let (size, count) = self.blobs.entry(chunk.blob.clone()).or_default();
            *size = (*size).max(chunk.offset + chunk.size);
            *count = count.saturating_add_signed(by);
            if *count == 0 {
                self.blobs.remove(&chunk.blob);
            }
        }
    }

    /// A blob is known to be so long.
    pub(super) fn know_blob(&mut self, blob: &Digest, len: u64) {
        if let Some((size, _)) = self.blobs.get_mut(blob) {
            *size = (*size).max(len);
        }
    }

    /// The blobs of the listed files, with their sizes in bytes.
    pub(super) fn blobs(&self) -> impl Iterator<Item = (&Digest, u64)> {
        self.blobs.iter().map(|(digest, (size, _))| (digest, *size))
    }

    /// How many blobs there are.
    pub(super) fn blob_count(&self) -> usize {
        self.blobs.len()
    }

    /// Files that are alone or almost alone in small blobs.
    pub(super) fn scattered(&self, small: u64) -> Vec<Arc<str>> {
        let is_small = |chunk: &Chunk| self.blobs.get(&chunk.blob).is_some_and(|(size, _)| *size < small);
        let is_scattered = |file: &File| file.chunks.len() == 1 && is_small(&file.chunks[0]);
        let scattered = self.entries.iter().filter(|(_, entry)| entry.file.as_ref().is_some_and(is_scattered));
        scattered.map(|(path, _)| Arc::clone(path)).collect()
    }

    /// Whether who knows the list up to `after` has to begin again.
    pub(super) const fn is_outdated(&self, after: u64) -> bool {
        after > 0 && after < self.floor
    }

    /// What changed behind `after`, up to a page of it and not behind `until`. `tail` goes with it.
    pub(super) fn part(&self, reader: Reader, after: u64, until: u64, tail: Tail<'_>) -> Part {
        let (mut files, mut removed, mut next, mut bytes) = (Vec::new(), Vec::new(), after, 0);
        for (sequence, path) in self.behind(after, until) {
            if files.len() + removed.len() >= PAGE_FILES || bytes >= PAGE_BYTES {
                break;
            }
            next = *sequence;
            let Some(entry) = self.entries.get(path) else { continue };
            let file = match reader {
                Reader::Follower => entry.file.as_ref(),
                Reader::Mailbox => entry.file.as_ref().filter(|file| is_sent(file)).or(entry.sent.as_deref()),
            };
            match file {
                Some(file) => {
                    bytes += path.len() + 200 + 200 * file.chunks.len();
                    files.push(file);
                }
                None if entry.file.is_none() => {
                    bytes += path.len();
                    removed.push(&**path);
                }
                None => {}
            }
        }
        let len = files.len() + removed.len();
        if self.behind(next, until).next().is_none() {
            next = until.max(next);
        }
        let json = serde_json::to_vec(&Lines { files, removed, tail }).expect("a list has text keys only");
        Part { json, len, next }
    }
}

/// Whether a file's content is in the mailbox.
fn is_sent(file: &File) -> bool {
    file.size == 0 || !file.chunks.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::Page;

    fn file(path: &str, content: &str, is_sent: bool) -> File {
        let digest = Digest::of(content);
        let chunk = Chunk { blob: digest.clone(), offset: 0, size: 3, digest: digest.clone() };
        let chunks = if is_sent { vec![chunk] } else { Vec::new() };
        File {
            path: path.to_owned(),
            size: 3,
            mode: 0o644,
            modified: 0,
            digest,
            chunks,
            link: None,
            origin: crate::sync::Origin::Outputs,
        }
    }

    fn read(catalogue: &Catalogue, reader: Reader, after: u64) -> (Vec<String>, Vec<String>, u64) {
        let part = catalogue.part(reader, after, catalogue.end(), Tail::default());
        let page: Page = serde_json::from_slice(&part.json).expect("a page");
        (page.files.into_iter().map(|file| file.path).collect(), page.removed, part.next)
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn who_knows_a_part_hears_only_what_came_after_it() {
        let mut catalogue = Catalogue::default();
        for name in ["a", "b", "c"] {
            catalogue.list(file(name, name, true));
        }
        assert_eq!(read(&catalogue, Reader::Follower, 0), (names(&["a", "b", "c"]), vec![], 3));
        catalogue.list(file("b", "b", true));
        assert_eq!(catalogue.end(), 3, "what is the same is no news");
        catalogue.list(file("a", "new", true));
        catalogue.remove("b");
        catalogue.remove("unknown");
        assert_eq!(read(&catalogue, Reader::Follower, 3), (names(&["a"]), names(&["b"]), 5));
        assert_eq!(read(&catalogue, Reader::Follower, 0), (names(&["c", "a"]), names(&["b"]), 5));
        assert_eq!(catalogue.blob_count(), 2, "blobs that nothing names any more are not listed");
    }

    #[test]
    fn what_the_mailbox_has_of_a_file_stays_listed_there() {
        let mut catalogue = Catalogue::default();
        catalogue.list(file("a", "old", true));
        catalogue.list(file("a", "new", false));
        catalogue.list(file("b", "b", false));
        let part = catalogue.part(Reader::Mailbox, 0, catalogue.end(), Tail::default());
        let page: Page = serde_json::from_slice(&part.json).expect("a page");
        assert_eq!(page.files, [file("a", "old", true)]);
        assert_eq!(read(&catalogue, Reader::Follower, 0).0, names(&["a", "b"]));
        assert_eq!(catalogue.blob_count(), 1);
        catalogue.list(file("a", "newest", true));
        assert_eq!(catalogue.blob_count(), 1);
        catalogue.remove("a");
        assert_eq!(catalogue.blob_count(), 0);
    }

    #[test]
    fn a_long_list_comes_in_pages_and_removed_files_are_forgotten_at_last() {
        let mut catalogue = Catalogue::default();
        let total = 2 * PAGE_FILES + 5;
        (0..total).for_each(|i| catalogue.list(file(&i.to_string(), "x", true)));
        let (mut after, mut sizes) = (0, Vec::new());
        while after < catalogue.end() {
            let (files, _, next) = read(&catalogue, Reader::Follower, after);
            sizes.push(files.len());
            after = next;
        }
        assert_eq!(sizes, [PAGE_FILES, PAGE_FILES, 5]);
        (0..total).for_each(|i| catalogue.remove(&i.to_string()));
        assert!(catalogue.len() < total);
        assert!(catalogue.is_outdated(after) && !catalogue.is_outdated(0));
    }
}
