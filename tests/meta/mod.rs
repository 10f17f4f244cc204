//! The repository itself: the direction of its layers, and that nothing generated is stale.

mod dependencies;
mod links;
pub(crate) mod reference;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The layers, lowest first.
const LAYERS: [&[&str]; 7] = [
    &[
        "architecture",
        "diagnosis",
        "digest",
        "secret",
        "layout",
        "env_vars",
        "proxies",
        "archive",
        "bounded_file",
        "certificates",
        "programs",
    ],
    &["project", "snapshot", "image", "job", "sync", "control", "settings", "event"],
    &[],
    &["docker", "registry", "cluster", "credentials", "output"],
    &["context", "delivery", "follow"],
    &["commands", "supervisor"],
    &["cli", "fuzzing"],
];
/// Adapters know nothing of each other.
const ADAPTERS: usize = 3;

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn modules_import_only_from_lower_layers() {
    let layer: BTreeMap<&str, usize> = LAYERS
        .iter()
        .enumerate()
        .flat_map(|(level, modules)| modules.iter().map(move |module| (*module, level)))
        .collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let relative = file.strip_prefix(&root).expect("below");
        let first = relative.iter().next().and_then(|name| name.to_str()).expect("text");
        let own = first.trim_end_matches(".rs");
        let Some(own_level) = layer.get(own) else { continue };
        let text = std::fs::read_to_string(file).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for used in code
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .flat_map(|line| line.split("crate::").skip(1))
        {
            let module: String = used.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let Some(level) = layer.get(module.as_str()) else { continue };
            let sideways = *level == ADAPTERS && own_level == level && module != own;
            if level > own_level || sideways {
                wrong.push(format!("{} uses {module}", relative.display()));
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_module_is_in_a_layer() {
    let lib = include_str!("../../src/lib.rs");
    for line in lib.lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let module = line.trim_end_matches(';');
        assert!(LAYERS.iter().any(|layer| layer.contains(&module)), "{module}");
    }
}

#[test]
fn nothing_is_left_unfinished() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    let words =
        [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["todo", "!("].concat(), ["unimpl", "emented!("].concat()];
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        assert!(!words.iter().any(|word| text.contains(word)), "{}", file.display());
    }
}

#[test]
fn files_stay_small() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    // What is nothing but tests stands in a file of its own.
    files.retain(|file| !file.to_string_lossy().ends_with("tests.rs"));
    for file in files {
        let text = std::fs::read_to_string(&file).expect("readable");
        let lines = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
        assert!(lines <= 400, "{} has {lines} lines without its tests: it does too much", file.display());
    }
}

/// Files that others may have made are read by one module, which bounds what it reads; each exception says why it may.
#[test]
fn files_are_read_in_one_place() {
    const OWN_WAYS: [(&str, &str); 13] = [
        ("bounded_file.rs", "is that module"),
        ("archive/", "writes what the snapshot has seen to be regular"),
        ("snapshot/disk.rs", "opens relative to folders, without following links or waiting"),
        ("delivery/layer.rs", "nauta's own temporary files"),
        ("docker/saved.rs", "a stream of Docker's"),
        ("docker/local/owner.rs", "the kernel's files"),
        ("registry/blob.rs", "layers on their way, of which the size is known"),
        ("credentials/docker_config.rs", "a folder, to settle it"),
        ("credentials/helper.rs", "a pipe"),
        ("cluster/login.rs", "a pipe"),
        ("digest.rs", "any reader"),
        ("follow/folder/", "relative to the run's open folder"),
        ("supervisor/", "the kernel's files and its own, in a container"),
    ];
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    let mut wrong = Vec::new();
    for file in &files {
        let relative = file.strip_prefix(&root).expect("below").display().to_string();
        if OWN_WAYS.iter().any(|(known, _)| relative.starts_with(known)) {
            continue;
        }
        let text = std::fs::read_to_string(file).expect("readable");
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for way in
            ["fs::read(", "read_to_string(&", "read_to_string(p", "File::open(", "OpenOptions::new().read(true).open("]
        {
            wrong.extend(
                code.lines().filter(|line| line.contains(way)).map(|line| format!("{relative}: {}", line.trim())),
            );
        }
    }
    assert_eq!(wrong, Vec::<String>::new(), "`bounded_file` reads files");
}
