//! What a project's own description says that it depends on: `pyproject.toml` (PEP 621, PEP 735, Poetry's and Hatch's own), `Pipfile`,
//! `setup.py`, `setup.cfg`.

use std::path::Path;

use toml::{Table, Value};

use crate::bounded_file::{HAND_WRITTEN, read_text};

/// What pip is to install of a project.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Whether the project itself is a package, whose dependencies come with it.
    pub is_package: bool,
    /// Requirements besides, as pip takes them.
    pub lines: Vec<String>,
    /// What the package itself needs, which comes with it.
    pub named: Vec<String>,
    /// Extras of the package.
    pub extras: Vec<String>,
    /// Extras and groups that were asked for and that there are none of.
    pub unknown: Vec<String>,
}

/// A description that is TOML; nothing where there is none, or it cannot be understood: who installs it says why.
pub(super) fn table(directory: &Path, name: &str) -> Option<Table> {
    read_text(&directory.join(name), HAND_WRITTEN).ok()?.parse().ok()
}

/// The value under keys, one in the other.
pub(super) fn at<'v>(table: &'v Table, keys: &[&str]) -> Option<&'v Value> {
    let (last, folders) = keys.split_last()?;
    folders.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?.get(*last)
}

fn texts(value: Option<&Value>) -> Vec<String> {
    let all = value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    all.map(str::to_owned).collect()
}

impl Declared {
    /// What is declared in `directory`, with these extras and groups (`all` is every one).
    pub fn read(directory: &Path, extras: &[String], groups: &[String]) -> Self {
        let table = table(directory, "pyproject.toml").unwrap_or_default();
        let is_setup = ["setup.py", "setup.cfg"].iter().any(|name| directory.join(name).is_file());
        let is_package = table.contains_key("build-system") || is_setup;
        let mut declared = Self { is_package, ..Self::default() };
        declared.lines = texts(at(&table, &["project", "dependencies"]));
        declared.extras = declared.add_all(&table, &["project", "optional-dependencies"], extras);
        if is_package {
            declared.named = std::mem::take(&mut declared.lines);
        }
        declared.add_all(&table, &["dependency-groups"], groups);
        declared.lines.extend(texts(at(&table, &["tool", "hatch", "envs", "default", "dependencies"])));
        declared
    }

    /// Adds lists by their names, and gives the names that there are.
    fn add_all(&mut self, table: &Table, section: &[&str], names: &[String]) -> Vec<String> {
        let section = at(table, section).and_then(Value::as_table).cloned().unwrap_or_default();
        let every = || section.keys().cloned().collect::<Vec<String>>();
        let mut found = Vec::new();
        let names = if names.iter().any(|name| name == "all") { every() } else { names.to_vec() };
        for name in names {
            match section.keys().find(|known| same(known, &name)) {
                Some(known) => {
                    self.add(&section, known, 0);
                    found.push(known.clone());
                }
                None => self.unknown.push(name),
            }
        }
        found
    }

    /// A list of requirements; groups may name others.
    fn add(&mut self, section: &Table, name: &str, depth: usize) {
        let list = section.get(name).and_then(Value::as_array);
        for one in list.into_iter().flatten() {
            let included = one.get("include-group").and_then(Value::as_str);
            match (one.as_str(), included) {
                (Some(line), _) => self.lines.push(line.to_owned()),
                (None, Some(other)) if depth < 10 => {
                    let known = section.keys().find(|known| same(known, other)).cloned();
                    self.add(section, known.as_deref().unwrap_or(other), depth + 1);
                }
                _ => {}
            }
        }
    }
}

/// Names of extras and groups are compared like this (PEP 685, PEP 735).
pub(super) fn same(one: &str, other: &str) -> bool {
    let normal = |name: &str| name.to_lowercase().replace(['_', '.'], "-");
    normal(one) == normal(other)
}

/// Whether a `pyproject.toml` names anything to install.
pub(super) fn declares(table: &Table) -> bool {
    let has = |keys: &[&str]| {
        at(table, keys).is_some_and(|value| match value {
            Value::Array(list) => !list.is_empty(),
            Value::Table(all) => !all.is_empty(),
            _ => false,
        })
    };
    let is_package = table.contains_key("project") && table.contains_key("build-system");
    let all: [&[&str]; 4] = [
        &["project", "dependencies"],
        &["project", "optional-dependencies"],
        &["dependency-groups"],
        &["tool", "hatch", "envs", "default", "dependencies"],
    ];
    is_package || all.iter().any(|keys| has(keys))
}

/// Whether a `setup.py` or `setup.cfg` names anything to install: where it is no more than a list of packages, these are found anyway.
pub(super) fn setup_declares(directory: &Path, name: &str) -> bool {
    const WORDS: [&str; 6] =
        ["install_requires", "entry_points", "scripts", "ext_modules", "requirements", "console_scripts"];
    let text = read_text(&directory.join(name), HAND_WRITTEN).unwrap_or_default();
    WORDS.iter().any(|word| text.contains(word))
}

/// The programs that a project's installation makes, by name.
pub(super) fn scripts(table: &Table) -> Vec<String> {
    let sections: [&[&str]; 2] = [&["project", "scripts"], &["tool", "poetry", "scripts"]];
    let all = sections.iter().filter_map(|keys| at(table, keys)?.as_table());
    let mut names: Vec<String> = all.flat_map(Table::keys).cloned().collect();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_put_together_as_they_are_asked_for() {
        let temp = tempfile::tempdir().expect("a folder");
        let text = "[project]\nname = 'x'\ndependencies = ['idna==3.10']\n[project.optional-dependencies]\nGPU_x = ['a']\nb = ['b']\n\
            [dependency-groups]\ndev = ['pytest', { include-group = 'lint' }]\nlint = ['ruff']\n";
        let write = |text: &str| std::fs::write(temp.path().join("pyproject.toml"), text).expect("written");
        let read = |extras: &[&str], groups: &[&str]| {
            let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
            let declared = Declared::read(temp.path(), &own(extras), &own(groups));
            (declared.is_package, declared.lines.join(" "), declared.unknown.join(" "))
        };
        let expected = |is_package, lines: &str, unknown: &str| (is_package, lines.to_owned(), unknown.to_owned());
        write(text);
        assert_eq!(read(&[], &[]), expected(false, "idna==3.10", ""));
        assert_eq!(read(&["gpu-x"], &["dev"]), expected(false, "idna==3.10 a pytest ruff", ""));
        assert_eq!(read(&["all"], &["no"]), expected(false, "idna==3.10 a b", "no"));
        // A package brings its own.
        write(&format!("{text}[build-system]\nrequires = []\n"));
        assert_eq!(read(&["gpu-x"], &["lint"]), expected(true, "ruff", ""));
    }

    #[test]
    fn a_description_of_tools_alone_declares_nothing() {
        let declares = |text: &str| declares(&text.parse().expect("TOML"));
        assert!(!declares("[tool.ruff]\nline-length = 100\n"));
        assert!(!declares("[project]\nname = 'x'\nversion = '1'\n"));
        assert!(declares("[project]\nname = 'x'\ndependencies = ['idna']\n"));
        assert!(declares("[project]\nname = 'x'\n[build-system]\nrequires = []\n"));
    }
}
