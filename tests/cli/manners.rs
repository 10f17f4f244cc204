//! How nauta behaves towards people, pipes and programs.

use std::process::Stdio;

use clap::CommandFactory;

use crate::support::Workstation;

#[test]
fn every_verb_has_help_with_an_example() {
    let workstation = Workstation::new();
    let cli = nauta::cli::Cli::command();
    let verbs: Vec<&str> =
        cli.get_subcommands().filter(|verb| !verb.is_hide_set()).map(clap::Command::get_name).collect();
    assert!(verbs.len() >= 13, "{verbs:?}");
    for verb in verbs {
        let help = workstation.succeeds(&[verb, "--help"]).stdout;
        assert!(help.contains("Example: nauta ") && help.contains("--json"), "{verb}: {help}");
        assert!(help.lines().all(|line| line.chars().count() <= 120), "{verb}");
    }
}

#[test]
fn colours_are_for_terminals_and_those_who_ask() {
    let mut workstation = Workstation::new();
    let escapes = |workstation: &Workstation, arguments: &[&str]| {
        let done = workstation.nauta(arguments);
        done.stderr.contains('\u{1b}') || done.stdout.contains('\u{1b}')
    };
    assert!(!escapes(&workstation, &["run"]), "a pipe gets none");
    assert!(escapes(&workstation, &["run", "--color", "always"]));
    assert!(!escapes(&workstation, &["run", "--color", "never"]));
    workstation.set("CLICOLOR_FORCE", "1");
    assert!(escapes(&workstation, &["run"]));
    workstation.set("NO_COLOR", "1");
    assert!(!escapes(&workstation, &["run"]), "NO_COLOR counts more");
}

#[test]
fn a_reader_who_has_enough_is_no_failure() {
    let workstation = Workstation::new();
    let mut child = workstation
        .command(&["template", "show", "pytorch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nauta starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ended");
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let workstation = Workstation::new();
    let full = std::fs::File::options().write(true).open("/dev/full").expect("there");
    let mut command = workstation.command(&["template", "list"]);
    let output = command.stdout(full).stderr(Stdio::piped()).output().expect("nauta starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("standard output") && said.contains("No space left") && said.contains("hint:"), "{said}");
}

#[test]
fn quiet_says_results_and_errors_only() {
    let workstation = Workstation::new();
    let done = workstation.succeeds(&["--quiet", "init", "--template", "python", "here"]);
    assert_eq!(done.stderr, "");
    assert!(done.stdout.contains("wrote"));
    let done = workstation.nauta(&["--quiet", "status", "nothing"]);
    assert!(done.code == 1 && done.stderr.starts_with("error:"), "{}", done.stderr);
}

#[test]
fn json_is_one_document_for_every_verb_that_answers() {
    let workstation = Workstation::new();
    workstation.write("runs/demo-abcde/.nauta/record.json", include_str!("record.json")).write("train.py", "");
    for arguments in [
        &["version"][..],
        &["files"],
        &["files", "--why", "train.py"],
        &["files", "--all"],
        &["list"],
        &["status", "demo-abcde"],
        &["template", "list"],
        &["template", "show", "python"],
        &["template", "copy", "python", "mine"],
        &["init", "--template", "python", "there"],
        &["target", "add", "lab", "--registry", "registry.example.com/team"],
        &["target", "use", "lab"],
        &["target", "list"],
        &["completions", "fish"],
        &["logout", "--store", "docker-config", "registry.example.com"],
    ] {
        let done = workstation.succeeds(&[&["--json"], arguments].concat());
        let document: serde_json::Value = serde_json::from_str(&done.stdout).expect("one document");
        assert_eq!(document["schema"], 1, "{arguments:?}");
        let page = include_str!("../../docs/reference/json.md");
        for key in document.as_object().expect("an object").keys() {
            assert!(
                page.contains(&format!("`{key}`")),
                "docs/reference/json.md says nothing of {key} of {arguments:?}"
            );
        }
    }
    for (arguments, kind, code) in [
        (&["status", "nothing"][..], "input", 1),
        (&["run", "--no-such-flag"], "usage", 2),
        (&["run", "--nodes", "0"], "input", 125),
        (&["run", "--local"], "unavailable", 125),
    ] {
        let mut workstation = Workstation::new();
        workstation.set("DOCKER_HOST", "unix:///no/such/socket").write("train.py", "");
        let done = workstation.nauta(&[&["--json"], arguments].concat());
        let document: serde_json::Value = serde_json::from_str(&done.stderr).expect("one document");
        assert_eq!((document["kind"].as_str(), done.code), (Some(kind), code), "{document}");
        assert!(document["error"].is_string() && document["hints"].is_array() && document["causes"].is_array());
    }
}
