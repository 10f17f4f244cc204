//! What a directory holds that says how to run it.

use std::io;
use std::path::Path;

use crate::bounded_file::{self, HAND_WRITTEN};

/// Names that programs usually have, the likeliest first.
const KNOWN: [&str; 2] = ["train.py", "main.py"];
/// Names that Dockerfiles usually have, the likeliest first.
const DOCKERFILES: [&str; 2] = ["Dockerfile", "Containerfile"];
/// So many names of a directory are looked at.
const MOST: usize = 10_000;

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
    /// `Dockerfile`, else `Containerfile`.
    pub dockerfile: Option<String>,
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
        let program = KNOWN.into_iter().find(|name| has(name)).map(str::to_owned);
        let dockerfile = DOCKERFILES.into_iter().find(|name| has(name)).map(str::to_owned);
        Ok(Self { dockerfile, dependencies, program, any_file })
    }

    /// Whether anything here says how to run it.
    pub const fn says_anything(&self) -> bool {
        self.dockerfile.is_some() || self.dependencies.is_some() || self.program.is_some()
    }
}

/// Programs that may be meant, as one would type them after `nauta run`, the likeliest first: of known names, then those at
/// the top that say they are programs, packages that can be run, and known names one folder deeper.
pub fn programs(directory: &Path) -> Vec<String> {
    let known = |folder: &str| KNOWN.iter().map(|name| format!("{folder}{name}")).collect::<Vec<_>>();
    let (files, folders) = names(directory);
    let is_file = |path: &String| directory.join(path).is_file();
    let is_program = |path: &String| {
        let text = bounded_file::read(&directory.join(path), HAND_WRITTEN).unwrap_or_default();
        String::from_utf8_lossy(&text).contains("__main__")
    };
    let mut found: Vec<String> = known("").into_iter().filter(is_file).collect();
    let own = files.into_iter().filter(|name| Path::new(name).extension().is_some_and(|end| end == "py"));
    found.extend(own.filter(|name| !KNOWN.contains(&name.as_str())).filter(is_program));
    let runs = |folder: &&String| is_file(&format!("{folder}/__main__.py"));
    let mut all: Vec<String> = found.iter().map(|path| format!("python3 {path}")).collect();
    all.extend(folders.iter().filter(runs).map(|folder| format!("python3 -m {folder}")));
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
