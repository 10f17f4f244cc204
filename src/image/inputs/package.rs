//! What an installer wants to know of a package whose code stays where it is: its description in full, of its code which packages
//! there are, and their own versions.
//!
//! So an edit of the code builds nothing. Where a package is compiled, or its `setup.py` reads more, all of it counts.

use std::path::Path;

use super::gather::Gatherer;
use super::value::Reason;
use crate::snapshot::{Content, Entry, Snapshot};

/// Beginnings of names that stand beside a description and are read with it.
const BESIDE: [&str; 9] =
    ["readme", "licen", "copying", "notice", "authors", "changelog", "version", "requirements", "manifest.in"];
/// Files of a package that hold its version.
const VERSIONS: [&str; 6] =
    ["__init__.py", "__about__.py", "__version__.py", "_version.py", "version.py", "version.txt"];
/// Descriptions.
const DESCRIPTIONS: [&str; 3] = ["pyproject.toml", "setup.py", "setup.cfg"];
/// What says that something is compiled, or made otherwise out of the code.
const COMPILED: [&str; 8] =
    ["Extension(", "ext_modules", "cythonize", "maturin", "scikit_build", "scikit-build", "mesonpy", "setuptools-rust"];

/// How much of a file counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Content,
    Name,
    /// That there is a folder with code.
    Folder,
    Nothing,
}

/// Takes what counts of a package in the project's folder of this path.
pub(super) fn gather(gatherer: &mut Gatherer<'_>, snapshot: &Snapshot, folder: &str, reason: &Reason) {
    let texts: Vec<String> = {
        let path = snapshot.root().join(folder);
        DESCRIPTIONS.iter().filter_map(|name| gatherer.peek(&path.join(name))).collect()
    };
    let is_compiled = COMPILED.iter().any(|word| texts.iter().any(|text| text.contains(word)));
    let setup = gatherer.peek(&snapshot.root().join(folder).join("setup.py"));
    let all = is_compiled || setup.is_some_and(|text| reads_code(&text));
    let has_source = snapshot.entry(&join(folder, "src")).is_some_and(|entry| entry.content == Content::Directory);
    let entries: Vec<Entry> = snapshot.entries_at(&[folder]).collect();
    for entry in entries {
        let path = entry.display();
        let inside = path.strip_prefix(folder).unwrap_or(&path).trim_start_matches('/');
        let place = entry.path_below(snapshot.root());
        let parent = place.parent().map(Path::to_owned);
        match if all { Part::Content } else { part(inside, has_source, &texts) } {
            Part::Nothing => continue,
            Part::Folder => {}
            Part::Content if entry.content != Content::Directory || all => {
                gatherer.put(&place, entry.content, false, reason);
            }
            _ if matches!(entry.content, Content::File { .. }) => gatherer.put(&place, entry.content, true, reason),
            _ => {}
        }
        // A module more in a folder with code changes nothing.
        if let Some(parent) = parent {
            gatherer.put(&parent, Content::Directory, false, reason);
        }
    }
    gatherer.put(&snapshot.root().join(folder), Content::Directory, false, reason);
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// Whether a `setup.py` may read what it packs: it imports something that is neither of Python's own nor an installer's.
fn reads_code(text: &str) -> bool {
    const PLAIN: [&str; 16] = [
        "setuptools",
        "distutils",
        "os",
        "os.path",
        "sys",
        "re",
        "io",
        "codecs",
        "pathlib",
        "glob",
        "typing",
        "platform",
        "subprocess",
        "shutil",
        "warnings",
        "__future__",
    ];
    let imported = text.lines().map(str::trim).filter_map(|line| {
        let rest = line.strip_prefix("import ").or_else(|| line.strip_prefix("from "))?;
        Some(rest.split([' ', ',', ';']).next().unwrap_or_default().to_owned())
    });
    let is_plain = |name: &String| PLAIN.iter().any(|plain| name == plain || name.starts_with(&format!("{plain}.")));
    imported.into_iter().any(|name| !is_plain(&name)) || text.contains("exec(")
}

/// How much of a file in a package counts; `inside` is its path there.
fn part(inside: &str, has_source: bool, texts: &[String]) -> Part {
    let (folder, name) = inside.rsplit_once('/').unwrap_or(("", inside));
    if inside.split('/').any(|part| part.starts_with('.')) {
        return Part::Nothing;
    }
    let is_python = Path::new(name).extension().is_some_and(|end| end == "py");
    let depth = if folder.is_empty() { 0 } else { folder.split('/').count() };
    let low = name.to_lowercase();
    if depth == 0 && (DESCRIPTIONS.contains(&name) || BESIDE.iter().any(|known| low.starts_with(known))) {
        return Part::Content;
    }
    // A short name may stand in a text by chance: that costs a build too many.
    let is_named = name.contains('.') && texts.iter().any(|text| text.contains(if depth == 0 { name } else { inside }));
    let packages = if folder == "src" || folder.starts_with("src/") { 2 } else { 1 };
    match (depth, is_python) {
        _ if is_named => Part::Content,
        (depth, _) if has_source && depth > 0 && packages == 1 => Part::Nothing,
        (0, true) if !has_source => Part::Name,
        (depth, _) if depth == packages && VERSIONS.contains(&name) => Part::Content,
        (depth, true) if name == "__init__.py" || depth < packages && depth > 0 => Part::Name,
        (depth, true) if depth == packages => Part::Folder,
        _ => Part::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_of_code_do_not_count_and_what_is_installed_does() {
        let texts = ["readme = 'docs/front.md'\n[tool.hatch.version]\npath = 'src/a/meta.py'".to_owned()];
        for (path, expected) in [
            ("pyproject.toml", Part::Content),
            ("README.md", Part::Content),
            ("docs/front.md", Part::Content),
            ("docs/other.md", Part::Nothing),
            ("train.py", Part::Nothing),
            ("src/a/__init__.py", Part::Content),
            ("src/a/meta.py", Part::Content),
            ("src/a/model.py", Part::Folder),
            ("src/single.py", Part::Name),
            ("scripts/x.py", Part::Nothing),
            ("src/a/deep/__init__.py", Part::Name),
            ("src/a/deep/er.py", Part::Nothing),
            ("src/a/data.bin", Part::Nothing),
            (".github/x.py", Part::Nothing),
        ] {
            assert_eq!(part(path, true, &texts), expected, "{path}");
        }
        for (path, expected) in [
            ("train.py", Part::Name),
            ("a/__init__.py", Part::Content),
            ("a/model.py", Part::Folder),
            ("data/x.txt", Part::Nothing),
        ] {
            assert_eq!(part(path, false, &[]), expected, "{path}");
        }
    }

    #[test]
    fn a_setup_file_that_reads_its_code_is_known() {
        assert!(!reads_code("import os\nfrom setuptools import setup, find_packages\nsetup()\n"));
        assert!(reads_code("import harbor\nfrom setuptools import setup\n"));
        assert!(reads_code("exec(open('a/version.py').read())"));
    }
}
