//! The patterns of a `.gitignore`, as Git reads them: <https://git-scm.com/docs/gitignore>.

use super::glob::{Dialect, Glob};

/// What Windows' editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A text without the mark that some editors put before it.
pub(super) fn without_mark(text: &[u8]) -> &[u8] {
    text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text)
}

/// Lines with their numbers from 1, without their ends.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = without_mark(text).split(|byte| *byte == b'\n').enumerate();
    lines.map(|(at, line)| (at + 1, line.strip_suffix(b"\r").unwrap_or(line)))
}

/// One line.
#[derive(Debug)]
pub(super) struct Pattern {
    glob: Glob,
    /// As it is written.
    pub(super) text: String,
    /// Its line, from 1.
    pub(super) line: usize,
    /// Whether it takes back.
    pub(super) is_exception: bool,
    is_for_folders: bool,
    /// Whether it is about the whole path, and not about a name at any depth.
    is_path: bool,
}

/// What a pattern file says, in order.
#[derive(Debug, Default)]
pub(super) struct GitPatterns(Vec<Pattern>);

impl GitPatterns {
    /// Reads a file. A line that is no pattern says nothing, as with Git.
    pub(super) fn new(text: &[u8]) -> Self {
        Self(lines(text).filter_map(|(number, line)| Pattern::new(number, line).ok().flatten()).collect())
    }

    /// The first line that is no pattern, and why.
    pub(super) fn broken(text: &[u8]) -> Option<(usize, &'static str)> {
        lines(text).find_map(|(number, line)| Pattern::new(number, line).err().map(|reason| (number, reason)))
    }

    /// The pattern that decides on a path, relative to the file's folder.
    pub(super) fn find(&self, path: &[u8], is_folder: bool) -> Option<&Pattern> {
        self.0.iter().rev().find(|pattern| pattern.matches(path, is_folder))
    }

    /// What takes back.
    pub(super) fn exceptions(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter().filter(|pattern| pattern.is_exception)
    }
}

impl Pattern {
    fn new(number: usize, line: &[u8]) -> Result<Option<Self>, &'static str> {
        let line = trimmed(line);
        if line.is_empty() || line[0] == b'#' {
            return Ok(None);
        }
        let is_exception = line[0] == b'!';
        let pattern = if is_exception { &line[1..] } else { line };
        let (pattern, is_for_folders) = match pattern.strip_suffix(b"/") {
            Some(pattern) => (pattern, true),
            None => (pattern, false),
        };
        let is_path = pattern.contains(&b'/');
        let pattern = pattern.strip_prefix(b"/").unwrap_or(pattern);
        if pattern.is_empty() {
            return Ok(None);
        }
        let glob = Glob::new(pattern, Dialect::Git)?;
        let text = String::from_utf8_lossy(line).into_owned();
        Ok(Some(Self { glob, text, line: number, is_exception, is_for_folders, is_path }))
    }

    /// Whether it is about this path, relative to the file's folder.
    pub(super) fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        let name = || path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        (is_folder || !self.is_for_folders) && self.glob.matches(if self.is_path { path } else { name() })
    }

    /// Whether it names something below this folder, by a way that begins there.
    pub(super) fn leads_below(&self, folder: &[u8]) -> bool {
        self.is_path && !self.glob.is_anywhere() && self.glob.leads_below(folder)
    }

    /// The only path that it is about, where that is one.
    pub(super) fn literal(&self) -> Option<&[u8]> {
        self.glob.literal().filter(|_| self.is_path)
    }

    /// The only name that it is about, at any depth, where that is one.
    pub(super) fn name(&self) -> Option<&[u8]> {
        self.glob.literal().filter(|_| !self.is_path)
    }
}

/// A line without the blanks at its end, but for those behind a `\`.
fn trimmed(line: &[u8]) -> &[u8] {
    let (mut end, mut at) = (0, 0);
    while let Some(byte) = line.get(at) {
        at += if *byte == b'\\' { 2 } else { 1 };
        if *byte != b' ' {
            end = at.min(line.len());
        }
    }
    &line[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_git_reads_them() {
        let text = b"\xef\xbb\xbfprivate/\r\n# no\n\\#yes\n\\!odd\nkeep \\ \nblank   \n/top\n!/back/\n/\n!\n";
        let patterns = GitPatterns::new(text);
        let decides = |path: &str, is_folder| patterns.find(path.as_bytes(), is_folder).map(|pattern| pattern.line);
        for (path, is_folder, line) in [
            ("private", true, Some(1)),
            ("deep/private", true, Some(1)),
            ("private", false, None),
            ("#yes", false, Some(3)),
            ("!odd", false, Some(4)),
            ("keep  ", false, Some(5)),
            ("blank", false, Some(6)),
            ("top", false, Some(7)),
            ("deep/top", false, None),
            ("back", true, Some(8)),
        ] {
            assert_eq!(decides(path, is_folder), line, "{path}");
        }
        assert_eq!(patterns.exceptions().count(), 1);
        assert_eq!(GitPatterns::broken(b"ok\n\n[a\n"), Some((3, "it has a `[` without an end")));
    }
}
