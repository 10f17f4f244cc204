//! Patterns of paths, as Go's `filepath.Match` (COPY, ADD) and Python's `glob` (workspaces) read them.

use std::path::{Path, PathBuf};

use crate::snapshot::{Dialect, Glob};

/// So many names of a folder are looked at.
const MOST: usize = 100_000;

/// Whether a text is a pattern.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// The paths below `root` that a pattern fits, in order. `..` and `.` are no part of it. What is hidden counts where `hidden` says so.
pub(super) fn expand(root: &Path, pattern: &str, hidden: bool) -> Vec<PathBuf> {
    let mut found = vec![root.to_owned()];
    for part in pattern.split('/').filter(|part| !part.is_empty() && *part != ".") {
        if part == "**" {
            found = found.into_iter().flat_map(|folder| below(&folder)).collect();
            continue;
        }
        if !is_pattern(part) && !part.contains('\\') {
            found = found.into_iter().map(|path| path.join(part)).filter(|path| exists(path)).collect();
            continue;
        }
        let Ok(glob) = Glob::new(part.as_bytes(), Dialect::Name) else { return Vec::new() };
        let fits = |name: &str| glob.matches(name.as_bytes()) && (hidden || !name.starts_with('.'));
        found = found
            .into_iter()
            .flat_map(|folder| names(&folder))
            .filter(|(_, name)| fits(name))
            .map(|(p, _)| p)
            .collect();
    }
    found.sort();
    found.dedup();
    found
}

fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

fn names(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().take(MOST);
    entries.filter_map(|entry| Some((entry.path(), entry.file_name().into_string().ok()?))).collect()
}

/// A folder and all folders below it, but those that are hidden.
fn below(folder: &Path) -> Vec<PathBuf> {
    let (mut all, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = waiting.pop() {
        let is_wanted = |(path, name): &(PathBuf, String)| {
            !name.starts_with('.') && path.symlink_metadata().is_ok_and(|found| found.is_dir())
        };
        waiting.extend(names(&folder).into_iter().filter(is_wanted).map(|(path, _)| path));
        all.push(folder);
        if all.len() > MOST {
            break;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_go_has_it() {
        for (pattern, fitting, others) in [
            ("*.py", &["a.py", ".py"][..], &["a.pyc", "py"][..]),
            ("a?c", &["abc", "a-c"], &["ac", "abbc"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "-x"]),
            ("[^a]x", &["bx"], &["ax"]),
            ("[!a]x", &["bx", "\u{e9}x"], &["ax"]),
            ("[]a]?", &["]\u{e9}", "ab"], &["bb", "a"]),
            ("a**b", &["ab", "axb"], &["abc"]),
            ("a\\*", &["a*"], &["ab"]),
            ("dist-[0-9]*.whl", &["dist-1.0.whl"], &["dist-x.whl"]),
        ] {
            let glob = Glob::new(pattern.as_bytes(), Dialect::Name).expect("a pattern");
            assert!(fitting.iter().all(|name| glob.matches(name.as_bytes())), "{pattern}");
            assert!(!others.iter().any(|name| glob.matches(name.as_bytes())), "{pattern}");
        }
        assert!(["[a", "a\\"].iter().all(|bad| Glob::new(bad.as_bytes(), Dialect::Name).is_err()));
    }

    #[test]
    fn paths_are_found_part_by_part() {
        let temp = tempfile::tempdir().expect("a folder");
        for path in ["packages/a/x.py", "packages/b/y.py", "packages/.c/z.py", "other/y.py"] {
            let path = temp.path().join(path);
            std::fs::create_dir_all(path.parent().expect("has one")).expect("created");
            std::fs::write(path, "").expect("written");
        }
        let found = |pattern: &str, hidden| -> Vec<String> {
            let relative = |path: PathBuf| path.strip_prefix(temp.path()).expect("below").display().to_string();
            expand(temp.path(), pattern, hidden).into_iter().map(relative).collect()
        };
        assert_eq!(found("packages/*", false), ["packages/a", "packages/b"]);
        assert_eq!(found("packages/*/", true), ["packages/.c", "packages/a", "packages/b"]);
        assert_eq!(found("*/?/[xy].py", true), ["packages/a/x.py", "packages/b/y.py"]);
        assert_eq!(found("**/y.py", false), ["other/y.py", "packages/b/y.py"]);
        assert_eq!(found("other", false), ["other"]);
    }
}
