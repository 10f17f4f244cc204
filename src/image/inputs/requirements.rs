//! What a file of pip requirements reads: other such files, constraints, packages and archives on the disk.

use std::path::Path;

use super::gather::{Gatherer, Shape, resolve};
use super::local::take_local;
use super::value::Reason;
use crate::snapshot::SnapshotError;

/// What a line names on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// `-r`: counted from the folder of the file that says so.
    File(String),
    /// `-c`: the same.
    Constraints(String),
    /// `-e PATH`: counted from where pip runs.
    Editable(String),
    /// A path, counted from where pip runs.
    Path(String),
    /// A folder of archives: `--find-links`.
    Links(String),
}

/// Follows a file of requirements, or of constraints.
pub(super) fn gather(
    gatherer: &mut Gatherer<'_>,
    path: &Path,
    constrains: bool,
    reason: &Reason,
) -> Result<(), SnapshotError> {
    let Some(real) = gatherer.take(path, Shape::Named, reason)? else { return Ok(()) };
    if !gatherer.visit(path) {
        return Ok(());
    }
    let Some(text) = gatherer.read(&real, reason) else { return Ok(()) };
    let (name, folder) = (gatherer.name(path), path.parent().unwrap_or(path).to_owned());
    let project = gatherer.project.clone();
    for (line, text) in logical_lines(&text) {
        gatherer.has_own_index |= says_where(&text) || constrains && text.starts_with("torch");
        if !text.starts_with('-') && !constrains {
            gatherer.requirements.push(text.split(" --").next().unwrap_or(&text).trim().to_owned());
        }
        if let Some(named) = named(&text) {
            take_named(gatherer, &named, &folder, &project, &Reason::new(&name, Some(line), text))?;
        }
    }
    Ok(())
}

/// Takes what a line names: files from `folder`, packages from `current`, where pip runs.
pub(super) fn take_named(
    gatherer: &mut Gatherer<'_>,
    named: &Named,
    folder: &Path,
    current: &Path,
    reason: &Reason,
) -> Result<(), SnapshotError> {
    match named {
        Named::File(file) => {
            let path = resolve(folder, file);
            gather(gatherer, &path, false, reason)
        }
        Named::Constraints(file) => {
            let path = resolve(folder, file);
            gather(gatherer, &path, true, reason)
        }
        Named::Editable(path) => take_local(gatherer, current, path, true, reason),
        Named::Path(path) => take_local(gatherer, current, path, false, reason),
        Named::Links(links) => {
            let path = resolve(current, links);
            gatherer.take(&path, Shape::Named, reason).map(drop)
        }
    }
}

/// Lines without comments, those that go on on the next one put together; each with its number.
pub(super) fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines: Vec<(usize, String)> = Vec::new();
    let mut goes_on = false;
    for (number, line) in text.lines().enumerate() {
        let (part, more) = line.strip_suffix('\\').map_or((line, false), |part| (part, true));
        match lines.last_mut().filter(|_| goes_on) {
            Some((_, whole)) => whole.push_str(part),
            None => lines.push((number + 1, part.to_owned())),
        }
        goes_on = more;
    }
    for (_, line) in &mut lines {
        *line = without_comment(line).trim().to_owned();
    }
    lines.retain(|(_, line)| !line.is_empty());
    lines
}

/// A `#` begins a comment at the beginning, and behind a space.
fn without_comment(line: &str) -> &str {
    let is_comment = |(at, _): &(usize, char)| *at == 0 || line[..*at].ends_with(char::is_whitespace);
    line.char_indices().filter(|(_, c)| *c == '#').find(is_comment).map_or(line, |(at, _)| &line[..at])
}

/// Whether a line says where packages come from, or which bytes they have.
fn says_where(line: &str) -> bool {
    const SAY: [&str; 6] = ["-i", "--index-url", "--extra-index-url", "--no-index", "--find-links", "-f"];
    SAY.iter().any(|option| line.starts_with(option)) || line.contains("--hash")
}

/// What a line names on the disk, if it does.
pub(super) fn named(line: &str) -> Option<Named> {
    let option = |long: &str, short: &str| {
        let rest = line.strip_prefix(long).filter(|rest| rest.starts_with(['=', ' ', '\t']));
        let rest = rest.or_else(|| line.strip_prefix(short).filter(|_| !short.is_empty()))?;
        let value = rest.trim_start_matches(['=', ' ', '\t']).trim().trim_matches(['"', '\'']);
        (!value.is_empty()).then(|| value.to_owned())
    };
    let local = |value: &String| !value.contains("://") || value.starts_with("file:");
    if let Some(file) = option("--requirement", "-r") {
        return local(&file).then(|| Named::File(path_of(&file).to_owned()));
    }
    if let Some(file) = option("--constraint", "-c") {
        return local(&file).then(|| Named::Constraints(path_of(&file).to_owned()));
    }
    if let Some(path) = option("--editable", "-e") {
        return local(&path).then(|| Named::Editable(path_of(&path).to_owned()));
    }
    if let Some(links) = option("--find-links", "-f") {
        return local(&links).then(|| Named::Links(path_of(&links).to_owned()));
    }
    if line.starts_with('-') {
        return None;
    }
    // `name @ file:path`, or a path alone; what is behind `;` says where it holds.
    let line = line.split(" ;").next().unwrap_or(line).split(" --").next().unwrap_or(line).trim();
    if let Some((_, url)) = line.split_once('@').filter(|(_, url)| url.trim_start().starts_with("file:")) {
        return Some(Named::Path(path_of(url.trim()).to_owned()));
    }
    let is_path = line.starts_with('.') || line.contains('/') || is_wheel(line);
    (is_path && !line.contains("://") && !line.contains(" @ ")).then(|| Named::Path(path_of(line).to_owned()))
}

fn is_wheel(text: &str) -> bool {
    Path::new(text).extension().is_some_and(|end| end == "whl")
}

/// A path without the extras behind it, and without `file:` before it.
fn path_of(text: &str) -> &str {
    let text = text.strip_prefix("file://").or_else(|| text.strip_prefix("file:")).unwrap_or(text);
    let text = text.strip_suffix(']').and_then(|text| text.rsplit_once('[')).map_or(text, |(path, _)| path);
    text.split('#').next().unwrap_or(text).trim()
}

/// Any bytes as a file of requirements: lines stand in order, and are not empty.
pub(crate) fn fuzz_requirements(text: &str) {
    let lines = logical_lines(text);
    assert!(lines.windows(2).all(|pair| pair[0].0 < pair[1].0));
    for (_, line) in lines {
        assert!(!line.is_empty());
        let _ = named(&line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_what_pip_reads() {
        let file = |path: &str| Some(Named::File(path.to_owned()));
        let constraints = |path: &str| Some(Named::Constraints(path.to_owned()));
        let editable = |path: &str| Some(Named::Editable(path.to_owned()));
        let path = |path: &str| Some(Named::Path(path.to_owned()));
        for (line, expected) in [
            ("-r base.txt", file("base.txt")),
            ("-rbase.txt", file("base.txt")),
            ("--requirement=a/b.txt", file("a/b.txt")),
            ("-c constraints.txt", constraints("constraints.txt")),
            ("--constraint ../c.txt", constraints("../c.txt")),
            ("-r https://example.com/r.txt", None),
            ("-e .", editable(".")),
            ("-e .[train,dev]", editable(".")),
            ("--editable ../libs/x", editable("../libs/x")),
            ("-e git+https://example.com/x.git#egg=x", None),
            ("./libs/common", path("./libs/common")),
            (".", path(".")),
            ("libs/common[a]", path("libs/common")),
            ("./wheels/x-1-py3-none-any.whl", path("./wheels/x-1-py3-none-any.whl")),
            ("x @ file:./libs/x", path("./libs/x")),
            ("x @ https://example.com/x.whl", None),
            ("./libs/x ; python_version > '3.8'", path("./libs/x")),
            ("-f wheels", Some(Named::Links("wheels".to_owned()))),
            ("--find-links https://example.com/", None),
            ("--index-url https://example.com/simple", None),
            ("idna==3.10", None),
        ] {
            assert_eq!(named(line), expected, "{line}");
        }
    }

    #[test]
    fn lines_go_on_and_comments_do_not_count() {
        let text = "# first\nidna \\\n  ==3.10 # why\n\n-e git+https://x/y#egg=z\n";
        assert_eq!(logical_lines(text), [(2, "idna   ==3.10".to_owned()), (5, "-e git+https://x/y#egg=z".to_owned())]);
    }
}
