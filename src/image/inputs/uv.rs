//! What `uv sync` reads: the workspace's description and lock, its members, and packages by path.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::gather::{Gatherer, Shape};
use super::glob;
use super::python::{self, at, line_of};
use super::value::Reason;
use crate::snapshot::SnapshotError;

/// Files that change what uv does, where they are there.
const SETTINGS: [&str; 2] = ["uv.toml", ".python-version"];

pub(super) fn gather(gatherer: &mut Gatherer<'_>) -> Result<(), SnapshotError> {
    let project = gatherer.project.clone();
    let own = Reason::new("the project", None, "");
    let root = project.ancestors().take_while(|folder| folder.starts_with(&gatherer.top));
    let root = root.into_iter().find(|folder| folder.join("uv.lock").is_file()).unwrap_or(&project).to_owned();
    gatherer.take(&root.join("pyproject.toml"), Shape::Named, &own)?;
    gatherer.take(&root.join("uv.lock"), Shape::Named, &own)?;
    for folder in [&root, &project] {
        for name in SETTINGS {
            gatherer.take_if_there(&folder.join(name), Shape::Named, &own)?;
        }
    }
    let Some((name, table, text)) = python::description(gatherer, &root) else { return Ok(()) };
    let mut members = BTreeMap::new();
    for folder in members_of(&root, &table) {
        let reason = Reason::new(&name, line_of(&text, "members"), "members");
        gatherer.take(&folder.join("pyproject.toml"), Shape::Named, &reason)?;
        if let Some((_, member, _)) = python::description(gatherer, &folder) {
            members.insert(normal_name(&member), folder);
        }
    }
    take_project(gatherer, &project, &table, &members, &own)
}

/// Takes a project, the members that it needs, and what these need.
fn take_project(
    gatherer: &mut Gatherer<'_>,
    folder: &Path,
    root: &Table,
    members: &BTreeMap<String, PathBuf>,
    reason: &Reason,
) -> Result<(), SnapshotError> {
    if !gatherer.visit(&folder.join("pyproject.toml")) {
        return Ok(());
    }
    gatherer.take(&folder.join("pyproject.toml"), Shape::Named, reason)?;
    let Some((name, table, text)) = python::description(gatherer, folder) else { return Ok(()) };
    if is_package(&table) {
        gatherer.python_project(folder, true, reason)?;
    }
    for table in [&table, root] {
        for (dependency, value) in at(table, &["tool", "uv", "sources"]).and_then(Value::as_table).into_iter().flatten()
        {
            let is_member = value.get("workspace").and_then(Value::as_bool).unwrap_or(false);
            if let Some(folder) = members.get(&normal(dependency)).filter(|_| is_member) {
                let reason = Reason::new(&name, line_of(&text, dependency), dependency);
                take_project(gatherer, folder, root, members, &reason)?;
            }
        }
    }
    for local in python::locals(&table) {
        let reason = Reason::new(&name, line_of(&text, &local.path), &local.path);
        super::local::take_local(gatherer, folder, &local.path, local.editable, &reason)?;
    }
    Ok(())
}

/// Whether uv installs the project itself, and not only what it depends on.
pub(in crate::image) fn is_package(table: &Table) -> bool {
    let said = at(table, &["tool", "uv", "package"]).and_then(Value::as_bool);
    said.unwrap_or_else(|| table.contains_key("build-system"))
}

fn members_of(root: &Path, table: &Table) -> Vec<PathBuf> {
    let list = |key: &str| -> Vec<PathBuf> {
        let patterns = at(table, &["tool", "uv", "workspace", key]).and_then(Value::as_array);
        let patterns = patterns.into_iter().flatten().filter_map(Value::as_str);
        patterns.flat_map(|pattern| glob::expand(root, pattern, false)).collect()
    };
    let excluded = list("exclude");
    let is_member = |path: &PathBuf| !excluded.contains(path) && path.join("pyproject.toml").is_file();
    list("members").into_iter().filter(is_member).collect()
}

fn normal_name(table: &Table) -> String {
    normal(at(table, &["project", "name"]).and_then(Value::as_str).unwrap_or_default())
}

/// Names of distributions are compared like this (PEP 503).
fn normal(name: &str) -> String {
    let mut normal = String::new();
    for c in name.chars() {
        match c {
            '-' | '_' | '.' if normal.ends_with('-') => {}
            '-' | '_' | '.' => normal.push('-'),
            c => normal.extend(c.to_lowercase()),
        }
    }
    normal
}
