//! Hostile projects through every command and TAB: bounded time and memory, nothing read or written outside, no escape.

mod corpus;

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use self::corpus::{CANARY, FORGED, Hostile, PROJECTS, RUN};
use crate::support::terminal;

/// No command needs longer by far, in seconds.
const LIMIT: &str = "30";
/// Of addresses: each thread that allocates reserves some. What reads `/dev/zero` reaches it within seconds.
const MEMORY_KIB: &str = "3000000";

/// Every command, as far as it comes without an engine.
const COMMANDS: &[&[&str]] = &[
    &["files"],
    &["files", "--all"],
    &["files", "--json", "--all"],
    &["files", "--json"],
    &["files", "--why", "train.py"],
    &["files", "--why", "sub/deep/x"],
    &["files", "--why", "../outside/secret"],
    &["files", "--why", "/dev/zero"],
    &["run", "--local"],
    &["run", "--local", "--json", "-n", "2", "--", "true"],
    &["lock"],
    &["list"],
    &["list", "--json"],
    &["status", RUN],
    &["status", "../../outside/x"],
    &["logs", RUN],
    &["logs", "-f", RUN],
    &["pull", RUN],
    &["pull", "../../outside/x"],
    &["cancel", RUN],
    &["doctor"],
    &["template", "list"],
    &["target", "list"],
    &["version"],
    &["init"],
];

/// What is typed before TAB.
const TABS: &[&[&str]] =
    &[&["status", ""], &["logs", "d"], &["pull", ""], &["run", "--target", ""], &["init", "--template", ""]];

/// A workstation with one project, and something beside it that is none of its business.
struct Place {
    temp: tempfile::TempDir,
    root: PathBuf,
    outside: PathBuf,
}

impl Place {
    fn new(project: &Hostile) -> Self {
        let temp = tempfile::tempdir().expect("a folder");
        let at = |name: &str| temp.path().join(name);
        let (root, outside) = (at("project"), at("outside"));
        for folder in [&root, &outside, &at("home"), &at("config/nauta")] {
            std::fs::create_dir_all(folder).expect("made");
        }
        std::fs::write(outside.join("secret"), format!("{CANARY}\n[x]\n")).expect("written");
        std::fs::write(at("config/nauta/config.toml"), "").expect("written");
        (project.make)(&root, &outside);
        if !root.join("train.py").exists() {
            std::fs::write(root.join("train.py"), "").expect("written");
        }
        Self { temp, root, outside }
    }

    /// nauta within its limits.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        let limited = format!("ulimit -v {MEMORY_KIB}; exec \"$0\" \"$@\"");
        command.args(["-k", "1", LIMIT, "sh", "-c", &limited, env!("CARGO_BIN_EXE_nauta")]).args(arguments);
        command.env_clear().current_dir(&self.root).stdin(Stdio::null());
        let at = |name: &str| self.temp.path().join(name);
        command.env("HOME", at("home")).env("XDG_CONFIG_HOME", at("config")).env("XDG_STATE_HOME", at("state"));
        // As careless as a PATH can be.
        command.env("PATH", ":.:/usr/local/bin:/usr/bin:/bin:").env("DOCKER_HOST", "unix:///no/such/socket");
        command
    }

    /// All that is outside, and since when.
    fn beside(&self) -> BTreeMap<PathBuf, (Vec<u8>, i64, i64)> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.outside.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).expect("readable").flatten() {
                let (path, seen) = (entry.path(), entry.metadata().expect("there"));
                if seen.is_dir() {
                    folders.push(path.clone());
                }
                let content = std::fs::read(&path).unwrap_or_default();
                found.insert(path, (content, seen.mtime(), seen.mtime_nsec()));
            }
        }
        found
    }
}

/// What must hold of whatever a command said.
fn check(project: &Hostile, arguments: &[&str], output: &Output, wrong: &mut Vec<String>) {
    let mut bad = |what: String| wrong.push(format!("{}: {arguments:?}: {what}", project.name));
    match output.status.code() {
        Some(0..=4 | 125) => {}
        code => bad(format!("ended with {code:?}: {}", String::from_utf8_lossy(&output.stderr))),
    }
    for (stream, bytes) in [("stdout", &output.stdout), ("stderr", &output.stderr)] {
        let text = String::from_utf8_lossy(bytes);
        let is_colourful = stream == "stderr" && arguments.contains(&"always");
        for escape in terminal::wrong(bytes, is_colourful) {
            bad(format!("{stream} has {escape}"));
        }
        if text.contains(CANARY) {
            bad(format!("{stream} tells what is outside: {text}"));
        }
        if text.lines().any(|line| line.trim_start().starts_with(FORGED)) {
            bad(format!("{stream} has a line of somebody else's: {text}"));
        }
        if std::str::from_utf8(bytes).is_err() || bytes.len() > 5_000_000 {
            bad(format!("{stream} is no text, or too much: {} bytes", bytes.len()));
        }
    }
}

/// Takes a project through everything; tells what is wrong.
fn attack(project: &Hostile) -> Vec<String> {
    let place = Place::new(project);
    let before = place.beside();
    let mut wrong = Vec::new();
    for arguments in COMMANDS {
        let coloured: Vec<&str> = arguments.iter().copied().take(1).chain(["--color", "always"]).collect();
        let arguments: Vec<&str> = coloured.into_iter().chain(arguments.iter().skip(1).copied()).collect();
        let output = place.command(&arguments).output().expect("coreutils are there");
        check(project, &arguments, &output, &mut wrong);
        let said = String::from_utf8_lossy(&output.stderr);
        let is_run = arguments == ["run", "--color", "always", "--local"];
        if let (true, Some(refusal)) = (is_run, project.refusal)
            && !(said.contains(refusal) && said.contains("hint:"))
        {
            wrong.push(format!("{}: is refused with other words: {said}", project.name));
        }
    }
    for words in TABS {
        let arguments = [&["--", "nauta"], *words].concat();
        let mut command = place.command(&arguments);
        command.env("NAUTA_COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", words.len().to_string());
        command.env("_CLAP_COMPLETE_COMP_TYPE", "9").env("_CLAP_IFS", "\n");
        let output = command.output().expect("coreutils are there");
        check(project, &arguments, &output, &mut wrong);
    }
    if place.beside() != before {
        wrong.push(format!("{}: something was written outside: {:?}", project.name, place.beside().keys()));
    }
    wrong
}

#[test]
fn no_command_comes_to_harm() {
    let next = AtomicUsize::new(0);
    let work = || {
        let taken = std::iter::from_fn(|| PROJECTS.get(next.fetch_add(1, Ordering::Relaxed)));
        taken.flat_map(attack).collect::<Vec<_>>()
    };
    let wrong = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert!(PROJECTS.len() >= 40);
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
