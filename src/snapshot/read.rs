//! Reading the project's files.
//!
//! Rules are those of the `ignore` crate: `.gitignore` (with the repository's own excludes), `.dockerignore` and
//! `.nautaignore`. A file that changes while it is read is read again, and refused by name when it never stands still.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use ignore::{DirEntry, WalkBuilder, WalkState};

use super::rules::{DEFAULT_IGNORES, IGNORE_FILES, SECRETS};
use super::{Content, Entry, Snapshot};
use crate::diagnosis::{Diagnosis, Kind};
use crate::digest::Hasher;

/// How often a file is read before it counts as never standing still.
const ATTEMPTS: usize = 4;

/// What can go wrong while the project's files are read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// A file or directory cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file never stands still.
    #[error("`{}` changes while it is read", path.display())]
    Changing {
        /// Which.
        path: PathBuf,
    },
    /// A pattern of an ignore file cannot be understood.
    #[error("cannot understand an ignore rule")]
    Rule(#[from] ignore::Error),
}

impl Diagnosis for SnapshotError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } => {
                vec!["make it readable, or leave it out with a line in `.nautaignore`".to_owned()]
            }
            Self::Changing { .. } => vec![
                "wait until nothing writes to it, or leave it out with a line in `.nautaignore`".to_owned(),
                "what a program writes belongs into $NAUTA_OUTPUTS, not among the code".to_owned(),
            ],
            Self::Rule(_) => vec!["rules are written as in `.gitignore`".to_owned()],
        }
    }
}

/// What the walk found, before it is sorted.
#[derive(Default)]
struct Findings {
    entries: Vec<Entry>,
    withheld: Vec<(String, String)>,
    unsendable: Vec<String>,
    error: Option<SnapshotError>,
}

/// Reads the project's files below `root` (absolute).
pub fn take(root: &Path) -> Result<Snapshot, SnapshotError> {
    let rules = Rules::new(root)?;
    let findings = Mutex::new(Findings::default());
    walker(root).build_parallel().run(|| {
        Box::new(|result| {
            let mut found = Findings::default();
            let state = match result {
                Ok(entry) => visit(root, &rules, &entry, &mut found),
                Err(error) => Err(walk_error(root, error)),
            };
            let mut all = findings.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            all.entries.append(&mut found.entries);
            all.withheld.append(&mut found.withheld);
            all.unsendable.append(&mut found.unsendable);
            state.unwrap_or_else(|error| {
                all.error.get_or_insert(error);
                WalkState::Quit
            })
        })
    });
    let mut found = findings.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(error) = found.error {
        return Err(error);
    }
    found.entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    found.withheld.sort_unstable();
    found.unsendable.sort_unstable();
    Ok(Snapshot {
        root: root.to_owned(),
        entries: found.entries,
        withheld: found.withheld,
        unsendable: found.unsendable,
    })
}

fn walker(root: &Path) -> WalkBuilder {
    let mut walker = WalkBuilder::new(root);
    walker.standard_filters(false).git_ignore(true).git_exclude(true).parents(true).follow_links(false).threads(2);
    for name in IGNORE_FILES {
        walker.add_custom_ignore_filename(name);
    }
    walker
}

/// nauta's own rules, which the project's `.nautaignore` may take back.
struct Rules {
    defaults: Gitignore,
    secrets: Gitignore,
    own: Gitignore,
}

impl Rules {
    fn new(root: &Path) -> Result<Self, ignore::Error> {
        let build = |patterns: &[&str]| {
            let mut builder = GitignoreBuilder::new(root);
            for pattern in patterns {
                builder.add_line(None, pattern)?;
            }
            builder.build()
        };
        let mut own = GitignoreBuilder::new(root);
        let path = root.join(".nautaignore");
        if let (true, Some(error)) = (path.is_file(), own.add(&path)) {
            return Err(error);
        }
        Ok(Self { defaults: build(DEFAULT_IGNORES)?, secrets: build(SECRETS)?, own: own.build()? })
    }

    fn verdict(&self, path: &Path, is_dir: bool) -> Verdict {
        if self.own.matched(path, is_dir).is_whitelist() {
            return Verdict::Take;
        }
        if let ignore::Match::Ignore(glob) = self.secrets.matched(path, is_dir) {
            return Verdict::Withhold(glob.original().to_owned());
        }
        if self.defaults.matched(path, is_dir).is_ignore() { Verdict::Leave } else { Verdict::Take }
    }
}

enum Verdict {
    Take,
    Leave,
    Withhold(String),
}

fn visit(root: &Path, rules: &Rules, entry: &DirEntry, found: &mut Findings) -> Result<WalkState, SnapshotError> {
    let path = entry.path();
    let Ok(relative) = path.strip_prefix(root) else { return Ok(WalkState::Continue) };
    if relative.as_os_str().is_empty() {
        return Ok(WalkState::Continue);
    }
    let is_dir = entry.file_type().is_some_and(|kind| kind.is_dir());
    match rules.verdict(path, is_dir) {
        Verdict::Leave => return Ok(WalkState::Skip),
        Verdict::Withhold(pattern) => {
            found.withheld.push((relative.display().to_string(), pattern));
            return Ok(WalkState::Skip);
        }
        Verdict::Take => {}
    }
    match read_entry(path, relative) {
        Ok(Some(entry)) => found.entries.push(entry),
        Ok(None) => found.unsendable.push(relative.display().to_string()),
        // What vanished between listing and reading was never part of this moment.
        Err(ReadError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(ReadError::Io(source)) => return Err(SnapshotError::Unreadable { path: path.to_owned(), source }),
        Err(ReadError::Changing) => return Err(SnapshotError::Changing { path: path.to_owned() }),
    }
    Ok(WalkState::Continue)
}

enum ReadError {
    Io(io::Error),
    Changing,
}

impl From<io::Error> for ReadError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// The entry at `path`; `None` for what cannot be sent.
fn read_entry(path: &Path, relative: &Path) -> Result<Option<Entry>, ReadError> {
    let metadata = fs::symlink_metadata(path)?;
    let kind = metadata.file_type();
    let mut modified = metadata.mtime();
    let content = if kind.is_dir() {
        Content::Directory
    } else if kind.is_symlink() {
        Content::Link { target: fs::read_link(path)?.as_os_str().as_bytes().to_vec() }
    } else if kind.is_file() {
        let (content, metadata) = read_file(path)?;
        modified = metadata.mtime();
        content
    } else {
        return Ok(None);
    };
    let modified = u64::try_from(modified).unwrap_or(0);
    Ok(Some(Entry { path: relative.as_os_str().as_bytes().to_vec(), content, modified }))
}

fn read_file(path: &Path) -> Result<(Content, Metadata), ReadError> {
    for _ in 0..ATTEMPTS {
        let file = File::open(path)?;
        let before = file.metadata()?;
        let (digest, size) = Hasher::read_to_end(&file)?;
        let after = file.metadata()?;
        if size == before.size() && is_same_version(&before, &after) {
            let executable = after.permissions().mode() & 0o111 != 0;
            return Ok((Content::File { digest, size, executable }, after));
        }
    }
    Err(ReadError::Changing)
}

/// Whether nothing wrote to the file between two looks at it.
pub(crate) fn is_same_version(a: &Metadata, b: &Metadata) -> bool {
    let version = |m: &Metadata| (m.ino(), m.size(), m.mtime(), m.mtime_nsec(), m.ctime(), m.ctime_nsec());
    version(a) == version(b)
}

fn walk_error(root: &Path, error: ignore::Error) -> SnapshotError {
    let path = error_path(&error).unwrap_or(root).to_owned();
    match error.into_io_error() {
        Some(source) => SnapshotError::Unreadable { path, source },
        None => SnapshotError::Rule(ignore::Error::Glob { glob: None, err: format!("in {}", path.display()) }),
    }
}

/// The path that an error of the walker is about.
fn error_path(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => error_path(err),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let temp = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in files {
            let path = temp.path().join(path);
            fs::create_dir_all(path.parent().expect("has one")).expect("created");
            fs::write(path, text).expect("written");
        }
        temp
    }

    fn paths(snapshot: &Snapshot) -> Vec<String> {
        snapshot.entries.iter().map(Entry::display).collect()
    }

    #[test]
    fn ignore_files_and_defaults_leave_things_out() {
        let temp = tree(&[
            (".gitignore", "*.log\n"),
            (".dockerignore", "data/\n"),
            (".nautaignore", "scratch\n!keep.pem\n"),
            ("a.log", ""),
            ("data/x", ""),
            ("scratch", ""),
            ("src/__pycache__/a.pyc", ""),
            ("runs/old/x", ""),
            ("src/runs/x.py", ""),
            (".env", "TOKEN=1"),
            ("keys/id_rsa", ""),
            ("keep.pem", ""),
            ("src/a.py", ""),
        ]);
        fs::create_dir(temp.path().join(".git")).expect("created");
        let snapshot = take(temp.path()).expect("readable");
        let expected = [
            ".dockerignore",
            ".gitignore",
            ".nautaignore",
            "keep.pem",
            "keys",
            "src",
            "src/a.py",
            "src/runs",
            "src/runs/x.py",
        ];
        assert_eq!(paths(&snapshot), expected);
        let withheld: Vec<&str> = snapshot.withheld.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(withheld, [".env", "keys/id_rsa"]);
    }

    #[test]
    fn the_digest_depends_on_content_names_modes_and_links_only() {
        let a = tree(&[("x/a.py", "one"), ("b.py", "two")]);
        let b = tree(&[("b.py", "two"), ("x/a.py", "one")]);
        let digest = |temp: &tempfile::TempDir| take(temp.path()).expect("readable").digest();
        assert_eq!(digest(&a), digest(&b));
        let same = digest(&a);
        fs::set_permissions(b.path().join("b.py"), fs::Permissions::from_mode(0o755)).expect("set");
        assert_ne!(digest(&b), same);
        std::os::unix::fs::symlink("b.py", a.path().join("link")).expect("linked");
        assert_ne!(digest(&a), same);
    }

    #[test]
    fn odd_things_are_taken_right_or_named() {
        let temp = tree(&[]);
        let name = std::ffi::OsStr::from_bytes(b"new\nline \xff");
        fs::write(temp.path().join(name), "x").expect("written");
        fs::create_dir(temp.path().join("empty")).expect("created");
        nix::unistd::mkfifo(&temp.path().join("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("made");
        let snapshot = take(temp.path()).expect("readable");
        assert_eq!(snapshot.unsendable, ["fifo"]);
        assert_eq!(snapshot.entries.len(), 2);
        assert_eq!(snapshot.entries[1].path, b"new\nline \xff");
    }
}
