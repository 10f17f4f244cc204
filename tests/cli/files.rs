//! `nauta files`: what travels, and why the rest does not.

use crate::support::Workstation;

#[test]
fn totals_the_largest_and_what_changed_are_told() {
    let workstation = Workstation::new();
    workstation.write("train.py", "print(1)").write("data/big.bin", &"x".repeat(5000)).write(".env", "KEY=1");
    let files = |arguments: &[&str]| workstation.succeeds(&[&["files"], arguments].concat()).stdout;
    let told = files(&[]);
    for words in ["2 files, 4.89 KiB", "data/big.bin", "no run was started", "may hold a secret: .env (`.env`)"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert_eq!(files(&["--all"]), "data\ntrain.py\ndata/big.bin\n");
}

#[test]
fn differences_from_the_last_run_are_told() {
    let mut workstation = Workstation::new();
    // The run gets as far as its snapshot.
    workstation.set("DOCKER_HOST", "unix:///no/such/socket");
    workstation.write("train.py", "one").write("old.py", "").write("same.py", "");
    assert_eq!(workstation.nauta(&["run", "--local"]).code, 125);
    assert!(workstation.succeeds(&["files"]).stdout.contains("nothing has changed since the last run"));
    workstation.write("train.py", "two").write("new.py", "");
    std::fs::remove_file(workstation.project.join("old.py")).expect("removed");
    let told = workstation.succeeds(&["files"]).stdout;
    for words in ["3 paths differ", "  ~ train.py", "  + new.py", "  - old.py"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    let json = workstation.succeeds(&["files", "--json"]).stdout;
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(document["changes"].as_array().map(Vec::len), Some(3), "{document}");
}

#[test]
fn the_rule_its_file_and_its_line_are_named() {
    let workstation = Workstation::new();
    workstation.write("train.py", "").write(".gitignore", "# data\n\n*.bin\n").write("data/x.bin", "");
    let why = |path: &str| workstation.succeeds(&["files", "--why", path]).stdout;
    assert_eq!(why("data/x.bin"), "data/x.bin stays here: `*.bin` in .gitignore line 3\n");
    assert_eq!(why("train.py"), "train.py is sent\n");
    assert!(why("__pycache__/a.pyc").contains("__pycache__ stays here: `__pycache__/`, which nauta leaves out"));
    assert!(why("id_rsa").contains("may hold a secret: `id_rsa*`"));
    assert_eq!(why("none.py"), "none.py does not exist; it would be sent\n");
    assert_eq!(why("none.bin"), "none.bin does not exist; none.bin stays here: `*.bin` in .gitignore line 3\n");
    std::os::unix::fs::symlink("..", workstation.project.join("up")).expect("linked");
    assert_eq!(why("up/config"), "up is a link and sent as one; what it leads to stays here\n");
    for outside in ["../../etc/passwd", "/etc/passwd", "data/../../x"] {
        let done = workstation.nauta(&["files", "--why", outside]);
        assert!(done.code == 1 && done.stderr.contains("is outside the project"), "{done:?}");
    }
}

/// `nauta run >run.log` in the project's directory: what nauta says is no part of what it takes.
#[test]
fn the_file_that_nauta_writes_to_stays_here() {
    let workstation = Workstation::new();
    workstation.write("train.py", "").write("logs/old.log", "");
    let into = |log: &str, arguments: &[&str]| {
        let file = std::fs::File::create(workstation.project.join(log)).expect("created");
        let mut command = workstation.command(arguments);
        assert!(command.stdout(file).status().expect("nauta starts").success());
        std::fs::read_to_string(workstation.project.join(log)).expect("text")
    };
    for _ in 0..2 {
        assert_eq!(into("logs/run.log", &["files", "--all"]), "logs\ntrain.py\nlogs/old.log\n");
        assert_eq!(into("run.log", &["files", "--all"]), "logs\ntrain.py\nlogs/old.log\nlogs/run.log\n");
        // It is a file as others are once nobody writes to it.
        let all = workstation.succeeds(&["files", "--all"]).stdout;
        assert_eq!(all, "logs\nrun.log\ntrain.py\nlogs/old.log\nlogs/run.log\n");
        std::fs::remove_file(workstation.project.join("run.log")).expect("removed");
    }
}

#[test]
fn a_large_project_is_warned_about() {
    let mut workstation = Workstation::new();
    workstation.set("DOCKER_HOST", "unix:///no/such/socket").write("train.py", "");
    let big = std::fs::File::create(workstation.project.join("checkpoint.pt")).expect("created");
    big.set_len(150_000_000).expect("sparse");
    let done = workstation.nauta(&["run", "--local"]);
    assert!(
        done.stderr.contains("warning: the project has 143.05 MiB, most of it in `checkpoint.pt`"),
        "{}",
        done.stderr
    );
}

/// What ignore files keep here is told without being asked for, with the line that sends it; what can be made again is not.
#[test]
fn what_ignore_files_leave_out_is_told_with_the_line_that_sends_it() {
    let mut workstation = Workstation::new();
    workstation.write("train.py", "").write(".gitignore", "__pycache__/\n\n*.bin\nout/\n");
    workstation
        .write("data/train.bin", &"x".repeat(5 << 20))
        .write("out/ckpt/a", "four")
        .write("__pycache__/a.pyc", "");
    let told = workstation.succeeds(&["files"]).stdout;
    let data =
        "1 file, 5.00 MiB left out by .gitignore:3 `*.bin`: data/train.bin (`!data/*.bin` in .nautaignore sends it)\n";
    let out = "1 file, 4 B left out by .gitignore:4 `out/`: out/ (`!/out/` in .nautaignore sends it)\n";
    assert!(told.contains(data) && told.contains(out) && !told.contains("pycache"), "{told}");
    let json = workstation.succeeds(&["files", "--json"]).stdout;
    let document: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let expected = serde_json::json!({
        "pattern": "*.bin", "file": ".gitignore", "line": 3, "files": 1, "size": 5 << 20, "more": false,
        "paths": [{ "path": "data/train.bin", "size": 5 << 20 }], "sent_by": "!data/*.bin",
    });
    assert_eq!(document["left_out"][0], expected, "{document}");
    // A run tells of what is large and looks like data.
    workstation.set("DOCKER_HOST", "unix:///no/such/socket");
    let run = || workstation.nauta(&["run", "--local"]).stderr;
    let said = run();
    assert!(said.contains("this looks like data and stays here: 1 file, 5.00 MiB") && !said.contains("out/"), "{said}");
    workstation.write(".nautaignore", "!data/*.bin");
    assert!(!run().contains("stays here"), "{}", run());
    assert!(workstation.succeeds(&["files", "--all"]).stdout.contains("data/train.bin"));
}
