//! Changes in, a view out. What is seen twice, late or in another order gives the same view.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::end::{delivered, disruption, is_lost, rank_end};
use super::rank::{is_up, node, pending, rank_of};
use super::run::{RankView, RunState, RunView, job_state, replaces};
use super::trouble::{self, Trouble, TroubleReason};
use crate::event::{End, RankState, Reason};

/// Something the cluster said.
#[derive(Clone, Debug)]
pub enum Change {
    /// The Job is like this now.
    Job(Box<Job>),
    /// The Job is gone; this was its last form.
    JobDeleted(Box<Job>),
    /// A fresh look found no Job of this name.
    JobMissing,
    /// A pod is like this now.
    Pod(Box<Pod>),
    /// A pod is gone; this was its last form.
    PodDeleted(Box<Pod>),
    /// A fresh look found exactly these pods.
    PodsListed(Vec<Pod>),
    /// An event about the Job or a pod.
    Event(Box<Event>),
}

/// An object at its newest version, and whether it still exists.
#[derive(Clone, Debug)]
struct Seen<T> {
    object: T,
    deleted: bool,
}

/// All that was seen of one run.
#[derive(Clone, Debug)]
pub struct Fold {
    run: String,
    job: Option<Seen<Job>>,
    missing: bool,
    /// Whether the Job was seen to be deleted: one that is only not there any more may have had its time.
    saw_deletion: bool,
    pods: BTreeMap<String, Seen<Pod>>,
    events: BTreeMap<String, Event>,
}

/// Versions are numbers on every server there is; where one is none, arrival decides.
fn version(metadata: &ObjectMeta) -> Option<u64> {
    metadata.resource_version.as_ref()?.parse().ok()
}

/// Whether `new` replaces `old` (both of one uid).
fn is_newer(new: &ObjectMeta, old: &ObjectMeta) -> bool {
    match (version(new), version(old)) {
        (Some(new), Some(old)) => new >= old,
        _ => true,
    }
}

fn uid(metadata: &ObjectMeta) -> String {
    metadata.uid.clone().or_else(|| metadata.name.clone()).unwrap_or_default()
}

impl Fold {
    /// Nothing seen yet of the run of this name.
    #[must_use]
    pub fn new(run: impl Into<String>) -> Self {
        Self {
            run: run.into(),
            job: None,
            missing: false,
            saw_deletion: false,
            pods: BTreeMap::new(),
            events: BTreeMap::new(),
        }
    }

    /// Takes in what the cluster said.
    pub fn apply(&mut self, change: Change) {
        match change {
            Change::Job(job) => self.saw_job(*job, false),
            Change::JobDeleted(job) => self.saw_job(*job, true),
            Change::JobMissing => {
                self.missing = true;
                if let Some(job) = &mut self.job {
                    job.deleted = true;
                }
            }
            Change::Pod(pod) => self.saw_pod(*pod, false),
            Change::PodDeleted(pod) => self.saw_pod(*pod, true),
            Change::PodsListed(pods) => {
                let listed: HashSet<String> = pods.iter().map(|pod| uid(&pod.metadata)).collect();
                for pod in pods {
                    self.saw_pod(pod, false);
                }
                let gone = self.pods.iter_mut().filter(|(uid, _)| !listed.contains(*uid));
                gone.for_each(|(_, pod)| pod.deleted = true);
            }
            Change::Event(event) => self.saw_event(*event),
        }
    }

    fn saw_job(&mut self, job: Job, deleted: bool) {
        // Only where its last form says that it had not ended is that somebody's wish.
        self.saw_deletion |= !job_state(&job).is_final() && (deleted || job.metadata.deletion_timestamp.is_some());
        let replaces = match &self.job {
            None => true,
            Some(known) if uid(&known.object.metadata) == uid(&job.metadata) => {
                is_newer(&job.metadata, &known.object.metadata)
            }
            // A Job of the same name made anew.
            Some(known) => job.metadata.creation_timestamp > known.object.metadata.creation_timestamp,
        };
        let same = |known: &Seen<Job>| uid(&known.object.metadata) == uid(&job.metadata);
        let was_deleted = self.job.as_ref().is_some_and(|known| same(known) && known.deleted);
        if replaces {
            self.job = Some(Seen { object: job, deleted: deleted || was_deleted });
        } else if let Some(known) = self.job.as_mut().filter(|known| deleted && same(known)) {
            known.deleted = true;
        }
    }

    fn saw_pod(&mut self, pod: Pod, deleted: bool) {
        match self.pods.get_mut(&uid(&pod.metadata)) {
            Some(known) => {
                known.deleted |= deleted;
                if is_newer(&pod.metadata, &known.object.metadata) {
                    known.object = pod;
                }
            }
            None => {
                self.pods.insert(uid(&pod.metadata), Seen { object: pod, deleted });
            }
        }
    }

    fn saw_event(&mut self, event: Event) {
        let about = event.involved_object.name.as_deref().unwrap_or_default();
        let ours = about == self.run || about.strip_prefix(&self.run).is_some_and(|rest| rest.starts_with('-'));
        let known = self.events.get(&uid(&event.metadata));
        if ours && known.is_none_or(|known| is_newer(&event.metadata, &known.metadata)) {
            self.events.insert(uid(&event.metadata), event);
        }
    }

    /// Whether the Job was seen to exist, now or before.
    #[must_use]
    pub const fn job_seen(&self) -> bool {
        self.job.is_some()
    }

    /// The Job as last seen.
    #[must_use]
    pub fn job(&self) -> Option<&Job> {
        self.job.as_ref().map(|seen| &seen.object)
    }

    /// The newest pod of a rank that still exists.
    #[must_use]
    pub fn pod(&self, rank: u32) -> Option<&Pod> {
        self.newest(rank).filter(|seen| !seen.deleted).map(|seen| &seen.object)
    }

    fn is_gone(&self) -> bool {
        self.job.as_ref().map_or(self.missing, |seen| seen.deleted)
    }

    fn newest(&self, rank: u32) -> Option<&Seen<Pod>> {
        let age = |seen: &&Seen<Pod>| {
            let metadata = &seen.object.metadata;
            // Another pod is made when the former has ended: where it was made later, it is the one that counts, even gone.
            (metadata.creation_timestamp.clone(), !seen.deleted, metadata.uid.clone())
        };
        self.pods
            .values()
            .filter(|seen| self.is_ours(&seen.object) && rank_of(&seen.object) == Some(rank))
            .max_by_key(age)
    }

    /// Whether a pod belongs to the Job at hand, not to a former one of the same name.
    fn is_ours(&self, pod: &Pod) -> bool {
        let Some(job) = self.job.as_ref().and_then(|seen| seen.object.metadata.uid.as_ref()) else { return true };
        let owners = pod.metadata.owner_references.iter().flatten();
        let mut jobs = owners.filter(|owner| owner.kind == "Job").peekable();
        jobs.peek().is_none() || jobs.any(|owner| &owner.uid == job)
    }

    /// How many ranks the run has; before its Job was seen, as many as have pods.
    fn ranks(&self) -> u32 {
        let asked = self.job().and_then(|job| job.spec.as_ref()?.completions);
        let seen = self.pods.values().filter_map(|seen| rank_of(&seen.object)).max().map_or(0, |rank| rank + 1);
        asked.and_then(|ranks| u32::try_from(ranks).ok()).unwrap_or(seen)
    }

    /// The run as it is at `now`.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> RunView {
        let pods: Vec<Option<&Seen<Pod>>> = (0..self.ranks()).map(|rank| self.newest(rank)).collect();
        let state = self.state(&pods);
        let waited_for: Vec<u32> =
            (0..).zip(&pods).filter(|(_, pod)| !has_started(**pod)).map(|(rank, _)| rank).collect();
        let view = |(rank, pod): (u32, Option<&Seen<Pod>>)| RankView {
            rank,
            pod: pod.and_then(|seen| seen.object.metadata.name.clone()),
            node: pod.and_then(|seen| node(&seen.object)),
            state: rank_state(pod, &state, &waited_for, self.job().is_some_and(replaces)),
            outputs: pod.and_then(|seen| delivered(&seen.object)),
        };
        let mut ranks: Vec<RankView> = (0..).zip(pods.iter().copied()).map(view).collect();
        let first_failed = pods.iter().flatten().find_map(|seen| rank_end(&seen.object)?.1);
        let mut troubles = self.troubles(&state, &ranks, now);
        for trouble in troubles.iter().filter(|trouble| trouble.reason == TroubleReason::Storage) {
            // A pod only knows that it waits for a claim.
            if let Some(rank) = ranks.iter_mut().find(|rank| Some(rank.rank) == trouble.rank) {
                rank.state = RankState::Pending { message: trouble.message.clone() };
            }
        }
        troubles.sort_by_key(|trouble| (!trouble.fatal, trouble.rank));
        let is_deleted = self.saw_deletion && !matches!(state, RunState::Succeeded | RunState::Failed { .. });
        RunView { state, ranks, troubles, first_failed, is_deleted }
    }

    fn state(&self, pods: &[Option<&Seen<Pod>>]) -> RunState {
        let ended_well = |pod: Option<&Seen<Pod>>| {
            pod.and_then(|seen| rank_end(&seen.object)).is_some_and(|(end, _)| end.is_success())
        };
        match &self.job {
            Some(seen) => match job_state(&seen.object) {
                over if over.is_final() => over,
                _ if seen.deleted => RunState::Deleted,
                // The Job counts its pods a little later.
                RunState::Starting if !pods.is_empty() && pods.iter().copied().all(ended_well) => RunState::Ending,
                state => state,
            },
            None if self.missing => RunState::Deleted,
            None => RunState::Starting,
        }
    }

    fn troubles(&self, state: &RunState, ranks: &[RankView], now: Timestamp) -> Vec<Trouble> {
        let events: Vec<&Event> = self.events.values().collect();
        let mut troubles = trouble::of_job(self.job(), state, self.is_gone());
        let podless = ranks.iter().any(|rank| rank.pod.is_none());
        if podless && !state.is_final() {
            troubles.extend(trouble::of_creation(self.job(), &events));
        }
        for rank in ranks {
            if let Some(seen) = self.newest(rank.rank).filter(|_| !state.is_final()) {
                troubles.extend(trouble::of_pod(rank, &seen.object, &events, now));
            } else if let Some(seen) = self.newest(rank.rank) {
                troubles.extend(trouble::of_ended_pod(rank, &seen.object));
            }
        }
        troubles
    }
}

fn has_started(pod: Option<&Seen<Pod>>) -> bool {
    pod.is_some_and(|seen| is_up(&seen.object) || rank_end(&seen.object).is_some())
}

/// A running container is a rank that meets its peers until the last of them has started; the program's own start is
/// known to the supervisor only.
fn rank_state(pod: Option<&Seen<Pod>>, run: &RunState, waited_for: &[u32], replaces: bool) -> RankState {
    if *run == RunState::Succeeded {
        // The Job has counted it, whether its pod is still there or not.
        return RankState::Ended(End { code: 0, reason: Reason::Exited });
    }
    let over = run.is_final() || matches!(run, RunState::Ending | RunState::Cancelling);
    let Some(seen) = pod else {
        return match run {
            over if over.is_final() => lost("no pod of it is known"),
            _ => RankState::Pending { message: "the cluster has made no pod for it yet".to_owned() },
        };
    };
    if let Some((end, _)) = rank_end(&seen.object) {
        if replaces && !over && is_lost(&seen.object) {
            return RankState::Pending { message: format!("its pod {end}; the cluster makes another") };
        }
        return RankState::Ended(end);
    }
    if seen.deleted && over {
        return lost(&disruption(&seen.object).unwrap_or_else(|| "its pod was deleted".to_owned()));
    }
    if seen.deleted {
        return RankState::Pending { message: "its pod was deleted".to_owned() };
    }
    match is_up(&seen.object) {
        true if waited_for.is_empty() => RankState::Running,
        true => RankState::Meeting { message: format!("not started yet: {}", list(waited_for)) },
        false => pending(&seen.object),
    }
}

fn lost(message: &str) -> RankState {
    RankState::Ended(End::lost(message))
}

/// `rank 1, 2, 3, 4 and 12 more`.
fn list(ranks: &[u32]) -> String {
    let shown: Vec<String> = ranks.iter().take(4).map(u32::to_string).collect();
    let more = ranks.len() - shown.len();
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("rank {}{tail}", shown.join(", "))
}
