//! How a rank ended, as its pod tells it.

use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};
use serde::{Deserialize, Serialize};

use crate::event::{Delivered, End, NOT_RUN, Reason};
use crate::job::objects::CONTAINER;
use crate::job::restarts::LOST_CODES;

/// What a supervisor leaves as its container's last words (`/dev/termination-log`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminationMessage {
    /// Version of this form; 1.
    pub nauta: u32,
    /// Who speaks.
    pub rank: u32,
    /// How the program ended.
    pub end: End,
    /// The rank that failed first in the gang, where known.
    #[serde(default)]
    pub first_failed: Option<u32>,
    /// What became of its outputs, once that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Delivered>,
}

impl TerminationMessage {
    /// The supervisor's words, when `text` is such.
    fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text.trim()).ok().filter(|message: &Self| message.nauta == 1)
    }
}

/// The status of a rank's main container.
pub(super) fn container(pod: &Pod) -> Option<&ContainerStatus> {
    let statuses = pod.status.as_ref()?.container_statuses.as_ref()?;
    statuses.iter().find(|status| status.name == CONTAINER).or_else(|| statuses.first())
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    container(pod)?.state.as_ref()?.terminated.as_ref()
}

fn last_words(pod: &Pod) -> Option<TerminationMessage> {
    TerminationMessage::parse(terminated(pod)?.message.as_deref()?)
}

/// What became of the outputs of this pod's rank, as far as its supervisor could say.
#[must_use]
pub fn delivered(pod: &Pod) -> Option<Delivered> {
    last_words(pod)?.outputs
}

/// How the rank of this pod ended, and who it says failed first; none while it has not ended.
#[must_use]
pub fn rank_end(pod: &Pod) -> Option<(End, Option<u32>)> {
    if let Some(words) = last_words(pod) {
        return Some((words.end, words.first_failed));
    }
    let terminated = terminated(pod);
    let finished = matches!(phase(pod), "Succeeded" | "Failed");
    match (terminated, disruption(pod)) {
        (Some(end), Some(message)) if end.exit_code != 0 => Some((lost(message, end.exit_code), None)),
        (Some(end), _) => Some((from_container(end), None)),
        (None, Some(message)) if finished => Some((lost(message, i32::from(NOT_RUN)), None)),
        (None, _) if finished => Some((never_started(pod), None)),
        (None, _) => None,
    }
}

/// Whether another pod takes the place of this one, which is no more, in a Job that [replaces](super::run::replaces) pods.
pub(super) fn is_lost(pod: &Pod) -> bool {
    let code = terminated(pod).and_then(|end| u8::try_from(end.exit_code).ok());
    code.is_none_or(|code| LOST_CODES.contains(&code)) || disruption(pod).is_some() && code != Some(0)
}

/// Why the cluster itself ended this pod, in its words.
pub(super) fn disruption(pod: &Pod) -> Option<String> {
    let status = pod.status.as_ref()?;
    let condition = status.conditions.iter().flatten().find(|c| c.type_ == "DisruptionTarget" && c.status == "True");
    let (reason, message) = match condition {
        Some(condition) => (condition.reason.as_deref(), condition.message.as_deref()),
        None => (status.reason.as_deref().filter(|reason| is_disruption(reason)), None),
    };
    let message = message.or(status.message.as_deref()).unwrap_or_default().trim();
    reason.map(|reason| if message.is_empty() { reason.to_owned() } else { format!("{reason}: {message}") })
}

/// Reasons of a pod's end that are the cluster's doing.
fn is_disruption(reason: &str) -> bool {
    const REASONS: [&str; 7] =
        ["Evicted", "NodeLost", "NodeShutdown", "Preempting", "Preempted", "Shutdown", "Terminated"];
    REASONS.contains(&reason)
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

fn code(exit_code: i32) -> u8 {
    u8::try_from(exit_code).unwrap_or(NOT_RUN)
}

fn lost(message: String, exit_code: i32) -> End {
    End { code: code(exit_code), reason: Reason::Lost { message } }
}

/// A container that ended without the supervisor's words: the kernel or the runtime was faster.
fn from_container(end: &ContainerStateTerminated) -> End {
    let message = || end.message.as_deref().unwrap_or_default().trim().to_owned();
    let code = code(end.exit_code);
    match end.reason.as_deref() {
        Some("OOMKilled") => End { code: 137, reason: Reason::OutOfMemory },
        Some("StartError" | "ContainerCannotRun") => End::not_started(message()),
        Some("ContainerStatusUnknown") => End::lost(message()),
        _ => match end.signal.filter(|signal| *signal > 0).or_else(|| signal_of(code)) {
            Some(signal) => End { code, reason: Reason::Signalled { signal } },
            None => End { code, reason: Reason::Exited },
        },
    }
}

/// The signal that a shell means by this code.
fn signal_of(code: u8) -> Option<i32> {
    (129..=192).contains(&code).then(|| i32::from(code) - 128)
}

/// A pod that failed before its container existed: the kubelet refused it.
fn never_started(pod: &Pod) -> End {
    let status = pod.status.as_ref();
    let reason = status.and_then(|s| s.reason.as_deref()).unwrap_or("the pod ended");
    let message = status.and_then(|s| s.message.as_deref()).unwrap_or("its container was never started");
    End::not_started(format!("{reason}: {}", message.trim()))
}
