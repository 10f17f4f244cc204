//! `nauta logs`, of a run that is over.

use std::process::{Command, Stdio};

use crate::support::{Workstation, environment};

/// Two ranks have said this, and the second a word of its own; the last line has no end.
const SAYS: &str = "printf 'loss 0.5\\nLoss 0.25\\n'; [ $RANK = 1 ] && printf 'own \\033[31mred\\033[2J\\n' >&2; \
                    printf '10%%\\r20%%\\r\\xff'";

fn run() -> (Workstation, String) {
    let workstation = Workstation::new();
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\n"));
    let _ = workstation.succeeds(&["run", "--local", "-n", "2", "--", "sh", "-c", SAYS]);
    let name = workstation.only_run().file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    (workstation, name)
}

fn sorted(text: &str) -> Vec<&str> {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines
}

#[test]
fn logs_are_found_cut_stamped_and_kept() {
    let (workstation, name) = run();
    let logs = |options: &[&str]| workstation.succeeds(&[&["logs", &name], options].concat()).stdout;
    assert_eq!(sorted(&logs(&["--grep", "^loss [0-9.]+$"])), ["[0] loss 0.5", "[1] loss 0.5"]);
    assert_eq!(logs(&["--grep", "(?i)LOSS", "--rank", "1", "--tail", "1"]), "[1] Loss 0.25\n");
    assert_eq!(logs(&["--until", "1h"]), "");
    assert!(logs(&["--until", "1ms", "--since", "1h"]).contains("[0] loss 0.5"), "all is older than now");
    let stamped = logs(&["--timestamps", "--rank", "0", "--grep", "loss"]);
    let time = stamped.strip_prefix("[0] ").and_then(|rest| rest.strip_suffix(" loss 0.5\n")).expect("a time");
    assert!(time.parse::<jiff::Timestamp>().is_ok() && time.ends_with('Z'), "{stamped}");
    let wrong = workstation.nauta(&["logs", &name, "--grep", "("]);
    assert!(wrong.code == 2 && wrong.stderr.contains("unclosed group"), "{}", wrong.stderr);
    // Into a file: nothing on the terminal, no colours, and never over another file.
    let file = workstation.project.join("rank1.txt");
    let path = file.to_str().expect("text");
    assert_eq!(logs(&["--rank", "1", "--output", path]), "");
    let kept = std::fs::read_to_string(&file).expect("written");
    assert!(kept.contains("[1] own red\n") && kept.contains("[1] \u{fffd}"), "{kept:?}");
    let again = workstation.nauta(&["logs", &name, "--output", path]);
    assert!(again.code != 0 && again.stderr.contains("nothing is overwritten"), "{}", again.stderr);
}

#[test]
fn raw_logs_are_the_programs_bytes() {
    let (workstation, name) = run();
    let raw = |options: &[&str]| {
        let mut command = workstation.command(&[&["logs", &name, "--raw", "--rank", "1"], options].concat());
        command.stdin(Stdio::null()).output().expect("nauta starts")
    };
    let output = raw(&[]);
    assert_eq!(output.stdout, b"loss 0.5\nLoss 0.25\n10%\r20%\r\xff");
    assert_eq!(output.stderr, b"own \x1b[31mred\x1b[2J\n");
    let file = workstation.project.join("raw");
    let _ = raw(&["--output", file.to_str().expect("text")]);
    let bytes = std::fs::read(&file).expect("written");
    assert_eq!(bytes.len(), output.stdout.len() + output.stderr.len());
}

/// What one sees on a terminal; `script` makes one.
#[test]
fn on_a_terminal_what_all_ranks_say_is_shown_once() {
    let (workstation, name) = run();
    let inner = workstation.command(&["logs", &name]);
    let mut command = Command::new("script");
    let line = format!("{} logs {name}", inner.get_program().to_str().expect("text"));
    command.args(["-qec", &line, "/dev/null"]).current_dir(&workstation.project).stdin(Stdio::null());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.env("NO_COLOR", "1").output().expect("script starts");
    let shown = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(shown.contains("[0-1] loss 0.5\n[0-1] Loss 0.25\n"), "{shown}");
    assert!(shown.contains("[1] own red\n") && !shown.contains("[2J"), "{shown}");
}
