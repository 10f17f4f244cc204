//! The state of a run as a whole.

use k8s_openapi::api::batch::v1::{Job, JobCondition};
use serde::Serialize;

use super::trouble::Trouble;
use super::word::State;
use crate::event::{Delivered, End, RankState};
use crate::job::restarts::program_code;

/// Where a run stands on the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum RunState {
    /// Not all ranks run yet.
    Starting,
    /// Somebody (a queue, an administrator) holds it back.
    Suspended {
        /// What the cluster says about it.
        message: String,
    },
    /// All ranks run, or some have ended well and the others run.
    Running,
    /// Its outcome is decided, but not all ranks are gone yet.
    Ending,
    /// Somebody has deleted it before its end, and not all ranks are gone yet.
    Cancelling,
    /// Every rank ended well.
    Succeeded,
    /// It failed.
    Failed {
        /// What kind of failure.
        cause: FailureCause,
        /// The exit code that ended it, where the Job tells; not always the first one.
        code: Option<u8>,
        /// The cluster's words.
        message: String,
    },
    /// There is no such Job any more.
    Deleted,
}

/// Why a run failed, as far as the Job tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureCause {
    /// A rank ended with another code than 0.
    Program,
    /// The cluster took a rank away: eviction, preemption, a lost node.
    Disrupted,
    /// It took longer than it may.
    Deadline,
    /// The Job does not tell.
    Unknown,
}

impl RunState {
    /// Whether nothing will change any more.
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed { .. } | Self::Deleted)
    }

    /// The word that all engines have for it.
    #[must_use]
    pub const fn word(&self) -> State {
        match self {
            Self::Starting | Self::Suspended { .. } => State::Pending,
            Self::Running | Self::Ending => State::Running,
            Self::Succeeded => State::Succeeded,
            Self::Failed { .. } => State::Failed,
            Self::Cancelling => State::Cancelled,
            Self::Deleted => State::Lost,
        }
    }
}

/// A rank, as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RankView {
    /// Which.
    pub rank: u32,
    /// Its newest pod.
    pub pod: Option<String>,
    /// The node that pod is on.
    pub node: Option<String>,
    /// Where it stands.
    pub state: RankState,
    /// What became of its outputs, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Delivered>,
}

impl RankView {
    /// A rank of which no more than its end is known.
    #[must_use]
    pub const fn ended(rank: u32, end: End) -> Self {
        Self { rank, pod: None, node: None, state: RankState::Ended(end), outputs: None }
    }
}

/// A run, as the cluster sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunView {
    /// The run as a whole.
    pub state: RunState,
    /// Every rank, in order.
    pub ranks: Vec<RankView>,
    /// What stands in the way, the fatal first.
    pub troubles: Vec<Trouble>,
    /// The rank that failed first, where a supervisor said so.
    pub first_failed: Option<u32>,
    /// Somebody was seen to delete its Job before its end.
    pub is_deleted: bool,
}

impl RunView {
    /// The word that all engines have for where it stands.
    #[must_use]
    pub const fn word(&self) -> State {
        match self.state {
            RunState::Deleted if self.is_deleted => State::Cancelled,
            _ => self.state.word(),
        }
    }

    /// What of the outputs is lost or was left behind, as the ranks said it.
    #[must_use]
    pub fn missing_outputs(&self) -> Vec<String> {
        let missing = |rank: &RankView| match &rank.outputs {
            Some(Delivered::Incomplete { missing }) => Some(format!("outputs of rank {}: {missing}", rank.rank)),
            _ => None,
        };
        self.ranks.iter().filter_map(missing).collect()
    }

    /// The first trouble that will not pass.
    #[must_use]
    pub fn fatal(&self) -> Option<&Trouble> {
        self.troubles.iter().find(|trouble| trouble.fatal)
    }
}

/// The condition of this type, when it holds.
pub(super) fn condition<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// What the Job alone tells of its run: enough for a list.
#[must_use]
pub fn job_state(job: &Job) -> RunState {
    let holds = |type_| condition(job, type_);
    if holds("Complete").is_some() {
        return RunState::Succeeded;
    }
    if let Some(failed) = holds("Failed") {
        return failure(failed, replaces(job));
    }
    if holds("FailureTarget").is_some() || holds("SuccessCriteriaMet").is_some() {
        return RunState::Ending;
    }
    if job.metadata.deletion_timestamp.is_some() {
        return RunState::Cancelling;
    }
    if job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
        let message = holds("Suspended").and_then(|c| c.message.clone()).unwrap_or_default();
        return RunState::Suspended { message };
    }
    let ranks = job.spec.as_ref().and_then(|spec| spec.completions).unwrap_or(1);
    let status = job.status.as_ref();
    let failed = status.and_then(|s| s.failed).filter(|_| !replaces(job)).unwrap_or(0);
    // Pods that have ended well and are about to be counted.
    let uncounted = status.and_then(|s| s.uncounted_terminated_pods.as_ref()?.succeeded.as_ref()).map_or(0, Vec::len);
    let up = status.map_or(0, |s| s.ready.unwrap_or(0) + s.succeeded.unwrap_or(0)) + failed;
    let up = up.saturating_add(i32::try_from(uncounted).unwrap_or(i32::MAX));
    if up >= ranks { RunState::Running } else { RunState::Starting }
}

/// Whether this Job makes another pod for one that was lost.
pub(super) fn replaces(job: &Job) -> bool {
    job.spec.as_ref().and_then(|spec| spec.backoff_limit).is_some_and(|limit| limit > 0)
}

fn failure(condition: &JobCondition, replaces: bool) -> RunState {
    let message = condition.message.clone().unwrap_or_default();
    let code = exit_code(&message).map(|code| if replaces { program_code(code) } else { code });
    let cause = match condition.reason.as_deref() {
        Some("DeadlineExceeded") => FailureCause::Deadline,
        Some("PodFailurePolicy") if message.contains("DisruptionTarget") => FailureCause::Disrupted,
        Some("PodFailurePolicy" | "BackoffLimitExceeded") => FailureCause::Program,
        _ => FailureCause::Unknown,
    };
    RunState::Failed { cause, code, message }
}

/// The code in `Container rank for pod x failed with exit code 3 matching FailJob rule at index 1`.
fn exit_code(message: &str) -> Option<u8> {
    let (_, rest) = message.split_once("exit code ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}
