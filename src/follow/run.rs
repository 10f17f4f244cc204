//! Follows all ranks of a run to their ends, and brings their outputs back meanwhile.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;

use super::collect::{CollectError, Collector, Pieces};
use super::engine::Engine;
use super::history::from_kubelet;
use super::log::Log;
use super::mailbox::Mailbox;
use super::rank::Frames;
use crate::control::{Reply, Request};
use crate::diagnosis::{Diagnosis, Kind};
use crate::event::{End, Event, Events, NOT_RUN, RankState, Reason};
use crate::sync::Index;
use crate::sync::journal::Record;

/// Between two tries to reach a rank.
const PAUSE: Duration = Duration::from_millis(300);

/// What came of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// How each rank ended.
    pub ends: BTreeMap<u32, End>,
    /// The rank that failed first.
    pub first_failed: Option<u32>,
    /// What of the outputs could not be had; empty when all is here.
    pub missing_outputs: Vec<String>,
}

impl Outcome {
    /// The failure that the others follow from. What ranks reported counts where it is a cause of its own: a rank that
    /// only lost sight of its peers takes the wrong one for the first.
    #[must_use]
    pub fn first_failure(&self) -> Option<(u32, &End)> {
        let reported = self.first_failed.and_then(|rank| self.ends.get_key_value(&rank));
        let failed = || self.ends.iter().filter(|(_, end)| !end.is_success());
        let causes = || failed().filter(|(_, end)| !end.is_consequence());
        let known = |end: &End| !matches!(end.reason, Reason::Lost { .. });
        let found = reported.filter(|(_, end)| !end.is_success() && !end.is_consequence() && known(end));
        let found = found.or_else(|| causes().find(|(_, end)| known(end))).or_else(|| causes().next());
        found.or_else(|| failed().next()).map(|(rank, end)| (*rank, end))
    }

    /// The run's exit code: that of the rank that failed first; 125 when some rank's end is not known.
    #[must_use]
    pub fn code(&self, nodes: u32) -> u8 {
        match self.first_failure() {
            Some((_, End { reason: Reason::Lost { .. } | Reason::PeerFailed { .. }, .. })) => NOT_RUN,
            Some((_, end)) => end.code.max(1),
            None if self.ends.len() == nodes as usize && self.missing_outputs.is_empty() => 0,
            None => NOT_RUN,
        }
    }
}

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
    engine: Arc<Engine>,
    events: Events,
    /// `None`: only watch, and leave the outputs to whoever brings them.
    collector: Option<Mutex<Collector>>,
    mailbox: Option<Mailbox>,
    /// Ends that the engine knows, for ranks whose supervisor can no longer say.
    engine_ends: watch::Sender<BTreeMap<u32, End>>,
}

/// Follows a run; its outputs go to `collector`. `engine_states` are the engine's own observations.
pub async fn follow(
    engine: Arc<Engine>,
    nodes: u32,
    collector: Option<Collector>,
    mailbox: Option<Mailbox>,
    mut engine_states: mpsc::UnboundedReceiver<(u32, RankState)>,
    events: &Events,
) -> Result<Outcome, FollowError> {
    let folder = collector.as_ref().map(|collector| collector.folder().to_owned());
    let engine_ends = watch::Sender::new(BTreeMap::new());
    let collector = collector.map(Mutex::new);
    let shared = Arc::new(Shared { engine, events: events.clone(), collector, mailbox, engine_ends });
    let mut ranks = JoinSet::new();
    for rank in 0..nodes {
        let log = Log::create(folder.as_deref(), rank, events.clone());
        ranks.spawn(RankFollower::new(rank, log, Arc::clone(&shared)).follow());
    }
    let mut outcome = Outcome::default();
    loop {
        tokio::select! {
            Some((rank, state)) = engine_states.recv() => match state {
                RankState::Ended(end) => { shared.engine_ends.send_modify(|ends| drop(ends.insert(rank, end))); }
                pending @ RankState::Pending { .. } => events.send(Event::Rank { rank, state: pending }),
                _ => {}
            },
            done = ranks.join_next() => match done {
                Some(Ok(done)) => {
                    outcome.first_failed = outcome.first_failed.or(done.first_failed);
                    outcome.missing_outputs.extend(done.missing);
                    outcome.ends.insert(done.rank, done.end);
                }
                Some(Err(_)) => {}
                None => {
                    if let Some(collector) = shared.collector.as_ref().filter(|_| outcome.missing_outputs.is_empty()) {
                        collector.lock().await.tidy()?;
                    }
                    return Ok(outcome);
                }
            },
        }
    }
}

struct Done {
    rank: u32,
    end: End,
    first_failed: Option<u32>,
    missing: Option<String>,
}

struct RankFollower {
    rank: u32,
    shared: Arc<Shared>,
    offset: u64,
    instance: String,
    log: Log,
    index_tx: watch::Sender<Option<Index>>,
}

impl RankFollower {
    fn new(rank: u32, log: Log, shared: Arc<Shared>) -> Self {
        Self { rank, shared, offset: 0, instance: String::new(), log, index_tx: watch::Sender::new(None) }
    }

    async fn follow(mut self) -> Done {
        let collecting = tokio::spawn(collect(self.rank, Arc::clone(&self.shared), self.index_tx.subscribe()));
        let mut engine_ends = self.shared.engine_ends.subscribe();
        let mut refused = 0;
        let (end, first_failed, frames) = loop {
            match self.attend().await {
                Ok((end, first_failed, frames)) => break (end, first_failed, Some(frames)),
                Err(reason) => tracing::debug!(rank = self.rank, reason, "the control stream is not there"),
            }
            let end = engine_ends.borrow_and_update().get(&self.rank).cloned();
            if let Some(end) = end {
                refused += 1;
                // The container may just be going: one more try to hear it from the supervisor itself.
                if refused > 1 {
                    self.read_legacy().await;
                    break (end, None, None);
                }
            }
            tokio::time::sleep(PAUSE).await;
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
        if let Some(mut frames) = frames
            && shared.collector.is_some()
            && missing.is_none()
            && frames.send(Request::Release).await.is_ok()
        {
            // The supervisor reads the word before the stream is closed.
            let _ = tokio::time::timeout(Duration::from_secs(2), async { while frames.next().await.is_ok() {} }).await;
        }
        Done { rank, end, first_failed, missing }
    }

    /// Takes what a rank left that is no more: a program may end before anybody could reach its supervisor.
    async fn read_legacy(&mut self) {
        let shared = Arc::clone(&self.shared);
        let left = match &shared.mailbox {
            Some(mailbox) => self.read_mailbox(mailbox).await.map_err(|error| error.to_string()),
            None => Ok(false),
        };
        let problem = match (left, &*shared.engine) {
            (Ok(true), _) => return,
            (Ok(false), Engine::Cluster { cluster, run }) if self.offset == 0 => {
                match from_kubelet(cluster, run, self.rank, &mut self.log).await {
                    Ok(()) => return,
                    Err(error) => error.to_string(),
                }
            }
            (Ok(false), _) => "its supervisor could not be reached before it ended".to_owned(),
            (Err(problem), _) => problem,
        };
        self.log.gap(format!("the end of the log is missing: {problem}"));
    }

    /// Whether the mailbox had the journal to its end.
    async fn read_mailbox(&mut self, mailbox: &Mailbox) -> Result<bool, CollectError> {
        let Some(index) = mailbox.index(self.rank).await? else { return Ok(false) };
        let journal = index.journal.clone();
        self.index_tx.send_replace(Some(index));
        let Some(journal) = journal else { return Ok(false) };
        if self.instance != journal.instance {
            self.restart(&journal.instance);
        }
        if journal.start > self.offset {
            self.log.gap(format!("{} bytes are no longer in the journal", journal.start - self.offset));
        }
        let log = &mut self.log;
        let write = |record, _| {
            log.write(record);
            ControlFlow::Continue(())
        };
        mailbox.journal(self.rank, &journal, self.offset, write).await?;
        Ok(true)
    }

    /// Another supervisor writes another journal.
    fn restart(&mut self, instance: &str) {
        if !self.instance.is_empty() {
            self.log.gap("the rank was started anew; what it had written since the last word is lost");
        }
        instance.clone_into(&mut self.instance);
        self.offset = 0;
    }

    /// Follows the supervisor's words to its end.
    async fn attend(&mut self) -> Result<(End, Option<u32>, Frames), String> {
        let mut frames = Frames::open(&self.shared.engine, self.rank).await?;
        if self.instance != frames.instance {
            self.restart(&frames.instance);
        }
        frames.send(Request::Follow { offset: self.offset }).await?;
        loop {
            let (reply, body) = frames.next().await?;
            match reply {
                Reply::Log { stream, time, next } => {
                    self.offset = next;
                    self.log.write(Record { stream, time, bytes: body });
                }
                Reply::Gap { bytes, next } => {
                    self.offset = next;
                    self.log.gap(format!("{bytes} bytes are no longer in the journal"));
                }
                Reply::Caught => self.shared.events.send(Event::LogCurrent { rank: self.rank }),
                Reply::State(state) if !matches!(state, RankState::Ended(_)) => {
                    self.shared.events.send(Event::Rank { rank: self.rank, state });
                }
                Reply::Outputs { .. } => {
                    let index = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
                    self.index_tx.send_replace(Some(index));
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
            Some(collector.receive(index, &mut pieces, &shared.events).await.map(drop))
        }
        None => None,
    };
    match from_mailbox {
        Some(Ok(())) => return Ok(()),
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
    if frames.is_none() {
        let opened = Frames::open(&shared.engine, rank).await;
        *frames =
            Some(opened.map_err(|reason| CollectError::Source { path: "the outputs".to_owned(), rank, reason })?);
    }
    let Some(open) = frames else { return Ok(()) };
    let received = collector.receive(index, &mut Pieces::Control(open), &shared.events).await;
    if received.is_err() {
        *frames = None;
    }
    received.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_the_first_failure_and_nothing_unknown_is_success() {
        let end = |code, reason| End { code, reason };
        let lost = || Reason::Lost { message: "its node is gone".to_owned() };
        let outcome = |ends: &[End], first_failed| Outcome {
            ends: (0..).zip(ends.iter().cloned()).collect(),
            first_failed,
            ..Outcome::default()
        };
        let of_peer = |rank| end(143, Reason::PeerFailed { rank });
        let killed = || end(137, Reason::Signalled { signal: 9 });
        for (ends, first_failed, code) in [
            (vec![of_peer(1), end(7, Reason::Exited)], Some(1), 7),
            (vec![killed(), of_peer(0)], Some(0), 137),
            (vec![killed(), end(125, lost())], Some(1), 137),
            (vec![of_peer(1), of_peer(0)], Some(1), 125),
            (vec![end(0, Reason::Exited), end(125, lost())], None, 125),
            (vec![end(143, Reason::Stopped { message: "asked".to_owned() }), of_peer(0)], Some(0), 143),
            (vec![end(0, Reason::Exited); 2], None, 0),
            (vec![end(0, Reason::Exited)], None, 125),
        ] {
            assert_eq!(outcome(&ends, first_failed).code(2), code, "{ends:?}");
        }
        let mut done = outcome(&[end(0, Reason::Exited)], None);
        done.missing_outputs.push("x".to_owned());
        assert_eq!(done.code(1), 125);
    }
}
