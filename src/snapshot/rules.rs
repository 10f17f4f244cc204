//! Which files are taken, and why others are not.
//!
//! Patterns are those of `.gitignore` (the `ignore` crate reads them), in three files and Git's own exclude file; deeper
//! folders are stronger than those above. A path that none of them leaves out is judged by nauta's own lists, which a
//! `!pattern` in a `.nautaignore` takes back.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::disk::is_nothing;
use super::error::SnapshotError;
use crate::bounded_file::{self, HAND_WRITTEN};
use crate::digest::Hasher;

/// Left out by default, at any depth: what can be made again, and nauta's own output. A `!pattern` in `.nautaignore`
/// takes one back in.
pub const DEFAULT_IGNORES: &[&str] = &[
    ".git/",
    ".hg/",
    ".svn/",
    ".venv/",
    "venv/",
    ".env/",
    ".tox/",
    ".nox/",
    "__pycache__/",
    "*.pyc",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".ipynb_checkpoints/",
    "node_modules/",
    ".nauta/",
    "/runs/",
    "/nauta.lock",
    ".DS_Store",
];

/// Withheld by default, at any depth: names that hold secrets more often than anything else. A `!pattern` in
/// `.nautaignore` lets one through.
pub const SECRETS: &[&str] = &[
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".pgpass",
    ".htpasswd",
    ".git-credentials",
    ".dockercfg",
    "**/.docker/config.json",
    ".aws/",
    ".azure/",
    ".gcloud/",
    "**/.config/gcloud/",
    ".kube/",
    ".ssh/",
    ".gnupg/",
    "**/.huggingface/token",
    "kubeconfig",
    "*.kubeconfig",
    "credentials.json",
    "service-account*.json",
    "application_default_credentials.json",
    "*.tfstate",
    "*.tfvars",
    "secrets.yaml",
    "secrets.yml",
    "secrets.toml",
    "secrets.json",
];

/// Files whose patterns say what is left out, the strongest first: what one says of a path, the next cannot take back.
pub const IGNORE_FILES: &[&str] = &[".nautaignore", ".dockerignore", GITS];
/// The one that is Git's.
const GITS: &str = ".gitignore";
/// Git's own list for one working copy, weaker than all of them.
const EXCLUDE: &str = ".git/info/exclude";

/// Whose rules count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reads {
    /// Everybody's.
    #[default]
    All,
    /// All but Git's: what a build is told to read is often what Git ignores, since it is made.
    AllButGits,
}

impl Reads {
    /// Whether the files of this rank in [`IGNORE_FILES`] count.
    fn has(self, rank: usize) -> bool {
        self == Self::All || IGNORE_FILES.get(rank).is_some_and(|name| *name != GITS)
    }
}

/// What says that a path is left out.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rule {
    /// The pattern, as it is written.
    pub pattern: String,
    /// The file it is in, relative to the project; none: a list of nauta's own.
    pub file: Option<String>,
    /// The line in that file, from 1.
    pub line: Option<usize>,
}

impl Rule {
    /// Whether it is Git's.
    pub fn is_gits(&self) -> bool {
        self.file.as_deref().is_some_and(|file| file.ends_with(GITS) || file.ends_with(EXCLUDE))
    }
}

/// What becomes of a path.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case", tag = "verdict")]
pub enum Verdict {
    /// It is sent.
    Take,
    /// It stays here.
    Leave(Rule),
    /// It stays here since its name is one that secrets have.
    Withhold(Rule),
}

/// An ignore file's text, understood when it is first needed.
#[derive(Debug)]
struct IgnoreFile {
    /// Which of [`IGNORE_FILES`], or behind them for Git's exclude file.
    rank: usize,
    /// Where it is, relative to the project.
    path: String,
    text: String,
    matcher: OnceLock<Gitignore>,
}

impl IgnoreFile {
    fn new(rank: usize, path: &Path, text: &[u8]) -> Self {
        let text = String::from_utf8_lossy(text).into_owned();
        Self { rank, path: path.display().to_string(), text, matcher: OnceLock::new() }
    }

    fn matcher(&self) -> &Gitignore {
        self.matcher.get_or_init(|| {
            let mut builder = GitignoreBuilder::new("");
            for line in self.text.lines() {
                // As Git does: a line that is no pattern says nothing.
                let _ = builder.add_line(None, line);
            }
            builder.build().unwrap_or_else(|_| Gitignore::empty())
        })
    }

    fn rule(&self, pattern: &str) -> Rule {
        let line = self.text.lines().enumerate().filter(|(_, line)| line.trim_end() == pattern).last();
        Rule { pattern: pattern.to_owned(), file: Some(self.path.clone()), line: line.map(|(i, _)| i + 1) }
    }
}

/// The rules that hold in a folder: its own ignore files and those of the folders above.
#[derive(Debug)]
pub(super) struct Level {
    parent: Option<Arc<Level>>,
    files: Vec<IgnoreFile>,
    /// The folder of these files, relative to the project.
    folder: Vec<u8>,
    /// The project's folder relative to that of these files, where that is above the project.
    above: Vec<u8>,
    /// Names all rules that hold here.
    digest: [u8; 32],
    reads: Reads,
}

/// Whether a name is that of a file with rules.
pub(super) fn is_ignore_file(name: &[u8]) -> bool {
    IGNORE_FILES.iter().any(|known| known.as_bytes() == name)
}

impl Level {
    /// The rules that hold in the project's folder before its own files are read: nauta's own lists, and what the repository
    /// above the project says.
    pub(super) fn top(root: &Path, reads: Reads) -> Result<Arc<Self>, SnapshotError> {
        let mut hasher = Hasher::default();
        if reads == Reads::AllButGits {
            hasher.update(b"all but Git's\n");
        }
        for pattern in DEFAULT_IGNORES.iter().chain(SECRETS) {
            hasher.update(pattern.as_bytes());
            hasher.update(b"\n");
        }
        let mut level = Arc::new(Self {
            parent: None,
            files: Vec::new(),
            folder: Vec::new(),
            above: Vec::new(),
            digest: hasher.finish_bytes(),
            reads,
        });
        let Some(repository) = root.ancestors().find(|folder| folder.join(".git").exists()) else { return Ok(level) };
        let mut folders: Vec<&Path> = root.ancestors().take_while(|folder| *folder != repository).collect();
        folders.push(repository);
        for folder in folders.into_iter().rev() {
            let mut files = Vec::new();
            if folder == repository && reads == Reads::All {
                // Git's own, and no part of what a clone brings.
                let text = bounded_file::read(&folder.join(EXCLUDE), HAND_WRITTEN).ok();
                files.extend(text.map(|text| IgnoreFile::new(IGNORE_FILES.len(), &folder.join(EXCLUDE), &text)));
            }
            let counts = |(rank, _): &(usize, &&str)| folder != root && reads.has(*rank);
            for (rank, name) in IGNORE_FILES.iter().enumerate().filter(counts) {
                let path = folder.join(name);
                match bounded_file::read_inside(repository, &path, HAND_WRITTEN) {
                    Ok(text) => files.push(IgnoreFile::new(rank, &path, &text)),
                    Err(error) if is_nothing(&error) => {}
                    Err(source) => return Err(SnapshotError::Rules { path, source }),
                }
            }
            let below = root.strip_prefix(folder).unwrap_or(Path::new(""));
            level = level.below(&[], std::os::unix::ffi::OsStrExt::as_bytes(below.as_os_str()), files);
        }
        Ok(level)
    }

    /// The rules in a folder that has these ignore files (names and texts). The error is a line of a `.nautaignore` that is no
    /// pattern: in files of other tools' it says nothing, as with them.
    pub(super) fn in_folder(
        self: &Arc<Self>,
        folder: &[u8],
        files: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Arc<Self>, BrokenRule> {
        let mut kept = Vec::new();
        for (name, text) in files {
            let rank = IGNORE_FILES.iter().position(|known| known.as_bytes() == name);
            let Some(rank) = rank.filter(|rank| self.reads.has(*rank)) else { continue };
            let path = String::from_utf8_lossy(&super::tree::join(folder, &name)).into_owned();
            let text = String::from_utf8_lossy(&text).into_owned();
            if rank == 0 {
                check(&path, &text)?;
            }
            kept.push(IgnoreFile { rank, path, text, matcher: OnceLock::new() });
        }
        Ok(self.below(folder, &[], kept))
    }

    fn below(self: &Arc<Self>, folder: &[u8], above: &[u8], files: Vec<IgnoreFile>) -> Arc<Self> {
        if files.is_empty() {
            return Arc::clone(self);
        }
        let mut hasher = Hasher::default();
        hasher.update(&self.digest);
        for file in &files {
            for part in [file.path.as_bytes(), above, file.text.as_bytes()] {
                hasher.update(&(part.len() as u64).to_le_bytes());
                hasher.update(part);
            }
        }
        let (folder, above, digest) = (folder.to_vec(), above.to_vec(), hasher.finish_bytes());
        Arc::new(Self { parent: Some(Arc::clone(self)), files, folder, above, digest, reads: self.reads })
    }

    /// Names all rules that hold here: the same digest, the same verdicts.
    pub(super) const fn digest(&self) -> [u8; 32] {
        self.digest
    }

    /// What becomes of a path (relative to the project) in a folder where these rules hold.
    pub(super) fn verdict(&self, path: &[u8], is_folder: bool) -> Verdict {
        let said = self.said(path, is_folder);
        if let Some(Said::Take { by_nauta: true }) = said {
            return Verdict::Take;
        }
        if let Some(Said::Leave(rule)) = said {
            return Verdict::Leave(rule);
        }
        let own = |pattern: &str| Rule { pattern: pattern.to_owned(), file: None, line: None };
        if let Some(pattern) = secret_pattern(path, is_folder) {
            return Verdict::Withhold(own(&pattern));
        }
        match OwnLists::get().defaults.matched(bytes_as_os(path), is_folder) {
            Match::Ignore(glob) => Verdict::Leave(own(glob.original())),
            _ => Verdict::Take,
        }
    }

    /// Whether nauta's own list leaves a path out, whatever ignore files say.
    pub(super) fn is_left_anyway(path: &[u8], is_folder: bool) -> bool {
        OwnLists::get().defaults.matched(bytes_as_os(path), is_folder).is_ignore()
    }

    /// Whether a `!pattern` in a `.nautaignore` takes a path in.
    pub(super) fn takes(&self, path: &[u8], is_folder: bool) -> bool {
        matches!(self.said(path, is_folder), Some(Said::Take { by_nauta: true }))
    }

    /// What the ignore files say: the strongest kind of file first, of each the deepest.
    fn said(&self, path: &[u8], is_folder: bool) -> Option<Said> {
        (0..=IGNORE_FILES.len()).find_map(|rank| {
            let mut level = Some(self);
            while let Some(here) = level {
                for file in here.files.iter().filter(|file| file.rank == rank) {
                    let relative = here.relative(path);
                    match file.matcher().matched(bytes_as_os(&relative), is_folder) {
                        Match::Ignore(glob) => return Some(Said::Leave(file.rule(glob.original()))),
                        Match::Whitelist(_) => return Some(Said::Take { by_nauta: rank == 0 }),
                        Match::None => {}
                    }
                }
                level = here.parent.as_deref();
            }
            None
        })
    }

    /// The path as the ignore files of this level see it.
    fn relative(&self, path: &[u8]) -> Vec<u8> {
        if self.above.is_empty() {
            let inside = path.strip_prefix(self.folder.as_slice()).unwrap_or(path);
            return inside.strip_prefix(b"/").unwrap_or(inside).to_vec();
        }
        super::tree::join(&self.above, path)
    }
}

/// A line that is no pattern.
#[derive(Debug, thiserror::Error)]
#[error("cannot understand `{path}` line {line}: {reason}")]
pub struct BrokenRule {
    path: String,
    line: usize,
    reason: String,
}

fn check(path: &str, text: &str) -> Result<(), BrokenRule> {
    for (i, line) in text.lines().enumerate() {
        GitignoreBuilder::new("").add_line(None, line).map_err(|error| BrokenRule {
            path: path.to_owned(),
            line: i + 1,
            reason: error.to_string(),
        })?;
    }
    Ok(())
}

enum Said {
    Take { by_nauta: bool },
    Leave(Rule),
}

/// The pattern that withholds a path; none where nothing does.
pub(super) fn secret_pattern(path: &[u8], is_folder: bool) -> Option<String> {
    match OwnLists::get().secrets.matched(bytes_as_os(path), is_folder) {
        Match::Ignore(glob) => Some(glob.original().to_owned()),
        _ => None,
    }
}

fn bytes_as_os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// nauta's own lists, understood once.
struct OwnLists {
    defaults: Gitignore,
    secrets: Gitignore,
}

impl OwnLists {
    fn get() -> &'static Self {
        static LISTS: OnceLock<OwnLists> = OnceLock::new();
        let build = |patterns: &[&str]| {
            let mut builder = GitignoreBuilder::new("");
            for pattern in patterns {
                let _ = builder.add_line(None, pattern);
            }
            builder.build().unwrap_or_else(|_| Gitignore::empty())
        };
        LISTS.get_or_init(|| Self { defaults: build(DEFAULT_IGNORES), secrets: build(SECRETS) })
    }
}
