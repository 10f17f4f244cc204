//! The ranks' states as the engine sees them, as they change.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::ready;
use std::time::Duration;

use futures::stream::{BoxStream, try_unfold};
use futures::{Stream, TryStreamExt};
use tokio::time::{Instant, timeout_at};

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

/// Something that happened to a container.
#[derive(Clone)]
struct Change {
    container: String,
    is_out_of_memory: bool,
}

/// A watched run.
struct Watch {
    docker: Docker,
    /// Containers by rank, and their last known state.
    ranks: BTreeMap<u32, (String, Option<RankState>)>,
    /// Whatever happens to the containers of the run.
    changes: BoxStream<'static, Result<Change, DockerError>>,
    /// Changes that were read while others were waited for.
    behind: VecDeque<Change>,
    out_of_memory: BTreeSet<String>,
    pending: VecDeque<(u32, RankState)>,
}

impl LocalRun {
    /// Each rank's state now, and again whenever it changes; ends when all ranks have ended. The engine sees whether
    /// containers run, not what the supervisors in them do.
    pub async fn watch(
        &self,
    ) -> Result<impl Stream<Item = Result<(u32, RankState), DockerError>> + Send + use<>, DockerError> {
        // Subscribed before the first look, so that no change falls between the two.
        let changes = subscribe(self.docker(), self.name()).await?;
        let mut watch = Watch {
            docker: self.docker().clone(),
            ranks: self.containers().iter().map(|(rank, id)| (*rank, (id.clone(), None))).collect(),
            changes,
            behind: VecDeque::new(),
            out_of_memory: BTreeSet::new(),
            pending: VecDeque::new(),
        };
        watch.look(None).await?;
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
            let change = match self.behind.pop_front() {
                Some(change) => change,
                None => self.change().await?,
            };
            self.look(Some(&change.container)).await?;
        }
    }

    async fn change(&mut self) -> Result<Change, DockerError> {
        let change = self.changes.try_next().await?;
        let change = change.ok_or_else(|| broken(&self.docker, "the stream of events ended".into()))?;
        if change.is_out_of_memory {
            self.out_of_memory.insert(change.container.clone());
        }
        Ok(change)
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
            let mut state = self.docker.state_of(&id).await?;
            if let RankState::Ended(End { reason: reason @ Reason::Signalled { signal: SIGKILL }, .. }) = &mut state
                && self.ran_out_of_memory(&id).await?
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
    async fn ran_out_of_memory(&mut self, container: &str) -> Result<bool, DockerError> {
        let deadline = Instant::now() + OUT_OF_MEMORY_BEHIND;
        while !self.out_of_memory.contains(container) {
            let Ok(change) = timeout_at(deadline, self.change()).await else { return Ok(false) };
            self.behind.push_back(change?);
        }
        Ok(true)
    }
}

/// Whatever happens to the containers of a run.
async fn subscribe(docker: &Docker, run: &str) -> Result<BoxStream<'static, Result<Change, DockerError>>, DockerError> {
    let filters = serde_json::json!({ "type": ["container"], "label": [format!("{}={run}", label::RUN)] });
    let query =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("filters", &filters.to_string()).finish();
    let request = http::Request::get(format!("/events?{query}"));
    let request = request.body(bollard::body_full(bytes::Bytes::new())).expect("an encoded query is valid");
    let response = docker.send("tell its events", request).await?;
    let docker = docker.clone();
    let lines = transport::lines(response).map_err(move |e| broken(&docker, e.into()));
    Ok(Box::pin(lines.try_filter_map(|line| ready(Ok(change(&line))))))
}

fn change(line: &str) -> Option<Change> {
    let message: bollard::models::EventMessage = serde_json::from_str(line).ok()?;
    Some(Change { container: message.actor?.id?, is_out_of_memory: message.action.as_deref() == Some("oom") })
}

fn broken(docker: &Docker, source: Box<dyn std::error::Error + Send + Sync>) -> DockerError {
    DockerError::Engine { endpoint: docker.endpoint().clone(), what: "go on telling its events".to_owned(), source }
}
