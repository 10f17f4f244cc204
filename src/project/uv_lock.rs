//! The large packages of a `uv.lock`: they are installed in a layer of their own, which stays where others come and go.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

use super::declared::{at, same, table};
use crate::bounded_file::{KEPT, read_text};

/// A package of more bytes than this is worth a layer.
const LARGE: i64 = 24 << 20;

/// Large packages of one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heavy {
    /// The index's address.
    pub index: String,
    /// Each with its version and the digests that the lock has, as pip takes them.
    pub lines: Vec<String>,
}

/// What is locked for a project, at least; `extras` are those that are installed.
struct Lock<'l> {
    packages: BTreeMap<&'l str, Vec<&'l Table>>,
}

impl Heavy {
    /// Those that the project in `directory` needs. Only a way to be quick: what is not understood is none.
    pub fn read(directory: &Path, extras: &[String]) -> Vec<Self> {
        let lock = directory.ancestors().find_map(|folder| read_text(&folder.join("uv.lock"), KEPT).ok());
        let lock = lock.and_then(|text| text.parse::<Table>().ok()).unwrap_or_default();
        let own = table(directory, "pyproject.toml").unwrap_or_default();
        let name = at(&own, &["project", "name"]).and_then(Value::as_str).unwrap_or_default();
        Self::of(&lock, name, extras)
    }

    fn of(lock: &Table, project: &str, extras: &[String]) -> Vec<Self> {
        let mut packages: BTreeMap<&str, Vec<&Table>> = BTreeMap::new();
        for package in tables(lock.get("package")) {
            packages.entry(text(package, "name")).or_default().push(package);
        }
        let lock = Lock { packages };
        let mut by_index: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in lock.needed(project, extras) {
            // Several versions are for several machines, and it is not for us to choose.
            if let Some([package]) = lock.packages.get(name).map(Vec::as_slice)
                && let Some((index, line)) = heavy(package)
            {
                by_index.entry(index).or_default().push(line);
            }
        }
        by_index.into_iter().map(|(index, lines)| Self { index, lines }).collect()
    }
}

impl<'l> Lock<'l> {
    /// The names of all packages that a project needs, with its groups.
    fn needed(&self, project: &str, extras: &[String]) -> BTreeSet<&'l str> {
        let mut seen = BTreeSet::new();
        let own = self.packages.keys().copied().find(|name| same(name, project));
        let mut waiting: Vec<(&'l str, Vec<String>)> = own.map(|name| (name, extras.to_vec())).into_iter().collect();
        while let Some((name, extras)) = waiting.pop() {
            for package in self.packages.get(name).into_iter().flatten() {
                let is_own = same(name, project);
                let mut lists: Vec<&Value> = package.get("dependencies").into_iter().collect();
                let groups = package.get("dev-dependencies").filter(|_| is_own).and_then(Value::as_table);
                lists.extend(groups.into_iter().flat_map(Table::values));
                let optional = package.get("optional-dependencies").and_then(Value::as_table);
                let is_wanted = |name: &str| extras.iter().any(|extra| extra == "all" || same(extra, name));
                lists.extend(optional.into_iter().flatten().filter(|(name, _)| is_wanted(name)).map(|(_, list)| list));
                for dependency in lists.into_iter().flat_map(|list| tables(Some(list))) {
                    let extras: Vec<String> = dependency
                        .get("extra")
                        .and_then(Value::as_array)
                        .into_iter()
                        .flatten()
                        .filter_map(Value::as_str)
                        .map(str::to_owned)
                        .collect();
                    let Some((name, _)) = self.packages.get_key_value(text(dependency, "name")) else { continue };
                    if seen.insert((*name, extras.clone())) {
                        waiting.push((name, extras));
                    }
                }
            }
        }
        seen.into_iter().map(|(name, _)| name).collect()
    }
}

fn tables(value: Option<&Value>) -> impl Iterator<Item = &Table> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_table)
}

fn text<'t>(table: &'t Table, key: &str) -> &'t str {
    table.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The index of a package and its line, where a file of it for Linux is large.
fn heavy(package: &Table) -> Option<(String, String)> {
    let index = package.get("source")?.get("registry")?.as_str().filter(|index| index.contains("://"))?;
    let wheels: Vec<&Table> = tables(package.get("wheels")).filter(|wheel| is_for_linux(wheel)).collect();
    let is_large =
        wheels.iter().any(|wheel| wheel.get("size").and_then(Value::as_integer).is_some_and(|size| size > LARGE));
    let hashes: Vec<String> = wheels.iter().map(|wheel| format!("--hash={}", text(wheel, "hash"))).collect();
    let line = format!("{}=={} {}", text(package, "name"), text(package, "version"), hashes.join(" "));
    (is_large && wheels.iter().all(|wheel| !text(wheel, "hash").is_empty())).then(|| (index.to_owned(), line))
}

fn is_for_linux(wheel: &Table) -> bool {
    let file = [text(wheel, "url"), text(wheel, "filename")].concat();
    file.contains("linux") || file.contains("-any.whl")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_packages_are_found_where_the_project_needs_them() {
        let package = |name: &str, size: u32, more: &str| {
            format!(
                "[[package]]\nname = '{name}'\nversion = '1.0'\nsource = {{ registry = 'https://pypi.org/simple' }}\n{more}\n\
                 wheels = [{{ url = 'https://x/{name}-1.0-cp312-manylinux_x86_64.whl', hash = 'sha256:{name}', size = {size} }}]\n"
            )
        };
        let own = "[[package]]\nname = 'my-own'\nversion = '0.1'\nsource = { virtual = '.' }\n\
            dependencies = [{ name = 'torch', extra = ['big'] }, { name = 'small' }]\n\
            [package.optional-dependencies]\nmore = [{ name = 'extra' }]\n";
        let torch = "dependencies = [{ name = 'nvidia' }]\noptional-dependencies = { big = [{ name = 'triton' }], other = [{ name = 'no' }] }";
        let lock = [
            own.to_owned(),
            package("torch", 900 << 20, torch),
            package("small", 100, ""),
            package("nvidia", 300 << 20, ""),
            package("triton", 200 << 20, ""),
            package("no", 200 << 20, ""),
            package("extra", 50 << 20, ""),
        ]
        .concat();
        let lock: Table = lock.parse().expect("TOML");
        let found = |extras: &[String]| {
            let all = Heavy::of(&lock, "my_own", extras);
            assert_eq!(all.len(), 1);
            all[0].lines.iter().map(|line| line.split("==").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found(&[]), ["nvidia", "torch", "triton"]);
        assert_eq!(found(&["more".to_owned()]), ["extra", "nvidia", "torch", "triton"]);
        assert_eq!(Heavy::of(&lock, "my-own", &[])[0].lines[1], "torch==1.0 --hash=sha256:torch");
        assert_eq!(Heavy::of(&lock, "other", &[]), []);
    }
}
