//! Patterns of paths, as Go's `filepath.Match` (COPY, ADD) and Python's `glob` (workspaces) read them.

use std::path::{Path, PathBuf};

use regex::Regex;

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
        let Some(regex) = translate(part) else { return Vec::new() };
        let fits = |name: &str| regex.is_match(name) && (hidden || !name.starts_with('.'));
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

/// One part of a path as a regular expression; nothing where it is no pattern.
fn translate(part: &str) -> Option<Regex> {
    let mut text = String::from("(?s)^");
    let mut rest = part.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '*' => text.push_str(".*"),
            '?' => text.push('.'),
            '[' => class(&mut rest, &mut text)?,
            '\\' => text.push_str(&regex::escape(&rest.next()?.to_string())),
            c => text.push_str(&regex::escape(&c.to_string())),
        }
    }
    text.push('$');
    Regex::new(&text).ok()
}

fn class(rest: &mut std::iter::Peekable<std::str::Chars<'_>>, text: &mut String) -> Option<()> {
    text.push('[');
    if rest.next_if(|c| matches!(c, '^' | '!')).is_some() {
        text.push('^');
    }
    let mut is_first = true;
    loop {
        match rest.next()? {
            ']' if !is_first => break,
            '-' => text.push('-'),
            '\\' => text.push_str(&regex::escape(&rest.next()?.to_string())),
            c if c.is_alphanumeric() => text.push(c),
            c => text.extend(['\\', c]),
        }
        is_first = false;
    }
    text.push(']');
    Some(())
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
            ("a\\*", &["a*"], &["ab"]),
            ("dist-[0-9]*.whl", &["dist-1.0.whl"], &["dist-x.whl"]),
        ] {
            let regex = translate(pattern).expect("a pattern");
            assert!(fitting.iter().all(|name| regex.is_match(name)), "{pattern}");
            assert!(!others.iter().any(|name| regex.is_match(name)), "{pattern}");
        }
        assert!(translate("[a").is_none() && translate("a\\").is_none());
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
