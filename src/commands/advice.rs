//! Files that a program misses, since ignore files kept them here.

use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;

use super::files::rule_text;
use crate::follow::Outcome;
use crate::layout;
use crate::output::shown;
use crate::snapshot::rules::Verdict;
use crate::snapshot::{Left, SnapshotError, explain};

/// Why a path of the project (relative to it) stays here and how it is sent; nothing where it travels.
pub(super) fn why_left(root: &Path, path: &str) -> Result<Option<String>, SnapshotError> {
    let (decided, verdict) = explain(root, path)?;
    let (Verdict::Leave(rule) | Verdict::Withhold(rule)) = verdict else { return Ok(None) };
    let is_folder = root.join(&decided).is_dir();
    let left = Left::one(rule, if is_folder { decided + "/" } else { decided }, 0);
    Ok(Some(format!("left out by {} ({})", rule_text(&left.rule), shown(&left.remedy()))))
}

/// What the last words of a program say that it has not found: as Python, C and the shells write it.
fn missing_path(words: &str) -> Option<&str> {
    static BEHIND: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"(?:No such file or directory|FileNotFoundError|No such file)[^'"]*['"]([^'"]+)['"]"#)
            .expect("it is a regular expression")
    });
    static BEFORE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"([^\s:'"]+)['"]?: (?:No such file or directory|not found|file not found)"#)
            .expect("it is a regular expression")
    });
    static BARE: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r"FileNotFoundError: (\S+)").expect("it is a regular expression"));
    let found = [&*BEHIND, &*BEFORE, &*BARE].into_iter().find_map(|form| form.captures(words));
    found.and_then(|found| found.get(1)).map(|path| path.as_str())
}

/// The same outcome with an advice on files that its ranks miss and that did not travel.
pub(super) fn advised(outcome: &Outcome, root: &Path) -> Outcome {
    let mut outcome = outcome.clone();
    for cause in outcome.causes.values_mut() {
        cause.advice = advice(&cause.words, root).or(cause.advice.take());
    }
    outcome
}

/// What to do where a program's last words name a file that is here and did not travel.
fn advice(words: &str, root: &Path) -> Option<String> {
    let missing = missing_path(words)?;
    let own = root.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let inside = missing.strip_prefix(layout::WORKSPACE).map_or(missing, |rest| rest.trim_start_matches('/'));
    let below = inside.strip_prefix(own).and_then(|rest| rest.strip_prefix('/'));
    // With and without the project's own folder: a package may have the project's name.
    [Some(inside), below].into_iter().flatten().find_map(|path| {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        let is_inside = !path.starts_with('/') && path.split('/').all(|part| !part.is_empty() && part != "..");
        let is_here = is_inside && root.join(path).symlink_metadata().is_ok();
        let why = is_here.then(|| why_left(root, path).ok().flatten())??;
        Some(format!("`{}` is here and did not travel: {why}", shown(path)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_files_are_found_in_last_words() {
        for (words, path) in [
            ("FileNotFoundError: [Errno 2] No such file or directory: 'data/train.bin'", Some("data/train.bin")),
            ("FileNotFoundError: data/train.bin not found.", Some("data/train.bin")),
            ("cat: data/train.bin: No such file or directory", Some("data/train.bin")),
            ("sh: 1: ./tool: not found", Some("./tool")),
            ("RuntimeError: No such file or directory: \"/workspace/x.pt\"", Some("/workspace/x.pt")),
            ("ValueError: bad 'data/train.bin'", None),
            ("", None),
        ] {
            assert_eq!(missing_path(words), path, "{words}");
        }
    }

    #[test]
    fn what_did_not_travel_is_told_with_the_line_that_sends_it() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let root = temp.path().join("gpt");
        std::fs::create_dir_all(root.join("data")).expect("created");
        for (name, text) in
            [(".nautaignore", "# none\n"), ("data/train.bin", "x"), ("model.py", ""), ("gone.bin.txt", "")]
        {
            std::fs::write(root.join(name), text).expect("written");
        }
        std::fs::create_dir(root.join(".git")).expect("created");
        std::fs::write(root.join(".gitignore"), "\n*.bin\n").expect("written");
        let words = |path: &str| format!("FileNotFoundError: [Errno 2] No such file or directory: '{path}'");
        for path in ["data/train.bin", "./data/train.bin", "/workspace/data/train.bin", "/workspace/gpt/data/train.bin"]
        {
            let advice = advice(&words(path), &root).expect("advice");
            let expected = "`data/train.bin` is here and did not travel: left out by .gitignore:2 `*.bin` \
                            (`!data/*.bin` in .nautaignore sends it)";
            assert_eq!(advice, expected, "{path}");
        }
        for path in ["model.py", "data/other.bin", "/etc/passwd", "../gpt/data/train.bin"] {
            assert_eq!(advice(&words(path), &root), None, "{path}");
        }
    }
}
