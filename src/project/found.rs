//! What a directory holds that says how to run it.

use std::io;
use std::path::Path;

/// Files that name dependencies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dependencies {
    /// `pyproject.toml` with `uv.lock`.
    Uv,
    /// A pip requirements file, relative to the project.
    Requirements(String),
    /// A conda `environment.yml` (or `.yaml`), relative to the project.
    Conda(String),
}

/// What a directory holds that says how to run it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// `Dockerfile`.
    pub dockerfile: bool,
    /// Files that name dependencies, the most exact first.
    pub dependencies: Option<Dependencies>,
    /// The Python program to run: `train.py`, else `main.py`.
    pub program: Option<String>,
    /// Whether there is any file at all.
    pub any_file: bool,
}

impl Found {
    /// Looks into `directory`, not below it.
    pub fn in_directory(directory: &Path) -> io::Result<Self> {
        let any_file = std::fs::read_dir(directory)?.next().is_some();
        let has = |name: &str| directory.join(name).is_file();
        let dependencies = if has("pyproject.toml") && has("uv.lock") {
            Some(Dependencies::Uv)
        } else if has("requirements.txt") {
            Some(Dependencies::Requirements("requirements.txt".to_owned()))
        } else {
            ["environment.yml", "environment.yaml"]
                .into_iter()
                .find(|n| has(n))
                .map(|n| Dependencies::Conda(n.to_owned()))
        };
        let program = ["train.py", "main.py"].into_iter().find(|name| has(name)).map(str::to_owned);
        Ok(Self { dockerfile: has("Dockerfile"), dependencies, program, any_file })
    }

    /// Whether anything here says how to run it.
    pub const fn says_anything(&self) -> bool {
        self.dockerfile || self.dependencies.is_some() || self.program.is_some()
    }
}
