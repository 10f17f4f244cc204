//! A rank's life: meet the others, run the program, deliver what it left.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, watch};
use tokio::task::{LocalSet, spawn_local};
use tokio::time::{sleep, timeout};

use super::attempt::{Attempt, Launching};
use super::config::{Config, check_shared};
use super::control_server::{self, Board, Over};
use super::gang::{Arrival, Gang, GangConfig, NotMet, Purpose, Streams, Verdict};
use super::inbox::Inbox;
use super::journal::{Journal, say};
use super::launch::{self, Launcher, Remotes};
use super::output::PassedOn;
use super::outputs::{Outputs, Places};
use super::reaper;
use crate::event::{Delivered, End, NOT_RUN, RankState, Reason};
use crate::job::Launch;
use crate::job::restarts::container_code;
use crate::job::state::TerminationMessage;

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
    inbox: Inbox,
    passed_on: PassedOn,
    launching: Launching,
}

impl Rank {
    async fn prepare(config: Config, signals: mpsc::UnboundedReceiver<Signal>) -> Result<Self, String> {
        let journal = Arc::new(Journal::create(&config.state).map_err(|error| format!("cannot keep a log: {error}"))?);
        let instance = random_name();
        if let Some(workspace) = &config.workspace {
            std::env::set_current_dir(workspace).map_err(|error| format!("{}: {error}", workspace.display()))?;
        }
        if let Some(shared) = &config.shared {
            check_shared(shared)?;
        }
        let places = Places::new(&config).map_err(|error| error.to_string())?;
        let mailbox = config.mailbox.as_ref();
        let outputs = Outputs::new(&config.run, config.rank, &instance, places, mailbox, Arc::clone(&journal))?;
        let (wishes_tx, wishes) = mpsc::unbounded_channel();
        let (streams, arrivals) = Streams::new(config.rank);
        let board = Rc::new(Board {
            run: config.run.clone(),
            rank: config.rank,
            instance,
            journal,
            outputs,
            remotes: Rc::new(Remotes::new(config.grace)),
            state: watch::Sender::new(RankState::Meeting { message: String::new() }),
            over: watch::Sender::new(None),
            wishes_tx,
            followers: watch::Sender::new(0),
            released: watch::Sender::new(false),
            streams,
            led: watch::Sender::new(0),
            company: Rc::default(),
        });
        spawn_local(receive(arrivals, Rc::clone(&board)));
        let passed_on = PassedOn::start(Arc::clone(&board.journal));
        let listener =
            control_server::listen().await.map_err(|error| format!("cannot listen for the workstation: {error}"))?;
        spawn_local(control_server::serve(listener, Rc::clone(&board)));
        let inbox = Inbox::new(signals, wishes, config.lease);
        let launching =
            launching(&config, &board).map_err(|error| format!("cannot serve programs that start others: {error}"))?;
        Ok(Self { config, board, inbox, passed_on, launching })
    }

    async fn live(mut self) -> u8 {
        // What the program finds in its working directory is no output of its own; that is looked at while ranks meet.
        let outputs = self.board.outputs.clone();
        let remembering = spawn_local(async move { outputs.remember().await });
        if self.config.replaced {
            self.take_over().await;
        }
        let (outputs, journal, nodes) =
            (self.board.outputs.clone(), Arc::clone(&self.board.journal), self.config.nodes.most);
        spawn_local(async move { outputs.ship(journal, nodes).await });
        let mut gang = match self.meet(0).await {
            Ok(gang) => gang,
            Err(end) => return self.finish(end, false, None).await,
        };
        let _ = remembering.await;
        loop {
            let Self { config, board, inbox, launching, .. } = &mut self;
            let attempt = Attempt { config, board, inbox, gang: &mut gang, launching };
            let (end, leaving) = attempt.make().await;
            gang.report(&end, leaving);
            if self.config.restarts.most == 0 || leaving {
                return self.finish(end, leaving, Some(gang)).await;
            }
            let verdict = self.verdict(&mut gang).await;
            let again = match verdict {
                Ok(Verdict::Again) => true,
                Ok(Verdict::Alone) if self.config.replaced => match self.meet(gang.start.attempt).await {
                    Ok(other) => {
                        gang = other;
                        true
                    }
                    Err(_) => false,
                },
                Ok(Verdict::Over(reason)) => {
                    if let Some(reason) = reason {
                        self.board.journal.say(&reason);
                    }
                    false
                }
                Ok(Verdict::Alone) | Err(_) => false,
            };
            if !again {
                return self.finish(end, false, Some(gang)).await;
            }
        }
    }

    /// Takes over what a container has left whose place this one has taken.
    async fn take_over(&self) {
        match self.board.outputs.take_over().await {
            Ok(None) => {}
            Ok(Some(files)) => {
                self.board
                    .journal
                    .say(&format!("this container takes a lost one's place: {files} outputs brought back"));
            }
            Err(problem) => self.board.journal.say(&format!("a lost container's outputs are not here: {problem}")),
        }
    }

    /// What follows on an attempt, unless somebody wants the rank to stop first.
    async fn verdict(&mut self, gang: &mut Gang) -> Result<Verdict, End> {
        let message = "its program has ended, the other ranks' have not".to_owned();
        self.board.state.send_replace(RankState::Meeting { message });
        self.inbox.unless_stopped(gang.verdict()).await
    }

    /// Meets the other ranks, unless somebody wants the rank to stop first. `started`: attempts this rank has begun.
    async fn meet(&mut self, started: u32) -> Result<Gang, End> {
        let config = GangConfig {
            run: self.config.run.clone(),
            rank: self.config.rank,
            nodes: self.config.nodes,
            coordinator: self.config.coordinator.clone(),
            key: self.config.key.unwrap_or_default(),
            deadline: self.config.start_deadline,
            instance: self.board.instance.clone(),
            restarts: self.config.restarts.clone(),
            replaced: self.config.replaced,
            stall: self.config.stall,
            node: self.config.node.clone(),
            accelerators: self.config.gpus,
            outputs: self.config.outputs.clone(),
            journal: Some(Arc::clone(&self.board.journal)),
            launch: self.config.launch,
            started,
            streams: Rc::clone(&self.board.streams),
        };
        let board = Rc::clone(&self.board);
        let tell = move |message: &str| {
            board.journal.say(message);
            board.state.send_replace(RankState::Meeting { message: message.to_owned() });
        };
        self.inbox.unless_stopped(Gang::meet(config, tell)).await?.map_err(|not_met| match not_met {
            NotMet::Dismissed => {
                self.board.journal.say("this rank is not needed any more: the others have done the work");
                End { code: 0, reason: Reason::Exited }
            }
            NotMet::Failed(message) => {
                self.board.journal.say(&message);
                End { code: NOT_RUN, reason: Reason::NoGang { message } }
            }
        })
    }

    /// Tells everybody how it ended, and delivers what there is; gives up when nothing moves for the drain time.
    async fn finish(mut self, end: End, leaving: bool, gang: Option<Gang>) -> u8 {
        let replaced = leaving && self.config.replaced;
        let first_failed = match (&end.reason, end.is_success()) {
            (Reason::PeerFailed { rank }, _) => Some(*rank),
            (Reason::Stopped { .. } | Reason::Cancelled { .. }, _) | (_, true) => None,
            _ => Some(self.config.rank),
        };
        let mut word =
            TerminationMessage { nauta: 1, rank: self.config.rank, end: end.clone(), first_failed, outputs: None };
        leave(&word);
        if !replaced {
            self.board.state.send_replace(RankState::Ended(end.clone()));
        }
        let drain = if self.inbox.has_lost_lease() { Duration::from_secs(1) } else { self.config.drain };
        let last = Some(&end).filter(|_| !replaced);
        let finished = self.board.outputs.finish(last, &self.board.journal, drain).await;
        if let Some(problem) = &finished.problem {
            self.board.journal.say(&format!("outputs are not complete in the mailbox: {problem}"));
        }
        let in_mailbox = finished.in_mailbox;
        let alone = self.board.company.is_none();
        self.board.over.send_replace(Some(Over { end: end.clone(), first_failed, in_mailbox, replaced, alone }));
        let received = tokio::select! {
            received = Self::delivered(&self.board, drain, in_mailbox) => received,
            () = self.inbox.lease_lost() => false,
        };
        let missing = finished.left_here.filter(|_| !received).or(finished.lost);
        let missing = missing.map(|missing| Delivered::Incomplete { missing });
        let is_incomplete = missing.is_some();
        if let Some(Delivered::Incomplete { missing }) = missing.as_ref().filter(|_| !in_mailbox) {
            self.board.journal.say(&format!("outputs are lost: {missing}"));
        }
        word.outputs = missing.or(Some(Delivered::Complete));
        leave(&word);
        let code = match container_code(&end, leaving) {
            code if self.config.replaced => code,
            // Whoever looks at the container alone must not take it for a success.
            _ if end.code == 0 && is_incomplete => NOT_RUN,
            _ => end.code,
        };
        if let Some(gang) = &gang {
            self.part(gang, code != 0 && !leaving).await;
        }
        if let Some(gang) = gang.filter(|_| self.config.rank == 0) {
            // The others need rank 0 as long as they run, and whoever follows them through it a little longer.
            let led = self.board.led.subscribe();
            let others_done = async {
                gang.finished().await;
                let mut led = led;
                let _ = timeout(drain, led.wait_for(|led| *led == 0)).await;
                sleep(Duration::from_millis(300)).await;
            };
            tokio::select! {
                () = others_done => {}
                () = self.inbox.asked_to_go() => {}
            }
        }
        self.passed_on.drain().await;
        code
    }

    /// Tells the others that this rank has delivered; with a failure, which the engine ends them for, it waits for them.
    async fn part(&mut self, gang: &Gang, fails: bool) {
        gang.delivered();
        if fails {
            tokio::select! {
                () = gang.all_delivered() => {}
                () = self.inbox.asked_to_go() => {}
            }
        }
    }

    /// Until a workstation has everything, which it gives; when the mailbox has everything, until all that follow know the
    /// end; or until nothing has moved for so long.
    async fn delivered(board: &Board, limit: Duration, in_mailbox: bool) -> bool {
        let mut released = board.released.subscribe();
        let mut followers = board.followers.subscribe();
        let nobody_needed = async {
            if !in_mailbox {
                std::future::pending::<()>().await;
            }
            let _ = followers.wait_for(|count| *count == 0).await;
        };
        let activity = board.outputs.activity();
        activity.stirs();
        tokio::select! {
            released = released.wait_for(|released| *released) => released.is_ok(),
            () = nobody_needed => false,
            () = activity.is_still_for(limit) => false,
        }
    }
}

/// Takes the streams in that rank 0 opens to this rank.
async fn receive(mut arrivals: mpsc::UnboundedReceiver<Arrival>, board: Rc<Board>) {
    while let Some(Arrival { purpose, stream }) = arrivals.recv().await {
        match purpose {
            Purpose::Control => drop(spawn_local(control_server::converse(stream, Rc::clone(&board)))),
            Purpose::Exec => drop(spawn_local(launch::serve(stream, Rc::clone(&board.remotes)))),
        }
    }
}

/// The hostfile, and what leads from rank 0's program to the other ranks.
fn launching(config: &Config, board: &Rc<Board>) -> std::io::Result<Launching> {
    let hosts = config.hosts();
    let hostfile = hosts.write(&config.state)?;
    let leads = config.launch == Launch::Rank0 && config.rank == 0;
    let launcher = leads.then(|| Launcher::start(&config.state, hosts, Rc::clone(&board.streams))).transpose()?;
    Ok(Launching { hostfile, launcher })
}

/// Leaves a word for the engine (Kubernetes' termination message): read even when no stream survives.
fn leave(word: &TerminationMessage) {
    let path = Path::new("/dev/termination-log");
    if path.exists() {
        let _ = fs::write(path, serde_json::to_string(word).expect("a word has text keys only"));
    }
}

/// Sixteen hexadecimal digits.
fn random_name() -> String {
    format!("{:016x}", getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())))
}
