//! What is typed is what is meant, or the error shows the way.

use crate::support::Workstation;

/// A workstation without an engine: runs get as far as their snapshot.
fn workstation() -> Workstation {
    let mut workstation = Workstation::new();
    workstation.set("DOCKER_HOST", "unix:///no/such/socket");
    workstation
}

/// The program's words begin with the first that is no flag, with and without `--`.
#[test]
fn a_command_needs_no_dashes_before_it() {
    let workstation = workstation();
    workstation.write("train.py", "");
    for words in [
        &["run", "--local", "-n", "2", "train.py", "-n", "5", "--json"][..],
        &["run", "--local", "-n", "2", "python3", "train.py", "-n", "5"],
        &["run", "--local", "-n", "2", "--", "python3", "train.py", "-n", "5"],
        &["run", "--local", "-n", "2", "./train.py"],
    ] {
        let done = workstation.nauta(words);
        assert!(done.stderr.contains("2 ranks on Docker"), "{words:?}: {done:?}");
        assert!(done.code == 125 && done.stderr.contains("/no/such/socket"), "{words:?}: {done:?}");
    }
    let done = workstation.nauta(&["run", "--local", "--epochs", "3"]);
    assert!(done.code == 2 && done.stderr.contains("unexpected argument '--epochs'"), "{done:?}");
}

#[test]
fn a_script_that_does_not_travel_stops_the_run_before_anything_is_built() {
    let workstation = workstation();
    workstation.write("src/train.py", "").write("main.py", "").write(".gitignore", "gen.py\n").write("gen.py", "");
    for (script, words) in [
        ("train.py", "did you mean `src/train.py`?"),
        ("mian.py", "did you mean `main.py`?"),
        ("gen.py", "left out by .gitignore:1 `gen.py` (`!/gen.py` in .nautaignore sends it)"),
    ] {
        let done = workstation.nauta(&["run", "--local", script]);
        assert!(done.code == 125 && done.stderr.contains(words), "{script}: {done:?}");
        assert!(!done.stderr.contains("/no/such/socket"), "{done:?}");
    }
}

#[test]
fn verbs_of_other_tools_lead_to_ours_and_nonsense_to_none() {
    let workstation = workstation();
    for (typed, meant) in [("delete", "'cancel'"), ("ps", "'list'"), ("lgos", "'logs'"), ("train.py", "'run train.py'")]
    {
        let done = workstation.nauta(&[typed]);
        assert!(done.code == 2 && done.stderr.contains(meant), "{typed}: {done:?}");
    }
    for typed in ["compare", "shell", "exec"] {
        let done = workstation.nauta(&[typed]);
        assert!(done.code == 2 && !done.stderr.contains("similar"), "{typed}: {done:?}");
    }
}

/// What `nauta init` writes can be run.
#[test]
fn init_offers_a_program_that_is_there() {
    let offered = |files: &[(&str, &str)]| {
        let workstation = workstation();
        for (path, text) in files {
            workstation.write(path, text);
        }
        let said = workstation.succeeds(&["init"]).stdout;
        (said, std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("written"))
    };
    let main = "if __name__ == '__main__': pass";
    let (said, file) = offered(&[("demo.py", main), ("zoo.py", main)]);
    assert!(
        file.contains("command = \"python3 demo.py\"") && said.contains("there is `python3 zoo.py` as well"),
        "{said}{file}"
    );
    let (said, file) = offered(&[("pkg/__main__.py", "")]);
    assert!(file.contains("command = \"python3 -m pkg\"") && said.contains("nauta run --local"), "{said}{file}");
    let (said, file) = offered(&[("README", "")]);
    assert!(file.contains("# command = ") && said.contains("no program was found"), "{said}{file}");
}

/// A verb for several runs does each; what goes wrong with one keeps no other from its turn.
#[test]
fn verbs_take_several_runs() {
    let workstation = workstation();
    let record = include_str!("record.json");
    for run in ["demo-abcde", "demo-fghij"] {
        workstation.write(&format!("runs/{run}/.nauta/record.json"), &record.replace("demo-abcde", run));
    }
    let done = workstation.succeeds(&["status", "demo-abcde", "demo-fghij"]);
    assert!(done.stdout.contains("demo-abcde:") && done.stdout.contains("demo-fghij:"), "{done:?}");
    let done = workstation.nauta(&["status", "demo-abcde", "demo-zzzzz", "demo-fghij"]);
    assert!(done.code == 1 && done.stderr.contains("demo-zzzzz") && done.stdout.contains("demo-fghij:"), "{done:?}");
    let done = workstation.succeeds(&["logs", "demo-abcde", "demo-fghij"]);
    assert!(done.stderr.contains("demo-abcde:") && done.stderr.contains("demo-fghij:"), "{done:?}");
    let done = workstation.nauta(&["cancel", "demo-yyyyy", "demo-zzzzz"]);
    assert!(done.code != 0 && done.stderr.contains("error"), "{done:?}");
}
