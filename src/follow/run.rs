//! Follows all ranks of a run to their ends, and brings their outputs back meanwhile.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

use super::collect::{CollectError, Collector};
use super::engine::Engine;
use super::fetch::Pieces;
use super::kubelet::from_kubelet;
use super::log::Log;
use super::mailbox::Mailbox;
use super::outcome::Outcome;
use super::position::Position;
use super::rank::Frames;
use super::sight::{RankSight, Sight};
use super::ways::Ways;
use crate::control::{Reply, Request};
use crate::diagnosis::{Diagnosis, Kind};
use crate::event::{End, Event, Events, RankState, Reason};
use crate::job::Nodes;
use crate::sync::Index;

/// What can go wrong while a run is followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The run cannot start.
    #[error("the run cannot start: {message}")]
    CannotStart {
        /// The engine's words.
        message: String,
        /// What to do next.
        hint: &'static str,
    },
    /// Outputs cannot be kept.
    #[error(transparent)]
    Collect(#[from] CollectError),
}

impl Diagnosis for FollowError {
    fn kind(&self) -> Kind {
        match self {
            Self::CannotStart { .. } => Kind::Unavailable,
            Self::Collect(error) => error.kind(),
        }
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::CannotStart { hint, .. } => vec![(*hint).to_owned()],
            Self::Collect(error) => error.hints(),
        }
    }
}

/// What all ranks' tasks share.
struct Shared {
    ways: Ways,
    events: Events,
    /// `None`: only watch, and leave the outputs to whoever brings them.
    collector: Option<Mutex<Collector>>,
    mailbox: Option<Mailbox>,
    sight: Sight,
}

/// Follows a run; its outputs go to `collector`. `engine_states` are the engine's own observations.
pub async fn follow(
    engine: Arc<Engine>,
    strength: Nodes,
    collector: Option<Collector>,
    mailbox: Option<Mailbox>,
    mut engine_states: mpsc::UnboundedReceiver<(u32, RankState)>,
    events: &Events,
) -> Result<Outcome, FollowError> {
    let folder = collector.as_ref().map(|collector| collector.folder().to_owned());
    let collector = collector.map(Mutex::new);
    let ways = Ways::with_patience(engine);
    let shared = Arc::new(Shared { ways, events: events.clone(), collector, mailbox, sight: Sight::default() });
    let mut ranks = JoinSet::new();
    for rank in 0..strength.most {
        ranks.spawn(follow_rank(rank, folder.clone(), Arc::clone(&shared)));
    }
    let mut outcome = Outcome::default();
    let mut lost = BTreeSet::new();
    loop {
        tokio::select! {
            Some((rank, state)) = engine_states.recv() => {
                shared.sight.see(rank, state.clone());
                match state {
                    RankState::Pending { .. } => events.send(Event::Rank { rank, state }),
                    RankState::Ended(_) => shared.ways.wait_no_more(),
                    _ => {}
                }
            }
            done = ranks.join_next() => match done {
                Some(Ok(done)) => {
                    outcome.first_failed = outcome.first_failed.or(done.first_failed);
                    // Of a rank that is lost there is what it had delivered, where the run goes on without it.
                    let is_gone = !done.spoke || matches!(done.end.reason, Reason::Stopped { .. });
                    let is_lost = strength.is_elastic() && done.rank > 0 && is_gone;
                    if is_lost {
                        lost.insert(done.rank);
                        done.missing.iter().for_each(|missing| events.warn(missing));
                    } else {
                        outcome.missing_outputs.extend(done.missing);
                    }
                    outcome.ends.insert(done.rank, done.end);
                }
                Some(Err(_)) => {}
                None => {
                    outcome.excuse(strength, &lost);
                    if let Some(collector) = shared.collector.as_ref().filter(|_| outcome.missing_outputs.is_empty()) {
                        collector.lock().await.tidy()?;
                    }
                    return Ok(outcome);
                }
            },
        }
    }
}

async fn follow_rank(rank: u32, folder: Option<PathBuf>, shared: Arc<Shared>) -> Done {
    let events = shared.events.clone();
    let shown = Log::shown(rank, events.clone());
    let log = match folder {
        // What was kept before may be long.
        Some(folder) => tokio::task::spawn_blocking(move || Log::kept(&folder, rank, events)).await.unwrap_or(shown),
        None => shown,
    };
    RankFollower::new(rank, log, shared).follow().await
}

struct Done {
    rank: u32,
    end: End,
    first_failed: Option<u32>,
    /// Whether its supervisor told the end.
    spoke: bool,
    missing: Option<String>,
}

struct RankFollower {
    rank: u32,
    shared: Arc<Shared>,
    position: Position,
    index_tx: watch::Sender<Option<Index>>,
}

impl RankFollower {
    fn new(rank: u32, log: Log, shared: Arc<Shared>) -> Self {
        Self { rank, shared, position: Position::new(rank, log), index_tx: watch::Sender::new(None) }
    }

    async fn follow(mut self) -> Done {
        let collecting = tokio::spawn(collect(self.rank, Arc::clone(&self.shared), self.index_tx.subscribe()));
        let mut sight = self.shared.sight.of(self.rank);
        let mut refused = 0;
        let (end, first_failed, frames) = loop {
            sight.until_begun().await;
            match self.attend(&mut sight).await {
                Ok((end, first_failed, frames)) => break (end, first_failed, Some(frames)),
                Err(reason) => tracing::debug!(rank = self.rank, reason, "the control stream is not there"),
            }
            if let Some(end) = sight.end() {
                refused += 1;
                // The container may just be going: one more try to hear it from the supervisor itself.
                if refused > 1 {
                    self.read_legacy().await;
                    // The engine may know no more than that the pod is gone; its supervisor may have left a word.
                    let is_lost = matches!(end.reason, Reason::Lost { .. });
                    let left = self.index_tx.borrow().as_ref().and_then(|index| index.end.clone());
                    break (left.filter(|_| is_lost).unwrap_or(end), None, None);
                }
            }
            sight.pause().await;
        };
        self.shared.events.send(Event::Rank { rank: self.rank, state: RankState::Ended(end.clone()) });
        // With the sender gone, the collector finishes what it has heard of.
        let Self { index_tx, rank, shared, .. } = self;
        drop(index_tx);
        let missing = match collecting.await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some(format!("rank {rank} left no final list of its outputs")),
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        let spoke = frames.is_some();
        if let Some(mut frames) = frames
            && shared.collector.is_some()
            && missing.is_none()
            && frames.send(Request::Release).await.is_ok()
        {
            // The supervisor reads the word before the stream is closed.
            let _ = tokio::time::timeout(Duration::from_secs(2), async { while frames.next().await.is_ok() {} }).await;
        }
        Done { rank, end, first_failed, spoke, missing }
    }

    /// Takes what a rank left that is no more: a program may end before anybody could reach its supervisor.
    async fn read_legacy(&mut self) {
        let shared = Arc::clone(&self.shared);
        let left = match &shared.mailbox {
            Some(mailbox) => self.read_mailbox(mailbox).await.map_err(|error| error.to_string()),
            None => Ok(()),
        };
        let problem = match (left, shared.ways.engine()) {
            (Ok(()), _) if self.position.has_ended => return,
            (Ok(()), Engine::Cluster { cluster, run }) => match from_kubelet(cluster, run, &mut self.position).await {
                Ok(()) => return,
                Err(error) => error.to_string(),
            },
            (Ok(()), Engine::Local(_)) => "its supervisor could not be reached before it ended".to_owned(),
            (Err(problem), _) => problem,
        };
        self.position.gap(format!("the end of the log is missing: {problem}"));
    }

    /// Takes what the mailbox has of the log that was not read yet, and its list of outputs.
    async fn read_mailbox(&mut self, mailbox: &Mailbox) -> Result<(), CollectError> {
        let Some(index) = mailbox.index(self.rank).await? else { return Ok(()) };
        self.index_tx.send_replace(Some(index.clone()));
        self.position.read_mailbox(mailbox, &index).await
    }

    /// Another supervisor writes another journal. What the mailbox has of it, and of those before it, does not have to come
    /// through the API server.
    async fn change_to(&mut self, instance: &str) {
        let shared = Arc::clone(&self.shared);
        if let Some(mailbox) = &shared.mailbox
            && let Ok(Some(index)) = mailbox.index(self.rank).await
            && let Err(error) = self.position.read_mailbox(mailbox, &index).await
        {
            tracing::debug!(rank = self.rank, %error, "not in the mailbox");
        }
        if self.position.instance != instance {
            self.position.begin(instance);
        }
    }

    /// Follows the supervisor's words to its end.
    async fn attend(&mut self, sight: &mut RankSight) -> Result<(End, Option<u32>, Frames), String> {
        let mut frames = Frames::open(&self.shared.ways, self.rank).await?;
        sight.is_reached();
        if self.position.instance != frames.instance {
            let instance = frames.instance.clone();
            self.change_to(&instance).await;
        }
        frames.send(Request::Follow { offset: self.position.offset }).await?;
        loop {
            let (reply, body) = frames.next().await?;
            let Some((reply, body)) = self.position.hear(reply, body) else { continue };
            match reply {
                Reply::Caught => self.shared.events.send(Event::LogCurrent { rank: self.rank }),
                Reply::State(state) if !matches!(state, RankState::Ended(_)) => {
                    self.shared.events.send(Event::Rank { rank: self.rank, state });
                }
                Reply::Outputs { .. } => {
                    let index = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                    self.index_tx.send_replace(Some(index));
                }
                Reply::Ended { replaced: true, .. } => {
                    self.position.has_ended = true;
                    let _ = frames.send(Request::Release).await;
                    return Err("another container takes this one's place".to_owned());
                }
                Reply::Ended { end, first_failed, .. } => return Ok((end, first_failed, frames)),
                _ => {}
            }
        }
    }
}

/// Brings what each new index names; gives whether the last one was final.
async fn collect(
    rank: u32,
    shared: Arc<Shared>,
    mut index: watch::Receiver<Option<Index>>,
) -> Result<bool, CollectError> {
    let mut frames = None;
    let mut complete = false;
    let mut last_try = false;
    loop {
        let open = index.changed().await.is_ok();
        if !open && last_try {
            return Ok(complete);
        }
        last_try = !open;
        let Some(now) = index.borrow_and_update().clone() else { continue };
        complete = now.complete;
        for skipped in now.skipped.iter().filter(|_| now.complete) {
            shared.events.warn(format!("`{}` of rank {rank} is not taken: {}", skipped.path, skipped.reason));
        }
        let received = receive(rank, &shared, &now, &mut frames).await;
        match received {
            Ok(()) => {}
            // While the program runs, files come and go: the next index says what holds.
            Err(error) if !now.complete => tracing::debug!(rank, %error, "outputs will be tried again"),
            Err(error) => return Err(error),
        }
        if now.complete {
            return Ok(true);
        }
    }
}

async fn receive(rank: u32, shared: &Shared, index: &Index, frames: &mut Option<Frames>) -> Result<(), CollectError> {
    let Some(collector) = &shared.collector else { return Ok(()) };
    let mut collector = collector.lock().await;
    let from_mailbox = match &shared.mailbox {
        Some(Mailbox { registry, repository, .. }) => {
            let mut pieces = Pieces::Mailbox(registry, repository);
            Some(collector.receive(index, &mut pieces, &shared.events).await)
        }
        None => None,
    };
    match from_mailbox {
        // What the mailbox does not have the rank may.
        Some(Ok(received)) if received.may_be_elsewhere() => {}
        Some(Ok(received)) => return received.whole(),
        Some(Err(error @ CollectError::Write { .. })) => return Err(error),
        // What a rank could not push it still gives over the control stream, as long as it lives.
        Some(Err(error)) => {
            tracing::debug!(rank, %error, "not in the mailbox");
        }
        None => {}
    }
    if index.files.is_empty() {
        return Ok(());
    }
    // A stream from before may be dead: what it runs in goes with the program.
    if let Some(open) = frames {
        match collector.receive(index, &mut Pieces::Control(open), &shared.events).await {
            Ok(received) => return received.whole(),
            Err(error @ CollectError::Write { .. }) => return Err(error),
            Err(error) => tracing::debug!(rank, %error, "asking over another stream"),
        }
    }
    *frames = None;
    let opened = Frames::open(&shared.ways, rank).await;
    let mut open = opened.map_err(|reason| CollectError::Source { path: "the outputs".to_owned(), rank, reason })?;
    let received = collector.receive(index, &mut Pieces::Control(&mut open), &shared.events).await?;
    *frames = Some(open);
    received.whole()
}
