//! What a `.dockerignore` leaves out, held against what a build by the `docker` command gets of the same tree.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nauta::snapshot::{Content, take};

use crate::support::random::Random;
use crate::support::{figure, number, tool};

const FOLDERS: [&str; 7] = ["", "a", "src", "src/a", "src/data", "data", "data/deep"];
const FILES: [&str; 4] = ["b", "x.log", "keep.txt", "ä"];

/// Lines of a `.dockerignore`; `N` is a name.
const LINES: [&str; 27] = [
    "N", "N/", "/N", "./N", "N/N", "N/*", "N/**", "*/N", "**/N", "*", "*.log", "**/*.log", "?", "[ab]", "[^ab]", "!N",
    "!N/N", "!/N/", "!N/**", "!N/*.log", "!*.log", "# N", "  N  ", "N/../N", "../N", ".", "!N/N/N",
];

/// The files that a build gets.
fn of_docker(root: &Path) -> BTreeSet<String> {
    let mut build = Command::new("docker");
    build.args(["build", "-q", "-f", "-"]).arg(root).env("DOCKER_BUILDKIT", "0");
    let mut build =
        build.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("docker starts");
    build.stdin.take().expect("a pipe").write_all(b"FROM scratch\nCOPY . /context/\n").expect("docker reads");
    let done = build.wait_with_output().expect("docker ends");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let image = String::from_utf8(done.stdout).expect("text").trim().to_owned();
    let container = tool("docker", &["create", &image, "none"]).trim().to_owned();
    let exported = Command::new("docker").args(["export", &container]).output().expect("docker starts");
    tool("docker", &["rm", &container]);
    tool("docker", &["rmi", &image]);
    let mut archive = tar::Archive::new(exported.stdout.as_slice());
    let files = archive
        .entries()
        .expect("an archive")
        .map(|entry| entry.expect("readable"))
        .filter(|entry| entry.header().entry_type().is_file());
    let inside = files.filter_map(|entry| {
        let path = entry.path().expect("a path").to_str().expect("text").strip_prefix("context/")?.to_owned();
        // What the command adds for itself.
        (!path.starts_with(".docker")).then_some(path)
    });
    inside.collect()
}

fn taken(root: &Path) -> BTreeSet<String> {
    let snapshot = take(root, None).expect("readable");
    let files = snapshot.entries().filter(|entry| entry.content != Content::Directory);
    files.map(|entry| entry.display()).filter(|path| path != ".dockerignore").collect()
}

#[test]
fn what_docker_leaves_out_of_a_build_stays_here_and_nothing_else() {
    let seed = number("NAUTA_TEST_SEED", 20);
    figure(&format!("seed {seed}"));
    let mut random = Random::new(seed);
    let names = ["a", "src", "data", "deep", "b", "x.log", "keep.txt"];
    let allow = "# only what is needed\n*\n!src\n!data/**\n!keep.txt\n";
    for case in 0..number("NAUTA_TEST_DOCKER_IGNORES", 6) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        for folder in FOLDERS {
            for file in FILES {
                let path = temp.path().join(folder).join(file);
                fs::create_dir_all(path.parent().expect("has one")).expect("created");
                // One file without content would be one layer for all trees.
                fs::write(path, file).expect("written");
            }
        }
        let lines: Vec<String> = (0..=random.below(5)).map(|_| random.pick(&LINES).to_string()).collect();
        let spelled = |c: char| if c == 'N' { random.pick(&names).to_string() } else { c.to_string() };
        let text: String = if case == 0 { allow.to_owned() } else { lines.join("\n").chars().map(spelled).collect() };
        fs::write(temp.path().join(".dockerignore"), &text).expect("written");
        assert_eq!(taken(temp.path()), of_docker(temp.path()), "case {case}, seed {seed}: {text:?}");
    }
}
