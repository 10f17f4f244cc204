//! The patterns of a `.dockerignore`, as Docker reads them: <https://docs.docker.com/build/concepts/context/#dockerignore-files>.
//!
//! Docker reads one file, at the root of what it builds from. Its patterns are about whole paths from there, and about all that is
//! in a folder they mean; the last that means a path or a folder above it decides, also below a folder that is left out. A pattern
//! that would change nothing about a path is passed over: so `!src` is about what is in `src` only where it takes `src` back.

use super::git_patterns::lines;
use super::glob::{Dialect, Glob};
use crate::digest::Hasher;

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
}

/// What a `.dockerignore` says, in order.
#[derive(Debug)]
pub(super) struct DockerIgnore {
    /// Where it is, relative to the project.
    pub(super) path: String,
    patterns: Vec<Pattern>,
    /// Names the file and its text.
    pub(super) digest: [u8; 32],
}

impl DockerIgnore {
    /// Reads a file. The error is a line that Docker refuses, and why.
    pub(super) fn new(path: &str, text: &[u8]) -> Result<Self, (usize, &'static str)> {
        let read = |(number, line)| Pattern::new(number, line).map_err(|reason| (number, reason)).transpose();
        let patterns = lines(text).filter_map(read).collect::<Result<_, _>>()?;
        let digest = Hasher::of(&[path.as_bytes(), b"\n", text].concat());
        Ok(Self { path: path.to_owned(), patterns, digest })
    }

    /// The pattern that decides on a path, relative to the file's folder. `above`: which patterns are about the folder that it is in.
    pub(super) fn find(&self, path: &[u8], above: &[bool]) -> Option<&Pattern> {
        let mut last = None;
        self.evaluate(path, above, |_, pattern| last = Some(pattern));
        last
    }

    /// Which patterns are about a folder, and so about all that is in it.
    pub(super) fn about(&self, folder: &[u8], above: &[bool]) -> Vec<bool> {
        let mut about = vec![false; self.patterns.len()];
        self.evaluate(folder, above, |at, _| about[at] = true);
        about
    }

    fn evaluate<'p>(&'p self, path: &[u8], above: &[bool], mut meets: impl FnMut(usize, &'p Pattern)) {
        let mut is_left = false;
        for (at, pattern) in self.patterns.iter().enumerate() {
            let is_about = above.get(at).copied().unwrap_or(false)
                || pattern.is_exception == is_left && pattern.glob.matches(path);
            if is_about {
                is_left = !pattern.is_exception;
                meets(at, pattern);
            }
        }
    }

    /// What takes back.
    pub(super) fn exceptions(&self) -> impl Iterator<Item = &Pattern> {
        self.patterns.iter().filter(|pattern| pattern.is_exception)
    }
}

impl Pattern {
    fn new(number: usize, line: &[u8]) -> Result<Option<Self>, &'static str> {
        if line.first() == Some(&b'#') {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(line);
        let text = text.trim();
        let (pattern, is_exception) = match text.strip_prefix('!') {
            Some(pattern) => (pattern.trim(), true),
            None => (text, false),
        };
        if pattern.is_empty() {
            return if is_exception { Err("a `!` needs a pattern") } else { Ok(None) };
        }
        let glob = match clean(pattern).as_str() {
            "." | "/" => return Ok(None),
            pattern => Glob::new(pattern.as_bytes(), Dialect::Docker)?,
        };
        Ok(Some(Self { glob, text: text.to_owned(), line: number, is_exception }))
    }

    /// Whether it is about this path, or about a folder above it.
    pub(super) fn matches(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        ends.chain([path.len()]).any(|end| self.glob.matches(&path[..end]))
    }

    /// Whether it names something below this folder.
    pub(super) fn leads_below(&self, folder: &[u8]) -> bool {
        self.glob.leads_below(folder)
    }

    /// The only path that it is about, where that is one.
    pub(super) fn literal(&self) -> Option<&[u8]> {
        self.glob.literal()
    }
}

/// A path without what says nothing in it: `.`, doubled slashes, `..` behind a name, and slashes at its ends.
fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => drop(parts.pop()),
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    if parts.is_empty() { ".".to_owned() } else { parts.join("/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(text: &str, path: &str) -> bool {
        let file = DockerIgnore::new(".dockerignore", text.as_bytes()).expect(text);
        let folders = path.match_indices('/').map(|(at, _)| &path[..at]);
        let above = folders.fold(Vec::new(), |above, folder| file.about(folder.as_bytes(), &above));
        file.find(path.as_bytes(), &above).is_some_and(|pattern| !pattern.is_exception)
    }

    #[test]
    fn the_last_pattern_that_means_a_path_or_a_folder_above_decides() {
        let allow = "\u{feff}*\r\n!requirements.txt\n!src\n!configs/**\nsrc/**/*.log\n";
        for (text, path, expected) in [
            (allow, "notes.md", true),
            (allow, "requirements.txt", false),
            (allow, "src/deep/more.py", false),
            (allow, "src/deep/a.log", true),
            (allow, "configs/a/b.yaml", false),
            (allow, "other/src/x", true),
            ("*.log", "a.log", true),
            ("*.log", "deep/a.log", false),
            ("**/*.log", "deep/a.log", true),
            ("/data/", "data/x", true),
            ("./a/../data", "data", true),
            ("  data  ", "data", true),
            (".\n/", "anything", false),
            (" #no", "#no", true),
            ("#no", "#no", false),
            ("!src\n*", "src/x", true),
            ("src/*\n!src", "src/x", true),
            ("*\n!src", "src/x", false),
            ("../x", "x", false),
        ] {
            assert_eq!(left(text, path), expected, "{text:?} {path}");
        }
    }

    #[test]
    fn what_docker_refuses_is_refused() {
        for bad in ["ok\n[a", "ok\n!", "ok\na\\"] {
            assert_eq!(DockerIgnore::new("", bad.as_bytes()).expect_err(bad).0, 2, "{bad}");
        }
    }
}
