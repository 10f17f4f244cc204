//! Which Python a project is for.

use std::path::Path;

use super::declared::{at, table};
use crate::bounded_file::{HAND_WRITTEN, read_text};

/// Minor versions of Python 3, the one to take first where a project is for several.
const KNOWN: [u32; 7] = [12, 11, 13, 10, 14, 9, 8];

/// The Python that uv takes for a project: a version or a specifier; empty where it says nothing.
pub fn wanted_python(directory: &Path) -> String {
    let own = read_text(&directory.join(".python-version"), HAND_WRITTEN).unwrap_or_default();
    let own = own.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned);
    let description = table(directory, "pyproject.toml").unwrap_or_default();
    let spec = || at(&description, &["project", "requires-python"]).and_then(toml::Value::as_str).map(str::to_owned);
    own.or_else(spec).unwrap_or_default()
}

/// The minor version of Python 3 that a project is for; 12 where it says nothing. `description`: its `pyproject.toml`.
pub(super) fn python_of(directory: &Path, description: Option<&toml::Table>) -> u32 {
    let pipfile = table(directory, "Pipfile");
    let text = |keys: &[&str], table: Option<&toml::Table>| at(table?, keys)?.as_str().map(str::to_owned);
    let spec = text(&["project", "requires-python"], description)
        .or_else(|| text(&["tool", "poetry", "dependencies", "python"], description))
        .or_else(|| text(&["requires", "python_version"], pipfile.as_ref()))
        .or_else(|| text(&["requires", "python_full_version"], pipfile.as_ref()))
        .unwrap_or_default();
    let own = read_text(&directory.join(".python-version"), HAND_WRITTEN).ok();
    let own =
        own.as_deref().and_then(|text| text.lines().map(str::trim).find(|line| !line.is_empty())).and_then(minor_of);
    let fits = |minor: &u32| allows(&spec, *minor);
    own.filter(fits).or_else(|| KNOWN.into_iter().find(|minor| fits(minor))).unwrap_or(KNOWN[0])
}

/// `3.11` of `3.11`, `3.11.4`, `python3.11`, `cpython-3.11.4-linux-x86_64-gnu`.
fn minor_of(text: &str) -> Option<u32> {
    let rest = &text[text.find("3.")? + 2..];
    rest[..rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())].parse().ok()
}

/// Whether a specifier (PEP 440, or Poetry's `^` and `~`) allows some version of this minor one.
fn allows(spec: &str, minor: u32) -> bool {
    let mut spec = spec.to_owned();
    for operator in ["=", ">", "<", "^", "~"] {
        spec = spec.replace(&format!("{operator} "), operator);
    }
    spec.split("||").any(|spec| {
        spec.split([',', ' ']).map(str::trim).filter(|one| !one.is_empty()).all(|one| allows_one(one, minor))
    })
}

fn allows_one(one: &str, minor: u32) -> bool {
    let version = one.trim_start_matches(|c: char| !c.is_ascii_digit());
    let operator = one[..one.len() - version.len()].trim();
    let mut parts = version.split('.');
    let major: u32 = parts.next().and_then(|part| part.parse().ok()).unwrap_or(3);
    let second: Option<u32> = parts.next().and_then(|part| part.parse().ok());
    let third = parts.next().filter(|part| *part != "*");
    let own = (3, minor);
    let bound = (major, second.unwrap_or(0));
    match operator {
        ">=" => own >= bound,
        ">" if third.is_some() => own >= bound,
        ">" => own > bound,
        "<=" => own <= bound,
        "<" if third.is_some_and(|third| third != "0") => own <= bound,
        "<" => own < bound,
        "!=" => third.is_some() || second.is_none() || own != bound,
        "^" => own >= bound && major == 3,
        "~=" if third.is_none() => own >= bound && major == 3,
        _ if second.is_none() => major == 3,
        _ => own == bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_gets_the_python_that_it_is_for() {
        let temp = tempfile::tempdir().expect("a folder");
        for (spec, own, expected) in [
            ("", "", 12),
            (">=3.9", "", 12),
            (">=3.9,<3.12", "", 11),
            ("==3.11.*", "3.11\n", 11),
            ("==3.10.4", "", 10),
            (">=3.8", "3.10.2\n", 10),
            // A file that the description rules out says nothing.
            (">=3.11", "3.9\n", 12),
            (">=3.13", "", 13),
            (">3.12", "", 13),
            ("~=3.10", "", 12),
            ("~=3.10.0", "", 10),
            ("<3.10", "", 9),
            ("<=3.11", "", 11),
            ("!=3.12.*,>=3.9", "", 11),
            (">=3.9 !=3.12", "", 11),
        ] {
            let text = format!("[project]\nrequires-python = '{spec}'\n");
            std::fs::write(temp.path().join("pyproject.toml"), text).expect("written");
            std::fs::write(temp.path().join(".python-version"), own).expect("written");
            assert_eq!(python_of(temp.path(), table(temp.path(), "pyproject.toml").as_ref()), expected, "{spec} {own}");
        }
        std::fs::remove_file(temp.path().join(".python-version")).expect("removed");
        for (spec, expected) in
            [("^3.9", 12), ("~3.10", 10), ("3.11", 11), (">=3.8,<3.11 || ^3.13", 13), (">= 3.8, < 3.11", 10), ("*", 12)]
        {
            let text = format!("[tool.poetry.dependencies]\npython = '{spec}'\n");
            std::fs::write(temp.path().join("pyproject.toml"), text).expect("written");
            assert_eq!(python_of(temp.path(), table(temp.path(), "pyproject.toml").as_ref()), expected, "{spec}");
        }
    }
}
