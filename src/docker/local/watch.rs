//! The ranks' states as the engine sees them, as they change.

use std::collections::{BTreeMap, VecDeque};

use futures::stream::{BoxStream, try_unfold};
use futures::{Stream, TryStreamExt};

use super::run::LocalRun;
use crate::docker::Docker;
use crate::docker::error::DockerError;
use crate::docker::transport;
use crate::event::RankState;
use crate::layout::label;

/// A watched run.
struct Watch {
    docker: Docker,
    /// Containers by rank, and their last known state.
    ranks: BTreeMap<u32, (String, Option<RankState>)>,
    /// One item per change of any container of the run.
    changes: BoxStream<'static, Result<Option<String>, DockerError>>,
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
            match self.changes.try_next().await? {
                Some(container) => self.look(container.as_deref()).await?,
                None => return Err(broken(&self.docker, "the stream of events ended".into())),
            }
        }
    }

    /// Looks at one container, or at all.
    async fn look(&mut self, container: Option<&str>) -> Result<(), DockerError> {
        for (rank, (id, known)) in &mut self.ranks {
            let is_meant = container.is_none_or(|container| container == id);
            // An end is an end: that the container is removed later changes nothing.
            if !is_meant || matches!(known, Some(RankState::Ended(_))) {
                continue;
            }
            let state = self.docker.state_of(id).await?;
            if known.as_ref() != Some(&state) {
                *known = Some(state.clone());
                self.pending.push_back((*rank, state));
            }
        }
        Ok(())
    }
}

/// Containers of a run, by id, whenever something happens to them.
async fn subscribe(
    docker: &Docker,
    run: &str,
) -> Result<BoxStream<'static, Result<Option<String>, DockerError>>, DockerError> {
    let filters = serde_json::json!({ "type": ["container"], "label": [format!("{}={run}", label::RUN)] });
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("filters", &filters.to_string());
    let request = http::Request::get(format!("/events?{}", query.finish()));
    let request = request.body(bollard::body_full(bytes::Bytes::new())).expect("an encoded query is valid");
    let response = docker.send("tell its events", request).await?;
    let docker = docker.clone();
    Ok(Box::pin(
        transport::lines(response).map_err(move |e| broken(&docker, e.into())).map_ok(|line| container_of(&line)),
    ))
}

fn container_of(line: &str) -> Option<String> {
    serde_json::from_str::<bollard::models::EventMessage>(line).ok()?.actor?.id
}

fn broken(docker: &Docker, source: Box<dyn std::error::Error + Send + Sync>) -> DockerError {
    DockerError::Engine { endpoint: docker.endpoint().clone(), what: "go on telling its events".to_owned(), source }
}
