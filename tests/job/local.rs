//! `nauta run --local`.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::{parameters, pytorch};
use crate::support::engine_proxy::{EngineProxy, Telling};
use crate::support::{Workstation, environment, figure, interrupt, nothing_of, number};

fn shell(base: &str) -> Workstation {
    let workstation = Workstation::new();
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\n[project]\nname = 'shell'\n"));
    workstation
}

#[test]
fn every_rank_of_the_python_template_brings_its_outputs() {
    let workstation = Workstation::new();
    let _ = workstation.succeeds(&["init", "--template", "python"]);
    workstation.configure(&format!("[defaults]\nbase = '{}'\n", environment("NAUTA_TEST_IMAGE_PYTHON")));
    let done = workstation.succeeds(&["run", "--local", "--nodes", "3", "-e", "DARTS=3000"]);
    assert!(done.stderr.starts_with("estimate-pi-"), "the first line says where: {}", done.stderr);
    assert!(done.stderr.contains(": 3 ranks on Docker here (from --local)\n"), "{}", done.stderr);
    assert!(done.stdout.contains("[2] 1000 of 1000 darts"), "{}", done.stdout);
    let run = workstation.only_run();
    for file in ["estimate.json", "rank-1/estimate.json", "rank-2/estimate.json"] {
        let file = run.join(file);
        assert_eq!(file.metadata().expect("arrived").uid(), nix::unistd::getuid().as_raw());
    }
    nothing_of(run.file_name().and_then(|name| name.to_str()).expect("text"));
    let listed = workstation.succeeds(&["list", "--json"]);
    assert!(listed.stdout.contains(r#""state":"succeeded""#), "{}", listed.stdout);
    let logs = workstation.succeeds(&[
        "logs",
        "--rank",
        "2",
        "--tail",
        "1",
        run.file_name().and_then(|n| n.to_str()).expect("text"),
    ]);
    assert!(logs.stdout.starts_with("[2] 1000 of 1000") && logs.stdout.lines().count() == 1, "{}", logs.stdout);
}

#[test]
fn torchrun_and_plain_python_train_the_same_model() {
    let workstation = pytorch(&environment("NAUTA_TEST_IMAGE_PYTORCH"));
    let plain = workstation.succeeds(&["run", "--local", "-e", "EPOCHS=2"]);
    let torchrun = workstation.succeeds(&["run", "--local", "-e", "EPOCHS=2", "--", "torchrun", "train.py"]);
    let digests = parameters(&plain.stdout);
    assert_eq!(digests.len(), 2, "{}", plain.stdout);
    assert!(digests[0] == digests[1] && digests == parameters(&torchrun.stdout));
}

#[test]
fn the_exit_code_is_that_of_the_rank_that_failed_first() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let script = "echo words > $NAUTA_OUTPUTS/words; if [ $RANK = 1 ]; then sleep 1; exit 7; fi; sleep 100";
    let done = workstation.nauta(&["run", "--local", "-n", "3", "--", "sh", "-c", script]);
    assert_eq!(done.code, 7, "{}", done.stderr);
    assert!(done.stderr.contains("failed: rank 1 exited with code 7"), "{}", done.stderr);
    let run = workstation.only_run();
    assert!(run.join("rank-2/words").is_file(), "outputs come back on failure too");
    nothing_of(run.file_name().and_then(|name| name.to_str()).expect("text"));
    let code = |script: &str| workstation.nauta(&["run", "--local", "--", "sh", "-c", script]).code;
    assert_eq!(code("kill -9 $$"), 137);
    assert_eq!(code("exit 255"), 255);
    let missing = workstation.nauta(&["run", "--local", "--", "no-such-program"]);
    assert_eq!(missing.code, 127);
    assert!(missing.stderr.contains("`no-such-program` is not in the image"), "{}", missing.stderr);
}

#[test]
fn nothing_is_left_when_nauta_is_killed() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let mut command = workstation.command(&["run", "--local", "-n", "2", "--", "sh", "-c", "echo up; sleep 1000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.next().expect("a line").expect("text").ends_with("up"));
    child.kill().expect("killed");
    child.wait().expect("waited");
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    // The janitor's work: seen when the containers are gone, at most the time that it gives them.
    for _ in 0..300 {
        let filter = format!("label=nauta.dev/run={name}");
        let containers = crate::support::tool("docker", &["ps", "-aq", "--filter", &filter]);
        let networks = crate::support::tool("docker", &["network", "ls", "-q", "--filter", &filter]);
        if containers.is_empty() && networks.is_empty() {
            assert!(workstation.succeeds(&["list"]).stdout.contains("lost"));
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    nothing_of(&name);
}

#[test]
fn another_terminal_can_follow_a_run() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let script = "echo up; while [ ! -e $NAUTA_OUTPUTS/go ]; do sleep 0.1; done; echo last";
    let mut command = workstation.command(&["run", "--local", "--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.next().expect("a line").expect("text").ends_with("up"));
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    let mut command = workstation.command(&["logs", "-f", "--tail", "1", &name]);
    let mut follower = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("nauta starts");
    let mut seen = BufReader::new(follower.stdout.take().expect("piped")).lines();
    assert_eq!(seen.next().expect("a line").expect("text"), "[0] up");
    let status = workstation.succeeds(&["status", &name]);
    assert!(
        status.stdout.starts_with(&format!("{name}: running\n")) && status.stdout.contains("0     runs\n"),
        "{status:?}"
    );
    for fact in [
        "  on       Docker here, 1 rank\n",
        "  started  ",
        "  command  sh -c echo up;",
        &format!("  outputs  runs/{name}\n"),
    ] {
        assert!(status.stdout.contains(fact), "{fact}: {status:?}");
    }
    let status = workstation.succeeds(&["status", "--json", &name]).stdout;
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    assert_eq!(
        (status["ranks"][0]["state"]["state"].as_str(), status["command"][0].as_str()),
        (Some("running"), Some("sh"))
    );
    let container = crate::support::tool("docker", &["ps", "-q", "--filter", &format!("label=nauta.dev/run={name}")]);
    let _ = crate::support::tool("docker", &["exec", container.trim(), "sh", "-c", "touch /nauta/outputs/go"]);
    assert_eq!(seen.next().expect("a line").expect("text"), "[0] last");
    assert!(seen.next().is_none() && follower.wait().expect("waited").success());
    assert!(child.wait().expect("waited").success());
}

#[test]
fn ctrl_c_stops_the_run_and_leaves_nothing() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let script = "trap 'echo bye; echo bye > $NAUTA_OUTPUTS/last; exit 3' TERM; echo up; while :; do sleep 0.1; done";
    let mut command = workstation.command(&["run", "--local", "--", "sh", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.next().expect("a line").expect("text").ends_with("up"));
    interrupt(&child);
    // The whole group gets the signal: the shell may say first that its `sleep` was terminated.
    assert!(lines.any(|line| line.expect("text") == "[0] bye"));
    let name = is_cancelled(&workstation, child);
    assert_eq!(
        std::fs::read_to_string(workstation.project.join("runs").join(name).join("last")).expect("here"),
        "bye\n"
    );
}

/// A run that ends as one that was cancelled, for whoever ran it and for whoever asks; gives its name.
fn is_cancelled(workstation: &Workstation, child: Child) -> String {
    let ended = child.wait_with_output().expect("waited");
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(130), "{words}");
    assert!(words.contains("[0] was cancelled by "), "{words}");
    let last = words.lines().last().expect("a last line").trim();
    assert!(last.starts_with("run cancelled: "), "{words}");
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    nothing_of(&name);
    let status = workstation.succeeds(&["status"]).stdout;
    assert!(status.starts_with(&format!("{name}: cancelled (code 130)\n")), "{status}");
    assert!(workstation.succeeds(&["list", "--json"]).stdout.contains(r#""state":"cancelled""#));
    let followed = workstation.succeeds(&["logs", "-f", &name]);
    assert!(followed.stderr.trim_end().ends_with("run cancelled"), "{followed:?}");
    name
}

/// A run of two ranks, from when both have said that they are up, and nothing before; what it says from then on, and its name.
fn two_that_are_up(workstation: &Workstation, arguments: &[&str]) -> (Child, impl Iterator + use<>, String) {
    let mut command = workstation.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    for _ in 0..2 {
        assert!(lines.next().expect("a line").expect("text").ends_with("up"));
    }
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    (child, lines, name)
}

#[test]
fn cancel_is_cancelled_also_where_the_program_ends_well() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.1; done";
    let (child, _lines, name) = two_that_are_up(&workstation, &["run", "--local", "-n", "2", "--", "sh", "-c", script]);
    assert_eq!(workstation.succeeds(&["cancel", &name]).stdout, format!("{name} is cancelled\n"));
    assert_eq!(is_cancelled(&workstation, child), name);
}

#[test]
fn the_verdict_is_last_and_quotes_the_cause() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    workstation.write("said.txt", "Traceback (most recent call last):\n  File \"t.py\", line 1, in <module>\nModuleNotFoundError: No module named 'einops'\n");
    let run = |script: &str| workstation.nauta(&["run", "--local", "--", "sh", "-c", script]);
    let done = run("echo first; printf 'fatal: last words' >&2; exit 3");
    assert!(done.stdout.ends_with("[0] fatal: last words\n"), "{done:?}");
    let last: Vec<&str> = done.stderr.lines().rev().take(2).map(str::trim).collect();
    assert_eq!(last, ["run failed: rank 0 exited with code 3: fatal: last words", "collect no outputs"]);
    let done = run("cat said.txt >&2; echo kept > $NAUTA_OUTPUTS/kept; printf '\\0'; exit 1");
    let last: Vec<&str> = done.stderr.lines().rev().take(2).map(str::trim).collect();
    let verdict = "run failed: rank 0 exited with code 1: ModuleNotFoundError: No module named 'einops'";
    assert_eq!(last, ["hint: name `einops` in a requirements.txt", verdict]);
    assert!(!done.stdout.contains('\0') && done.stderr.contains("collect 1 file, 5 B in runs/"), "{done:?}");
    let status = workstation.succeeds(&["status"]).stdout;
    assert!(status.contains(": failed: rank 0 exited with code 1: ModuleNotFoundError"), "{status}");
    let done = workstation.nauta(&["--json", "run", "--local", "--", "sh", "-c", "cat said.txt; exit 1"]);
    let document: serde_json::Value =
        serde_json::from_str(done.stdout.lines().last().expect("a document")).expect("JSON");
    assert_eq!(
        (document["state"].as_str(), document["cause"]["rank"].as_u64()),
        (Some("failed"), Some(0)),
        "{document}"
    );
    assert_eq!(document["cause"]["advice"], "name `einops` in a requirements.txt");
    workstation.write(
        "nauta.toml",
        &format!(
            "[environment]\nbase = '{}'\n[run]\ncommand = 'cd src && python train.py'\n",
            environment("NAUTA_TEST_IMAGE_BUSYBOX")
        ),
    );
    let done = workstation.nauta(&["run", "--local"]);
    assert!(
        done.stderr.contains("no shell runs this command: write it as `sh -c \"cd src && python train.py\"`"),
        "{done:?}"
    );
}

#[test]
fn a_rank_that_is_killed_is_seen_whatever_the_engine_tells() {
    let seed = number("NAUTA_TEST_SEED", u64::from(std::process::id()));
    figure(&format!("NAUTA_TEST_SEED={seed}"));
    let tellings = [Telling::Silent(0), Telling::Cut(0), Telling::Drawn(seed)];
    std::thread::scope(|scope| {
        for telling in tellings {
            scope.spawn(move || run_whose_engine_tells(telling));
        }
    });
}

/// A run whose rank 1 is killed with its supervisor: only the engine knows how it ended.
fn run_whose_engine_tells(telling: Telling) {
    let proxy = EngineProxy::start(telling);
    let mut workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    workstation.set("DOCKER_HOST", &proxy.host());
    let (child, _lines, name) =
        two_that_are_up(&workstation, &["run", "--local", "-n", "2", "--", "sh", "-c", "echo up; sleep 1000"]);
    let killed = std::time::Instant::now();
    let _ = crate::support::tool("docker", &["kill", &format!("nauta-{name}-1")]);
    let ended = child.wait_with_output().expect("waited");
    let took = killed.elapsed();
    let words = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(137), "{telling:?}: {words}");
    // Rank 0 waits some seconds for the other to come back.
    assert!(took < Duration::from_secs(40), "{telling:?}: {took:?}: {words}");
    figure(&format!("{telling:?}: over {took:.1?} after the kill; asked for events {} times", proxy.subscriptions()));
    nothing_of(&name);
}

/// A run that nobody follows keeps what it leaves in its containers, until somebody comes back.
#[test]
fn a_run_that_is_left_to_itself_is_come_back_to() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let leave = |script: &str| {
        let done = workstation.succeeds(&["run", "--local", "-n", "2", "--detach", "sh", "-c", script]);
        assert!(done.stderr.contains("goes on in Docker") && done.stderr.contains("for 24 h"), "{}", done.stderr);
        done.stdout.trim().to_owned()
    };
    let script = "echo one; echo words > $NAUTA_OUTPUTS/words-$RANK; echo two";
    let words = |run: &str| std::fs::read_to_string(workstation.project.join("runs").join(run).join("words-0"));
    let run = leave(script);
    // Its containers stay, its programs have ended.
    until_it_is(&workstation, "succeeded");
    assert!(words(&run).is_err() && workstation.succeeds(&["status", &run]).stdout.contains("succeeded"));
    let followed = workstation.succeeds(&["logs", "-f", &run]);
    assert!(followed.stdout.contains("[1] one") && followed.stdout.contains("[0] two"), "{followed:?}");
    assert_eq!(words(&run).expect("brought"), "words\n");
    nothing_of(&run);
    // Without what it writes.
    let run = leave(script);
    let pulled = workstation.succeeds(&["pull", &run]);
    assert!(!pulled.stdout.contains("one") && words(&run).is_ok(), "{pulled:?}");
    nothing_of(&run);
    let run = leave("sleep 1000");
    until_it_is(&workstation, "running");
    let _ = workstation.succeeds(&["cancel", &run]);
    nothing_of(&run);
}

/// Until the newest run stands so in the list.
fn until_it_is(workstation: &Workstation, state: &str) {
    let begin = std::time::Instant::now();
    loop {
        let list = workstation.succeeds(&["list"]).stdout;
        if list.lines().nth(1).is_some_and(|line| line.contains(state)) {
            return;
        }
        assert!(begin.elapsed() < Duration::from_mins(1), "{state}: {list}");
    }
}

#[test]
fn a_program_that_misses_what_did_not_travel_is_told_of_the_line_that_sends_it() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_PYTHON"));
    workstation.write(".gitignore", "*.bin\n").write("data/train.bin", "x").write("train.py", "open('data/train.bin')");
    let done = workstation.nauta(&["run", "--local", "train.py"]);
    let told = "`data/train.bin` is here and did not travel: left out by .gitignore:1 `*.bin` (`!data/*.bin` in .nautaignore sends it)";
    assert!(done.code == 1 && done.stderr.contains(told), "{}", done.stderr);
}
