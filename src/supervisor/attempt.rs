//! One attempt of a rank: the program from its start to its end, whoever ends it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::WaitStatus;
use tokio::task::spawn_local;
use tokio::time::{Instant, sleep_until};

use super::config::Config;
use super::control_server::{Board, Wish};
use super::environment::{Place, program_environment};
use super::gang::{Gang, Order};
use super::inbox::{Inbox, Incoming, lease_is_lost};
use super::memory::Kills;
use super::output::Output;
use super::{program, reaper};
use crate::event::{End, RankState, Reason};

/// What an attempt has to do with.
pub(super) struct Attempt<'a> {
    pub(super) config: &'a Config,
    pub(super) board: &'a Board,
    pub(super) inbox: &'a mut Inbox,
    pub(super) gang: &'a mut Gang,
}

/// Why the program is being stopped; the first reason counts.
#[derive(Default)]
struct Stopping {
    reason: Option<Reason>,
    kill_at: Option<Instant>,
    killed: bool,
    /// The container is to go, not only the program.
    leaving: bool,
}

impl Attempt<'_> {
    /// Runs the program once; gives how it ended, and whether the container is to go.
    pub(super) async fn make(mut self) -> (End, bool) {
        if self.gang.start.attempt > 1 {
            let after = self.gang.start.after.as_deref().unwrap_or("rank 0 was lost");
            let of = self.config.restarts.most + 1;
            self.board.journal.say(&format!("attempt {} of {of} begins: {after}", self.gang.start.attempt));
        }
        let mut kills = Kills::begin();
        let environment = self.program_environment();
        let program = match program::start(&self.config.command, &environment) {
            Ok(program) => program,
            Err(end) => {
                self.board.journal.say(&end.to_string());
                return (end, false);
            }
        };
        self.board.state.send_replace(RankState::Running);
        let pid = program.pid;
        let output = Output::read(program, &self.board.journal);
        let outputs = self.board.outputs.clone();
        let watching = spawn_local(async move { outputs.watch().await });
        let (status, stopping) = self.until_gone(pid, &mut kills).await;
        reaper::kill_rest(pid).await;
        output.drain().await;
        watching.abort();
        let killed = kills.more();
        let mut end = program::end_of(status, !stopping.killed && kills.are_recent());
        if killed > 0 && end.reason != Reason::OutOfMemory {
            self.say_killed(killed);
        }
        if let Some(advice) = program::advice(&self.config.command, &environment, &end) {
            self.board.journal.say(&advice);
        }
        if let Some(reason) = stopping.reason {
            end.reason = reason;
        }
        (end, stopping.leaving)
    }

    fn program_environment(&self) -> BTreeMap<OsString, OsString> {
        let home = self.config.environment.get(&OsString::from("HOME"));
        let place = Place {
            run: &self.config.run,
            project: &self.config.project,
            rank: self.config.rank,
            nodes: self.config.nodes,
            attempt: self.gang.start.attempt,
            coordinator: if self.config.nodes == 1 { "localhost" } else { &self.config.coordinator },
            interface: self.gang.interface.as_deref(),
            home_is_writable: home
                .is_some_and(|home| nix::unistd::access(Path::new(home), nix::unistd::AccessFlags::W_OK).is_ok()),
        };
        program_environment(&self.config.environment, &place)
    }

    /// Until the program is gone; passes signals on and stops it when somebody asks.
    async fn until_gone(&mut self, pid: Pid, kills: &mut Kills) -> (WaitStatus, Stopping) {
        let mut stopping = Stopping::default();
        loop {
            let kill_at = stopping.kill_at;
            tokio::select! {
                incoming = self.inbox.next() => {
                    if let Some(status) = self.take(incoming, pid, &mut stopping) {
                        return (status, stopping);
                    }
                }
                killed = kills.rise() => self.say_killed(killed),
                order = self.gang.order() => self.obey(order, pid, &mut stopping),
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => kill(pid, &mut stopping),
            }
        }
    }

    /// The program may go on without them, or wait for them for ever: somebody has to know.
    fn say_killed(&self, processes: u64) {
        self.board.journal.say(&format!("the kernel killed {processes} of this rank's processes: out of memory"));
    }

    /// Does what came from outside asks for; gives the program's status when it is gone.
    fn take(&self, incoming: Incoming, pid: Pid, stopping: &mut Stopping) -> Option<WaitStatus> {
        match incoming {
            Incoming::Signal(Signal::SIGCHLD) => return reaper::reap().remove(&pid),
            Incoming::Signal(Signal::SIGTERM) => {
                stopping.leaving = true;
                self.stop(pid, stopping, Reason::Stopped { message: "the engine asked for it".to_owned() });
            }
            Incoming::Signal(other) => reaper::signal_group(pid, other),
            Incoming::Wish(Wish::Stop(message)) => self.stop(pid, stopping, Reason::Stopped { message }),
            Incoming::Wish(Wish::Kill(message)) => {
                self.stop(pid, stopping, Reason::Stopped { message });
                kill(pid, stopping);
            }
            Incoming::LeaseLost => {
                stopping.leaving = true;
                self.stop(pid, stopping, lease_is_lost());
            }
        }
        None
    }

    fn obey(&self, order: Order, pid: Pid, stopping: &mut Stopping) {
        match order {
            Order::Stop { first_failed } => self.stop(pid, stopping, Reason::PeerFailed { rank: first_failed }),
            Order::Alone { message } => {
                self.board.journal.say(&message);
                self.stop(pid, stopping, Reason::PeerFailed { rank: 0 });
            }
            Order::Refused { reason } => {
                stopping.leaving = true;
                self.stop(pid, stopping, Reason::Stopped { message: reason });
            }
            // Both come after this rank's own word only.
            Order::Start(_) | Order::Over => {}
        }
    }

    /// SIGTERM now (a program that was halted is to hear it too), SIGKILL after the grace time; the first reason counts.
    fn stop(&self, pid: Pid, stopping: &mut Stopping, reason: Reason) {
        if stopping.reason.is_some() {
            return;
        }
        let end = End { code: 0, reason: reason.clone() };
        self.board.journal.say(&format!("this rank {end}"));
        stopping.reason = Some(reason);
        stopping.kill_at = Some(Instant::now() + self.config.grace);
        reaper::signal_group(pid, Signal::SIGTERM);
        reaper::signal_group(pid, Signal::SIGCONT);
    }
}

fn kill(pid: Pid, stopping: &mut Stopping) {
    stopping.killed = true;
    stopping.kill_at = None;
    reaper::signal_group(pid, Signal::SIGKILL);
}
