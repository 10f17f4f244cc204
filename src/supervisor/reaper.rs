//! PID 1's duties: no signal is lost, no zombie stays, nothing outlives the rank.

use std::collections::HashMap;

use nix::errno::Errno;
use nix::sys::signal::{self, SigSet, SigmaskHow, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, getpid};
use tokio::signal::unix::{SignalKind, signal as listen};
use tokio::sync::mpsc;

/// Signals that are passed on to the program.
const FORWARDED: [Signal; 9] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGWINCH,
    Signal::SIGALRM,
    Signal::SIGCONT,
];

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
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return ended,
            Ok(status) => {
                if let Some(pid) = status.pid() {
                    ended.insert(pid, status);
                }
            }
            Err(Errno::EINTR) => {}
            Err(_) => return ended,
        }
    }
}

/// Sends a signal to the program's process group.
pub(super) fn signal_group(group: Pid, signal: Signal) {
    let _ = signal::killpg(group, signal);
}

/// Kills what the program left behind: all processes of the container, or its group where we are not the first.
pub(super) fn kill_rest(group: Pid) {
    if is_init() {
        let _ = signal::kill(Pid::from_raw(-1), Signal::SIGKILL);
    } else {
        signal_group(group, Signal::SIGKILL);
    }
}
