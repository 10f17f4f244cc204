//! The image's own entry point: what Docker would start, with the command behind it.
//!
//! Those that make an environment and hand on to a command are run before the program; those that are a program themselves
//! would take the command for their arguments, and are not.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::config::Config;
use super::journal::Journal;
use super::program::find;
use crate::bounded_file::{HAND_WRITTEN, read};
use crate::env_vars;

/// Programs that are there to be process 1, which is the supervisor here.
const INITS: [&str; 6] = ["tini", "tini-static", "dumb-init", "docker-init", "catatonit", "s6-init"];
/// Programs that run a command in an environment of theirs, by the word that says so.
const RUNNERS: [(&str, &str); 9] = [
    ("conda", "run"),
    ("mamba", "run"),
    ("micromamba", "run"),
    ("uv", "run"),
    ("poetry", "run"),
    ("pdm", "run"),
    ("pipenv", "run"),
    ("pixi", "run"),
    ("hatch", "run"),
];
const SHELLS: [&str; 4] = ["sh", "bash", "dash", "zsh"];
/// How scripts write the command that they were given.
const THE_COMMAND: [&str; 4] = ["$@", "${@", "$*", "${*"];

/// What an image has.
#[derive(Debug, PartialEq, Eq)]
enum EntryPoint {
    /// None, or nothing to be run.
    None,
    /// Words that come before the command.
    Through(Vec<OsString>),
    /// A program of its own.
    Other(String),
}

/// The command, with what the image's own entry point puts before it; one that is left out is told of once in a run.
pub(super) fn behind_entrypoint(
    command: Vec<OsString>,
    config: &Config,
    journal: &Journal,
    attempt: u32,
) -> Vec<OsString> {
    match entrypoint(&config.environment) {
        EntryPoint::None => command,
        EntryPoint::Through(mut words) => {
            words.extend(command);
            words
        }
        EntryPoint::Other(words) => {
            if config.rank == 0 && attempt == 1 {
                journal.say(&format!("the image's ENTRYPOINT (`{words}`) hands on to no command, and is left out"));
            }
            command
        }
    }
}

/// What the container's variables say of it.
fn entrypoint(environment: &BTreeMap<OsString, OsString>) -> EntryPoint {
    let text = environment.get(OsStr::new(env_vars::ENTRYPOINT)).and_then(|text| text.to_str());
    let words: Vec<String> = text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut rest = &words[..];
    if rest.first().is_some_and(|word| INITS.contains(&name(word))) {
        let options = rest[1..].iter().take_while(|word| word.starts_with('-') && *word != "--").count();
        rest = &rest[1 + options..];
        rest = rest.strip_prefix(&["--".to_owned()]).unwrap_or(rest);
    }
    if rest.is_empty() {
        return EntryPoint::None;
    }
    if hands_on(rest, environment) {
        EntryPoint::Through(rest.iter().map(OsString::from).collect())
    } else {
        EntryPoint::Other(words.join(" "))
    }
}

fn hands_on(words: &[String], environment: &BTreeMap<OsString, OsString>) -> bool {
    let first = name(&words[0]);
    let second = words.get(1).map(String::as_str);
    if first == "env" || RUNNERS.iter().any(|(runner, run)| *runner == first && second == Some(run)) {
        return true;
    }
    let script = if SHELLS.contains(&first) { second } else { Some(words[0].as_str()) };
    let path = script.and_then(|script| find(OsStr::new(script), environment));
    path.and_then(|path| read(&path, HAND_WRITTEN).ok()).is_some_and(|text| {
        let text = String::from_utf8_lossy(&text);
        let is_script = text.starts_with("#!") || SHELLS.contains(&first);
        is_script && THE_COMMAND.iter().any(|command| text.contains(command))
    })
}

fn name(word: &str) -> &str {
    Path::new(word).file_name().and_then(OsStr::to_str).unwrap_or(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_hands_on_comes_first_and_programs_do_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("text").to_owned()
        };
        let script = file("entry.sh", "#!/bin/bash\nset -e\nexport X=1\nexec \"$@\"\n");
        let plain = file("plain.sh", "export X=1\nexec \"${@}\"\n");
        let server = file("server.sh", "#!/bin/sh\nexec /usr/bin/server --port 80\n");
        let of = |words: &[&str]| {
            let text = serde_json::to_string(words).expect("JSON");
            let path = (OsString::from("PATH"), folder.path().as_os_str().to_owned());
            entrypoint(&BTreeMap::from([(env_vars::ENTRYPOINT.into(), text.into()), path]))
        };
        let through = |words: &[&str]| EntryPoint::Through(words.iter().map(OsString::from).collect());
        assert_eq!(of(&[&script]), through(&[&script]));
        assert_eq!(of(&["entry.sh", "x"]), through(&["entry.sh", "x"]));
        assert_eq!(of(&["/usr/bin/tini", "-g", "--", &script]), through(&[&script]));
        assert_eq!(of(&["bash", &plain]), through(&["bash", &plain]));
        let conda = ["/opt/conda/bin/conda", "run", "--no-capture-output", "-n", "x"];
        assert_eq!(of(&conda), through(&conda));
        assert_eq!(of(&["tini", "--"]), EntryPoint::None);
        assert_eq!(of(&[]), EntryPoint::None);
        for other in
            [&["python3", "train.py"][..], &["/bin/sh", "-c", "python train.py"], &[&server], &[&plain], &["uv"]]
        {
            assert_eq!(of(other), EntryPoint::Other(other.join(" ")));
        }
    }
}
