//! What the installation of a Python project reads: its description, what that names, and the packages it depends on by path.

use std::path::Path;

use toml::{Table, Value};

use super::gather::{Gatherer, Shape};
use super::local::take_local;
use super::value::{Reason, Trouble};
use crate::snapshot::SnapshotError;

/// A package on the disk that another one needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Local {
    pub(super) path: String,
    pub(super) editable: bool,
}

/// Takes a Python project, and those that it needs by path.
pub(super) fn gather(
    gatherer: &mut Gatherer<'_>,
    folder: &Path,
    editable: bool,
    reason: &Reason,
) -> Result<(), SnapshotError> {
    let shape = if editable { Shape::Package } else { Shape::Named };
    gatherer.take(folder, shape, reason)?;
    if !gatherer.visit(folder) {
        return Ok(());
    }
    let Some((name, table, text)) = description(gatherer, folder) else { return Ok(()) };
    for Local { path, editable } in locals(&table) {
        let reason = Reason::new(&name, line_of(&text, &path), &path);
        take_local(gatherer, folder, &path, editable, &reason)?;
    }
    Ok(())
}

/// A folder's `pyproject.toml`: what it is called from the project, what is in it, and its text.
pub(super) fn description(gatherer: &mut Gatherer<'_>, folder: &Path) -> Option<(String, Table, String)> {
    let path = folder.join("pyproject.toml");
    let text = gatherer.peek(&path)?;
    let name = gatherer.name(&path);
    match text.parse::<Table>() {
        Ok(table) => Some((name, table, text)),
        Err(error) => {
            let reason = Reason::new(&name, None, "");
            gatherer.problem(&path, &reason, Trouble::Malformed(error.message().to_owned()));
            None
        }
    }
}

/// The line that a text is in, from 1.
pub(super) fn line_of(text: &str, part: &str) -> Option<usize> {
    text.lines().position(|line| line.contains(part)).map(|at| at + 1)
}

/// The value under keys, one in the other.
pub(super) fn at<'v>(table: &'v Table, keys: &[&str]) -> Option<&'v Value> {
    let (last, folders) = keys.split_last()?;
    folders.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?.get(*last)
}

/// The packages on the disk that a `pyproject.toml` or a `Pipfile` names.
pub(super) fn locals(table: &Table) -> Vec<Local> {
    let mut found = Vec::new();
    let sections: [&[&str]; 6] = [
        &["tool", "uv", "sources"],
        &["tool", "poetry", "dependencies"],
        &["tool", "poetry", "dev-dependencies"],
        &["packages"],
        &["dev-packages"],
        &["tool", "pixi", "pypi-dependencies"],
    ];
    for keys in sections {
        found.extend(at(table, keys).and_then(Value::as_table).into_iter().flat_map(paths_in));
    }
    let groups = at(table, &["tool", "poetry", "group"]).and_then(Value::as_table);
    for group in groups.into_iter().flat_map(Table::values) {
        found.extend(group.get("dependencies").and_then(Value::as_table).into_iter().flat_map(paths_in));
    }
    let mut lists: Vec<&Value> = at(table, &["project", "dependencies"]).into_iter().collect();
    for keys in
        [["project", "optional-dependencies"].as_slice(), &["tool", "pdm", "dev-dependencies"], &["dependency-groups"]]
    {
        lists.extend(at(table, keys).and_then(Value::as_table).into_iter().flat_map(Table::values));
    }
    for line in lists.into_iter().filter_map(Value::as_array).flatten().filter_map(Value::as_str) {
        found.extend(by_url(line));
    }
    found
}

/// Of a table of dependencies, those with a `path`; one may have several forms.
fn paths_in(dependencies: &Table) -> Vec<Local> {
    let one = |value: &Value| {
        let flag = |name: &str| value.get(name).and_then(Value::as_bool);
        let path = value.get("path")?.as_str()?.to_owned();
        Some(Local { path, editable: flag("editable").or_else(|| flag("develop")).unwrap_or(false) })
    };
    let forms = dependencies.values().flat_map(|value| match value {
        Value::Array(forms) => forms.iter().collect(),
        form => vec![form],
    });
    forms.filter_map(one).collect()
}

/// `name @ file:///${PROJECT_ROOT}/libs/name`, with `-e ` before it or not.
fn by_url(line: &str) -> Option<Local> {
    let (editable, rest) = line.strip_prefix("-e ").map_or((false, line), |rest| (true, rest));
    let url = rest.find("file:").map(|at| &rest[at..])?;
    let path = url.trim_start_matches("file:").replacen("//", "", 1);
    let path = path.split(['#', ';', ' ']).next().unwrap_or_default();
    let path = path.strip_prefix("/${PROJECT_ROOT}").map_or(path, |path| path.trim_start_matches('/'));
    let path = path.strip_prefix("${PROJECT_ROOT}/").unwrap_or(path);
    Some(Local { path: path.to_owned(), editable })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_on_the_disk_are_found_however_they_are_written() {
        let text = "[project]\ndependencies = ['idna', 'x @ file:///${PROJECT_ROOT}/libs/x']\n\
            [tool.uv.sources]\na = { path = '../a', editable = true }\nb = [{ path = 'b' }, { index = 'c' }]\nw = { workspace = true }\n\
            [tool.poetry.dependencies]\np = { path = './p', develop = true }\nq = '^1'\n\
            [tool.poetry.group.dev.dependencies]\nr = { path = 'r' }\n\
            [tool.pdm.dev-dependencies]\ndev = ['-e file:///${PROJECT_ROOT}/libs/y#egg=y']\n";
        let found = locals(&text.parse().expect("TOML"));
        let local = |path: &str, editable| Local { path: path.to_owned(), editable };
        let expected = [
            local("../a", true),
            local("b", false),
            local("./p", true),
            local("r", false),
            local("libs/x", false),
            local("libs/y", true),
        ];
        assert_eq!(found, expected);
    }
}
