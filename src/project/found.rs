//! What a directory holds that says how to run it.

use std::io;
use std::path::Path;

use toml::Table;

use super::declared::{self, at};
use super::python_version::python_of;
use crate::bounded_file::{self, HAND_WRITTEN};

/// Names that programs usually have, the likeliest first.
const KNOWN: [&str; 2] = ["train.py", "main.py"];
/// Names that Dockerfiles usually have, the likeliest first.
const DOCKERFILES: [&str; 2] = ["Dockerfile", "Containerfile"];
/// What projects with a conda file are built on.
const CONDA: &str = "mambaorg/micromamba:2";
/// So many names of a directory are looked at.
const MOST: usize = 10_000;

/// Files that name dependencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dependencies {
    /// `pyproject.toml` with `uv.lock`, which may be that of a workspace above.
    Uv,
    /// `pyproject.toml` with `poetry.lock`, or with Poetry's own section.
    Poetry,
    /// `pyproject.toml` with `pdm.lock`.
    Pdm,
    /// `Pipfile`, with `Pipfile.lock` or not.
    Pipenv,
    /// A pip requirements file, relative to the project.
    Requirements(String),
    /// A conda `environment.yml` (or `.yaml`), relative to the project.
    Conda(String),
    /// What the project's own description says, by pip: `pyproject.toml`, `setup.cfg` or `setup.py`.
    Project(String),
    /// A file of a tool that nauta installs nothing with.
    Foreign(String),
}

/// What a directory holds that says how to run it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// `Dockerfile`, else `Containerfile`.
    pub dockerfile: Option<String>,
    /// Files that name dependencies, the most exact first.
    pub dependencies: Option<Dependencies>,
    /// Other such files, which are not read.
    pub unread: Vec<String>,
    /// The minor version of Python 3 that it is for.
    pub python: u32,
    /// The Python program to run: `train.py`, else `main.py`.
    pub program: Option<String>,
    /// Whether there is any file at all.
    pub any_file: bool,
}

impl Default for Found {
    fn default() -> Self {
        let (dependencies, unread, program) = (None, Vec::new(), None);
        Self { dockerfile: None, dependencies, unread, python: 12, program, any_file: false }
    }
}

impl Dependencies {
    /// The file that says most of them, for messages.
    pub fn file(&self) -> &str {
        match self {
            Self::Uv => "uv.lock",
            Self::Poetry => "poetry.lock",
            Self::Pdm => "pdm.lock",
            Self::Pipenv => "Pipfile",
            Self::Requirements(path) | Self::Conda(path) | Self::Project(path) | Self::Foreign(path) => path,
        }
    }
}

impl Found {
    /// Looks into `directory`, not below it.
    pub fn in_directory(directory: &Path) -> io::Result<Self> {
        let any_file = std::fs::read_dir(directory)?.next().is_some();
        let has = |name: &str| directory.join(name).is_file();
        let description = declared::table(directory, "pyproject.toml");
        let mut all = dependencies(directory, description.as_ref()).into_iter();
        let dependencies = all.next();
        let unread = all.map(|other| other.file().to_owned()).collect();
        let program = KNOWN.into_iter().find(|name| has(name)).map(str::to_owned);
        let dockerfile = DOCKERFILES.into_iter().find(|name| has(name)).map(str::to_owned);
        let python = python_of(directory, description.as_ref());
        Ok(Self { dockerfile, dependencies, unread, python, program, any_file })
    }

    /// The image that it is built on where nobody says another; none where it is no Python.
    pub fn usual_base(&self, dependencies: Option<&Dependencies>) -> Option<String> {
        match dependencies {
            Some(Dependencies::Conda(_)) => Some(CONDA.to_owned()),
            _ if self.dependencies.is_some() || dependencies.is_some() || self.program.is_some() => {
                Some(format!("python:3.{}-slim", self.python))
            }
            _ => None,
        }
    }

    /// Whether anything here says how to run it.
    pub const fn says_anything(&self) -> bool {
        self.dockerfile.is_some() || self.dependencies.is_some() || self.program.is_some()
    }
}

/// All that names dependencies, the most exact first; `own`: the directory's `pyproject.toml`.
fn dependencies(directory: &Path, own: Option<&Table>) -> Vec<Dependencies> {
    let has = |name: &str| directory.join(name).is_file();
    let first = |names: &[&str]| names.iter().find(|name| has(name)).map(|name| (*name).to_owned());
    let is_poetrys = own.is_some_and(|table| at(table, &["tool", "poetry", "dependencies"]).is_some());
    let is_uvs = own.is_some() && is_in_uv_workspace(directory);
    let declares = own.is_some_and(declared::declares);
    let with_own = |is_there: bool, dependencies| (own.is_some() && is_there).then_some(dependencies);
    let setup = ["setup.py", "setup.cfg"].into_iter().find(|name| declared::setup_declares(directory, name));
    let project = if declares { Some("pyproject.toml") } else { setup }.map(str::to_owned);
    let is_managed = own.is_some() && (has("poetry.lock") || is_poetrys || has("pdm.lock") || is_uvs);
    let foreign = first(&["pixi.lock", "pixi.toml", "conda-lock.yml"]);
    let all = [
        with_own(is_uvs, Dependencies::Uv),
        with_own(has("poetry.lock") || is_poetrys, Dependencies::Poetry),
        with_own(has("pdm.lock"), Dependencies::Pdm),
        first(&["Pipfile.lock", "Pipfile"]).map(|_| Dependencies::Pipenv),
        first(&["requirements.txt"]).map(Dependencies::Requirements),
        first(&["environment.yml", "environment.yaml"]).map(Dependencies::Conda),
        foreign.map(Dependencies::Foreign),
        project.filter(|_| !is_managed).map(Dependencies::Project),
    ];
    all.into_iter().flatten().collect()
}

/// Whether uv has locked this project: here, or in a workspace of the repository whose member it is.
fn is_in_uv_workspace(directory: &Path) -> bool {
    if directory.join("uv.lock").is_file() {
        return true;
    }
    let Some(repository) = directory.ancestors().find(|folder| folder.join(".git").exists()) else { return false };
    let above = directory.ancestors().skip(1).take_while(|folder| folder.starts_with(repository));
    above.into_iter().find(|folder| folder.join("uv.lock").is_file()).is_some_and(|root| {
        let table = declared::table(root, "pyproject.toml").unwrap_or_default();
        let is_member = |pattern: &str| glob_fits(pattern, directory.strip_prefix(root).unwrap_or(directory));
        let members = at(&table, &["tool", "uv", "workspace", "members"]).and_then(toml::Value::as_array);
        members.into_iter().flatten().filter_map(toml::Value::as_str).any(is_member)
    })
}

/// Whether a pattern of a workspace's members fits a path.
fn glob_fits(pattern: &str, path: &Path) -> bool {
    let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
    let mut builder = ignore::overrides::OverrideBuilder::new("/");
    let built = builder.add(&format!("/{pattern}")).and_then(|builder| builder.build());
    built.is_ok_and(|patterns| patterns.matched(path, true).is_whitelist())
}

/// Programs that may be meant, as one would type them after `nauta run`, the likeliest first: of known names, then those that
/// the project's installation makes, those at the top that say they are programs, packages that can be run, and known names one
/// folder deeper.
pub fn programs(directory: &Path) -> Vec<String> {
    let known = |folder: &str| KNOWN.iter().map(|name| format!("{folder}{name}")).collect::<Vec<_>>();
    let (files, folders) = names(directory);
    let is_file = |path: &String| directory.join(path).is_file();
    let is_program = |path: &String| {
        let text = bounded_file::read(&directory.join(path), HAND_WRITTEN).unwrap_or_default();
        String::from_utf8_lossy(&text).contains("__main__")
    };
    let found: Vec<String> = known("").into_iter().filter(is_file).collect();
    let own = files.into_iter().filter(|name| Path::new(name).extension().is_some_and(|end| end == "py"));
    let own = own.filter(|name| !KNOWN.contains(&name.as_str()) && name != "setup.py").filter(is_program);
    let runs = |folder: &&String| is_file(&format!("{folder}/__main__.py"));
    let mut all: Vec<String> = found.iter().map(|path| format!("python3 {path}")).collect();
    let description = declared::table(directory, "pyproject.toml").unwrap_or_default();
    all.extend(declared::scripts(&description).into_iter().filter(|name| is_plain(name)));
    all.extend(own.map(|path| format!("python3 {path}")));
    all.extend(is_file(&"__main__.py".to_owned()).then(|| "python3 __main__.py".to_owned()));
    all.extend(folders.iter().filter(runs).map(|folder| format!("python3 -m {folder}")));
    let (_, packages) = names(&directory.join("src"));
    let in_source = packages.iter().filter(|name| is_file(&format!("src/{name}/__main__.py")));
    all.extend(in_source.map(|folder| format!("python3 -m {folder}")));
    let deeper = folders.iter().flat_map(|folder| known(&format!("{folder}/")));
    all.extend(deeper.filter(is_file).map(|path| format!("python3 {path}")));
    all
}
/// Files and folders in a directory that are not hidden, by name.
fn names(directory: &Path) -> (Vec<String>, Vec<String>) {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten().take(MOST);
    let known = entries.filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path().is_dir())));
    let mut seen: Vec<(String, bool)> = known.filter(|(name, _)| !name.starts_with('.') && is_plain(name)).collect();
    seen.sort_unstable();
    let (folders, files): (Vec<_>, Vec<_>) = seen.into_iter().partition(|(_, is_folder)| *is_folder);
    let names = |pairs: Vec<(String, bool)>| pairs.into_iter().map(|(name, _)| name).collect();
    (names(files), names(folders))
}

/// Whether a name is a word on any command line.
fn is_plain(name: &str) -> bool {
    name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_found_the_likeliest_first() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        assert_eq!(programs(temp.path()), [""; 0]);
        let main = "if __name__ == '__main__':\n    pass\n";
        for (path, text) in [
            ("zeta.py", main),
            ("alpha.py", main),
            ("model.py", "class Model: pass"),
            ("main.py", ""),
            ("pack/__main__.py", ""),
            ("projects/train.py", ""),
            (".hidden/train.py", ""),
            ("two words.py", main),
        ] {
            let path = temp.path().join(path);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("created");
            std::fs::write(path, text).expect("written");
        }
        let expected =
            ["main.py", "alpha.py", "zeta.py", "-m pack", "projects/train.py"].map(|of| format!("python3 {of}"));
        assert_eq!(programs(temp.path()), expected);
    }
}
