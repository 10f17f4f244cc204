//! Which files are taken, and why others are not.
//!
//! Each kind of file is read as its own tool reads it: `.gitignore` (with Git's own lists beside it) as Git does, `.dockerignore`
//! as Docker does, and `.nautaignore`, which is above both, as a `.gitignore` whose `!pattern` reaches into folders that are left
//! out. A path that none of them leaves out is judged by nauta's own lists, which a `!pattern` in a `.nautaignore` takes back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::is_nothing;
use super::docker_ignore::{self, DockerIgnore};
use super::error::SnapshotError;
use super::git_patterns;
use super::level::{DOCKER_IGNORE, Kind, Level, Said, Sources, field};
use super::own_rules::{default_pattern, secret_pattern};
use super::repository::GitUser;
use super::tree::join;
use crate::bounded_file::{Enclosure, HAND_WRITTEN, Unfit};
use crate::digest::Hasher;

/// Where a project's files are, and what decides on them besides the files there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// The project's folder, absolute.
    pub root: PathBuf,
    /// The project's Dockerfile, relative to it: one with an ignore file of its own has that one instead of `.dockerignore`.
    pub dockerfile: Option<String>,
    /// Where the user's configuration of Git is.
    pub git: GitUser,
    /// Of a folder that a build is told to read: the folder, relative to the project that has it.
    pub build_folder: Option<String>,
}

impl Origin {
    /// A folder of this project (relative to it) as a build is told to read it: Docker's rules are the project's, and Git's do not count.
    #[must_use]
    pub fn of_build(&self, folder: &str) -> Self {
        Self { root: self.root.join(folder), build_folder: Some(folder.to_owned()), ..self.clone() }
    }

    /// Whether Git's rules count.
    pub(super) const fn reads_git(&self) -> bool {
        self.build_folder.is_none()
    }

    /// The folder that Docker's patterns are relative to, and the files' folder in it.
    pub(super) fn docker_root(&self) -> (&Path, &str) {
        let folder = self.build_folder.as_deref().unwrap_or_default();
        let depth = Path::new(folder).components().count();
        (self.root.ancestors().nth(depth).unwrap_or(&self.root), folder)
    }
}

impl From<&Path> for Origin {
    fn from(root: &Path) -> Self {
        Self { root: root.to_owned(), ..Self::default() }
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
        let is_others = |file: &str| file.ends_with(".nautaignore") || file.ends_with(".dockerignore");
        self.file.as_deref().is_some_and(|file| !is_others(file))
    }

    /// One of nauta's own.
    fn own(pattern: &str) -> Self {
        Self { pattern: pattern.to_owned(), file: None, line: None }
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
    /// It stays here since it is an environment of Python's or conda's.
    Environment {
        /// What in it tells so.
        mark: String,
    },
}

/// Whose patterns have decided, the strongest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Nauta,
    Docker,
    Git,
    /// nauta's own lists, or nothing at all.
    Own,
}

/// A verdict, and how it came about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) by: By,
    /// Git's patterns leave it out, and Git tracks it nonetheless.
    pub(super) is_tracked: bool,
}

/// The rules that hold in a folder, and what has become of the folder itself.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    level: Arc<Level>,
    /// The folder is left out, and entered for what is taken in it: its judgement is that of all about which nothing else is said.
    left: Option<Arc<Judgement>>,
    docker: Docker,
}

/// What Docker's patterns say.
#[derive(Clone, Debug)]
struct Docker {
    file: Option<Arc<DockerIgnore>>,
    /// Which of them are about the folder where the rules hold.
    about: Arc<[bool]>,
    /// The files' folder, relative to that of the patterns.
    folder: Arc<[u8]>,
}

impl Docker {
    fn of(origin: &Origin, file: Option<Arc<DockerIgnore>>) -> Self {
        let (_, folder) = origin.docker_root();
        let mut docker = Self { file, about: Arc::default(), folder: Arc::default() };
        for (end, _) in folder.match_indices('/').chain([(folder.len(), "")]).filter(|(end, _)| *end > 0) {
            docker = docker.in_folder(&folder.as_bytes()[..end]);
        }
        Self { folder: folder.as_bytes().into(), ..docker }
    }

    fn in_folder(&self, folder: &[u8]) -> Self {
        match &self.file {
            Some(file) if !folder.is_empty() => {
                Self { about: file.about(&join(&self.folder, folder), &self.about).into(), ..self.clone() }
            }
            _ => self.clone(),
        }
    }

    /// The pattern that decides on a path.
    fn find(&self, path: &[u8]) -> Option<(&DockerIgnore, &docker_ignore::Pattern)> {
        let file = self.file.as_deref()?;
        Some((file, file.find(&join(&self.folder, path), &self.about)?))
    }

    /// Whether something in a folder may be taken back.
    fn takes_below(&self, folder: &[u8]) -> bool {
        let folder = join(&self.folder, folder);
        self.file.iter().flat_map(|file| file.exceptions()).any(|pattern| pattern.leads_below(&folder))
    }
}

impl Rules {
    /// Those that hold in the project's folder before its own files are read.
    pub(super) fn top(origin: &Origin) -> Result<Self, SnapshotError> {
        let level = Level::top(origin)?;
        let docker = Docker::of(origin, docker_ignore(origin)?.map(Arc::new));
        Ok(Self { level, left: None, docker })
    }

    /// Those in a folder that has these sources. The error is a line of a `.nautaignore` that is no pattern.
    pub(super) fn in_folder(
        &self,
        folder: &[u8],
        sources: Sources,
        left: Option<Judgement>,
    ) -> Result<Self, BrokenRule> {
        let docker = self.docker.in_folder(folder);
        Ok(Self { level: self.level.in_folder(folder, sources)?, left: left.map(Arc::new), docker })
    }

    /// Names all rules that hold here: the same digest, the same verdicts. What Git tracks is no part of it.
    pub(super) fn digest(&self) -> [u8; 32] {
        if self.left.is_none() && self.docker.file.is_none() {
            return self.level.digest;
        }
        let mut hasher = Hasher::default();
        hasher.update(&self.level.digest);
        if let Some(file) = &self.docker.file {
            hasher.update(&file.digest);
            field(&mut hasher, &self.docker.folder);
        }
        field(&mut hasher, format!("{:?}", self.left).as_bytes());
        hasher.finish_bytes()
    }

    /// What becomes of a path (relative to the project) in a folder where these rules hold.
    pub(super) fn verdict(&self, path: &[u8], is_folder: bool) -> Verdict {
        self.judge(path, is_folder).verdict
    }

    /// The same, with who says so.
    pub(super) fn judge(&self, path: &[u8], is_folder: bool) -> Judgement {
        let judged = |verdict, by| Judgement { verdict, by, is_tracked: false };
        let left_by = |by| self.left.as_deref().filter(|left| left.by == by).cloned();
        match self.level.said(&[Kind::Nauta], path, is_folder) {
            Some(Said::Take) => return judged(Verdict::Take, By::Nauta),
            Some(Said::Leave(rule)) => return judged(Verdict::Leave(rule), By::Nauta),
            None => {}
        }
        if let Some(left) = left_by(By::Nauta) {
            return left;
        }
        let docker = self.docker.find(path);
        if let Some((file, pattern)) = docker.filter(|(_, pattern)| !pattern.is_exception) {
            return judged(Verdict::Leave(docker_rule(file, pattern)), By::Docker);
        }
        let mut is_tracked = false;
        if docker.is_none() {
            // Git reads no lists in a folder that it ignores.
            let said = || match self.level.said(&[Kind::Git, Kind::Exclude, Kind::Global], path, is_folder)? {
                Said::Leave(rule) => Some(judged(Verdict::Leave(rule), By::Git)),
                Said::Take => None,
            };
            if let Some(left) = left_by(By::Git).or_else(said) {
                is_tracked = self.is_tracked(path);
                if !is_tracked {
                    return left;
                }
            }
        }
        let verdict = left_by(By::Own).map_or_else(|| by_own_lists(path, is_folder), |left| left.verdict);
        Judgement { verdict, by: By::Own, is_tracked }
    }

    /// Whether something in a folder that is left out may be taken nonetheless.
    pub(super) fn enters(&self, folder: &[u8], left: &Judgement) -> bool {
        let by_nauta = || {
            self.level.files(Kind::Nauta).any(|(level, file)| {
                let relative = level.relative(folder);
                file.patterns().exceptions().any(|pattern| pattern.leads_below(&relative))
            })
        };
        let by_docker = || self.docker.takes_below(folder);
        let is_own = || by_own_lists(folder, true) != Verdict::Take;
        let by_others = match left.by {
            By::Docker => by_docker() && !is_own(),
            By::Git => (by_docker() || self.has_tracked(folder)) && !is_own(),
            By::Nauta | By::Own => false,
        };
        by_others || by_nauta()
    }

    /// The judgement of a folder that is left out and entered nonetheless.
    pub(super) fn entered(&self, folder: &[u8]) -> Option<Judgement> {
        let judgement = self.judge(folder, true);
        (judgement.verdict != Verdict::Take && self.enters(folder, &judgement)).then_some(judgement)
    }

    /// What takes back in the ignore files of this very folder.
    pub(super) fn exceptions(&self, folder: &[u8]) -> impl Iterator<Item = (Rule, &git_patterns::Pattern)> {
        let own = self.level.own_files(folder);
        own.flat_map(|file| file.patterns().exceptions().map(move |pattern| (file.rule(pattern), pattern)))
    }

    /// What takes back for Docker.
    pub(super) fn docker_exceptions(&self) -> impl Iterator<Item = (Rule, &docker_ignore::Pattern)> {
        let files = self.docker.file.iter();
        files.flat_map(|file| file.exceptions().map(move |pattern| (docker_rule(file, pattern), pattern)))
    }

    /// Whether Git tracks this path.
    pub(super) fn is_tracked(&self, path: &[u8]) -> bool {
        self.level.repository.as_ref().is_some_and(|repository| repository.tracks(path))
    }

    /// Whether Git tracks something in this folder.
    pub(super) fn has_tracked(&self, folder: &[u8]) -> bool {
        self.level.repository.as_ref().is_some_and(|repository| repository.tracks_below(folder))
    }

    /// Whether a `!pattern` in a `.nautaignore` takes a path in.
    pub(super) fn takes(&self, path: &[u8], is_folder: bool) -> bool {
        matches!(self.level.said(&[Kind::Nauta], path, is_folder), Some(Said::Take))
    }
}

fn docker_rule(file: &DockerIgnore, pattern: &docker_ignore::Pattern) -> Rule {
    Rule { pattern: pattern.text.clone(), file: Some(file.path.clone()), line: Some(pattern.line) }
}

/// What nauta's own lists say of a path.
fn by_own_lists(path: &[u8], is_folder: bool) -> Verdict {
    if let Some(pattern) = secret_pattern(path, is_folder) {
        return Verdict::Withhold(Rule::own(pattern));
    }
    default_pattern(path, is_folder).map_or(Verdict::Take, |pattern| Verdict::Leave(Rule::own(pattern)))
}

/// What Docker reads at the project's root: the Dockerfile's own ignore file, or that of all.
fn docker_ignore(origin: &Origin) -> Result<Option<DockerIgnore>, SnapshotError> {
    let Ok(project) = Enclosure::open(origin.docker_root().0) else { return Ok(None) };
    let dockerfile = origin.dockerfile.as_deref().unwrap_or("Dockerfile");
    for name in [format!("{dockerfile}{DOCKER_IGNORE}"), DOCKER_IGNORE.to_owned()] {
        let text = match project.read(&name, HAND_WRITTEN) {
            Ok(text) => text,
            // A Dockerfile outside the project is refused by those who read it.
            Err(error) if is_nothing(&error) || Unfit::of(&error) == Some(Unfit::Outside) && name != DOCKER_IGNORE => {
                continue;
            }
            Err(source) => return Err(SnapshotError::rules(name.as_bytes(), source)),
        };
        let broken = |(line, reason)| BrokenRule { path: name.clone(), line, reason };
        return Ok(Some(DockerIgnore::new(&name, &text).map_err(broken)?));
    }
    Ok(None)
}

/// A line that is no pattern.
#[derive(Debug, thiserror::Error)]
#[error("cannot understand `{path}` line {line}: {reason}")]
pub struct BrokenRule {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) reason: &'static str,
}
