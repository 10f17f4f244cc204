//! Finding runs by what their containers, networks and volumes are labelled with.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, ContainerState, ContainerStateStatusEnum};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder, ListVolumesOptionsBuilder};
use jiff::Timestamp;

use super::owner::{Life, Owner};
use super::plan::{JANITOR, KEEP, LEASE, OWNER};
use super::run::LocalRun;
use crate::docker::Docker;
use crate::docker::error::DockerError;
use crate::event::{End, RankState, Reason};
use crate::layout::label;

/// A run that this engine has.
#[derive(Clone, Debug)]
pub struct RunSummary {
    /// Its name.
    pub run: String,
    /// The project it belongs to.
    pub project: String,
    /// Who started it.
    pub user: String,
    /// How many ranks it was started with.
    pub nodes: u32,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// When its containers were made, in seconds since 1970.
    pub created: i64,
    /// Whether it ends with the nauta that started it.
    pub leased: bool,
    /// The ranks' states, as the engine sees them.
    pub ranks: BTreeMap<u32, RankState>,
}

/// The objects of one run.
#[derive(Default)]
struct Found {
    labels: HashMap<String, String>,
    created: i64,
    /// Containers by rank.
    containers: BTreeMap<u32, String>,
}

impl Docker {
    /// All runs that this engine has, the newest first.
    pub async fn list_local(&self) -> Result<Vec<RunSummary>, DockerError> {
        let mut summaries = Vec::new();
        for (run, found) in self.runs().await?.into_iter().filter(|(_, found)| !found.containers.is_empty()) {
            let text = |key: &str| found.labels.get(key).cloned().unwrap_or_default();
            let mut ranks = BTreeMap::new();
            for (rank, container) in &found.containers {
                ranks.insert(*rank, self.state_of(container).await?);
            }
            summaries.push(RunSummary {
                run,
                project: text(label::PROJECT),
                user: text(label::USER),
                nodes: text(label::NODES).parse().unwrap_or(0),
                command: serde_json::from_str(&text(label::COMMAND)).unwrap_or_default(),
                created: found.created,
                leased: text(LEASE) != "none",
                ranks,
            });
        }
        summaries.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| a.run.cmp(&b.run)));
        Ok(summaries)
    }

    /// The run of that name; `None` when this engine has none.
    pub async fn find_local(&self, run: &str) -> Result<Option<LocalRun>, DockerError> {
        let ranks = ranks_of(self, run).await?;
        Ok((!ranks.is_empty()).then(|| LocalRun::found(self.clone(), run, ranks)))
    }

    /// Removes what dead processes of this machine have left, and detached runs that have been kept long enough. Gives
    /// the names of the runs that were removed.
    pub async fn sweep(&self) -> Result<Vec<String>, DockerError> {
        let mut removed = Vec::new();
        for (run, found) in self.runs().await? {
            if self.is_leftover(&found).await? {
                super::remove_what_remains(self, &run).await?;
                removed.push(run);
            }
        }
        Ok(removed)
    }

    async fn is_leftover(&self, found: &Found) -> Result<bool, DockerError> {
        let process = |key: &str| found.labels.get(key).and_then(|text| serde_json::from_str::<Owner>(text).ok());
        let (Some(owner), Some(janitor)) = (process(OWNER), process(JANITOR)) else { return Ok(false) };
        // While either lives it will clean up, and knows better how.
        if owner.life() != Life::Dead || janitor.life() != Life::Dead {
            return Ok(false);
        }
        let leased = found.labels.get(LEASE).is_none_or(|lease| lease != "none");
        if leased || found.containers.is_empty() {
            return Ok(true);
        }
        let keep =
            found.labels.get(KEEP).and_then(|seconds| seconds.parse().ok()).map_or(Duration::ZERO, Duration::from_secs);
        for container in found.containers.values() {
            match self.ended_at(container).await? {
                Some(end) if Timestamp::now().duration_since(end).unsigned_abs() >= keep => {}
                _ => return Ok(false),
            }
        }
        Ok(true)
    }

    /// All objects with our labels, by run.
    async fn runs(&self) -> Result<BTreeMap<String, Found>, DockerError> {
        let ours = HashMap::from([("label", vec![format!("{}={}", label::MANAGED_BY, label::MANAGED_BY_NAUTA)])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&ours).build();
        let containers = self.api().list_containers(Some(options)).await;
        let mut runs: BTreeMap<String, Found> = BTreeMap::new();
        for container in containers.map_err(|e| self.error("list its containers", e))? {
            let labels = container.labels.unwrap_or_default();
            let (Some(run), Some(id)) = (labels.get(label::RUN).cloned(), container.id) else { continue };
            let found = runs.entry(run).or_default();
            if let Some(rank) = labels.get(label::RANK).and_then(|rank| rank.parse().ok()) {
                found.containers.insert(rank, id);
            }
            found.created = container.created.unwrap_or(0);
            found.labels = labels;
        }
        let options = ListNetworksOptionsBuilder::default().filters(&ours).build();
        let networks = self.api().list_networks(Some(options)).await;
        let networks = networks.map_err(|e| self.error("list its networks", e))?;
        let options = ListVolumesOptionsBuilder::default().filters(&ours).build();
        let volumes = self.api().list_volumes(Some(options)).await;
        let volumes = volumes.map_err(|e| self.error("list its volumes", e))?.volumes.unwrap_or_default();
        let of_networks = networks.into_iter().filter_map(|network| network.labels);
        for labels in of_networks.chain(volumes.into_iter().map(|volume| volume.labels)) {
            if let Some(run) = labels.get(label::RUN).cloned() {
                runs.entry(run).or_insert_with(|| Found { labels, ..Found::default() });
            }
        }
        Ok(runs)
    }

    /// What a container does, in the words of all engines; one that is not there any more is lost.
    pub(super) async fn state_of(&self, container: &str) -> Result<RankState, DockerError> {
        let Some(found) = self.inspected(container).await? else {
            return Ok(RankState::Ended(End::lost("its container was removed")));
        };
        Ok(rank_state(found.state.unwrap_or_default()))
    }

    async fn ended_at(&self, container: &str) -> Result<Option<Timestamp>, DockerError> {
        let Some(found) = self.inspected(container).await? else { return Ok(Some(Timestamp::UNIX_EPOCH)) };
        let state = found.state.unwrap_or_default();
        let has_ended = matches!(rank_state(state.clone()), RankState::Ended(_));
        Ok(state.finished_at.filter(|_| has_ended).and_then(|time| time.parse().ok()))
    }

    async fn inspected(&self, container: &str) -> Result<Option<ContainerInspectResponse>, DockerError> {
        let what = format!("look at the container `{container}`");
        match self.api().inspect_container(container, None).await.map_err(|e| self.error(what, e)) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The containers of a run, by rank.
pub(in crate::docker) async fn ranks_of(docker: &Docker, run: &str) -> Result<BTreeMap<u32, String>, DockerError> {
    let filter = HashMap::from([("label", vec![format!("{}={run}", label::RUN)])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filter).build();
    let containers = docker.api().list_containers(Some(options)).await;
    let containers = containers.map_err(|e| docker.error("list its containers", e))?;
    let by_rank = containers.into_iter().filter_map(|container| {
        let rank = container.labels?.get(label::RANK)?.parse().ok()?;
        Some((rank, container.id?))
    });
    Ok(by_rank.collect())
}

fn rank_state(state: ContainerState) -> RankState {
    let error = state.error.unwrap_or_default();
    let code = u8::try_from(state.exit_code.unwrap_or(0)).unwrap_or(u8::MAX);
    match state.status {
        Some(
            ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD | ContainerStateStatusEnum::REMOVING,
        ) => {
            let reason = if state.oom_killed == Some(true) && code != 0 {
                Reason::OutOfMemory
            } else if (129..=159).contains(&code) {
                Reason::Signalled { signal: i32::from(code) - 128 }
            } else {
                Reason::Exited
            };
            RankState::Ended(End { code, reason })
        }
        // The engine keeps a container that it could not start as a created one.
        Some(ContainerStateStatusEnum::CREATED) if !error.is_empty() => RankState::Ended(End::not_started(error)),
        Some(ContainerStateStatusEnum::RUNNING | ContainerStateStatusEnum::PAUSED) => {
            RankState::Meeting { message: "its container runs".to_owned() }
        }
        _ => RankState::Pending { message: "its container is made".to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use ContainerStateStatusEnum::{CREATED, EXITED, RUNNING};

    use super::*;

    #[test]
    fn container_states_say_how_a_rank_ended() {
        let state = |status, code, oom, error: &str| {
            rank_state(ContainerState {
                status: Some(status),
                exit_code: Some(code),
                oom_killed: Some(oom),
                error: Some(error.to_owned()),
                ..ContainerState::default()
            })
        };
        let ended = |code, reason| RankState::Ended(End { code, reason });
        assert_eq!(state(EXITED, 0, false, ""), ended(0, Reason::Exited));
        assert_eq!(state(EXITED, 3, false, ""), ended(3, Reason::Exited));
        assert_eq!(state(EXITED, 137, true, ""), ended(137, Reason::OutOfMemory));
        assert_eq!(state(EXITED, 143, false, ""), ended(143, Reason::Signalled { signal: 15 }));
        assert!(matches!(state(RUNNING, 0, false, ""), RankState::Meeting { .. }));
        assert!(matches!(state(CREATED, 0, false, ""), RankState::Pending { .. }));
        let not_started = Reason::NotStarted { message: "no such file".to_owned() };
        assert_eq!(state(CREATED, 127, false, "no such file"), ended(125, not_started));
    }
}
