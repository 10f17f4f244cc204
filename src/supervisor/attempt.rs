//! One attempt of a rank: the program from its start to its end, whoever ends it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use rustix::process::WaitStatus;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::config::Config;
use super::control_server::{Board, Wish};
use super::entrypoint::behind_entrypoint;
use super::environment::{Place, program_environment};
use super::gang::{Gang, Order};
use super::importable;
use super::inbox::{Inbox, Incoming, lease_is_lost};
use super::inspection::accelerators_here;
use super::launch::{Launcher, Machine, complete, inquest};
use super::memory::Kills;
use super::output::Output;
use super::{program, reaper, stall};
use crate::env_vars;
use crate::event::{End, RankState, Reason, STALLED};
use crate::job::Launch;

/// The exit code of a rank that was stopped without a program of its own: as if by SIGTERM.
const STOPPED: u8 = 143;

/// Between two looks at what a halted agent has started.
const LOOK: Duration = Duration::from_millis(100);
/// How long a program may take to tell where it is.
const TELLING: Duration = Duration::from_secs(2);

/// The end of a rank that was stopped: with this code, unless the reason has one of its own.
fn stopped(reason: Reason, code: u8) -> End {
    let code = if matches!(reason, Reason::Stalled { .. }) { STALLED } else { code };
    End { code, reason }
}

/// What an attempt has to do with.
pub(super) struct Attempt<'a> {
    pub(super) config: &'a Config,
    pub(super) board: &'a Board,
    pub(super) inbox: &'a mut Inbox,
    pub(super) gang: &'a mut Gang,
    pub(super) launching: &'a Launching,
}

/// What programs need that start others.
pub(super) struct Launching {
    pub(super) hostfile: PathBuf,
    /// Where rank 0 starts programs on the others, and this is rank 0.
    pub(super) launcher: Option<Launcher>,
}

/// Why the program is being stopped; the first reason counts.
#[derive(Default)]
struct Stopping {
    reason: Option<Reason>,
    /// When SIGTERM follows on what made the program tell where it is.
    term_at: Option<Instant>,
    kill_at: Option<Instant>,
    /// Rank 0's program has done its work: a host is not needed any more.
    dismissed: bool,
    killed: bool,
    /// When a halted torchrun is looked at next, whose workers are ending.
    look_at: Option<Instant>,
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
        self.board.journal.stir();
        let environment = self.program_environment();
        self.board.remotes.open(environment.clone());
        let (outputs, journal) = (self.board.outputs.clone(), Arc::clone(&self.board.journal));
        let watching = spawn_local(async move {
            let mut moves = outputs.moves();
            let stirring = async {
                while moves.changed().await.is_ok() {
                    journal.stir();
                }
            };
            tokio::join!(outputs.watch(), stirring)
        });
        let ended = if self.config.is_host() { self.host().await } else { self.run(&environment).await };
        self.board.remotes.close();
        watching.abort();
        ended
    }

    /// Waits for what rank 0's program starts here, until that is no more.
    async fn host(&mut self) -> (End, bool) {
        self.board.state.send_replace(RankState::Hosting);
        let mut kills = Kills::begin();
        let (_, stopping) = self.until_gone(None, &mut kills).await;
        reaper::kill_rest(None).await;
        let end = match stopping.reason {
            None => End { code: 0, reason: Reason::Exited },
            Some(Reason::PeerFailed { rank }) if rank == self.config.rank => {
                // The failure that the others stop for happened here.
                let killed = self.board.remotes.casualty().map(|casualty| casualty.end);
                killed.unwrap_or(End { code: STOPPED, reason: Reason::PeerFailed { rank: 0 } })
            }
            Some(reason) => stopped(reason, STOPPED),
        };
        (end, stopping.leaving)
    }

    async fn run(&mut self, environment: &BTreeMap<OsString, OsString>) -> (End, bool) {
        let mut kills = Kills::begin();
        let command =
            behind_entrypoint(self.command(environment), self.config, &self.board.journal, self.gang.start.attempt);
        let program = match program::start(&command, environment) {
            Ok(program) => program,
            Err(end) => {
                self.board.journal.say(&end.to_string());
                return (end, false);
            }
        };
        self.board.state.send_replace(RankState::Running);
        let pid = program.pid;
        let output = Output::read(program, &self.board.journal);
        let looking = self.watch_company();
        let (status, stopping) = self.until_gone(Some(pid), &mut kills).await;
        if let Some(looking) = looking {
            looking.abort();
            self.board.company.look();
        }
        reaper::kill_rest(Some(pid)).await;
        output.drain().await;
        let killed = kills.more();
        let for_memory = !stopping.killed && kills.are_recent();
        let mut end =
            status.map_or_else(|| End::lost("its end was not seen"), |status| program::end_of(status, for_memory));
        if killed > 0 && end.reason != Reason::OutOfMemory {
            self.say_killed(killed);
        }
        if let Some(advice) = program::advice(&command, environment, &end) {
            self.board.journal.say(&advice);
        }
        match stopping.reason {
            Some(reason) => end = stopped(reason, end.code),
            None => self.blame(&mut end).await,
        }
        (end, stopping.leaving)
    }

    /// Looks whether the programs connect to each other, where they are told of each other.
    fn watch_company(&self) -> Option<JoinHandle<()>> {
        let config = self.config;
        let expects_some = config.variables.usual(config.nodes.most) && config.launch == Launch::All;
        let company = Rc::clone(&self.board.company);
        let master = (config.rank > 0).then(|| config.coordinator.clone());
        expects_some.then(|| spawn_local(async move { company.watch(master.as_deref()).await }))
    }

    /// The command as this rank runs it.
    fn command(&self, environment: &BTreeMap<OsString, OsString>) -> Vec<OsString> {
        if !self.config.variables.usual(self.config.nodes.most) {
            return self.config.command.clone();
        }
        let port = environment.get(OsStr::new(env_vars::MASTER_PORT)).map(|port| port.to_string_lossy());
        let machine = Machine {
            rank: self.config.rank,
            ranks: self.config.nodes.most,
            slots: self.config.slots,
            master: self.config.master(),
            port: &port.unwrap_or_default(),
            accelerators: self.config.gpus.max(accelerators_here()),
        };
        complete(&self.config.command, &machine)
    }

    /// Where rank 0's program failed because one of those that it had started elsewhere was killed, that one is to be named.
    async fn blame(&self, end: &mut End) {
        if end.is_success() || self.launching.launcher.is_none() {
            return;
        }
        match inquest(&self.board.streams, self.config.nodes.most).await {
            Some((0, casualty)) => *end = casualty.end,
            Some((rank, _)) => end.reason = Reason::PeerFailed { rank },
            None => {}
        }
    }

    fn program_environment(&self) -> BTreeMap<OsString, OsString> {
        let interface = self.gang.interface();
        let home = self.config.environment.get(&OsString::from("HOME"));
        let place = Place {
            run: &self.config.run,
            project: &self.config.project,
            rank: self.config.rank,
            nodes: self.config.nodes,
            attempt: self.gang.start.attempt,
            coordinator: self.config.master(),
            interface: interface.as_deref(),
            address: self.gang.address,
            watched: self.config.stall.is_some(),
            hostfile: &self.launching.hostfile,
            launcher: self.launching.launcher.as_ref(),
            home_is_writable: home
                .is_some_and(|home| nix::unistd::access(Path::new(home), nix::unistd::AccessFlags::W_OK).is_ok()),
            variables: self.config.variables,
            slots: self.config.slots,
            accelerators: self.config.gpus.max(accelerators_here()),
        };
        let mut environment = program_environment(&self.config.environment, &place);
        if let Some(project) = &self.config.workspace {
            importable::add(&mut environment, project);
        }
        environment
    }

    /// Until the program is gone, or where there is none until all that was started here is gone, and nothing more is to come;
    /// passes signals on and stops it when somebody asks.
    async fn until_gone(&mut self, pid: Option<Pid>, kills: &mut Kills) -> (Option<WaitStatus>, Stopping) {
        let mut stopping = Stopping::default();
        loop {
            let (term_at, kill_at, look_at) = (stopping.term_at, stopping.kill_at, stopping.look_at);
            tokio::select! {
                incoming = self.inbox.next() => {
                    if let Some(status) = self.take(incoming, pid, &mut stopping) {
                        return (Some(status), stopping);
                    }
                }
                killed = kills.rise() => self.say_killed(killed),
                order = self.gang.order() => self.obey(order, pid, &mut stopping),
                () = sleep_until(look_at.unwrap_or_else(Instant::now)), if look_at.is_some() => self.end_halted(pid, &mut stopping),
                () = sleep_until(term_at.unwrap_or_else(Instant::now)), if term_at.is_some() => self.ask(pid, &mut stopping),
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => self.kill(pid, &mut stopping),
            }
            let over = stopping.reason.is_some() || stopping.dismissed;
            if pid.is_none() && over && reaper::descendants().is_none_or(|rest| rest.is_empty()) {
                return (None, stopping);
            }
        }
    }

    /// The program may go on without them, or wait for them for ever: somebody has to know.
    fn say_killed(&self, processes: u64) {
        self.board.journal.say(&format!("the kernel killed {processes} of this rank's processes: out of memory"));
    }

    /// Does what came from outside asks for; gives the program's status when it is gone.
    fn take(&self, incoming: Incoming, pid: Option<Pid>, stopping: &mut Stopping) -> Option<WaitStatus> {
        match incoming {
            Incoming::Signal(Signal::SIGCHLD) => {
                let mut ended = reaper::reap();
                self.board.remotes.reaped(&ended);
                return ended.remove(&pid?);
            }
            Incoming::Signal(Signal::SIGTERM) => {
                stopping.leaving = true;
                self.stop(pid, stopping, Reason::Stopped { message: "the engine asked for it".to_owned() });
            }
            Incoming::Signal(other) => self.signal(pid, other),
            Incoming::Wish(Wish::Stop(by)) => self.stop(pid, stopping, Reason::Cancelled { by }),
            Incoming::Wish(Wish::Kill(by)) => {
                self.stop(pid, stopping, Reason::Cancelled { by });
                self.kill(pid, stopping);
            }
            Incoming::LeaseLost => {
                stopping.leaving = true;
                self.stop(pid, stopping, lease_is_lost());
            }
        }
        None
    }

    fn obey(&self, order: Order, pid: Option<Pid>, stopping: &mut Stopping) {
        match order {
            Order::Stop { first_failed } => self.stop(pid, stopping, Reason::PeerFailed { rank: first_failed }),
            Order::Stalled { seconds } => self.stall(stopping, seconds),
            Order::Alone { message } => {
                self.board.journal.say(&message);
                self.stop(pid, stopping, Reason::PeerFailed { rank: 0 });
            }
            Order::Refused { reason } => {
                stopping.leaving = true;
                self.stop(pid, stopping, Reason::Stopped { message: reason });
            }
            Order::Dismissed => {
                stopping.dismissed = true;
                stopping.kill_at = Some(Instant::now() + self.config.grace);
                self.signal(pid, Signal::SIGTERM);
            }
            // Both come after this rank's own word only.
            Order::Start(_) | Order::Over => {}
        }
    }

    /// The program is asked to stop; the first reason counts.
    fn stop(&self, pid: Option<Pid>, stopping: &mut Stopping, reason: Reason) {
        if self.begin_to_stop(stopping, reason) {
            self.ask(pid, stopping);
        }
    }

    /// It is stopped because nothing moves any more; before that it is made to tell why.
    fn stall(&self, stopping: &mut Stopping, seconds: u64) {
        if !self.begin_to_stop(stopping, Reason::Stalled { seconds }) {
            return;
        }
        for line in stall::whereabouts() {
            self.board.journal.say(&line);
        }
        let told = if stall::make_them_tell() { TELLING } else { Duration::ZERO };
        stopping.term_at = Some(Instant::now() + told);
    }

    fn begin_to_stop(&self, stopping: &mut Stopping, reason: Reason) -> bool {
        if stopping.reason.is_some() {
            return false;
        }
        let end = End { code: 0, reason: reason.clone() };
        self.board.journal.say(&format!("this rank {end}"));
        stopping.reason = Some(reason);
        true
    }

    /// SIGTERM now (a program that was halted is to hear it too), SIGKILL after the grace time.
    fn ask(&self, pid: Option<Pid>, stopping: &mut Stopping) {
        stopping.term_at = None;
        stopping.kill_at = Some(Instant::now() + self.config.grace);
        if stopping.leaving && self.others_go_on() {
            // An agent of torchrun's that hears SIGTERM ends the meeting for all ranks; one that is just gone is missed. What it
            // has started hears it, and has its time.
            let (agents, others): (Vec<Pid>, Vec<Pid>) =
                reaper::descendants().unwrap_or_default().into_iter().partition(|pid| program::is_torch_agent(*pid));
            if !agents.is_empty() {
                for agent in agents {
                    reaper::signal_one(agent, Signal::SIGSTOP);
                }
                let workers = others.into_iter().filter(|other| Some(*other) != pid);
                workers.for_each(|worker| reaper::signal_one(worker, Signal::SIGTERM));
                stopping.look_at = Some(Instant::now() + LOOK);
                return;
            }
        }
        self.signal(pid, Signal::SIGTERM);
        self.signal(pid, Signal::SIGCONT);
    }

    /// Whether the other ranks go on without this one.
    fn others_go_on(&self) -> bool {
        self.config.rank > 0 && self.config.nodes.is_elastic()
    }

    /// What was halted is killed as soon as nothing of what it has started is left.
    fn end_halted(&self, pid: Option<Pid>, stopping: &mut Stopping) {
        let rest = reaper::descendants().unwrap_or_default();
        if rest.iter().all(|other| Some(*other) == pid || program::is_torch_agent(*other)) {
            self.kill(pid, stopping);
        } else {
            stopping.look_at = Some(Instant::now() + LOOK);
        }
    }

    fn kill(&self, pid: Option<Pid>, stopping: &mut Stopping) {
        stopping.killed = true;
        (stopping.term_at, stopping.kill_at, stopping.look_at) = (None, None, None);
        self.signal(pid, Signal::SIGKILL);
    }

    /// To this rank's program, and to those that were started here from rank 0: on a host to all processes, as MPI's daemons leave
    /// the group that they were started in.
    fn signal(&self, pid: Option<Pid>, signal: Signal) {
        if let Some(pid) = pid {
            reaper::signal_group(pid, signal);
            self.board.remotes.signal(signal);
        } else {
            self.board.remotes.excuse();
            for pid in reaper::descendants().into_iter().flatten() {
                reaper::signal_one(pid, signal);
            }
        }
    }
}
