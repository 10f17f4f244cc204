//! Follows all ranks of a run to their ends, and brings their outputs back meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

use super::collect::{CollectError, Collector};
use super::engine::Engine;
use super::gather::{Gathered, Gathering, Told};
use super::kubelet::from_kubelet;
use super::log::Log;
use super::mailbox::Mailbox;
use super::outcome::Outcome;
use super::position::Position;
use super::rank::Frames;
use super::sight::{RankSight, Sight};
use super::ways::Ways;
use crate::control::{PROTOCOL, Reply, Request};
use crate::diagnosis::{Diagnosis, Kind};
use crate::event::{End, Event, Events, RankState, Reason, Stream};
use crate::job::Nodes;
use crate::job::last_words::{self, LastWords};
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
pub(super) struct Shared {
    pub(super) ways: Ways,
    pub(super) events: Events,
    /// `None`: only watch, and leave the outputs to whoever brings them.
    pub(super) collector: Option<Mutex<Collector>>,
    pub(super) mailbox: Option<Mailbox>,
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
    let overheard = Overheard::default();
    let events = &overheard.heard(events);
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
                    outcome.alone.extend(done.alone.then_some(done.rank));
                }
                Some(Err(_)) => {}
                None => {
                    outcome.excuse(strength, &lost);
                    outcome.causes = overheard.causes(&outcome);
                    if let Some(collector) = &shared.collector {
                        let mut collector = collector.lock().await;
                        if outcome.missing_outputs.is_empty() {
                            collector.tidy()?;
                        }
                        outcome.brought = Some(collector.here());
                    }
                    return Ok(outcome);
                }
            },
        }
    }
}

/// The last words of all ranks.
#[derive(Clone, Default)]
struct Overheard(Arc<Lock<BTreeMap<u32, LastWords>>>);

impl Overheard {
    /// The same events, and an ear on the logs.
    fn heard(&self, events: &Events) -> Events {
        let (words, events) = (Arc::clone(&self.0), events.clone());
        Events::new(move |event| {
            if let Event::Log { rank, stream: stream @ (Stream::Stdout | Stream::Stderr), bytes, .. } = &event {
                let mut words = words.lock().unwrap_or_else(PoisonError::into_inner);
                words.entry(*rank).or_default().push(*stream == Stream::Stderr, bytes);
            }
            events.send(event);
        })
    }

    /// Why ranks failed that failed by themselves.
    fn causes(&self, outcome: &Outcome) -> BTreeMap<u32, last_words::Cause> {
        let words = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = outcome.ends.iter().filter(|(_, end)| !end.is_success() && !end.is_consequence());
        failed.filter_map(|(rank, _)| Some((*rank, words.get(rank)?.cause()?))).collect()
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
    missing: Vec<String>,
    alone: bool,
}

/// What a rank's supervisor said last.
struct Last {
    end: End,
    first_failed: Option<u32>,
    in_mailbox: bool,
    alone: bool,
}

struct RankFollower {
    rank: u32,
    shared: Arc<Shared>,
    position: Position,
    told_tx: watch::Sender<Told>,
}

impl RankFollower {
    fn new(rank: u32, log: Log, shared: Arc<Shared>) -> Self {
        Self { rank, shared, position: Position::new(rank, log), told_tx: watch::Sender::default() }
    }

    async fn follow(mut self) -> Done {
        let gathering = Gathering::new(self.rank, Arc::clone(&self.shared), self.told_tx.subscribe());
        let gathering = tokio::spawn(gathering.gather());
        let mut sight = self.shared.sight.of(self.rank);
        let mut refused = 0;
        let (Last { end, first_failed, in_mailbox, alone }, frames) = loop {
            sight.until_begun().await;
            match self.attend(&mut sight).await {
                Ok((last, frames)) => break (last, Some(frames)),
                Err(reason) => tracing::debug!(rank = self.rank, reason, "the control stream is not there"),
            }
            if let Some(end) = sight.end() {
                refused += 1;
                // The container may just be going: one more try to hear it from the supervisor itself.
                if refused > 1 {
                    self.read_legacy().await;
                    // The engine may know no more than that the pod is gone; its supervisor may have left a word.
                    let is_lost = matches!(end.reason, Reason::Lost { .. });
                    let left = self.told_tx.borrow().left.as_ref().and_then(|index| index.end.clone());
                    let end = left.filter(|_| is_lost).unwrap_or(end);
                    break (Last { end, first_failed: None, in_mailbox: false, alone: false }, None);
                }
            }
            sight.pause().await;
        };
        self.shared.events.send(Event::Rank { rank: self.rank, state: RankState::Ended(end.clone()) });
        if in_mailbox && let Some(index) = self.final_index().await {
            // Its last list need not be asked for at a rank that is going.
            self.told_tx.send_modify(|told| (told.left, told.is_all) = (Some(Arc::new(index)), true));
        }
        // With the sender gone, what it told is brought to its end.
        let Self { told_tx, rank, shared, .. } = self;
        drop(told_tx);
        let spoke = frames.is_some();
        let mut frames = frames.filter(|_| shared.collector.is_some());
        if in_mailbox && let Some(frames) = frames.take() {
            // The rank need not wait for what the mailbox has.
            release(frames).await;
        }
        let gathered = match &mut frames {
            Some(frames) => frames.hold_until(gathering).await,
            None => gathering.await,
        };
        let broken = |error: tokio::task::JoinError| Gathered { is_all: false, missing: vec![error.to_string()] };
        let Gathered { is_all, missing } = gathered.unwrap_or_else(broken);
        if let Some(frames) = frames.filter(|_| is_all) {
            release(frames).await;
        }
        Done { rank, end, first_failed, spoke, missing, alone }
    }

    /// What a rank has left in the mailbox, where that is its last word.
    async fn final_index(&self) -> Option<Index> {
        let mailbox = self.shared.mailbox.as_ref().filter(|_| self.shared.collector.is_some())?;
        mailbox.index(self.rank).await.ok().flatten().filter(|index| index.end.is_some() && index.complete)
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
        let index = Arc::new(index);
        self.told_tx.send_modify(|told| told.left = Some(Arc::clone(&index)));
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
    async fn attend(&mut self, sight: &mut RankSight) -> Result<(Last, Frames), String> {
        let mut frames = Frames::open(&self.shared.ways, self.rank).await?;
        sight.is_reached();
        if self.position.instance != frames.instance {
            let instance = frames.instance.clone();
            self.change_to(&instance).await;
        }
        frames.send(Request::Follow { offset: self.position.offset }).await?;
        loop {
            let (reply, body) = frames.next().await?;
            let Some((reply, _)) = self.position.hear(reply, body) else { continue };
            match reply {
                Reply::Caught => self.shared.events.send(Event::LogCurrent { rank: self.rank }),
                Reply::State(state) if !matches!(state, RankState::Ended(_)) => {
                    self.shared.events.send(Event::Rank { rank: self.rank, state });
                }
                Reply::Outputs { sequence, .. } => self.told_tx.send_modify(|told| told.sequence = sequence),
                Reply::Ended { replaced: true, .. } => {
                    self.position.has_ended = true;
                    let _ = frames.send(Request::Release).await;
                    return Err("another container takes this one's place".to_owned());
                }
                Reply::Ended { end, first_failed, in_mailbox, alone, .. } => {
                    return Ok((Last { end, first_failed, in_mailbox, alone }, frames));
                }
                _ => {}
            }
        }
    }
}

/// Tells a supervisor that all is here. What it answers to another word shows that it has read this one: when it goes is
/// its own affair.
async fn release(mut frames: Frames) {
    let told = async {
        frames.send(Request::Release).await?;
        frames.send(Request::Hello { protocol: PROTOCOL }).await?;
        while !matches!(frames.next().await?, (Reply::Hello { .. }, _)) {}
        Ok::<_, String>(())
    };
    // One that goes at once has read it, too.
    let _ = tokio::time::timeout(Duration::from_secs(2), told).await;
}
