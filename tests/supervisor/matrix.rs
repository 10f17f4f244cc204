//! Everything that a process can do to its parent, and that can be done to PID 1: in PID namespaces of this machine, which are
//! made faster than containers.
//!
//! `NAUTA_TEST_PID1=1` does all of it; without it, every third of the large rows is done.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::libc;

use crate::support::own_process::is_own_process;
use crate::support::{figure, number};

/// Nothing here takes longer, unless it hangs.
const PATIENCE: Duration = Duration::from_secs(20);
/// Passed on to the program.
const FORWARDED: [i32; 20] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGABRT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGSTKFLT,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGURG,
    libc::SIGXCPU,
    libc::SIGVTALRM,
    libc::SIGPROF,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
];
/// About the process that gets them; PID 1 is not impressed.
const OWN: [i32; 9] = [
    libc::SIGILL,
    libc::SIGTRAP,
    libc::SIGBUS,
    libc::SIGFPE,
    libc::SIGSEGV,
    libc::SIGPIPE,
    libc::SIGCHLD,
    libc::SIGXFSZ,
    libc::SIGSYS,
];

/// Every how many cases one is done.
fn step() -> usize {
    if number("NAUTA_TEST_PID1", 0) == 0 { 3 } else { 1 }
}

/// Whether this test runs where the supervisor's port is free: in a network of its own.
fn is_alone(name: &str) -> bool {
    is_own_process(&format!("supervisor::matrix::{name}"), |program, arguments| {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "busybox ip link set lo up && ulimit -c 0 && exec \"$@\"", "sh"]);
        command.arg(program).args(arguments);
        command
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It is the first process.
    First,
    /// Another one is.
    Subreaper,
}

const PLACES: [Place; 2] = [Place::First, Place::Subreaper];

/// A folder that anybody may write to, with the binary in it.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o1777)).expect("set");
        std::fs::copy(env!("CARGO_BIN_EXE_nauta"), folder.path().join("nauta")).expect("copied");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// A supervisor, as a user who has nothing.
    fn start(&self, place: Place, program: &[&str], variables: &[(&str, &str)]) -> Pid1 {
        let mut command = Command::new("unshare");
        if place == Place::First {
            command.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        } else {
            // The same chain of programs, but the host's processes.
            command.arg("--mount");
        }
        command.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
        command.arg(self.path().join("nauta")).args(["supervise", "--"]).args(program);
        command.env_clear().env("PATH", "/usr/bin:/bin").env("TMPDIR", self.path());
        command.env("NAUTA_RANK", "0").env("NAUTA_NODES", "1").env("NAUTA_DRAIN", "0").env("NAUTA_GRACE", "1");
        command.env("NAUTA_OUTPUTS", self.path().join("outputs")).envs(variables.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Pid1 { child: command.spawn().expect("unshare is part of every Linux"), place }
    }

    fn code(&self, place: Place, script: &str) -> i32 {
        self.start(place, &["sh", "-c", script], &[]).code()
    }
}

/// A running supervisor.
struct Pid1 {
    child: Child,
    place: Place,
}

impl Pid1 {
    /// Its process as this test sees it, once it is more than a copy of `unshare`.
    fn pid(&self) -> i32 {
        let own = i32::try_from(self.child.id()).expect("small");
        let started = Instant::now();
        loop {
            let pid = match self.place {
                Place::Subreaper => Some(own),
                Place::First => std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))
                    .ok()
                    .and_then(|children| children.split_whitespace().next()?.parse().ok()),
            };
            let is_nauta = |pid: &i32| {
                std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|program| program.ends_with("nauta"))
            };
            if let Some(pid) = pid.filter(is_nauta) {
                return pid;
            }
            assert!(started.elapsed() < PATIENCE, "no supervisor");
        }
    }

    /// Waits for its first line.
    fn is_up(&mut self) -> &mut Self {
        let mut lines = BufReader::new(self.child.stdout.as_mut().expect("piped"));
        let mut line = String::new();
        lines.read_line(&mut line).expect("readable");
        assert_eq!(line, "up\n");
        self
    }

    fn signal(&self, pid: i32, signal: i32) {
        // Signals by number: not all have a name that `nix` knows.
        let done = Command::new("sh").args(["-c", &format!("kill -{signal} {pid}")]).stderr(Stdio::null()).status();
        assert!(done.is_ok(), "{:?}", self.place);
    }

    /// Its exit code; 1000 and a signal's number when one killed it; -1 when it does not end.
    fn code(&mut self) -> i32 {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("ours") {
                return status.code().unwrap_or_else(|| 1000 + status.signal().unwrap_or(0));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = self.child.kill();
        -1
    }

    fn said(self) -> String {
        let output = self.child.wait_with_output().expect("ended");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }
}

impl Drop for Pid1Guard<'_> {
    fn drop(&mut self) {
        let _ = self.0.child.kill();
    }
}

/// Kills a supervisor that a failing test leaves.
struct Pid1Guard<'a>(&'a mut Pid1);

#[test]
fn every_exit_code_is_the_programs() {
    if !is_alone("every_exit_code_is_the_programs") {
        return;
    }
    let home = Home::new();
    let mut runs = 0;
    for place in PLACES {
        for code in (0..256).step_by(step()) {
            assert_eq!(home.code(place, &format!("exit {code}")), code, "{place:?}");
            runs += 1;
        }
        // The dead of all signals that kill, real-time ones too. 32 and 33 are the C library's own, and ignored in whatever its
        // `posix_spawn` starts, as this test.
        for signal in (1..=64).filter(|signal| !matches!(signal, 17..=23 | 28 | 32 | 33)).step_by(step()) {
            assert_eq!(home.code(place, &format!("kill -{signal} $$")), 128 + signal, "{place:?}");
            runs += 1;
        }
    }
    figure(&format!("{runs} of {runs} exit codes were the program's"));
}

/// Catches a signal, without a child that the signal could hit too.
fn catches(signal: i32, more: &str) -> String {
    format!("trap 'exit 9' {signal}; {more} echo up; while :; do :; done")
}

#[test]
fn every_signal_reaches_a_running_program_or_leaves_it_alone() {
    if !is_alone("every_signal_reaches_a_running_program_or_leaves_it_alone") {
        return;
    }
    let home = Home::new();
    for place in PLACES {
        for signal in FORWARDED {
            let mut rank = home.start(place, &["sh", "-c", &catches(signal, "")], &[]);
            rank.is_up();
            rank.signal(rank.pid(), signal);
            assert_eq!(rank.code(), 9, "signal {signal} to {place:?}");
        }
    }
    // Whoever sends these to a process that is not the first means to kill it.
    let harmless = |place, signal: &i32| place == Place::First || matches!(*signal, libc::SIGPIPE | libc::SIGCHLD);
    for place in PLACES {
        for signal in OWN.iter().filter(|signal| harmless(place, signal)) {
            let mut rank = home.start(place, &["sh", "-c", &catches(libc::SIGUSR1, "")], &[]);
            rank.is_up();
            let pid = rank.pid();
            rank.signal(pid, *signal);
            rank.signal(pid, *signal);
            rank.signal(pid, libc::SIGUSR1);
            assert_eq!(rank.code(), 9, "signal {signal} to {place:?}");
        }
    }
    // Halted from outside, and going on.
    let mut rank = home.start(Place::First, &["sh", "-c", &catches(libc::SIGUSR1, "")], &[]);
    rank.is_up();
    let pid = rank.pid();
    rank.signal(pid, libc::SIGSTOP);
    rank.signal(pid, libc::SIGUSR1);
    rank.signal(pid, libc::SIGCONT);
    assert_eq!(rank.code(), 9);
    // With the first process, all go.
    let mut rank = home.start(Place::First, &["sh", "-c", &catches(libc::SIGUSR1, "")], &[]);
    rank.is_up();
    rank.signal(rank.pid(), libc::SIGKILL);
    let code = rank.code();
    assert!(!matches!(code, -1 | 0 | 9), "{code}");
    figure("31 of 31 signals to a running rank did what they should");
}

#[test]
fn every_signal_reaches_a_program_that_is_being_stopped() {
    if !is_alone("every_signal_reaches_a_program_that_is_being_stopped") {
        return;
    }
    let home = Home::new();
    let long = [("NAUTA_GRACE", "15")];
    for signal in FORWARDED.into_iter().filter(|signal| *signal != libc::SIGTERM) {
        // SIGCONT comes with every SIGTERM.
        let of_term = if signal == libc::SIGCONT { "trap '' TERM;" } else { "trap 'echo up' TERM;" };
        let script = catches(signal, of_term);
        let mut rank = home.start(Place::First, &["sh", "-c", &script], &long);
        rank.is_up();
        let pid = rank.pid();
        rank.signal(pid, libc::SIGTERM);
        if signal != libc::SIGCONT {
            // It has heard of its end.
            rank.is_up();
        }
        rank.signal(pid, signal);
        assert_eq!(rank.code(), 9, "signal {signal}");
    }
    for signal in OWN {
        let mut rank = home.start(Place::First, &["sh", "-c", &catches(libc::SIGUSR1, "trap 'echo up' TERM;")], &long);
        rank.is_up();
        let pid = rank.pid();
        rank.signal(pid, libc::SIGTERM);
        rank.is_up();
        rank.signal(pid, signal);
        rank.signal(pid, libc::SIGTERM);
        rank.signal(pid, libc::SIGUSR1);
        assert_eq!(rank.code(), 9, "signal {signal}");
    }
    figure("31 of 31 signals to a rank that was being stopped did what they should");
}

/// Before its first instruction, no program can do anything about a signal: the kernel throws away what PID 1 has no handler
/// for. From the moment on at which signals are blocked, none is lost.
#[test]
fn no_signal_is_lost_in_the_first_five_milliseconds() {
    if !is_alone("no_signal_is_lost_in_the_first_five_milliseconds") {
        return;
    }
    let home = Home::new();
    let mut runs = 0;
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT] {
        for delay in (0..=5000).step_by(100 * step()) {
            let mut rank = home.start(Place::First, &["sleep", "300"], &[]);
            let pid = rank.pid();
            while !blocks_signals(pid) {}
            let reached = Instant::now();
            while reached.elapsed() < Duration::from_micros(delay) {}
            let raw = nix::sys::signal::Signal::try_from(signal).expect("known");
            nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), raw).expect("sent");
            let code = rank.code();
            // Stopped before the program was there, or with it.
            assert!(code == 143 || code == 128 + signal, "signal {signal} after {delay} µs: {code}\n{}", rank.said());
            runs += 1;
        }
    }
    for signal in FORWARDED.into_iter().chain(OWN) {
        let mut rank = home.start(Place::First, &["sleep", "300"], &[]);
        let pid = rank.pid();
        while !blocks_signals(pid) {}
        rank.signal(pid, signal);
        rank.signal(pid, libc::SIGTERM);
        let code = rank.code();
        assert!(code == 143 || code == 128 + signal, "signal {signal} at once: {code}\n{}", rank.said());
        runs += 1;
    }
    figure(&format!("{runs} of {runs} signals in the first 5 ms ended the rank"));
}

/// Whether a process holds SIGTERM back, or has a handler for it: the supervisor has begun.
fn blocks_signals(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let term = 1 << (libc::SIGTERM - 1);
    [mask("SigBlk:"), mask("SigCgt:")].into_iter().flatten().any(|mask| mask & term != 0) || status.is_empty()
}

/// Whether a process with this word in its command line lives.
fn lives(word: &str) -> bool {
    let entries = std::fs::read_dir("/proc").expect("mounted").flatten();
    let mut commands = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    commands.any(|command| command.split(|byte| *byte == 0).any(|argument| argument == word.as_bytes()))
}

#[test]
fn nothing_outlives_a_rank_however_it_hides() {
    if !is_alone("nothing_outlives_a_rank_however_it_hides") {
        return;
    }
    let home = Home::new();
    let orphans = if step() == 1 { 10_000 } else { 1000 };
    let word = format!("300.{}", std::process::id());
    for place in PLACES {
        let script = format!(
            "i=0; while [ $i -lt {orphans} ]; do (true &); i=$((i+1)); done; sleep 0.2
            for p in /proc/[0-9]*; do grep -s '^State:.Z' $p/status && grep PPid $p/status; done | grep -c \"PPid:.$PPID\\$\" >&2
            exit 4"
        );
        let mut rank = home.start(place, &["sh", "-c", &script], &[]);
        assert_eq!(rank.code(), 4, "{place:?}");
        assert_eq!(rank.said().trim(), "0", "zombies of {place:?}");
        // In another session, in another group, halted, deaf, and with its parents gone.
        let hides = format!(
            "setsid sleep {word} & (setsid sh -c 'setsid sleep {word} & exec sleep {word}' &)
            sh -c 'trap \"\" TERM HUP INT; sleep {word} & kill -STOP $!; (sleep {word} &)'
            i=0; while [ $i -lt 100 ]; do (setsid sleep {word} &); i=$((i+1)); done
            sleep 0.1; exit 5"
        );
        assert_eq!(home.code(place, &hides), 5, "{place:?}");
        assert!(!lives(&word), "{place:?} leaves processes");
        // Nothing of the first attempt is there in the second.
        let again = format!(
            "if [ $NAUTA_ATTEMPT = 1 ]; then (setsid sleep {word} &); sleep 0.1; exit 1; fi
            for p in /proc/[0-9]*; do tr '\\0' ' ' <$p/cmdline 2>/dev/null; echo; done | grep -q '^sleep {word}' && exit 7; exit 6"
        );
        let mut rank = home.start(place, &["sh", "-c", &again], &[("NAUTA_RESTARTS", "1")]);
        assert_eq!(rank.code(), 6, "{place:?}: {}", rank.said());
    }
    figure(&format!("{orphans} orphans left no zombie, 206 processes in hiding were killed"));
}

#[test]
fn whoever_is_halted_or_deaf_is_stopped_too() {
    if !is_alone("whoever_is_halted_or_deaf_is_stopped_too") {
        return;
    }
    let home = Home::new();
    for place in PLACES {
        // The trap is said to be there by the halt itself: nothing is written after it.
        let halted = "trap 'exit 9' TERM; echo up; kill -STOP $$; while :; do :; done";
        let mut rank = home.start(place, &["sh", "-c", halted], &[("NAUTA_GRACE", "15")]);
        rank.is_up();
        std::thread::sleep(Duration::from_millis(50));
        rank.signal(rank.pid(), libc::SIGTERM);
        assert_eq!(rank.code(), 9, "halted, {place:?}");
        let deaf = "trap '' TERM INT HUP QUIT; echo up; while :; do sleep 1; done";
        let mut rank = home.start(place, &["sh", "-c", deaf], &[]);
        rank.is_up();
        rank.signal(rank.pid(), libc::SIGTERM);
        assert_eq!(rank.code(), 137, "deaf, {place:?}");
    }
}

/// Random programs that fork, leave, ignore and halt, hit by random signals: the code is the first process's, nothing stays.
#[test]
fn a_storm_of_signals_loses_nothing() {
    if !is_alone("a_storm_of_signals_loses_nothing") {
        return;
    }
    let home = Home::new();
    let storm = number("NAUTA_TEST_PID1_STORM", 300);
    for place in PLACES {
        let counts = "n=0; trap 'n=$((n+1))' USR1; trap 'exit 9' USR2; echo up; while :; do (true &) ; done";
        let mut rank = home.start(place, &["sh", "-c", counts], &[]);
        rank.is_up();
        let pid = nix::unistd::Pid::from_raw(rank.pid());
        let kinds = [
            nix::sys::signal::SIGUSR1,
            nix::sys::signal::SIGWINCH,
            nix::sys::signal::SIGCHLD,
            nix::sys::signal::SIGCONT,
        ];
        for i in 0..storm {
            let kind = kinds[usize::try_from(i % 4).expect("small")];
            nix::sys::signal::kill(pid, kind).expect("sent");
            std::thread::sleep(Duration::from_micros(500));
        }
        nix::sys::signal::kill(pid, nix::sys::signal::SIGUSR2).expect("sent");
        let guard = Pid1Guard(&mut rank);
        assert_eq!(guard.0.code(), 9, "{place:?}");
    }
    figure(&format!("{storm} signals during a storm of orphans: no zombie, the right code"));
}
