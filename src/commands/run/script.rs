//! The script that a command names: how it is run where it stands alone, and whether it travels.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::error::RunError;
use crate::bounded_file::{HAND_WRITTEN, read_text};
use crate::commands::files::why_left;
use crate::diagnosis::{Result, nearest};
use crate::snapshot::Snapshot;

/// The command, with the interpreter of a script that stands alone: `train.py` means `python3 train.py`. A program that is
/// named by `./` and may be executed is what it says.
pub(super) fn interpreted(mut command: Vec<String>, root: &Path) -> Vec<String> {
    let Some(first) = command.first() else { return command };
    let path = root.join(first);
    let extension = Path::new(first).extension().and_then(|extension| extension.to_str());
    let is_executable = || path.metadata().is_ok_and(|found| found.permissions().mode() & 0o111 != 0);
    let is_elsewhere = first.starts_with('/') && !path.starts_with(root);
    if is_elsewhere || first.starts_with("./") && is_executable() {
        return command;
    }
    match extension {
        Some("py") => command.insert(0, "python3".to_owned()),
        Some("sh") => command.insert(0, shell(&path).to_owned()),
        _ => {}
    }
    command
}

/// The shell that a script asks for in its first line.
fn shell(path: &Path) -> &'static str {
    let text = read_text(path, HAND_WRITTEN).unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    if first.starts_with("#!") && first.contains("bash") { "bash" } else { "sh" }
}

/// The script among a command's words, where they begin with an interpreter that is known.
fn script(command: &[String]) -> Option<&str> {
    let (program, words) = command.split_first()?;
    let program = program.rsplit('/').next()?;
    let (end, with_value): (_, &[&str]) = match program.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.') {
        "python" => (".py", &["-W", "-X", "--check-hash-based-pycs"]),
        "sh" | "bash" => (".sh", &["-o", "+o", "-O", "+O"]),
        _ => return None,
    };
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match word {
            _ if with_value.contains(&word) => drop(words.next()),
            // A module, or the program itself: no file is named.
            "-m" | "-c" | "-" => return None,
            _ if word.starts_with('-') || word.starts_with('+') => {}
            _ => return word.ends_with(end).then_some(word),
        }
    }
    None
}

/// Sees that the script travels, before anything is built for it.
pub(super) fn check(command: &[String], snapshot: &Snapshot) -> Result<()> {
    let Some(script) = script(command) else { return Ok(()) };
    let path = script.trim_start_matches("./");
    // Another place of the container than the project's folder, or a name that a placeholder completes.
    if path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains(['{', '$']) {
        return Ok(());
    }
    if snapshot.entry(path).is_some() {
        return Ok(());
    }
    let root = snapshot.root();
    let near = near(path, snapshot);
    let missing = |left| RunError::NoScript { path: script.to_owned(), root: root.to_owned(), left, near };
    if root.join(path).exists() {
        return match why_left(snapshot.origin(), path)? {
            Some(why) => Err(missing(Some(why)).into()),
            // Below a link, or it came just now.
            None => Ok(()),
        };
    }
    Err(missing(None).into())
}

/// What may have been meant: a file of the same name elsewhere, else one whose path is alike.
fn near(path: &str, snapshot: &Snapshot) -> Option<String> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let end = path.rsplit('.').next().unwrap_or_default();
    let paths: Vec<String> = snapshot.entries().map(|entry| entry.display()).collect();
    let alike = || paths.iter().map(String::as_str).filter(|other| other.rsplit('.').next() == Some(end));
    let same = alike().find(|other| name(other) == name(path));
    same.or_else(|| nearest(path, alike())).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::take;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn a_script_that_stands_alone_gets_its_interpreter() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let write = |name: &str, text: &str, mode| {
            std::fs::write(temp.path().join(name), text).expect("written");
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(temp.path().join(name), mode).expect("set");
        };
        write("train.py", "", 0o644);
        write("tool.py", "#!/usr/bin/env python3\n", 0o755);
        write("plain.sh", "#!/bin/sh\n", 0o755);
        write("rich.sh", "#!/usr/bin/env bash\n", 0o644);
        for (typed, meant) in [
            ("train.py --epochs 3", "python3 train.py --epochs 3"),
            ("./train.py", "python3 ./train.py"),
            ("tool.py", "python3 tool.py"),
            ("./tool.py -n 5", "./tool.py -n 5"),
            ("plain.sh", "sh plain.sh"),
            ("rich.sh", "bash rich.sh"),
            ("torchrun train.py", "torchrun train.py"),
            ("/opt/x.py", "/opt/x.py"),
        ] {
            assert_eq!(interpreted(words(typed), temp.path()), words(meant), "{typed}");
        }
    }

    #[test]
    fn the_script_is_found_behind_options() {
        for (command, expected) in [
            ("python3 train.py x.py", Some("train.py")),
            ("/usr/bin/python3.12 -u -W ignore ./a/b.py", Some("./a/b.py")),
            ("python -m pkg.train x.py", None),
            ("python -c 1 x.py", None),
            ("python3 -", None),
            ("python3 data", None),
            ("bash -e -o pipefail run.sh", Some("run.sh")),
            ("sh -c run.sh", None),
            ("sh -s run.sh", Some("run.sh")),
            ("torchrun train.py", None),
        ] {
            assert_eq!(script(&words(command)), expected, "{command}");
        }
    }

    #[test]
    fn a_script_that_does_not_travel_is_told_before_anything_is_built() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(temp.path().join("src")).expect("created");
        for name in ["main.py", "src/train.py", "left.py", "run.sh"] {
            std::fs::write(temp.path().join(name), "").expect("written");
        }
        std::fs::write(temp.path().join(".nautaignore"), "left.py\n").expect("written");
        let snapshot = take(temp.path(), None).expect("readable");
        let told = |command: &str| match check(&words(command), &snapshot) {
            Ok(()) => "fine".to_owned(),
            Err(error) => format!("{error}; {}", error.hints().join("; ")),
        };
        for fine in ["python3 main.py", "python3 ./src/train.py", "sh run.sh", "python3 /opt/x.py", "python3 ../x.py"] {
            assert_eq!(told(fine), "fine", "{fine}");
        }
        assert!(told("python3 train.py").contains("did you mean `src/train.py`?"), "{}", told("python3 train.py"));
        assert!(told("python3 mian.py").contains("did you mean `main.py`?"), "{}", told("python3 mian.py"));
        let left = told("python3 left.py");
        assert!(left.contains(".nautaignore:1 `left.py`"), "{left}");
    }
}
