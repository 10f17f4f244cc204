//! The ranks' states as the engine sees them, as they change.
//!
//! What the engine tells of its containers is only a hint to look: it may lose an event, tell it late, or fall silent on a
//! connection that stands. So all ranks are looked at every few seconds, whatever was told: a lost event costs that long.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::{pending, ready};
use std::time::Duration;

use futures::stream::{BoxStream, try_unfold};
use futures::{Stream, TryStreamExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::run::LocalRun;
use crate::docker::Docker;
use crate::docker::error::DockerError;
use crate::docker::transport;
use crate::event::{End, RankState, Reason};
use crate::layout::label;

const SIGKILL: i32 = nix::sys::signal::Signal::SIGKILL as i32;
/// How long the word that a container ran out of memory may come behind its end: the engine hears of both on ways of
/// their own.
const OUT_OF_MEMORY_BEHIND: Duration = Duration::from_millis(500);
/// Between two looks at all ranks at least; up to [`JITTER`] more, so that many watches do not ask the engine together.
const LOOK: Duration = Duration::from_secs(3);
const JITTER: Duration = Duration::from_secs(2);
/// How long the engine may take to say how a container is.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);
/// How long it may take to begin to tell its events; looks wait for that.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(5);

/// Something that happened to a container.
#[derive(Clone)]
struct Change {
    container: String,
    is_out_of_memory: bool,
}

type Changes = BoxStream<'static, Result<Change, DockerError>>;

/// A watched run.
struct Watch {
    docker: Docker,
    run: String,
    /// Containers by rank, and their last known state.
    ranks: BTreeMap<u32, (String, Option<RankState>)>,
    /// Whatever happens to the containers of the run; absent where the engine has to be asked for it (again).
    changes: Option<Changes>,
    /// Changes that were read while others were waited for.
    behind: VecDeque<Change>,
    /// When all ranks are looked at next.
    next_look: Instant,
    out_of_memory: BTreeSet<String>,
    pending: VecDeque<(u32, RankState)>,
}

impl LocalRun {
    /// Each rank's state now, and again whenever it changes; ends when all ranks have ended. The engine sees whether
    /// containers run, not what the supervisors in them do. An engine that does not answer is an error.
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<(u32, RankState), DockerError>> + Send + use<>, DockerError> {
        let mut watch = Watch {
            docker: self.docker().clone(),
            run: self.name().to_owned(),
            ranks: self.containers().iter().map(|(rank, id)| (*rank, (id.clone(), None))).collect(),
            changes: None,
            behind: VecDeque::new(),
            next_look: Instant::now(),
            out_of_memory: BTreeSet::new(),
            pending: VecDeque::new(),
        };
        watch.look_at_all().await?;
        Ok(try_unfold(watch, |mut watch| async move { Ok(watch.next().await?.map(|item| (item, watch))) }))
    }
}

impl Watch {
    async fn next(&mut self) -> Result<Option<(u32, RankState)>, DockerError> {
        loop {
            if let Some(item) = self.pending.pop_front() {
                return Ok(Some(item));
            }
            if self.ranks.values().all(|(_, state)| matches!(state, Some(RankState::Ended(_)))) {
                return Ok(None);
            }
            if let Some(change) = self.behind.pop_front() {
                self.look(Some(&change.container)).await?;
                continue;
            }
            let next_look = self.next_look;
            if let Ok(change) = timeout_at(next_look, self.change()).await {
                self.look(Some(&change.container)).await?;
                continue;
            }
            self.look_at_all().await?;
            if !self.pending.is_empty() {
                // Nobody has told this: the engine is asked anew for what it tells, and looked at behind that.
                self.changes = None;
                self.next_look = Instant::now();
            }
        }
    }

    /// The next change that is told; pends for ever where nothing is told any more.
    async fn change(&mut self) -> Change {
        let told = match &mut self.changes {
            Some(changes) => changes.try_next().await,
            None => pending().await,
        };
        let Ok(Some(change)) = told else {
            self.changes = None;
            return pending().await;
        };
        if change.is_out_of_memory {
            self.out_of_memory.insert(change.container.clone());
        }
        change
    }

    async fn look_at_all(&mut self) -> Result<(), DockerError> {
        if self.changes.is_none() {
            // Before the look, so that no change falls between the two.
            self.changes = subscribe(&self.docker, &self.run).await;
        }
        let jitter = getrandom::u32().map_or(0.5, |random| f64::from(random) / f64::from(u32::MAX));
        self.next_look = Instant::now() + LOOK + JITTER.mul_f64(jitter);
        self.look(None).await
    }

    /// Looks at one container, or at all.
    async fn look(&mut self, container: Option<&str>) -> Result<(), DockerError> {
        let ranks: Vec<(u32, String)> = self.ranks.iter().map(|(rank, (id, _))| (*rank, id.clone())).collect();
        for (rank, id) in ranks {
            let known = self.ranks.get(&rank).and_then(|(_, state)| state.clone());
            // An end is an end: that the container is removed later changes nothing.
            if container.is_some_and(|container| container != id) || matches!(known, Some(RankState::Ended(_))) {
                continue;
            }
            let mut state = look(&self.docker, &id).await?;
            if let RankState::Ended(End { reason: reason @ Reason::Signalled { signal: SIGKILL }, .. }) = &mut state
                && self.ran_out_of_memory(&id).await
            {
                *reason = Reason::OutOfMemory;
            }
            if known.as_ref() != Some(&state) {
                self.ranks.insert(rank, (id, Some(state.clone())));
                self.pending.push_back((rank, state));
            }
        }
        Ok(())
    }

    /// Whether the kernel killed something in a container that has ended.
    async fn ran_out_of_memory(&mut self, container: &str) -> bool {
        let deadline = Instant::now() + OUT_OF_MEMORY_BEHIND;
        while !self.out_of_memory.contains(container) {
            let Ok(change) = timeout_at(deadline, self.change()).await else { return false };
            self.behind.push_back(change);
        }
        true
    }
}

/// How a container is.
async fn look(docker: &Docker, container: &str) -> Result<RankState, DockerError> {
    let state = timeout(ANSWER_LIMIT, docker.state_of(container)).await;
    state.map_err(|_| DockerError::Engine {
        endpoint: docker.endpoint().clone(),
        what: format!("look at the container `{container}`"),
        source: format!("no answer within {} seconds", ANSWER_LIMIT.as_secs()).into(),
    })?
}

/// Whatever happens to the containers of a run; nothing where the engine does not tell.
async fn subscribe(docker: &Docker, run: &str) -> Option<Changes> {
    let filters = serde_json::json!({ "type": ["container"], "label": [format!("{}={run}", label::RUN)] });
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("filters", &filters.to_string()).finish();
    let request = http::Request::get(format!("/events?{query}"));
    let request = request.body(bollard::body_full(bytes::Bytes::new())).expect("an encoded query is valid");
    let response = match timeout(SUBSCRIBE_LIMIT, docker.send("tell its events", request)).await {
        Ok(Ok(response)) => response,
        refused => {
            tracing::debug!(run, ?refused, "the engine does not tell its events");
            return None;
        }
    };
    let docker = docker.clone();
    let lines = transport::lines(response).map_err(move |e| broken(&docker, e.into()));
    Some(Box::pin(lines.try_filter_map(|line| ready(Ok(change(&line))))))
}

fn change(line: &str) -> Option<Change> {
    let message: bollard::models::EventMessage = serde_json::from_str(line).ok()?;
    Some(Change { container: message.actor?.id?, is_out_of_memory: message.action.as_deref() == Some("oom") })
}

fn broken(docker: &Docker, source: Box<dyn std::error::Error + Send + Sync>) -> DockerError {
    DockerError::Engine { endpoint: docker.endpoint().clone(), what: "go on telling its events".to_owned(), source }
}
