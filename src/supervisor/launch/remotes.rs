//! The programs that rank 0's program has started on this rank: which run, and which were killed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::process::{ChildStdin, Stdio};
use std::rc::Rc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::WaitStatus;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};

use super::protocol::Casualty;
use crate::event::{End, Reason};
use crate::supervisor::program::{self, Program};
use crate::supervisor::{memory, reaper};

/// Variables of a program.
type Variables = BTreeMap<OsString, OsString>;

/// How long a rank may take to begin its attempt after rank 0 has begun.
const READY: Duration = Duration::from_secs(10);

/// The programs that were started here from rank 0.
pub(in crate::supervisor) struct Remotes {
    /// Between SIGTERM and SIGKILL.
    pub(super) grace: Duration,
    /// What programs find in their environment, while an attempt runs.
    variables: watch::Sender<Option<Rc<Variables>>>,
    running: RefCell<HashMap<Pid, Remote>>,
    /// The first that was killed in this attempt, and not by nauta.
    killed: RefCell<Option<(Instant, End)>>,
    /// What the kernel had killed for memory before this attempt.
    memory_kills: Cell<Option<u64>>,
}

struct Remote {
    ended_tx: oneshot::Sender<End>,
    /// Whether nauta or the caller has sent it a signal: what it dies of then is no news.
    signalled: bool,
    memory_kills: Option<u64>,
}

/// A program that runs.
pub(super) struct Running {
    pub(super) pid: Pid,
    pub(super) stdin: ChildStdin,
    pub(super) program: Program,
    pub(super) ended: oneshot::Receiver<End>,
}

impl Remotes {
    pub(in crate::supervisor) fn new(grace: Duration) -> Self {
        Self {
            grace,
            variables: watch::Sender::new(None),
            running: RefCell::default(),
            killed: RefCell::default(),
            memory_kills: Cell::default(),
        }
    }

    /// An attempt begins: programs may come.
    pub(in crate::supervisor) fn open(&self, variables: Variables) {
        self.killed.replace(None);
        self.memory_kills.set(memory::kills());
        self.variables.send_replace(Some(Rc::new(variables)));
    }

    /// No more programs may come, and those that are there go now.
    pub(in crate::supervisor) fn close(&self) {
        self.variables.send_replace(None);
        self.signal(Signal::SIGKILL);
        self.running.borrow_mut().clear();
    }

    /// What the programs die of from now on is no news.
    pub(in crate::supervisor) fn excuse(&self) {
        self.running.borrow_mut().values_mut().for_each(|remote| remote.signalled = true);
    }

    /// Sends a signal to all programs.
    pub(in crate::supervisor) fn signal(&self, signal: Signal) {
        self.excuse();
        self.running.borrow().keys().for_each(|pid| reaper::signal_group(*pid, signal));
    }

    /// Sends a signal to one program.
    pub(super) fn signal_one(&self, pid: Pid, signal: Signal) {
        if let Some(remote) = self.running.borrow_mut().get_mut(&pid) {
            remote.signalled = true;
            reaper::signal_group(pid, signal);
        }
    }

    /// Takes note of children that are no more.
    pub(in crate::supervisor) fn reaped(&self, ended: &HashMap<Pid, WaitStatus>) {
        for (pid, status) in ended {
            let Some(remote) = self.running.borrow_mut().remove(pid) else { continue };
            let end = program::end_of(*status, rose(remote.memory_kills));
            if !remote.signalled && !matches!(end.reason, Reason::Exited) {
                self.killed.borrow_mut().get_or_insert_with(|| (Instant::now(), end.clone()));
            }
            let _ = remote.ended_tx.send(end);
        }
    }

    /// What was killed here in this attempt. What the kernel killed for memory may be a child of what was started.
    pub(in crate::supervisor) fn casualty(&self) -> Option<Casualty> {
        if let Some((when, end)) = &*self.killed.borrow() {
            let ago = u64::try_from(when.elapsed().as_millis()).unwrap_or(u64::MAX);
            return Some(Casualty { end: end.clone(), ago });
        }
        rose(self.memory_kills.get())
            .then_some(Casualty { end: End { code: 137, reason: Reason::OutOfMemory }, ago: 0 })
    }

    /// Starts a command as soon as an attempt runs here.
    pub(super) async fn start(&self, command: &str) -> Result<Running, End> {
        let mut variables = self.variables.subscribe();
        let ready = timeout(READY, variables.wait_for(Option::is_some)).await;
        let variables = ready.ok().and_then(Result::ok).and_then(|variables| variables.clone());
        let Some(variables) = variables else {
            return Err(End::not_started("this rank has not begun, or has ended"));
        };
        let words = program::words(command).map_err(End::not_started)?;
        let memory_kills = memory::kills();
        let (program, stdin) = program::start_with_input(&words, &variables, Stdio::piped())?;
        let stdin = stdin.ok_or_else(|| End::not_started("its input cannot be written"))?;
        let (ended_tx, ended) = oneshot::channel();
        let remote = Remote { ended_tx, signalled: false, memory_kills };
        self.running.borrow_mut().insert(program.pid, remote);
        Ok(Running { pid: program.pid, stdin, program, ended })
    }
}

fn rose(before: Option<u64>) -> bool {
    memory::kills().zip(before).is_some_and(|(now, before)| now > before)
}
