//! Gathering: each path that is named is found on the disk, with the rules that hold for it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

use super::value::{Input, Inputs, Problem, Reason, Trouble};
use super::{conda, copies, package, project, python, requirements, uv};
use crate::bounded_file::{Enclosure, HAND_WRITTEN};
use crate::image::{EnvironmentPlan, Recipe};
use crate::project::{Dependencies, Project};
use crate::snapshot::rules::Verdict;
use crate::snapshot::{self, Content, Origin, Singles, Snapshot, SnapshotError};

/// More links on the way to a file are a circle.
const MOST_LINKS: usize = 40;

/// Computes what a build reads. `state` is nauta's folder for what may be lost.
pub fn gather(
    plan: &EnvironmentPlan,
    project: &Project,
    snapshot: &Snapshot,
    state: Option<&Path>,
) -> Result<Inputs, SnapshotError> {
    let is_own = matches!(plan, EnvironmentPlan::Dockerfile { .. });
    let mut gatherer = Gatherer::new(&project.root, snapshot, state, is_own)?;
    match plan {
        EnvironmentPlan::Base { .. } => {}
        EnvironmentPlan::Dockerfile { path, text, .. } => copies::gather(&mut gatherer, path, text)?,
        EnvironmentPlan::Generated { recipe, .. } => generated(&mut gatherer, recipe)?,
    }
    gatherer.singles.save();
    Ok(gatherer.finish())
}

/// What a Dockerfile of nauta's own reads.
fn generated(gatherer: &mut Gatherer<'_>, recipe: &Recipe) -> Result<(), SnapshotError> {
    match &recipe.dependencies {
        None | Some(Dependencies::Foreign(_)) => Ok(()),
        Some(Dependencies::Requirements(path)) => {
            let said = format!("requirements = \"{path}\"");
            let reason = match path.as_str() {
                "requirements.txt" => Reason::new("the project", None, ""),
                _ => Reason::new("nauta.toml", None, said),
            };
            let path = resolve(&gatherer.project, path);
            requirements::gather(gatherer, &path, false, &reason)
        }
        Some(Dependencies::Conda(path)) => conda::gather(gatherer, path),
        Some(Dependencies::Uv) => uv::gather(gatherer),
        Some(Dependencies::Project(file)) => project::gather(gatherer, file, &recipe.declared),
        Some(Dependencies::Poetry) => project::locked(gatherer, &["pyproject.toml"], &["poetry.lock", "poetry.toml"]),
        Some(Dependencies::Pdm) => project::locked(gatherer, &["pyproject.toml"], &["pdm.lock", "pdm.toml"]),
        Some(Dependencies::Pipenv) => project::pipenv(gatherer),
    }
}

/// How much of what is at a path is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A file, or a folder as the project's rules leave it.
    Named,
    /// All that a Dockerfile copies: Git's rules do not count below what is named.
    Copied,
    /// A folder that is installed such that its code is where it is: what an installer wants to know of it.
    Package,
}

/// What is being gathered.
pub(super) struct Gatherer<'a> {
    /// Absolute, as all paths here.
    pub(super) project: PathBuf,
    /// Nothing above it is read.
    pub(super) top: PathBuf,
    enclosure: Enclosure,
    snapshot: &'a Snapshot,
    state: Option<&'a Path>,
    singles: Singles,
    found: BTreeMap<PathBuf, Input>,
    problems: Vec<Problem>,
    visited: HashSet<PathBuf>,
    is_located: bool,
    /// See [`Inputs::requirements`].
    pub(super) requirements: Vec<String>,
    /// See [`Inputs::has_own_index`].
    pub(super) has_own_index: bool,
}

impl<'a> Gatherer<'a> {
    fn new(
        root: &Path,
        snapshot: &'a Snapshot,
        state: Option<&'a Path>,
        stays_inside: bool,
    ) -> Result<Self, SnapshotError> {
        let repository = root.ancestors().find(|folder| folder.join(".git").exists()).filter(|_| !stays_inside);
        let top = repository.unwrap_or(root).to_owned();
        let enclosure =
            Enclosure::open(&top).map_err(|source| SnapshotError::Unreadable { path: top.clone(), source })?;
        Ok(Self {
            project: root.to_owned(),
            top,
            enclosure,
            snapshot,
            state,
            singles: Singles::open(root, state),
            found: BTreeMap::new(),
            problems: Vec::new(),
            visited: HashSet::new(),
            is_located: false,
            requirements: Vec::new(),
            has_own_index: false,
        })
    }

    fn finish(self) -> Inputs {
        let is_inside = self.found.keys().all(|path| path.starts_with(&self.project));
        let root = if is_inside { self.project.clone() } else { self.top.clone() };
        let relative = |path: &Path| path.strip_prefix(&root).unwrap_or(path).as_os_str().as_bytes().to_vec();
        let files = self.found.iter().map(|(path, input)| (relative(path), input.clone()));
        let files = files.filter(|(path, _)| !path.is_empty()).collect();
        let project = String::from_utf8_lossy(&relative(&self.project)).into_owned();
        let Self { problems, requirements, has_own_index, is_located, .. } = self;
        Inputs { root, project, files, problems, requirements, has_own_index, is_located }
    }

    /// Tells whether a file or folder is looked at for the first time.
    pub(super) fn visit(&mut self, path: &Path) -> bool {
        self.visited.insert(path.to_owned())
    }

    /// A path as it is called from the project.
    pub(super) fn name(&self, path: &Path) -> String {
        let mut ups = String::new();
        for above in self.project.ancestors() {
            if let Ok(rest) = path.strip_prefix(above) {
                let rest = rest.display().to_string();
                return if rest.is_empty() { format!("{ups}.") } else { ups + &rest };
            }
            ups.push_str("../");
        }
        path.display().to_string()
    }

    /// A path as it is written, without `.` and `..`, where nothing leads out of the project, as in a build's context.
    pub(super) fn resolve_inside(&self, written: &str) -> PathBuf {
        clean(&self.project, Path::new(written.trim_start_matches('/')), Some(&self.project))
    }

    /// A text that says what else is read; nothing where there is none, which is a problem.
    pub(super) fn read(&mut self, path: &Path, reason: &Reason) -> Option<String> {
        let text = self.enclosure.read(path, HAND_WRITTEN);
        let text =
            text.and_then(|text| String::from_utf8(text).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e)));
        match text {
            Ok(text) => Some(text.trim_start_matches('\u{feff}').to_owned()),
            Err(error) => {
                self.problem(path, reason, Trouble::Malformed(error.to_string()));
                None
            }
        }
    }

    /// A text that may be there.
    pub(super) fn peek(&self, path: &Path) -> Option<String> {
        String::from_utf8(self.enclosure.read(path, HAND_WRITTEN).ok()?).ok()
    }

    pub(super) fn problem(&mut self, path: &Path, reason: &Reason, trouble: Trouble) {
        let problem = Problem { path: self.name(path), reason: reason.clone(), trouble };
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }

    /// Takes what is at a path (clean), where it is there. Links on the way are taken too, and followed.
    pub(super) fn take_if_there(&mut self, path: &Path, shape: Shape, reason: &Reason) -> Result<(), SnapshotError> {
        if path.symlink_metadata().is_ok() { self.take(path, shape, reason).map(drop) } else { Ok(()) }
    }

    /// Takes what is at a path (clean). Links on the way are taken too, and followed. What cannot be is a problem.
    pub(super) fn take(
        &mut self,
        path: &Path,
        shape: Shape,
        reason: &Reason,
    ) -> Result<Option<PathBuf>, SnapshotError> {
        let Some(real) = self.follow(path, shape, reason) else { return Ok(None) };
        let inside = real.strip_prefix(&self.project).ok().map(|inside| inside.as_os_str().as_bytes().to_vec());
        let Some(inside) = inside else {
            let above = real.strip_prefix(&self.top).unwrap_or(&real).to_string_lossy().into_owned();
            if self.is_allowed(&Origin::from(self.top.as_path()), &above, &real, reason)? {
                self.take_above(&real, shape, reason)?;
            }
            return Ok(Some(real));
        };
        let text = String::from_utf8_lossy(&inside).into_owned();
        if inside.is_empty() {
            self.take_folder("", shape, reason)?;
            return Ok(Some(real));
        }
        match self.snapshot.entry(&text).map(|entry| entry.content) {
            Some(Content::Directory) => self.take_folder(&text, shape, reason)?,
            Some(content) => self.put(&real, content, false, reason),
            None if !self.is_allowed(self.snapshot.origin(), &text, &real, reason)? => return Ok(None),
            None => match self.singles.content(&real)? {
                Some(Content::Directory) => {
                    let taken = snapshot::take_for_build(self.snapshot.origin(), &text, self.state)?;
                    self.put_all(&real, &taken, reason);
                }
                Some(content) => self.put(&real, content, false, reason),
                None => self.problem(path, reason, Trouble::Missing),
            },
        }
        Ok(Some(real))
    }

    /// Whether rules let a build read what the snapshot does not have: Git's, and nauta's own list of what can be made again, do not
    /// count for what is named.
    fn is_allowed(&mut self, root: &Origin, path: &str, real: &Path, reason: &Reason) -> Result<bool, SnapshotError> {
        let trouble = match snapshot::explain(root.clone(), path)? {
            _ if real.symlink_metadata().is_err() => Trouble::Missing,
            (_, Verdict::Leave(rule)) if rule.file.is_some() && !rule.is_gits() => Trouble::Left(rule),
            (_, Verdict::Withhold(rule)) => Trouble::Withheld(rule),
            _ => return Ok(true),
        };
        self.problem(real, reason, trouble);
        Ok(false)
    }

    /// Follows links on the way to a path and takes them. Nothing where they lead out.
    fn follow(&mut self, path: &Path, shape: Shape, reason: &Reason) -> Option<PathBuf> {
        let mut wanted = path.to_owned();
        for _ in 0..MOST_LINKS {
            if !wanted.starts_with(&self.top) {
                let trouble =
                    if wanted == path { Trouble::Outside } else { Trouble::Link(wanted.display().to_string()) };
                self.problem(path, reason, trouble);
                return None;
            }
            let ways: Vec<&Path> = wanted.ancestors().take_while(|way| *way != self.top).collect();
            let link = ways.into_iter().rev().find_map(|way| Some((way.to_owned(), std::fs::read_link(way).ok()?)));
            let Some((way, target)) = link else { return Some(wanted) };
            let rest = wanted.strip_prefix(&way).map(Path::to_owned).unwrap_or_default();
            let folder = way.parent().unwrap_or(&self.top).to_owned();
            let next = match shape {
                // As in a context, whose root nothing leads out of.
                Shape::Copied if target.is_absolute() => {
                    clean(&self.project, target.strip_prefix("/").unwrap_or(&target), Some(&self.project))
                }
                Shape::Copied => clean(&folder, &target, Some(&self.project)),
                _ if target.is_absolute() => {
                    self.problem(path, reason, Trouble::Link(target.display().to_string()));
                    return None;
                }
                _ => clean(&folder, &target, None),
            };
            let target = target.into_os_string().into_vec();
            self.put(&way, Content::Link { target }, false, reason);
            wanted = next.join(rest);
        }
        self.problem(path, reason, Trouble::Link(wanted.display().to_string()));
        None
    }

    /// Takes a folder that the snapshot has.
    fn take_folder(&mut self, path: &str, shape: Shape, reason: &Reason) -> Result<(), SnapshotError> {
        let folder = self.project.join(path);
        match shape {
            Shape::Package => {
                self.is_located = true;
                package::gather(self, self.snapshot, path, reason);
            }
            // Of the whole project, its rules decide.
            Shape::Copied if !path.is_empty() && self.snapshot.leaves_below(path) => {
                let taken = snapshot::take_for_build(self.snapshot.origin(), path, self.state)?;
                self.put_all(&folder, &taken, reason);
            }
            _ => {
                self.put(&folder, Content::Directory, false, reason);
                let snapshot = self.snapshot;
                for entry in snapshot.entries_at(&[path]) {
                    self.put(&entry.path_below(snapshot.root()), entry.content, false, reason);
                }
            }
        }
        Ok(())
    }

    /// Takes what is above the project: it stays in the image, since it does not travel with the code.
    fn take_above(&mut self, path: &Path, shape: Shape, reason: &Reason) -> Result<(), SnapshotError> {
        match self.singles.content(path)? {
            Some(Content::Directory) => {
                self.is_located |= shape == Shape::Package;
                let taken = snapshot::take(path, self.state)?;
                self.put_all(path, &taken, reason);
            }
            Some(content) => self.put(path, content, false, reason),
            None => self.problem(path, reason, Trouble::Missing),
        }
        Ok(())
    }

    fn put_all(&mut self, folder: &Path, taken: &Snapshot, reason: &Reason) {
        self.put(folder, Content::Directory, false, reason);
        let is_above = folder != self.project && self.project.starts_with(folder);
        for entry in taken.entries() {
            let path = entry.path_below(folder);
            // The project's own code comes with each run.
            if !(is_above && path.starts_with(&self.project)) {
                self.put(&path, entry.content, false, reason);
            }
        }
    }

    /// Adds one thing. Who reads it first is told; who reads its content wins over who wants its name.
    pub(super) fn put(&mut self, path: &Path, content: Content, hollow: bool, reason: &Reason) {
        let is_better = self.found.get(path).is_none_or(|known| known.hollow && !hollow);
        if is_better {
            self.found.insert(path.to_owned(), Input { content, hollow, reason: reason.clone() });
        }
    }

    /// What is known of a Python project in a folder: see [`python`].
    pub(super) fn python_project(
        &mut self,
        folder: &Path,
        editable: bool,
        reason: &Reason,
    ) -> Result<(), SnapshotError> {
        python::gather(self, folder, editable, reason)
    }
}

/// A path as it is written in a file that counts from `folder`, without `.` and `..`.
pub(super) fn resolve(folder: &Path, written: &str) -> PathBuf {
    clean(folder, Path::new(written), None)
}

/// A path without `.` and `..`; with `root`, nothing leads above it.
fn clean(folder: &Path, path: &Path, root: Option<&Path>) -> PathBuf {
    let mut clean = folder.to_owned();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir if root.is_none_or(|root| clean != root) => drop(clean.pop()),
            Component::ParentDir | Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => clean = PathBuf::from(OsString::from("/")),
        }
    }
    clean
}
