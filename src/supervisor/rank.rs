//! A rank's life: meet the others, run the program, deliver what it left.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{Instant, sleep, sleep_until};

use super::config::Config;
use super::control_server::{self, Board, Over, Wish};
use super::environment::{Place, program_environment};
use super::gang::{Gang, GangConfig, Order};
use super::journal::{Journal, say};
use super::output::{Output, PassedOn};
use super::outputs::Outputs;
use super::program;
use super::{memory, reaper};
use crate::event::{End, NOT_RUN, RankState, Reason};

/// Lives a rank's life; gives the process's exit code.
pub(super) fn run(config: Config) -> u8 {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            say(&format!("cannot start: {error}"));
            return NOT_RUN;
        }
    };
    let code = LocalSet::new().block_on(&runtime, live(config));
    // Threads that still wait on a blocked output must not keep the container alive.
    runtime.shutdown_background();
    code
}

async fn live(config: Config) -> u8 {
    let signals = match reaper::listen_to_signals() {
        Ok(signals) => signals,
        Err(error) => {
            say(&format!("cannot listen to signals: {error}"));
            return NOT_RUN;
        }
    };
    reaper::adopt_orphans();
    match Rank::prepare(config, signals).await {
        Ok(rank) => rank.live().await,
        Err(message) => {
            say(&message);
            NOT_RUN
        }
    }
}

struct Rank {
    config: Config,
    board: Rc<Board>,
    signals: mpsc::UnboundedReceiver<Signal>,
    wishes: mpsc::UnboundedReceiver<Wish>,
    lease_lost: watch::Receiver<bool>,
    passed_on: PassedOn,
}

/// Why the program is being stopped; the first reason counts.
#[derive(Default)]
struct Stopping {
    reason: Option<Reason>,
    kill_at: Option<Instant>,
    killed: bool,
}

impl Rank {
    async fn prepare(config: Config, signals: mpsc::UnboundedReceiver<Signal>) -> Result<Self, String> {
        let journal = Arc::new(Journal::create(&config.state).map_err(|error| format!("cannot keep a log: {error}"))?);
        let outputs = Outputs::new(&config.run, config.rank, config.outputs.clone(), config.mailbox.as_ref())?;
        let (wishes_tx, wishes) = mpsc::unbounded_channel();
        let board = Rc::new(Board {
            run: config.run.clone(),
            rank: config.rank,
            instance: random_name(),
            journal,
            outputs,
            state: watch::Sender::new(RankState::Meeting { message: String::new() }),
            over: watch::Sender::new(None),
            wishes_tx,
            followers: watch::Sender::new(0),
            released: watch::Sender::new(false),
        });
        let passed_on = PassedOn::start(Arc::clone(&board.journal));
        let listener =
            control_server::listen().await.map_err(|error| format!("cannot listen for the workstation: {error}"))?;
        spawn_local(control_server::serve(listener, Rc::clone(&board)));
        let lease_lost = if config.lease { watch_stdin() } else { watch::channel(false).1 };
        Ok(Self { config, board, signals, wishes, lease_lost, passed_on })
    }

    async fn live(mut self) -> u8 {
        let memory_kills = memory::kills();
        let mut gang = match self.meet().await {
            Ok(gang) => gang,
            Err(end) => return self.finish(end, None).await,
        };
        let environment = self.program_environment(gang.interface.as_deref());
        let program = match program::start(&self.config.command, &environment) {
            Ok(program) => program,
            Err(end) => {
                self.board.journal.say(&end.to_string());
                gang.report(&end);
                return self.finish(end, Some(gang)).await;
            }
        };
        self.board.state.send_replace(RankState::Running);
        let pid = program.pid;
        let output = Output::read(program, &self.board.journal);
        let outputs = self.board.outputs.clone();
        let watching = spawn_local(async move { outputs.watch().await });
        let (status, stopping) = self.until_gone(pid, &mut gang).await;
        reaper::kill_rest(pid);
        output.drain().await;
        watching.abort();
        let for_memory = !stopping.killed && memory::kills().zip(memory_kills).is_some_and(|(now, then)| now > then);
        let mut end = program::end_of(status, for_memory);
        if let Some(reason) = stopping.reason {
            end.reason = reason;
        }
        gang.report(&end);
        self.finish(end, Some(gang)).await
    }

    /// Meets the other ranks, unless somebody wants the rank to stop first.
    async fn meet(&mut self) -> Result<Gang, End> {
        let config = GangConfig {
            run: self.config.run.clone(),
            rank: self.config.rank,
            nodes: self.config.nodes,
            coordinator: self.config.coordinator.clone(),
            key: self.config.key.unwrap_or_default(),
            deadline: self.config.start_deadline,
            instance: self.board.instance.clone(),
        };
        let board = Rc::clone(&self.board);
        let tell = move |message: &str| {
            board.journal.say(message);
            board.state.send_replace(RankState::Meeting { message: message.to_owned() });
        };
        let meeting = Gang::meet(config, tell);
        tokio::pin!(meeting);
        let stopped = |message: String| End { code: 143, reason: Reason::Stopped { message } };
        loop {
            tokio::select! {
                outcome = &mut meeting => return outcome.map_err(|message| {
                    self.board.journal.say(&message);
                    End { code: NOT_RUN, reason: Reason::NoGang { message } }
                }),
                Some(Wish::Stop(by) | Wish::Kill(by)) = self.wishes.recv() => return Err(stopped(by)),
                () = lost(&mut self.lease_lost) => return Err(stopped("the workstation's nauta is gone".to_owned())),
                Some(signal) = self.signals.recv() => match signal {
                    Signal::SIGCHLD => drop(reaper::reap()),
                    Signal::SIGTERM | Signal::SIGINT | Signal::SIGHUP | Signal::SIGQUIT => {
                        return Err(stopped(format!("the engine sent {signal}")));
                    }
                    _ => {}
                },
            }
        }
    }

    fn program_environment(&self, interface: Option<&str>) -> BTreeMap<OsString, OsString> {
        let home = self.config.environment.get(&OsString::from("HOME"));
        let place = Place {
            run: &self.config.run,
            project: &self.config.project,
            rank: self.config.rank,
            nodes: self.config.nodes,
            coordinator: if self.config.nodes == 1 { "localhost" } else { &self.config.coordinator },
            interface,
            home_is_writable: home
                .is_some_and(|home| nix::unistd::access(Path::new(home), nix::unistd::AccessFlags::W_OK).is_ok()),
        };
        program_environment(&self.config.environment, &place)
    }

    /// Until the program is gone; passes signals on and stops it when somebody asks.
    async fn until_gone(&mut self, pid: Pid, gang: &mut Gang) -> (nix::sys::wait::WaitStatus, Stopping) {
        let mut stopping = Stopping::default();
        loop {
            let kill_at = stopping.kill_at;
            tokio::select! {
                Some(signal) = self.signals.recv() => match signal {
                    Signal::SIGCHLD => {
                        if let Some(status) = reaper::reap().remove(&pid) {
                            return (status, stopping);
                        }
                    }
                    Signal::SIGTERM => {
                        let message = "the engine asked for it".to_owned();
                        self.stop(pid, &mut stopping, Reason::Stopped { message });
                    }
                    other => reaper::signal_group(pid, other),
                },
                Some(wish) = self.wishes.recv() => match wish {
                    Wish::Stop(message) => self.stop(pid, &mut stopping, Reason::Stopped { message }),
                    Wish::Kill(message) => {
                        self.stop(pid, &mut stopping, Reason::Stopped { message });
                        kill(pid, &mut stopping);
                    }
                },
                () = lost(&mut self.lease_lost), if stopping.reason.is_none() => {
                    let message = "the workstation's nauta is gone".to_owned();
                    self.stop(pid, &mut stopping, Reason::Stopped { message });
                }
                order = gang.order() => match order {
                    Order::Stop { first_failed } => self.stop(pid, &mut stopping, Reason::PeerFailed { rank: first_failed }),
                    Order::Alone { message } => {
                        self.board.journal.say(&message);
                        self.stop(pid, &mut stopping, Reason::PeerFailed { rank: 0 });
                    }
                },
                () = sleep_until(kill_at.unwrap_or_else(Instant::now)), if kill_at.is_some() => kill(pid, &mut stopping),
            }
        }
    }

    /// SIGTERM now, SIGKILL after the grace time; the first reason counts.
    fn stop(&self, pid: Pid, stopping: &mut Stopping, reason: Reason) {
        if stopping.reason.is_some() {
            return;
        }
        let end = End { code: 0, reason: reason.clone() };
        self.board.journal.say(&format!("this rank {end}"));
        stopping.reason = Some(reason);
        stopping.kill_at = Some(Instant::now() + self.config.grace);
        reaper::signal_group(pid, Signal::SIGTERM);
    }

    /// Tells everybody how it ended, delivers what there is, and waits for that a bounded time.
    async fn finish(mut self, end: End, gang: Option<Gang>) -> u8 {
        let first_failed = match (&end.reason, end.is_success()) {
            (Reason::PeerFailed { rank }, _) => Some(*rank),
            (Reason::Stopped { .. }, _) | (_, true) => None,
            _ => Some(self.config.rank),
        };
        leave_word(self.config.rank, &end, first_failed);
        self.board.state.send_replace(RankState::Ended(end.clone()));
        let lease_lost = *self.lease_lost.borrow();
        let drain = if lease_lost { Duration::from_secs(1) } else { self.config.drain };
        let deadline = Instant::now() + drain;
        let finished = self.board.outputs.finish(&end, &self.board.journal, &self.board.instance, drain).await;
        if let Some(problem) = &finished.problem {
            self.board.journal.say(&format!("outputs are not complete in the mailbox: {problem}"));
        }
        let in_mailbox = finished.in_mailbox;
        self.board.over.send_replace(Some(Over { end: end.clone(), first_failed, in_mailbox }));
        tokio::select! {
            () = Self::delivered(&self.board, deadline, in_mailbox) => {}
            () = lost(&mut self.lease_lost) => {}
        }
        if let Some(gang) = gang.filter(|_| self.config.rank == 0) {
            // The others need rank 0 as long as they run.
            tokio::select! {
                () = gang.finished() => sleep(Duration::from_millis(300)).await,
                () = asked_to_go(&mut self.signals) => {}
                () = lost(&mut self.lease_lost) => {}
            }
        }
        self.passed_on.drain().await;
        end.code
    }

    /// Until a workstation has everything; when none follows and the mailbox has everything, at once.
    async fn delivered(board: &Board, deadline: Instant, in_mailbox: bool) {
        let mut released = board.released.subscribe();
        let mut followers = board.followers.subscribe();
        let nobody_needed = async {
            if !in_mailbox {
                std::future::pending::<()>().await;
            }
            let _ = followers.wait_for(|count| *count == 0).await;
        };
        tokio::select! {
            _ = released.wait_for(|released| *released) => {}
            () = nobody_needed => {}
            () = sleep_until(deadline) => {}
        }
    }
}

fn kill(pid: Pid, stopping: &mut Stopping) {
    stopping.killed = true;
    stopping.kill_at = None;
    reaper::signal_group(pid, Signal::SIGKILL);
}

/// Until the lease is lost; for ever where there is none.
async fn lost(lease: &mut watch::Receiver<bool>) {
    if lease.wait_for(|lost| *lost).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Until the engine wants the container gone.
async fn asked_to_go(signals: &mut mpsc::UnboundedReceiver<Signal>) {
    while let Some(signal) = signals.recv().await {
        if matches!(signal, Signal::SIGTERM | Signal::SIGINT) {
            return;
        }
        reaper::reap();
    }
}

/// Whether standard input was closed: the workstation's nauta holds its other end.
fn watch_stdin() -> watch::Receiver<bool> {
    let (lost_tx, lost) = watch::channel(false);
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while std::io::stdin().read(&mut buffer).is_ok_and(|n| n > 0) {}
        lost_tx.send_replace(true);
    });
    lost
}

/// Leaves a word for the engine (Kubernetes' termination message): read even when no stream survives.
fn leave_word(rank: u32, end: &End, first_failed: Option<u32>) {
    let word = serde_json::json!({ "nauta": 1, "rank": rank, "end": end, "first_failed": first_failed });
    let path = Path::new("/dev/termination-log");
    if path.exists() {
        let _ = fs::write(path, word.to_string());
    }
}

/// Sixteen hexadecimal digits.
fn random_name() -> String {
    format!("{:016x}", getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())))
}
