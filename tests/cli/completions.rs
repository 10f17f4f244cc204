//! TAB in the shells that Debian has: the script is loaded, and what it offers is read.

use std::process::Command;

use crate::support::{Workstation, folders};

/// A project with one ended run, a target and the script in `script`.
fn workstation(shell: &str) -> (Workstation, String) {
    let workstation = Workstation::new();
    workstation.configure("[targets.lab]\nregistry = 'registry.example.com/team'\n").write("train.py", "");
    workstation.write("runs/demo-abcde/.nauta/record.json", include_str!("record.json"));
    let script = workstation.succeeds(&["completions", shell]).stdout;
    workstation.write("script", &script);
    (workstation, script)
}

/// What a shell says to a program of its own language.
fn says(workstation: &Workstation, program: &str, arguments: &[&str]) -> String {
    let nauta = workstation.command(&[]);
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&workstation.project).env_clear();
    command.envs(nauta.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let folder = std::path::Path::new(env!("CARGO_BIN_EXE_nauta")).parent().expect("has one");
    let path = std::env::var("PATH").unwrap_or_default();
    command.env("PATH", format!("{}:{path}", folder.display()));
    let output = command.output().unwrap_or_else(|error| panic!("{program}: {error}: run tests/run"));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && stderr.is_empty(), "{program}: {stderr}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asserts what is offered after some words.
fn offers(ask: impl Fn(&[&str]) -> String) {
    for (words, expected) in [
        (&["st"][..], "status"),
        (&["status", ""], "demo-abcde"),
        (&["logs", "demo"], "demo-abcde"),
        (&["run", "--target", ""], "lab"),
        (&["target", "use", ""], "local"),
        (&["init", "--template", "py"], "pytorch"),
        (&["login", ""], "registry.example.com"),
        (&["completions", "f"], "fish"),
        (&["run", "--no"], "--nodes"),
    ] {
        let offered = ask(words);
        assert!(offered.contains(expected), "{words:?}: {offered}");
    }
    assert!(!ask(&["status", "x"]).contains("demo-abcde"));
}

#[test]
fn bash_offers_verbs_flags_and_names() {
    let (workstation, _) = workstation("bash");
    offers(|words| {
        let all: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let (count, last) = (words.len(), words.last().expect("one"));
        let program = format!(
            "source ./script 2>/dev/null; COMP_WORDS=(nauta {}); COMP_CWORD={count}; COMP_TYPE=9; \
             _clap_complete_nauta nauta '{last}' 2>/dev/null; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            all.join(" ")
        );
        says(&workstation, "bash", &["-c", &program])
    });
}

#[test]
fn zsh_offers_verbs_flags_and_names() {
    let (workstation, _) = workstation("zsh");
    offers(|words| {
        let all: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        let program = format!(
            "compdef() {{ : }}; _describe() {{ print -l -- ${{(P)${{@[-1]}}}} }}; words=(nauta {}); CURRENT={}; \
             source ./script; _clap_dynamic_completer_nauta",
            all.join(" "),
            words.len() + 1
        );
        says(&workstation, "zsh", &["-f", "-c", &program])
    });
}

#[test]
fn fish_offers_verbs_flags_and_names() {
    let (workstation, _) = workstation("fish");
    offers(|words| {
        let program = format!("source ./script; complete -C 'nauta {}'", words.join(" "));
        says(&workstation, "fish", &["--no-config", "-c", &program])
    });
}

#[test]
fn powershell_and_elvish_get_a_script_that_asks_nauta() {
    for shell in ["powershell", "elvish"] {
        let (_, script) = workstation(shell);
        assert!(script.contains("NAUTA_COMPLETE") && script.contains("nauta"), "{script}");
    }
}

#[test]
fn a_broken_configuration_does_not_disturb_who_types() {
    let (workstation, _) = workstation("fish");
    workstation.configure("[targets");
    let said = says(&workstation, "fish", &["--no-config", "-c", "source ./script; complete -C 'nauta status '"]);
    assert!(!said.contains("demo-abcde") && !said.contains("error:"), "{said}");
    assert_eq!(folders(&workstation.project.join("runs")).len(), 1);
}
