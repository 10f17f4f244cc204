//! The command line, without engines: wrong input is named, with what to do next.

mod canaries;
mod completions;
mod files;
mod hostile;
mod ignored;
mod install;
mod login;
mod manners;
mod permissions;
mod typing;

use crate::support::Workstation;

#[test]
fn bad_input_says_what_where_and_what_next() {
    let workstation = Workstation::new();
    let fails = |arguments: &[&str], code: i32, words: &[&str]| {
        let done = workstation.nauta(arguments);
        assert_eq!(done.code, code, "{arguments:?}: {}", done.stderr);
        for word in words {
            assert!(done.stderr.contains(word), "{arguments:?} says nothing of {word:?}: {}", done.stderr);
        }
        assert_eq!(done.stdout, "", "{arguments:?}");
    };
    fails(&["run"], 125, &["the directory is empty", "nauta init"]);
    fails(&["run", "--ndoes", "2"], 2, &["--ndoes", "--nodes"]);
    fails(&["stauts"], 2, &["status"]);
    fails(&["template", "show", "pytroch"], 1, &["did you mean `pytorch`?"]);
    workstation.write("train.py", "");
    fails(&["run", "--nodes", "0"], 125, &["from --nodes", "`0` is no number of ranks: 1 to 4096"]);
    fails(&["run", "--nodes", "10000"], 125, &["`10000` is no number of ranks"]);
    fails(&["run", "--nodes", "4:3"], 125, &["`LEAST:MOST` such as `3:4`"]);
    fails(&["run", "--slots", "0"], 125, &["--slots cannot be `0`", "from 1 to 1024"]);
    for (flag, value) in
        [("--stall-timeout", "1ns"), ("--grace", "999999999999999h"), ("--max-duration", "10ms"), ("--grace", "8761h")]
    {
        fails(&["run", flag, value], 125, &[value, "hint:"]);
    }
    fails(&["run", "--cpu", "many"], 125, &["`many` is no amount of processors"]);
    fails(&["run", "--env", "nonsense"], 125, &["NAME=VALUE"]);
    fails(&["run", "--target", "nowhere"], 125, &["there is no target `nowhere` (from --target)"]);
    workstation.write("nauta.toml", "[run]\nnodse = 2\n");
    fails(&["run"], 125, &["nauta.toml` line 2, column 1", "did you mean `nodes`?"]);
    workstation.write("nauta.toml", "[run\n");
    fails(&["run"], 125, &["line 1"]);
    assert!(!workstation.project.join("runs").exists(), "nothing half-made");
}

#[test]
fn no_docker_is_said_with_what_to_do() {
    let mut workstation = Workstation::new();
    workstation.write("train.py", "");
    workstation.set("DOCKER_HOST", "unix:///no/such/socket");
    let done = workstation.nauta(&["run", "--local"]);
    assert_eq!(done.code, 125);
    assert!(done.stderr.contains("/no/such/socket") && done.stderr.contains("hint:"), "{}", done.stderr);
}

#[test]
fn failures_are_json_where_json_is_asked_for() {
    let workstation = Workstation::new();
    let done = workstation.nauta(&["--json", "template", "show", "nothing"]);
    let document: serde_json::Value = serde_json::from_str(&done.stderr).expect("one document");
    assert_eq!(document["kind"], "input");
    assert_eq!(document["schema"], 1);
    let listed = workstation.succeeds(&["template", "list", "--json"]);
    let document: serde_json::Value = serde_json::from_str(&listed.stdout).expect("one document");
    assert_eq!(document["templates"][0]["name"], "accelerate");
}

#[test]
fn names_with_spaces_and_newlines_become_fitting_names() {
    let workstation = Workstation::new();
    workstation
        .write("nauta.toml", "[project]\nname = \"my odd\\nname\"\n[environment]\nbase='x y'\n")
        .write("train.py", "");
    let done = workstation.nauta(&["run", "--local"]);
    assert!(done.code == 125 && done.stderr.starts_with("my-odd-name-"), "{}", done.stderr);
}

#[test]
fn targets_are_added_listed_and_chosen() {
    let workstation = Workstation::new();
    workstation.configure("# mine\n");
    let _ = workstation.succeeds(&["target", "add", "lab", "--registry", "r.example.com/team", "--namespace", "ml"]);
    let _ = workstation.succeeds(&["target", "use", "lab"]);
    let listed = workstation.succeeds(&["target", "list"]);
    assert!(listed.stdout.contains("lab") && listed.stdout.contains("chosen"), "{}", listed.stdout);
    let text = std::fs::read_to_string(workstation.project.join("../config/nauta/config.toml")).expect("readable");
    assert!(text.starts_with("target = \"lab\"") || text.contains("# mine"), "{text}");
    assert_eq!(workstation.nauta(&["target", "use", "lub"]).code, 1);
    assert_eq!(workstation.nauta(&["target", "add", "local", "--registry", "x"]).code, 1);
}

#[test]
fn without_a_run_the_last_one_is_meant() {
    let mut workstation = Workstation::new();
    workstation.set("DOCKER_HOST", "unix:///no/such/socket").write("train.py", "");
    let done = workstation.nauta(&["logs"]);
    assert!(done.code == 1 && done.stderr.contains("no run was started from here yet"), "{done:?}");
    for (name, created) in [("old-22222", "5"), ("new-22222", "9"), ("mid-22222", "7")] {
        let record = include_str!("record.json").replace("demo-abcde", name).replace("1795486425", created);
        workstation.write(&format!("runs/{name}/.nauta/record.json"), &record);
    }
    let status = workstation.succeeds(&["status"]);
    assert!(
        status.stdout.starts_with("new-22222: succeeded") && status.stderr.contains("new-22222 is the last run"),
        "{status:?}"
    );
    let logs = workstation.succeeds(&["logs"]);
    assert_eq!((logs.stdout.as_str(), logs.stderr.as_str()), ("", "new-22222 is the last run\n"));
    assert!(workstation.nauta(&["pull"]).stderr.contains("the outputs of `new-22222`"));
    assert_eq!(workstation.nauta(&["cancel"]).code, 2, "what ends a run is said by name");
}

#[test]
fn a_registry_of_a_target_is_a_host_and_a_prefix() {
    let workstation = Workstation::new();
    for (registry, words) in [
        ("", "is no registry: `HOST` or `HOST/PREFIX`"),
        ("https://h/x", "without a scheme"),
        ("ada:hunter2@h/x", "without a login"),
        ("h\u{1b}]0;x\u{7}/x", "is no registry"),
        ("h/Team", "is no registry"),
        ("h/x/../y", "is no registry"),
    ] {
        let done = workstation.nauta(&["target", "add", "lab", "--registry", registry]);
        assert!(done.code == 2 && done.stderr.contains(words), "{registry}: {done:?}");
        assert!(!done.stderr.contains('\u{1b}') && done.stdout.is_empty(), "{done:?}");
        workstation
            .configure(&format!("[targets.lab]\nregistry = {}\n", serde_json::to_string(registry).expect("text")));
        let done = workstation.nauta(&["target", "list"]);
        assert!(
            done.code == 1 && done.stderr.contains(words) && !done.stderr.contains("hunter2"),
            "{registry}: {done:?}"
        );
        workstation.configure("");
    }
    for registry in ["h", "h:5000", "[::1]:5000/a", "h/team/sub_1.x", "h/team/"] {
        let _ = workstation.succeeds(&["target", "add", "lab", "--registry", registry]);
    }
    // Without TLS under one name, and nothing said of the other.
    let flags = ["target", "add", "lab", "--registry", "localhost:5000", "--registry-from-pods", "registry:5000"];
    let done = workstation.succeeds(&flags);
    assert!(done.stderr.contains("warning:") && done.stderr.contains("--plain-http registry:5000"), "{done:?}");
    let done = workstation.succeeds(&[&flags[..], &["--plain-http", "registry:5000"]].concat());
    assert_eq!(done.stderr, "");
}

#[test]
fn a_host_of_a_target_has_no_path() {
    let workstation = Workstation::new();
    let hint = "`r.example.com/team` is no host: `HOST` or `HOST:PORT`; only `registry` may have a path";
    let flags = ["target", "add", "lab", "--registry", "r", "--registry-from-pods", "r.example.com/team"];
    let done = workstation.nauta(&flags);
    assert!(done.code == 2 && done.stderr.contains(hint), "{done:?}");
    for line in ["registry_from_nodes = 'r.example.com/team'", "plain_http = ['r.example.com/team']"] {
        workstation.configure(&format!("[targets.lab]\nregistry = 'r'\n{line}\n"));
        let done = workstation.nauta(&["target", "list"]);
        assert!(done.code == 1 && done.stderr.contains(hint), "{done:?}");
        assert!(done.stderr.contains("config.toml") && done.stderr.contains("line 3"), "{done:?}");
    }
}
