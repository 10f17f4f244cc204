//! PID 1's duties: no signal is lost, no zombie stays, nothing outlives the rank.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{self, SigSet, SigmaskHow, Signal};
use nix::unistd::{Pid, getpid};
use rustix::process::{WaitOptions, WaitStatus, wait};
use tokio::signal::unix::{SignalKind, signal as listen};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

/// Signals that are passed on to the program: all that somebody may mean by them. Not those that the kernel sends to a process
/// for what it does itself (faults, a broken pipe, a file that is too large): to us they are about us.
const FORWARDED: [Signal; 20] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGABRT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGALRM,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGXCPU,
    Signal::SIGWINCH,
    Signal::SIGURG,
    Signal::SIGIO,
    Signal::SIGPWR,
    Signal::SIGSTKFLT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGCONT,
];
/// How long killed processes are waited for: one that hangs in the kernel must not keep the rank.
const DYING: Duration = Duration::from_secs(5);
/// Between two looks at them.
const LOOK: Duration = Duration::from_millis(5);

/// Makes all signals wait.
pub(super) fn block_signals() {
    let _ = signal::sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::all()), None);
}

/// Lets signals through: those that waited are delivered now.
pub(super) fn unblock_signals() {
    let _ = signal::sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&SigSet::all()), None);
}

/// Signals as they arrive: those to pass on, and SIGCHLD.
pub(super) fn listen_to_signals() -> std::io::Result<mpsc::UnboundedReceiver<Signal>> {
    let (signals_tx, signals_rx) = mpsc::unbounded_channel();
    for signal in FORWARDED.into_iter().chain([Signal::SIGCHLD]) {
        let mut arrivals = listen(SignalKind::from_raw(signal as i32))?;
        let signals_tx = signals_tx.clone();
        tokio::task::spawn_local(
            async move { while arrivals.recv().await.is_some() && signals_tx.send(signal).is_ok() {} },
        );
    }
    // Only now can handlers take what waited since the first instruction.
    unblock_signals();
    Ok(signals_rx)
}

/// Whether this process is the container's first.
pub(super) fn is_init() -> bool {
    getpid() == Pid::from_raw(1)
}

/// Orphans of the program become ours, also where another process is the first.
pub(super) fn adopt_orphans() {
    if !is_init() {
        let _ = nix::sys::prctl::set_child_subreaper(true);
    }
}

/// How the children ended that have ended since the last call.
pub(super) fn reap() -> HashMap<Pid, WaitStatus> {
    let mut ended = HashMap::new();
    loop {
        // Not by nix: what it does not know (a real-time signal) it takes from the kernel and throws away.
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => drop(ended.insert(Pid::from_raw(pid.as_raw_pid()), status)),
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return ended,
        }
    }
}

/// Sends a signal to the program's process group.
pub(super) fn signal_group(group: Pid, signal: Signal) {
    let _ = signal::killpg(group, signal);
}

/// Sends a signal to one process.
pub(super) fn signal_one(pid: Pid, signal: Signal) {
    let _ = signal::kill(pid, signal);
}

/// Kills what the program left behind, and waits until it is gone: its group, and whatever left the group, since the parent
/// of an orphan is this process. Others in the container (what an engine started in it, such as the way to this supervisor)
/// are left alone.
pub(super) async fn kill_rest(group: Option<Pid>) {
    if let Some(group) = group {
        signal_group(group, Signal::SIGKILL);
    }
    let deadline = Instant::now() + DYING;
    while Instant::now() < deadline {
        reap();
        match descendants() {
            Some(rest) if rest.is_empty() => return,
            Some(rest) => rest.into_iter().for_each(|pid| signal_one(pid, Signal::SIGKILL)),
            None => break,
        }
        sleep(LOOK).await;
    }
    if is_init() {
        let _ = signal::kill(Pid::from_raw(-1), Signal::SIGKILL);
    }
}

/// All processes that come from this one and live; `None` where `/proc` does not show them.
pub(super) fn descendants() -> Option<Vec<Pid>> {
    let own = getpid().as_raw();
    let me = fs::read_link("/proc/self").ok()?;
    if me != Path::new(&own.to_string()) {
        return None;
    }
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for entry in fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // One that has ended meanwhile needs no killing.
        if let Some(parent) = fs::read_to_string(entry.path().join("stat")).ok().as_deref().and_then(living_parent) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = Vec::new();
    let mut unseen = vec![own];
    while let Some(parent) = unseen.pop() {
        let of_it = children.remove(&parent).unwrap_or_default();
        unseen.extend(&of_it);
        found.extend(of_it.into_iter().map(Pid::from_raw));
    }
    Some(found)
}

/// The parent in a `/proc/PID/stat`, unless the process is dead already. The name before it may hold anything.
fn living_parent(stat: &str) -> Option<i32> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let is_dead = matches!(fields.next()?, "Z" | "X");
    fields.next()?.parse().ok().filter(|_| !is_dead)
}

#[cfg(test)]
mod tests {
    use super::living_parent;

    #[test]
    fn a_process_is_known_by_its_parent_whatever_its_name_is() {
        assert_eq!(living_parent("12 (a) R 9 (b)) S 7 12 0"), Some(7));
        assert_eq!(living_parent("12 (sh) Z 7 12 0"), None);
        assert_eq!(living_parent("12"), None);
    }
}
