//! What Git keeps of a repository beside its files: where its own folder is, its lists of what is ignored, and what it tracks.
//!
//! Read as data, and never by `git`: a repository's configuration names programs.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use super::git_index::Tracked;
use super::tree::join;
use crate::bounded_file::{self, HAND_WRITTEN};

/// The most that is read of an index, in bytes: that of a million files.
const INDEX: u64 = 256 << 20;
/// A configuration that includes others deeper than this is no longer followed.
const DEEPEST: usize = 10;

/// Where the user's own configuration of Git is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GitUser {
    /// The user's home.
    pub home: Option<PathBuf>,
    /// Files of configuration, the weakest first.
    pub files: Vec<PathBuf>,
    /// The list of what is ignored everywhere, where the configuration names none.
    pub ignore: Option<PathBuf>,
}

/// A repository.
#[derive(Debug)]
pub(super) struct Repository {
    /// Git's own folder, which holds the index.
    git: PathBuf,
    /// The same of the repository that this one is a working tree of, or itself.
    common: PathBuf,
    /// The folder that it begins in, relative to the project; empty where that is the project or above it.
    pub(super) folder: Vec<u8>,
    /// The project relative to it, where it begins above.
    pub(super) above: Vec<u8>,
    settings: Settings,
    tracked: OnceLock<Tracked>,
}

/// What is read of its configuration.
#[derive(Debug, Default)]
struct Settings {
    excludes: Option<PathBuf>,
    sha256: bool,
}

impl Repository {
    /// The repository that begins in `place`, if one does.
    pub(super) fn open(place: &Path, folder: &[u8], above: &[u8], user: &GitUser) -> Option<Self> {
        let own = place.join(".git");
        let found = own.symlink_metadata().ok()?;
        let git = if found.is_file() {
            // A working tree of another repository, or a submodule.
            let text = bounded_file::read(&own, HAND_WRITTEN).ok()?;
            place.join(path_in(text.strip_prefix(b"gitdir:")?))
        } else {
            own
        };
        let common = bounded_file::read(&git.join("commondir"), HAND_WRITTEN);
        let common = common.map_or_else(|_| git.clone(), |text| git.join(path_in(&text)));
        let mut settings = Settings::default();
        for file in user.files.iter().chain([&common.join("config")]) {
            settings.read(file, user, DEEPEST);
        }
        let (folder, above) = (folder.to_vec(), above.to_vec());
        Some(Self { git, common, folder, above, settings, tracked: OnceLock::new() })
    }

    /// The lists of this repository and of the user, the stronger first: their paths and texts.
    pub(super) fn lists(&self, user: &GitUser) -> [Option<(PathBuf, Vec<u8>)>; 2] {
        let own = Some(self.common.join("info/exclude"));
        let of_user = self.settings.excludes.clone().or_else(|| user.ignore.clone());
        [own, of_user].map(|path| {
            let path = path?;
            let text = bounded_file::read(&path, HAND_WRITTEN).ok()?;
            Some((path, text))
        })
    }

    fn tracked(&self) -> &Tracked {
        self.tracked.get_or_init(|| {
            let object = if self.settings.sha256 { 32 } else { 20 };
            let index = bounded_file::read(&self.git.join("index"), INDEX);
            let tracked = index.ok().and_then(|index| Tracked::read(&index, object));
            tracked.unwrap_or_else(|| {
                tracing::debug!(path = %self.git.display(), "no index is read: nothing counts as tracked");
                Tracked::default()
            })
        })
    }

    /// A path of the project as the repository sees it.
    fn own(&self, path: &[u8]) -> Vec<u8> {
        if !self.above.is_empty() {
            return join(&self.above, path);
        }
        let inside = path.strip_prefix(self.folder.as_slice()).unwrap_or(path);
        inside.strip_prefix(b"/").unwrap_or(inside).to_vec()
    }

    /// Whether Git tracks this path of the project.
    pub(super) fn tracks(&self, path: &[u8]) -> bool {
        self.tracked().has(&self.own(path))
    }

    /// Whether it tracks something in this folder.
    pub(super) fn tracks_below(&self, folder: &[u8]) -> bool {
        self.tracked().has_below(&self.own(folder))
    }
}

impl Settings {
    /// Adds what a file says.
    fn read(&mut self, file: &Path, user: &GitUser, deepest: usize) {
        let Ok(text) = bounded_file::read(file, HAND_WRITTEN) else { return };
        let here = file.parent().unwrap_or(Path::new("/"));
        for (section, name, value) in variables(&text) {
            let path = || expanded(&value, here, user);
            match (section.as_slice(), name.as_slice()) {
                (b"core", b"excludesfile") => self.excludes = Some(path()),
                (b"extensions", b"objectformat") => self.sha256 = value == b"sha256",
                (b"include", b"path") if deepest > 0 => self.read(&path(), user, deepest - 1),
                _ => {}
            }
        }
    }
}

/// The variables of a file of Git's configuration: section, name (both in small letters) and value. Sections with a second name are
/// passed over.
fn variables(text: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> {
    let text = super::git_patterns::without_mark(text);
    let (mut section, mut found) = (None, Vec::new());
    let mut lines = text.split(|byte| *byte == b'\n');
    while let Some(line) = lines.next() {
        let mut line = line.trim_ascii();
        if let Some(head) = line.strip_prefix(b"[") {
            let Some(end) = head.iter().position(|byte| *byte == b']') else { continue };
            let name = head[..end].trim_ascii().to_ascii_lowercase();
            section = Some(name).filter(|name| !name.contains(&b'"'));
            line = head[end + 1..].trim_ascii();
        }
        let (Some(section), Some(equals)) = (&section, line.iter().position(|byte| *byte == b'=')) else { continue };
        let name = line[..equals].trim_ascii().to_ascii_lowercase();
        let mut written = line[equals + 1..].to_vec();
        while written.ends_with(b"\\") && !written.ends_with(b"\\\\") {
            written.pop();
            written.extend(lines.next().unwrap_or_default().trim_ascii_end());
        }
        found.push((section.clone(), name, value(&written)));
    }
    found
}

/// A value as it is meant: without quotes, comments, and blanks at its ends.
fn value(written: &[u8]) -> Vec<u8> {
    let (mut value, mut quoted, mut kept) = (Vec::new(), false, 0);
    let mut bytes = written.trim_ascii_start().iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b'#' | b';' if !quoted => break,
            b'\\' => value.push(match bytes.next() {
                Some(b'n') => b'\n',
                Some(b't') => b'\t',
                Some(other) => *other,
                None => break,
            }),
            byte => value.push(*byte),
        }
        if quoted || !byte.is_ascii_whitespace() {
            kept = value.len();
        }
    }
    value.truncate(kept);
    value
}

/// A path in a configuration: of the user's home, or relative to the file that names it.
fn expanded(value: &[u8], here: &Path, user: &GitUser) -> PathBuf {
    match (value.strip_prefix(b"~/"), &user.home) {
        (Some(inside), Some(home)) => home.join(path_in(inside)),
        _ => here.join(path_in(value)),
    }
}

fn path_in(text: &[u8]) -> PathBuf {
    std::ffi::OsStr::from_bytes(text.trim_ascii()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configuration_is_read_as_git_reads_it() {
        const TEXT: &[u8] = b"# no\n[Core] excludesFile = ~/a b # comment\n[core \"x\"]\nexcludesfile = no\n\
                     [include]\n\tpath = \"sub dir/\\\"more\"\n[core]\nbare\n  editor = one \\\n two\n";
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
        let found = variables(TEXT).into_iter().map(|(section, name, value)| [section, name, value].map(text));
        let expected =
            [["core", "excludesfile", "~/a b"], ["include", "path", "sub dir/\"more"], ["core", "editor", "one  two"]];
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
