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

/// All that a terminal gets; `script` makes one.
fn on_a_terminal(workstation: &Workstation, arguments: &str) -> String {
    let inner = workstation.command(&[]);
    let mut command = Command::new("script");
    let line = format!("{} {arguments}", inner.get_program().to_str().expect("text"));
    command.args(["-qec", &line, "/dev/null"]).current_dir(&workstation.project).stdin(Stdio::null());
    for (name, value) in inner.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.env("NO_COLOR", "1").output().expect("script starts");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn on_a_terminal_what_all_ranks_say_is_shown_once() {
    let (workstation, name) = run();
    let shown = on_a_terminal(&workstation, &format!("logs {name}")).replace('\r', "");
    assert!(shown.contains("[0-1] loss 0.5\n[0-1] Loss 0.25\n"), "{shown}");
    assert!(shown.contains("[1] own red\n") && !shown.contains("[2J"), "{shown}");
}

/// Bars are drawn in place while they move, and are a line once when they have ended.
#[test]
fn on_a_terminal_bars_move_in_place() {
    let workstation = Workstation::new();
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\n[run]\ncommand = 'sh job.sh'\n")).write(
        "job.sh",
        "for i in 1 2 3 4 5 6 7 8; do printf \"\\repoch 1: $i/8 [speed $((i * 7 + RANK))]\"; sleep 0.4; done; sleep 3; echo; echo done",
    );
    let shown = on_a_terminal(&workstation, "run --local -n 2");
    // Both ranks' bar is one row, and is taken away before the next state is drawn.
    assert!(shown.contains("\r\x1b[K[0-1] epoch 1: 8/8"), "{shown:?}");
    // Ranks that do not end at one moment have a line each.
    for rank in [0, 1] {
        let done = ["[0-1] done".to_owned(), format!("[{rank}] done")];
        assert!(done.iter().any(|line| shown.contains(line)), "{shown:?}");
    }
    // Not at a terminal: the last state, and nothing that moves.
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text");
    let piped = workstation.succeeds(&["logs", name, "--rank", "1"]).stdout;
    assert_eq!(piped, "[1] epoch 1: 8/8 [speed 57]\n[1] done\n");
}
