//! One program and its PID 1: codes, signals, orphans, output.

use std::io::{BufRead, BufReader, Read};

use super::{Ended, Rank};
use crate::support::{Workstation, environment, tool};

#[test]
fn exit_codes_are_the_programs() {
    for (program, code, words) in [
        (&["true"][..], 0, ""),
        (&["sh", "-c", "exit 1"], 1, ""),
        (&["sh", "-c", "exit 7"], 7, ""),
        (&["sh", "-c", "exit 125"], 125, ""),
        (&["sh", "-c", "exit 255"], 255, ""),
        (&["sh", "-c", "kill -TERM $$"], 143, ""),
        (&["sh", "-c", "kill -KILL $$"], 137, ""),
        (&["sh", "-c", "kill -SEGV $$"], 139, ""),
        (&["sh", "-c", "kill -ABRT $$"], 134, ""),
        (&["sh", "-c", "kill -PIPE $$"], 141, ""),
        (&["no-such-program"], 127, "`no-such-program` is not in the image"),
        (&["/etc"], 126, "/etc"),
        (&["/etc/hostname"], 126, "/etc/hostname"),
    ] {
        let ended = Rank::new().runs(program);
        assert_eq!(ended.code, code, "{program:?}: {ended:?}");
        assert!(ended.stderr.contains(words), "{program:?}: {ended:?}");
    }
}

#[test]
fn scripts_that_cannot_be_started_say_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let script = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("written");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    };
    script("windows", "#!/bin/sh\r\necho hello\r\n");
    script("lost", "#!/no/such/interpreter\n");
    let mount = format!("{}:/scripts:ro", folder.path().display());
    let windows = Rank::new().option(&["-v", &mount]).runs(&["/scripts/windows"]);
    assert!(windows.code == 126 && windows.stderr.contains("Windows line ends"), "{windows:?}");
    let lost = Rank::new().option(&["-v", &mount]).runs(&["/scripts/lost"]);
    assert!(lost.code == 127 && lost.stderr.contains("/no/such/interpreter"), "{lost:?}");
}

#[test]
fn signals_reach_the_program() {
    for signal in ["HUP", "INT", "QUIT", "USR1", "USR2", "WINCH", "CONT"] {
        let rank = Rank::new();
        let mut child =
            rank.starts(&format!("trap 'echo got it; exit 9' {signal}; echo up; while :; do sleep 0.05; done"));
        let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert_eq!(lines.next().expect("a line").expect("text"), "up");
        rank.signal(signal);
        assert!(lines.any(|line| line.expect("text") == "got it"), "{signal}");
        assert_eq!(child.wait().expect("ended").code(), Some(9), "{signal}");
    }
}

#[test]
fn whoever_ignores_sigterm_is_killed_after_the_grace_time() {
    let rank = Rank::new();
    let mut child = rank.starts("trap '' TERM; echo up; while :; do sleep 0.05; done");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert_eq!(lines.next().expect("a line").expect("text"), "up");
    rank.signal("TERM");
    assert_eq!(child.wait().expect("ended").code(), Some(137));
}

#[test]
fn a_signal_at_any_early_moment_ends_the_rank() {
    let rank = |delay: u64| {
        std::thread::spawn(move || {
            let rank = Rank::new();
            let mut child = rank.starts("sleep 300");
            // From "not there yet" over "meeting" and "forking" to "running".
            loop {
                std::thread::sleep(std::time::Duration::from_millis(delay));
                rank.signal("TERM");
                if let Some(status) = child.try_wait().expect("ours") {
                    return status.code();
                }
            }
        })
    };
    let ranks: Vec<_> = (0..24).map(|step| rank(3 + step * 13)).collect();
    for rank in ranks {
        assert_eq!(rank.join().expect("ended"), Some(143));
    }
}

#[test]
fn orphans_are_reaped_and_their_codes_are_nobodys() {
    let script = "for i in $(seq 200); do (sh -c 'exit 3' &) ; done; sleep 1
        for p in /proc/[0-9]*; do grep -s '^State:.Z' $p/status; done
        (sleep 600 &) ; exit 4";
    let ended = Rank::new().shell(script);
    assert_eq!((ended.code, String::from_utf8_lossy(&ended.stdout).as_ref()), (4, ""), "{ended:?}");
}

#[test]
fn every_byte_comes_out_as_it_was_written() {
    let program = "import os, sys
block = bytes(range(256)) * 4096
for _ in range(10):
    n = 0
    while n < len(block):
        n += os.write(1, block[n:])
os.write(2, b'no end of line')
os._exit(5)";
    let ended = Rank::new().runs_on("NAUTA_TEST_IMAGE_PYTHON", &["python3", "-c", program]);
    let block: Vec<u8> = (0..=255).collect();
    assert_eq!((ended.code, ended.stdout.len()), (5, 10 * 256 * 4096));
    assert!(ended.stdout.chunks(256).all(|piece| piece == block));
    assert_eq!(ended.stderr, "no end of line");
}

#[test]
fn output_is_not_held_back_by_bytes_or_by_children_that_keep_the_pipe() {
    let rank = Rank::new();
    let mut child = rank.starts("printf x; sleep 300");
    let mut byte = [0];
    child.stdout.take().expect("piped").read_exact(&mut byte).expect("comes at once");
    rank.signal("TERM");
    assert_eq!((byte, child.wait().expect("ended").code()), ([b'x'], Some(143)));
    let ended = Rank::new().shell("setsid sleep 600 & echo last words; exit 6");
    assert_eq!((ended.code, ended.stdout), (6, b"last words\n".to_vec()), "{}", ended.stderr);
}

#[test]
fn a_rank_needs_no_rights_and_no_account() {
    let options = ["--user", "12345:12345", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
    let ended = Rank::new()
        .option(&options)
        .option(&["--tmpfs", "/nauta/outputs:mode=1777"])
        .shell("id -u; echo $NAUTA_RANK of $NAUTA_NODES");
    assert_eq!((ended.code, String::from_utf8_lossy(&ended.stdout).as_ref()), (0, "12345\n0 of 1\n"), "{ended:?}");
}

#[test]
fn what_only_the_supervisor_may_know_is_not_the_programs() {
    let key = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(key.path(), "ab".repeat(32)).expect("written");
    let mount = format!("{}:/nauta/key/run-key:ro", key.path().display());
    let rank = Rank::new().option(&["-v", &mount]).env("NAUTA_LEASE", "none").env("MINE", "kept");
    let ended = rank.shell("env; echo ==; cat /proc/1/environ /proc/1/cmdline /proc/self/cmdline | tr '\\0' '\\n'");
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.code == 0 && !text.contains("abab"), "{text}");
    let environment = text.split("\n==\n").next().unwrap_or_default();
    for line in ["NAUTA_RANK=0", "NAUTA_NODES=1", "PYTHONUNBUFFERED=1", "MINE=kept"] {
        assert!(environment.lines().any(|other| other == line), "{line}: {text}");
    }
    assert!(!environment.contains("NAUTA_LEASE") && !environment.contains("NAUTA_GRACE"), "{text}");
}

#[test]
fn a_program_that_wants_too_much_memory_is_told_so() {
    let workstation = Workstation::new();
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{}'\n", environment("NAUTA_TEST_IMAGE_PYTHON")));
    let program = "x = bytearray(400 << 20); print(len(x))";
    let done = workstation.nauta(&["run", "--local", "--memory", "96Mi", "--", "python3", "-c", program]);
    assert_eq!(done.code, 137, "{}", done.stderr);
    assert!(done.stderr.contains("out of memory"), "{}", done.stderr);
}

#[test]
fn an_image_may_hold_nothing_at_all() {
    let name = format!("nauta-test-empty:{}", std::process::id());
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("empty.tar");
    let _ = tool("tar", &["-cf", archive.to_str().expect("text"), "-T", "/dev/null"]);
    let _ = tool("docker", &["import", archive.to_str().expect("text"), &name]);
    // No libc, no shell, no passwd, no /tmp, nothing to write to; the only program there is nauta itself.
    let own = ["/nauta/bin/nauta", "version"];
    let outcomes: Vec<Ended> = ["0:0", "1000:1000", "65534:65534", "1000650000:0", "2147483647:2147483647"]
        .iter()
        .map(|user| {
            let options = ["--user", user, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
            let rank = Rank::new().option(&options).option(&["--tmpfs", "/nauta/outputs:mode=1777"]);
            rank.runs_in(&name, &own)
        })
        .collect();
    let missing = Rank::new().option(&["--read-only"]).runs_in(&name, &["sh", "-c", "true"]);
    let _ = tool("docker", &["rmi", "-f", &name]);
    for ended in outcomes {
        assert!(ended.code == 0 && ended.stdout.starts_with(b"nauta "), "{ended:?}");
    }
    assert!(missing.code == 127 && missing.stderr.contains("`sh` is not in the image"), "{missing:?}");
}

#[test]
fn memory_that_only_a_child_wanted_is_said_and_the_code_is_the_programs() {
    let little = ["--memory", "64m", "--memory-swap", "64m"];
    let hog = "dd if=/dev/zero of=/dev/null bs=400M count=1";
    let of_child = Rank::new().option(&little).shell(&format!("{hog}; echo $? >&2; exit 3"));
    assert!(of_child.code == 3 && of_child.stderr.contains("137\n"), "{of_child:?}");
    assert!(of_child.stderr.contains("killed 1 of this rank's processes: out of memory"), "{of_child:?}");
    // A worker's end does not make another signal one, and it is said while the program waits for ever.
    let rank = Rank::new().option(&little);
    let mut child = rank.starts(&format!("({hog}) & sleep 300"));
    let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines().map_while(Result::ok);
    assert!(lines.any(|line| line.contains("killed 1 of this rank's processes: out of memory")));
    rank.signal("TERM");
    assert_eq!(child.wait().expect("ended").code(), Some(143));
}

#[test]
fn windows_line_ends_behind_env_are_named_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("train");
    std::fs::write(&path, "#!/usr/bin/env sh\r\necho hello\r\n").expect("written");
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("executable");
    let mount = format!("{}:/scripts:ro", folder.path().display());
    let ended = Rank::new().option(&["-v", &mount]).runs_on("NAUTA_TEST_IMAGE_PYTHON", &["/scripts/train"]);
    assert!(ended.code == 127 && ended.stderr.contains("has Windows line ends"), "{ended:?}");
}
