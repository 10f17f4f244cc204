//! The ignore files that hold in a folder, and what they say.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::disk::is_nothing;
use super::error::SnapshotError;
use super::git_patterns::{GitPatterns, Pattern};
use super::own_rules;
use super::repository::Repository;
use super::rules::{BrokenRule, Origin, Rule};
use crate::bounded_file::{self, HAND_WRITTEN};
use crate::digest::Hasher;

/// Files of patterns that are read in every folder.
pub(super) const IGNORE_FILES: &[&str] = &[".nautaignore", ".gitignore"];
/// Docker's file of patterns, which it reads at the root alone.
pub(super) const DOCKER_IGNORE: &str = ".dockerignore";
/// What a repository begins with.
const REPOSITORY: &[u8] = b".git";

/// Which kind of file patterns are from, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Nauta,
    Git,
    /// Git's list for one repository.
    Exclude,
    /// The user's for all of them.
    Global,
}

/// An ignore file's text, understood when it is first needed.
#[derive(Debug)]
pub(super) struct IgnoreFile {
    kind: Kind,
    /// Where it is, relative to the project.
    pub(super) path: String,
    text: Vec<u8>,
    patterns: OnceLock<GitPatterns>,
}

impl IgnoreFile {
    fn new(kind: Kind, path: String, text: Vec<u8>) -> Self {
        Self { kind, path, text, patterns: OnceLock::new() }
    }

    pub(super) fn rule(&self, pattern: &Pattern) -> Rule {
        Rule { pattern: pattern.text.clone(), file: Some(self.path.clone()), line: Some(pattern.line) }
    }

    pub(super) fn patterns(&self) -> &GitPatterns {
        self.patterns.get_or_init(|| GitPatterns::new(&self.text))
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
    origin: Arc<Origin>,
    /// The repository that the folder is in.
    pub(super) repository: Option<Arc<Repository>>,
    /// Names all rules that hold here.
    pub(super) digest: [u8; 32],
}

/// Whether a name is that of a file with rules, or of what a repository begins with.
pub(super) fn concerns_rules(name: &[u8]) -> bool {
    name == REPOSITORY || is_ignore_file(name)
}

/// Whether a name is that of a file with rules, in every folder.
pub(super) fn is_ignore_file(name: &[u8]) -> bool {
    IGNORE_FILES.iter().any(|known| known.as_bytes() == name)
}

/// What a folder has that rules come from.
pub(super) struct Sources {
    /// Names and texts of ignore files.
    pub(super) files: Vec<(Vec<u8>, Vec<u8>)>,
    /// Whether a repository begins here.
    pub(super) is_repository: bool,
}

impl Level {
    /// The rules that hold in the project's folder before its own files are read: nauta's own lists, what the repository above the
    /// project says, and what Docker reads at the root.
    pub(super) fn top(origin: &Origin) -> Result<Arc<Self>, SnapshotError> {
        let mut hasher = Hasher::default();
        own_rules::all().for_each(|pattern| field(&mut hasher, pattern.as_bytes()));
        hasher.update(&[u8::from(origin.reads_git())]);
        let mut level = Arc::new(Self {
            parent: None,
            files: Vec::new(),
            folder: Vec::new(),
            above: Vec::new(),
            origin: Arc::new(origin.clone()),
            repository: None,
            digest: hasher.finish_bytes(),
        });
        let root = &origin.root;
        let begins = |folder: &&Path| folder.join(".git").exists();
        let Some(repository) = root.ancestors().find(begins).filter(|folder| folder != root) else { return Ok(level) };
        let folders: Vec<&Path> = root.ancestors().skip(1).take_while(|folder| *folder != repository).collect();
        for folder in [repository].into_iter().chain(folders.into_iter().rev()) {
            let above = root.strip_prefix(folder).unwrap_or(Path::new("")).as_os_str().as_bytes();
            let mut files = Vec::new();
            let kinds = [Kind::Nauta, Kind::Git].into_iter().zip(IGNORE_FILES);
            for (kind, name) in kinds.filter(|(kind, _)| *kind == Kind::Nauta || origin.reads_git()) {
                let path = folder.join(name);
                match bounded_file::read_inside(repository, &path, HAND_WRITTEN) {
                    Ok(text) => files.push(IgnoreFile::new(kind, path.display().to_string(), text)),
                    Err(error) if is_nothing(&error) => {}
                    Err(source) => return Err(SnapshotError::Rules { path, source }),
                }
            }
            level = level.below(&[], above, files, folder == repository);
        }
        Ok(level)
    }

    /// The rules in a folder that has these sources. The error is a line of a `.nautaignore` that is no pattern: in files of other
    /// tools' it says nothing, as with them.
    pub(super) fn in_folder(self: &Arc<Self>, folder: &[u8], sources: Sources) -> Result<Arc<Self>, BrokenRule> {
        let mut kept = Vec::new();
        for (name, text) in sources.files {
            let path = String::from_utf8_lossy(&super::tree::join(folder, &name)).into_owned();
            let kind = if name == IGNORE_FILES[0].as_bytes() { Kind::Nauta } else { Kind::Git };
            if let (Kind::Nauta, Some((line, reason))) = (kind, GitPatterns::broken(&text)) {
                return Err(BrokenRule { path, line, reason });
            }
            if kind == Kind::Nauta || self.origin.reads_git() {
                kept.push(IgnoreFile::new(kind, path, text));
            }
        }
        Ok(self.below(folder, &[], kept, sources.is_repository))
    }

    fn below(
        self: &Arc<Self>,
        folder: &[u8],
        above: &[u8],
        mut files: Vec<IgnoreFile>,
        is_repository: bool,
    ) -> Arc<Self> {
        let mut repository = self.repository.clone();
        let is_repository = is_repository && self.origin.reads_git();
        if is_repository {
            let place = self.origin.root.join(std::ffi::OsStr::from_bytes(folder));
            let place = place.ancestors().nth(Path::new(std::ffi::OsStr::from_bytes(above)).components().count());
            let user = &self.origin.git;
            repository = place.and_then(|place| Repository::open(place, folder, above, user)).map(Arc::new);
            let lists = repository.iter().flat_map(|repository| repository.lists(user));
            let named = |(kind, list): (Kind, Option<(PathBuf, Vec<u8>)>)| {
                let (path, text) = list?;
                let path = path.strip_prefix(&self.origin.root).unwrap_or(&path).display().to_string();
                Some(IgnoreFile::new(kind, path, text))
            };
            files.extend([Kind::Exclude, Kind::Global].into_iter().zip(lists).filter_map(named));
        }
        if files.is_empty() && !is_repository {
            return Arc::clone(self);
        }
        let mut hasher = Hasher::default();
        hasher.update(&self.digest);
        hasher.update(&[u8::from(is_repository)]);
        for file in &files {
            for part in [file.path.as_bytes(), above, &file.text] {
                field(&mut hasher, part);
            }
        }
        Arc::new(Self {
            parent: Some(Arc::clone(self)),
            files,
            folder: folder.to_vec(),
            above: above.to_vec(),
            origin: Arc::clone(&self.origin),
            repository,
            digest: hasher.finish_bytes(),
        })
    }

    /// This level and those above, the deepest first.
    fn chain(&self) -> impl Iterator<Item = &Self> {
        std::iter::successors(Some(self), |level| level.parent.as_deref())
    }

    /// Whether another level is in the same repository: patterns of Git's say nothing about another one.
    fn shares_repository(&self, other: &Self) -> bool {
        match (&self.repository, &other.repository) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
    }

    /// The ignore files in this very folder of the project.
    pub(super) fn own_files(&self, folder: &[u8]) -> impl Iterator<Item = &IgnoreFile> {
        let is_own = self.folder == folder && self.above.is_empty();
        self.files.iter().filter(move |file| is_own && matches!(file.kind, Kind::Nauta | Kind::Git))
    }

    /// The files of one kind that hold here, the strongest first, and the level of each.
    pub(super) fn files(&self, kind: Kind) -> impl Iterator<Item = (&Self, &IgnoreFile)> {
        let levels = self.chain().take_while(move |level| kind == Kind::Nauta || self.shares_repository(level));
        levels.flat_map(move |level| {
            level.files.iter().filter(move |file| file.kind == kind).map(move |file| (level, file))
        })
    }

    /// What files of some kinds say, the strongest first.
    pub(super) fn said(&self, kinds: &[Kind], path: &[u8], is_folder: bool) -> Option<Said> {
        let mut files = kinds.iter().flat_map(|kind| self.files(*kind));
        files.find_map(|(level, file)| {
            let pattern = file.patterns().find(&level.relative(path), is_folder)?;
            Some(if pattern.is_exception { Said::Take } else { Said::Leave(file.rule(pattern)) })
        })
    }

    /// The path as the ignore files of this level see it.
    pub(super) fn relative(&self, path: &[u8]) -> Vec<u8> {
        if self.above.is_empty() {
            let inside = path.strip_prefix(self.folder.as_slice()).unwrap_or(path);
            return inside.strip_prefix(b"/").unwrap_or(inside).to_vec();
        }
        super::tree::join(&self.above, path)
    }
}

/// What patterns say of a path.
pub(super) enum Said {
    Take,
    Leave(Rule),
}

pub(super) fn field(hasher: &mut Hasher, part: &[u8]) {
    hasher.update(&(part.len() as u64).to_le_bytes());
    hasher.update(part);
}
