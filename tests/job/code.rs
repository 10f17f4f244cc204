//! What a container sees of the code is what the workstation has, however it got there.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nauta::digest::Digest;

use super::cluster::{Cleanup, shell};
use crate::support::random::Random;
use crate::support::{Workstation, tool};

/// Prints kind, path and content of everything, and whatever is not the rank's own.
pub(super) const LIST: &str = "find . -mindepth 1 -type d | sed 's/^/d /'; \
    find . -type l -exec sh -c 'echo \"l $1 $(readlink \"$1\")\"' - {} \\;; \
    find . -type f -exec sh -c 'echo \"f $(stat -c %a \"$1\") $1 $(sha256sum <\"$1\")\"' - {} \\;; \
    find . ! -user 1000 | sed 's/^/foreign /'";

/// The same of a folder of the workstation.
fn list(root: &Path, folder: &Path, lines: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("readable").flatten() {
        let path = entry.path();
        let shown = format!("./{}", path.strip_prefix(root).expect("below").display());
        let metadata = path.symlink_metadata().expect("there");
        if shown == "./runs" || shown == "./nauta.lock" {
            continue;
        }
        if metadata.is_dir() {
            lines.push(format!("d {shown}"));
            list(root, &path, lines);
        } else if metadata.is_symlink() {
            lines.push(format!("l {shown} {}", std::fs::read_link(&path).expect("a link").display()));
        } else {
            let mode = if metadata.mode() & 0o111 == 0 { 644 } else { 755 };
            let digest = Digest::of(std::fs::read(&path).expect("readable"));
            lines.push(format!("f {mode} {shown} {}  -", digest.hex()));
        }
    }
}

pub(super) fn expected(workstation: &Workstation) -> Vec<String> {
    let mut lines = Vec::new();
    list(&workstation.project, &workstation.project, &mut lines);
    lines.sort();
    lines
}

pub(super) fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Does something to the project.
fn edit(workstation: &Workstation, random: &mut Random) {
    let names = ["a", "b c", "é", "deep/x", "deep/down/y", "deep/down/z", "other/w"];
    let path = workstation.project.join(names[random.below(names.len())]);
    let make_room = || {
        let _ = std::fs::create_dir_all(path.parent().expect("has one"));
        if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) }
    };
    match random.below(7) {
        0..=2 => {
            let _ = make_room();
            let _ = std::fs::write(&path, "x".repeat(random.below(40_000)));
        }
        3 => drop(make_room()),
        4 => {
            let _ = make_room();
            let _ = std::fs::create_dir_all(&path);
        }
        5 => {
            let _ = make_room();
            let _ = std::os::unix::fs::symlink("../elsewhere", &path);
        }
        _ => {
            let folder = workstation.project.join(["deep", "deep/down", "other"][random.below(3)]);
            let _ = std::fs::remove_dir_all(folder);
        }
    }
    if random.below(4) == 0 && path.is_file() && !path.is_symlink() {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("ours");
    }
}

/// The image that a run would have, without a run.
fn image(workstation: &Workstation) -> (String, usize) {
    let done = workstation.succeeds(&["run", "--dry-run"]);
    let image = done.stdout.split("image: ").nth(1).and_then(|rest| rest.lines().next()).expect("an image").to_owned();
    let sent = done.stderr.split("push sent ").nth(1).and_then(|rest| rest.split(' ').next()).expect("told");
    (image, sent.parse().expect("a number"))
}

#[test]
fn edits_arrive_through_layers_as_they_are() {
    let mut random = Random::new(20_261_124);
    let workstation = shell("true");
    workstation.configure_cluster("");
    workstation.write("ballast", &"b".repeat(400_000));
    let mut layers = BTreeMap::new();
    for round in 0..16 {
        for _ in 0..=random.below(4) {
            edit(&workstation, &mut random);
        }
        let (image, sent) = image(&workstation);
        let seen =
            tool("docker", &["run", "--rm", "--pull=always", "--quiet", "--entrypoint", "sh", &image, "-c", LIST]);
        assert_eq!(sorted(&seen), expected(&workstation), "round {round}");
        assert!(round == 0 || sent < 400_000, "round {round} sent {sent} bytes");
        let count = tool("docker", &["image", "inspect", "-f", "{{len .RootFS.Layers}}", &image]);
        *layers.entry(count.trim().to_owned()).or_insert(0) += 1;
        let _ = tool("docker", &["rmi", "-f", &image]);
    }
    assert!(layers.len() > 2, "layers were put on each other, and merged: {layers:?}");
    // The same on a node's containerd.
    let _cleanup = Cleanup(&workstation);
    let done = workstation.succeeds(&["run", "--", "sh", "-c", LIST]);
    let seen = done.stdout.replace("[0] ", "");
    assert_eq!(sorted(&seen), expected(&workstation));
}

#[test]
fn a_registry_that_has_lost_layers_gets_all_of_them_again() {
    let workstation = shell("true");
    workstation.configure_cluster("");
    workstation.write("ballast", &"b".repeat(100_000));
    let (first, _) = image(&workstation);
    workstation.write("new.py", "x");
    let (_, sent) = image(&workstation);
    assert!(sent < 10_000, "{sent}");
    // Another repository has none of them.
    let text = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    workstation.write("nauta.toml", &text.replace("name = 'shell'", "name = 'elsewhere'"));
    let (second, sent) = image(&workstation);
    assert!(sent > 100_000 && first.split('@').next() != second.split('@').next(), "{sent}");
}
