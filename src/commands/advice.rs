//! What can be done about a failure, as the project tells: about modules that are missing, and files that ignore files kept here.

use std::sync::LazyLock;

use regex::Regex;

use super::files::why_left;
use crate::follow::Outcome;
use crate::job::last_words::Surroundings;
use crate::layout;
use crate::output::shown;
use crate::project::{Dependencies, Project};
use crate::snapshot::Origin;

/// What advices about the program's last words depend on.
fn surroundings(project: &Project) -> Surroundings {
    let found = &project.found;
    let dependencies = match &found.dependencies {
        _ if found.dockerfile.is_some() => Some("the Dockerfile".to_owned()),
        Some(Dependencies::Uv | Dependencies::Poetry | Dependencies::Pdm) => Some("pyproject.toml".to_owned()),
        Some(dependencies) => Some(dependencies.file().to_owned()),
        None => None,
    };
    let entries = std::fs::read_dir(&project.root).into_iter().flatten().flatten();
    let module = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let is_package = entry.file_type().is_ok_and(|kind| kind.is_dir());
        name.strip_suffix(".py").map(str::to_owned).or_else(|| is_package.then_some(name))
    };
    Surroundings { dependencies, modules: entries.filter_map(module).collect() }
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

/// The same outcome with an advice on what its ranks miss.
pub(super) fn advised(outcome: &Outcome, project: &Project) -> Outcome {
    let mut outcome = outcome.clone();
    for cause in outcome.causes.values_mut() {
        let of_module = || Some(surroundings(project).advice(cause.missing_module.as_deref()?));
        let advice = advice(&cause.words, &project.origin(), &project.name()).or_else(of_module);
        cause.advice = advice.or(cause.advice.take());
    }
    outcome
}

/// What to do where a program's last words name a file that is here and did not travel.
fn advice(words: &str, origin: &Origin, project: &str) -> Option<String> {
    let missing = missing_path(words)?;
    let own = layout::project_folder(project);
    let own = own.rsplit('/').next().unwrap_or_default();
    let inside = missing.strip_prefix(layout::WORKSPACE).map_or(missing, |rest| rest.trim_start_matches('/'));
    let below = inside.strip_prefix(own).and_then(|rest| rest.strip_prefix('/'));
    // With and without the project's own folder: a package may have the project's name.
    [Some(inside), below].into_iter().flatten().find_map(|path| {
        let path = path.trim_start_matches("./").trim_end_matches('/');
        let is_inside = !path.starts_with('/') && path.split('/').all(|part| !part.is_empty() && part != "..");
        let is_here = is_inside && origin.root.join(path).symlink_metadata().is_ok();
        let why = is_here.then(|| why_left(origin, path).ok().flatten())??;
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
            let advice = advice(&words(path), &Origin::from(root.as_path()), "gpt").expect("advice");
            let expected = "`data/train.bin` is here and did not travel: left out by .gitignore:2 `*.bin` \
                            (`!data/*.bin` in .nautaignore sends it)";
            assert_eq!(advice, expected, "{path}");
        }
        let elsewhere = advice(&words("/workspace/digits/data/train.bin"), &Origin::from(root.as_path()), "digits");
        assert!(elsewhere.is_some(), "the folder there has the project's name, not that of the one here");
        for path in ["model.py", "data/other.bin", "/etc/passwd", "../gpt/data/train.bin"] {
            assert_eq!(advice(&words(path), &Origin::from(root.as_path()), "gpt"), None, "{path}");
        }
    }
}
