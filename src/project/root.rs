//! Which directory is the project.

use std::io;
use std::path::{Path, PathBuf};

use super::{Found, project_name};
use crate::bounded_file::{HAND_WRITTEN, read_text_inside};
use crate::diagnosis::{Diagnosis, Kind};
use crate::settings::{ProjectFile, SettingsError, parse_project_file};
use crate::snapshot::{GitUser, Origin};

/// The project's own configuration file.
const PROJECT_FILE: &str = "nauta.toml";

/// A project: its directory, its own configuration and what was found in it.
#[derive(Clone, Debug)]
pub struct Project {
    /// The directory whose files go into the containers. Absolute.
    pub root: PathBuf,
    /// `nauta.toml`, or its defaults where there is none.
    pub file: ProjectFile,
    /// Whether there is a `nauta.toml`.
    pub has_file: bool,
    /// What else in the directory says how to run it.
    pub found: Found,
    /// Where the user's configuration of Git is, which says what stays here.
    pub git: GitUser,
}

/// What can be wrong with a project's directory.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// The directory cannot be read.
    #[error("cannot read the directory `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A whole system or home directory is no project.
    #[error("`{}` is no project directory: all of it would be sent", path.display())]
    TooMuch {
        /// Which.
        path: PathBuf,
    },
    /// `nauta.toml` is wrong.
    #[error(transparent)]
    Settings(#[from] SettingsError),
}

impl Diagnosis for ProjectError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreadable { .. } => vec!["check the directory's permissions".to_owned()],
            Self::TooMuch { .. } => {
                vec!["go to the directory of your program, or make one with `nauta init DIR`".to_owned()]
            }
            Self::Settings(error) => error.hints(),
        }
    }
}

impl Project {
    /// Its name: what `nauta.toml` says, else the directory's, made fit for repositories and labels.
    pub fn name(&self) -> String {
        let own = self.root.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        project_name(self.file.project.name.as_deref().unwrap_or(&own))
    }

    /// Where its files are, and what decides which of them are sent.
    pub fn origin(&self) -> Origin {
        let dockerfile = self.file.environment.dockerfile.clone().or_else(|| self.found.dockerfile.clone());
        Origin { root: self.root.clone(), dockerfile, git: self.git.clone(), build_folder: None }
    }

    /// Finds the project that `directory` (absolute) belongs to: the nearest directory upwards with a `nauta.toml`;
    /// else `directory` itself when it holds something to run; else the repository it is in; else `directory`.
    ///
    /// `home` is refused, as the file system's root is: nobody means to send all of it.
    pub fn open(directory: &Path, home: Option<&Path>) -> Result<Self, ProjectError> {
        let (root, found) = find_root(directory);
        if root.parent().is_none() || Some(root.as_path()) == home {
            return Err(ProjectError::TooMuch { path: root });
        }
        let path = root.join(PROJECT_FILE);
        let (file, has_file) = match read_text_inside(&root, PROJECT_FILE, HAND_WRITTEN) {
            Ok(text) => (parse_project_file(&text, &path)?, true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => (ProjectFile::default(), false),
            Err(source) => return Err(SettingsError::Unreadable { path, source }.into()),
        };
        let found = found.map_or_else(|| Found::in_directory(&root), Ok);
        let found = found.map_err(|source| ProjectError::Unreadable { path: root.clone(), source })?;
        Ok(Self { root, file, has_file, found, git: GitUser::default() })
    }
}

/// The project's directory, and what is in it where that had to be looked at.
fn find_root(directory: &Path) -> (PathBuf, Option<Found>) {
    if let Some(root) = directory.ancestors().find(|path| path.join(PROJECT_FILE).is_file()) {
        return (root.to_owned(), None);
    }
    let found = Found::in_directory(directory).ok();
    if found.as_ref().is_some_and(Found::says_anything) {
        return (directory.to_owned(), found);
    }
    let root = directory.ancestors().find(|path| path.join(".git").exists()).unwrap_or(directory);
    (root.to_owned(), found.filter(|_| root == directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_nauta_toml_wins_then_a_program_then_the_repository() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let deep = temp.path().join("repo/sub/deep");
        std::fs::create_dir_all(&deep).expect("created");
        std::fs::create_dir(temp.path().join("repo/.git")).expect("created");
        assert_eq!(find_root(&deep).0, temp.path().join("repo"));
        std::fs::write(deep.join("train.py"), "").expect("written");
        assert_eq!(find_root(&deep).0, deep);
        std::fs::write(temp.path().join("repo/sub/nauta.toml"), "").expect("written");
        assert_eq!(find_root(&deep).0, temp.path().join("repo/sub"));
    }

    #[test]
    fn home_and_the_root_are_refused() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        assert!(matches!(Project::open(temp.path(), Some(temp.path())), Err(ProjectError::TooMuch { .. })));
        assert!(matches!(Project::open(Path::new("/"), None), Err(ProjectError::TooMuch { .. })));
    }
}
