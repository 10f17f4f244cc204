//! What stands in a run's way, in the cluster's own words, and whether waiting can help.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::Serialize;

use super::end::{container, disruption};
use super::pull::{PullFailure, classify_pull, pull_words};
use super::rank::{is_up, pod_condition, waiting};
use super::run::{RankView, RunState, condition};
use crate::event::{End, RankState, Reason};

/// How long something that will not mend itself is given nevertheless: objects may be made in any order.
const PATIENCE: SignedDuration = SignedDuration::from_secs(30);
/// How long a node may be silent before its rank is given up.
const NODE_PATIENCE: SignedDuration = SignedDuration::from_secs(60);

/// What kind of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleReason {
    /// The image cannot be pulled.
    ImagePull,
    /// No node has room, or the right properties.
    Unschedulable,
    /// There is no storage for what ranks share.
    Storage,
    /// The namespace's quota is used up.
    Quota,
    /// The namespace's Pod Security standard refuses the pods.
    PodSecurity,
    /// Another rule of the cluster (limit range, admission webhook) refuses the pods.
    Rejected,
    /// A Secret or `ConfigMap` is missing, or the pod cannot be set up as it says.
    ConfigError,
    /// The node cannot make the pod's sandbox or volumes.
    NodeTrouble,
    /// The container could not be started.
    CrashedBeforeStart,
    /// The cluster took the rank away.
    Evicted,
    /// The node does not answer any more.
    NodeLost,
    /// The run took longer than it may.
    Deadline,
    /// A queue or a person holds the run back.
    Suspended,
    /// Somebody deleted the run.
    Deleted,
}

impl TroubleReason {
    /// What kind of rule speaks in an admission refusal.
    #[must_use]
    pub fn of_refusal(message: &str) -> Self {
        refusal(message).0
    }

    /// What somebody can do about it who may not be the cluster's administrator.
    #[must_use]
    pub const fn remedy(self) -> &'static str {
        match self {
            Self::ImagePull => {
                "the nodes pull from the registry by the host in this name: see `registry_from_nodes`, and `pull_secret` \
                 where they need a login"
            }
            Self::Unschedulable | Self::Quota => {
                "ask for less with --cpu, --memory, --gpus or --nodes, or end other runs: `nauta list` shows them"
            }
            Self::Storage => {
                "--shared needs storage that several nodes can write to: `storage_class` in the target names a class that allows \
                 ReadWriteMany (NFS, CephFS, a cloud's file service); without --shared each rank has its own folders"
            }
            Self::PodSecurity => {
                "nauta's pods keep to Pod Security `restricted`: ask your administrators which rule of theirs goes further"
            }
            Self::Rejected => "ask for other resources, or show your administrators what `nauta run --dry-run` prints",
            Self::Deleted | Self::Suspended | Self::Deadline => "`kubectl get events` may say who and why",
            _ => "`kubectl describe pods` and `nauta doctor` say more about the nodes",
        }
    }
}

/// Something that stands in the way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Trouble {
    /// What kind.
    pub reason: TroubleReason,
    /// Which rank; none: the run.
    pub rank: Option<u32>,
    /// The cluster's words.
    pub message: String,
    /// Whether waiting cannot help.
    pub fatal: bool,
}

impl Trouble {
    fn of_run(reason: TroubleReason, message: impl Into<String>, fatal: bool) -> Self {
        Self { reason, rank: None, message: message.into(), fatal }
    }
}

/// Troubles of the run as a whole.
pub(super) fn of_job(job: Option<&Job>, state: &RunState, deleted: bool) -> Vec<Trouble> {
    let mut troubles = Vec::new();
    if let RunState::Suspended { message } = state {
        let queue = job.and_then(|job| job.metadata.labels.as_ref()?.get("kueue.x-k8s.io/queue-name"));
        let queue = queue.map_or_else(String::new, |queue| format!(" (queue `{queue}`)"));
        troubles.push(Trouble::of_run(
            TroubleReason::Suspended,
            format!("the Job is suspended{queue}: {message}"),
            false,
        ));
    }
    let failing = job.and_then(|job| condition(job, "Failed").or_else(|| condition(job, "FailureTarget")));
    if let Some(failing) = failing.filter(|failing| failing.reason.as_deref() == Some("DeadlineExceeded")) {
        troubles.push(Trouble::of_run(TroubleReason::Deadline, failing.message.clone().unwrap_or_default(), true));
    }
    let finished = matches!(state, RunState::Succeeded | RunState::Failed { .. });
    let deleting = job.and_then(|job| job.metadata.deletion_timestamp.as_ref());
    match (deleting, deleted) {
        (Some(Time(at)), _) if !finished => {
            troubles.push(Trouble::of_run(TroubleReason::Deleted, format!("the Job was deleted at {at:.0}"), true));
        }
        (None, true) if !finished => {
            troubles.push(Trouble::of_run(TroubleReason::Deleted, "the Job was deleted", true));
        }
        _ => {}
    }
    troubles
}

/// Troubles that keep the Job from making pods at all: told by events on the Job only.
pub(super) fn of_creation(job: Option<&Job>, events: &[&Event]) -> Option<Trouble> {
    let uid = job.and_then(|job| job.metadata.uid.as_deref());
    let about_job = |event: &&&Event| {
        event.involved_object.kind.as_deref() == Some("Job")
            && event.reason.as_deref() == Some("FailedCreate")
            && (uid.is_none() || event.involved_object.uid.as_deref() == uid)
    };
    let event = events.iter().filter(about_job).max_by_key(|event| (last_seen(event), event.metadata.uid.clone()))?;
    let message = event.message.as_deref().unwrap_or_default();
    let (reason, fatal) = refusal(message);
    Some(Trouble::of_run(reason, message.trim_start_matches("Error creating: "), fatal))
}

/// What an admission refusal means, and whether waiting cannot help.
fn refusal(message: &str) -> (TroubleReason, bool) {
    if message.contains("violates PodSecurity") {
        (TroubleReason::PodSecurity, true)
    } else if message.contains("exceeded quota") {
        (TroubleReason::Quota, can_never_fit(message))
    } else if message.contains("failed quota") {
        (TroubleReason::Quota, true)
    } else if message.contains("serviceaccount")
        || message.contains("timeout")
        || message.contains("failed calling webhook")
    {
        (TroubleReason::Rejected, false)
    } else {
        (
            TroubleReason::Rejected,
            message.contains("forbidden") || message.contains("denied the request") || message.contains("is invalid"),
        )
    }
}

/// Whether what is asked for is more than the whole quota: "exceeded quota: q, requested: pods=1, used: pods=0, limited:
/// pods=0".
fn can_never_fit(message: &str) -> bool {
    let part = |name: &str| {
        let (_, rest) = message.split_once(&format!("{name}: "))?;
        let end = rest.find(", used: ").or_else(|| rest.find(", limited: ")).unwrap_or(rest.len());
        Some(rest[..end].split(',').filter_map(|pair| pair.split_once('=')).collect::<Vec<_>>())
    };
    let (Some(requested), Some(limited)) = (part("requested"), part("limited")) else { return false };
    let limit = |name: &str| limited.iter().find(|(other, _)| *other == name).and_then(|(_, text)| amount(text));
    requested.iter().any(|(name, text)| amount(text) > limit(name) && limit(name).is_some())
}

/// A Kubernetes quantity in thousandths, as quotas print them.
fn amount(text: &str) -> Option<u128> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u128 = text[..digits].parse().ok()?;
    let thousandths: u128 = match &text[digits..] {
        "" => 1000,
        "m" => 1,
        "k" => 1_000_000,
        "M" => 1_000_000_000,
        "G" => 1_000_000_000_000,
        "T" => 1_000_000_000_000_000,
        "Ki" => 1000 << 10,
        "Mi" => 1000 << 20,
        "Gi" => 1000 << 30,
        "Ti" => 1000 << 40,
        _ => return None,
    };
    number.checked_mul(thousandths)
}

/// Troubles of a rank that has a pod, while the run goes on.
pub(super) fn of_pod(rank: &RankView, pod: &Pod, events: &[&Event], now: Timestamp) -> Option<Trouble> {
    if matches!(rank.state, RankState::Ended(_)) {
        return of_ended_pod(rank, pod);
    }
    let claim = events.iter().filter(|event| is_of_claim(event, pod)).max_by_key(|event| last_seen(event));
    let events: Vec<&&Event> = events.iter().filter(|event| event.involved_object.uid == pod.metadata.uid).collect();
    let found = storage(pod, claim.copied(), now)
        .or_else(|| unschedulable(pod))
        .or_else(|| of_waiting(pod, &events, now))
        .or_else(|| setup(pod, &events, now))
        .or_else(|| of_node(pod, now));
    found.map(|(reason, message, fatal)| Trouble { reason, rank: Some(rank.rank), message, fatal })
}

/// Troubles that ended a rank.
pub(super) fn of_ended_pod(rank: &RankView, pod: &Pod) -> Option<Trouble> {
    let trouble = |reason, message| Some(Trouble { reason, rank: Some(rank.rank), message, fatal: true });
    match &rank.state {
        RankState::Ended(End { reason: Reason::NotStarted { message }, .. }) => {
            trouble(TroubleReason::CrashedBeforeStart, message.clone())
        }
        RankState::Ended(End { reason: Reason::Lost { .. }, .. }) => {
            let message = disruption(pod)?;
            let node =
                ["NodeLost", "DeletionByTaintManager", "DeletionByPodGC"].iter().any(|why| message.starts_with(why));
            trouble(if node { TroubleReason::NodeLost } else { TroubleReason::Evicted }, message)
        }
        _ => None,
    }
}

type Found = (TroubleReason, String, bool);

/// Whether an event tells of a claim that a pod has.
fn is_of_claim(event: &Event, pod: &Pod) -> bool {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    let claims: Vec<&str> = volumes
        .filter_map(|volume| volume.persistent_volume_claim.as_ref())
        .map(|claim| claim.claim_name.as_str())
        .collect();
    event.involved_object.kind.as_deref() == Some("PersistentVolumeClaim")
        && event.involved_object.name.as_deref().is_some_and(|name| claims.contains(&name))
}

/// A pod that no node gets as its claim has no storage; whoever makes storage tells why in an event on the claim.
fn storage(pod: &Pod, event: Option<&Event>, now: Timestamp) -> Option<Found> {
    let condition = pod_condition(pod, "PodScheduled").filter(|c| c.status == "False")?;
    let scheduler =
        condition.message.as_deref().filter(|text| text.to_ascii_lowercase().contains("persistentvolumeclaim"))?;
    let message = event.and_then(|event| event.message.as_deref()).unwrap_or(scheduler);
    let lower = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|words| lower.contains(words));
    let since = condition.last_transition_time.as_ref();
    let is_late = since.is_some_and(|since| now.duration_since(since.0) >= PATIENCE);
    // What a class cannot do, it will not learn; all else may pass.
    let fatal = says(&["access mode", "readwriteonce", "volume capabilities", "multi writer"])
        || is_late && event.is_some() && says(&["not found"]);
    Some((TroubleReason::Storage, format!("no storage for --shared: {}", scheduler_words(message)), fatal))
}

fn unschedulable(pod: &Pod) -> Option<Found> {
    let condition = pod_condition(pod, "PodScheduled").filter(|c| c.status == "False")?;
    let message = condition.message.clone().unwrap_or_else(|| "no node was found".to_owned());
    Some((TroubleReason::Unschedulable, scheduler_words(&message), false))
}

/// The scheduler's message without its second half, which tells the same again about preemption.
fn scheduler_words(message: &str) -> String {
    message.split(" preemption: ").next().unwrap_or(message).trim_end_matches(['.', ' ']).to_owned()
}

/// Since when a pod is bound to its node.
fn scheduled_for(pod: &Pod, now: Timestamp) -> SignedDuration {
    let since = pod_condition(pod, "PodScheduled").filter(|c| c.status == "True");
    since.and_then(|c| c.last_transition_time.as_ref()).map_or(SignedDuration::ZERO, |at| now.duration_since(at.0))
}

fn of_waiting(pod: &Pod, events: &[&&Event], now: Timestamp) -> Option<Found> {
    let (reason, message) = waiting(pod)?;
    let late = scheduled_for(pod, now) >= PATIENCE;
    match reason {
        "ImagePullBackOff" | "ErrImagePull" => Some(image_pull(reason, message, events, late)),
        "ErrImageNeverPull" | "InvalidImageName" | "ImageInspectError" | "SignatureValidationFailed" => {
            Some((TroubleReason::ImagePull, format!("{reason}: {message}"), true))
        }
        "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
            // A kubelet with much to do gets to know a Secret late, and tries again.
            let passes = message.contains("failed to sync secret cache");
            Some((TroubleReason::ConfigError, format!("{reason}: {message}"), late && !passes))
        }
        "CrashLoopBackOff" => Some((TroubleReason::CrashedBeforeStart, message.to_owned(), true)),
        _ => None,
    }
}

/// A failed pull: fatal when the registry said no, twice or for half a minute.
fn image_pull(reason: &str, message: &str, events: &[&&Event], late: bool) -> Found {
    let is_pull = |event: &&&&Event| {
        event.reason.as_deref() == Some("Failed") && event.message.as_deref().unwrap_or_default().contains("pull image")
    };
    let attempts: i32 = events.iter().filter(is_pull).map(|event| times(event)).sum();
    let told =
        events.iter().filter(is_pull).max_by_key(|event| last_seen(event)).and_then(|event| event.message.clone());
    // The status often says no more than "Back-off pulling image"; the event has the registry's words.
    let text = match told {
        Some(told) if classify_pull(message) == PullFailure::Unknown => told,
        _ if message.is_empty() => reason.to_owned(),
        _ => message.to_owned(),
    };
    let fatal = classify_pull(&text) == PullFailure::Permanent && (attempts >= 2 || late);
    (TroubleReason::ImagePull, pull_words(&text), fatal)
}

/// Volumes and sandboxes that cannot be made: told by events only.
fn setup(pod: &Pod, events: &[&&Event], now: Timestamp) -> Option<Found> {
    if is_up(pod) || container(pod).is_some_and(|status| status.started == Some(true)) {
        return None;
    }
    let about = |event: &&&&Event| {
        matches!(event.reason.as_deref(), Some("FailedMount" | "FailedAttachVolume" | "FailedCreatePodSandBox"))
    };
    let event = events.iter().filter(about).max_by_key(|event| last_seen(event))?;
    let message = event.message.clone().unwrap_or_default();
    let missing = message.contains("not found") || message.contains("non-existent");
    let late = scheduled_for(pod, now) >= PATIENCE;
    Some(if missing {
        (TroubleReason::ConfigError, message, late)
    } else {
        (TroubleReason::NodeTrouble, message, false)
    })
}

/// A container that runs in a pod that is not ready: ranks have no readiness of their own, so it is the node that went
/// silent.
fn of_node(pod: &Pod, now: Timestamp) -> Option<Found> {
    if let Some(message) = disruption(pod) {
        let node = ["DeletionByTaintManager", "NodeLost", "DeletionByPodGC"].iter().any(|why| message.starts_with(why));
        return Some((if node { TroubleReason::NodeLost } else { TroubleReason::Evicted }, message, true));
    }
    let ready = pod_condition(pod, "Ready").filter(|ready| ready.status == "False")?;
    let containers = pod_condition(pod, "ContainersReady").filter(|ready| ready.status == "True");
    if !is_up(pod) || containers.is_none() {
        return None;
    }
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("?");
    let since = ready.last_transition_time.as_ref().map(|at| at.0);
    let late = since.is_some_and(|since| now.duration_since(since) >= NODE_PATIENCE);
    let since = since.map_or_else(String::new, |since| format!(" since {since:.0}"));
    Some((TroubleReason::NodeLost, format!("node `{node}` has not answered{since}"), late))
}

/// How often an event happened.
fn times(event: &Event) -> i32 {
    let series = event.series.as_ref().and_then(|series| series.count);
    event.count.or(series).unwrap_or(1).max(1)
}

fn last_seen(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|at| at.0);
    let last = event.last_timestamp.as_ref().map(|at| at.0);
    series.or(last).or_else(|| event.event_time.as_ref().map(|at| at.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::state::FailureCause;

    #[test]
    fn a_request_beyond_the_whole_quota_never_fits() {
        let full = "pods \"a\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2";
        let never = "exceeded quota: q, requested: limits.memory=2Gi,pods=1, used: limits.memory=0,pods=0, limited: limits.memory=1536Mi,pods=9";
        assert_eq!(refusal(full), (TroubleReason::Quota, false));
        assert_eq!(refusal(never), (TroubleReason::Quota, true));
        assert!(can_never_fit("exceeded quota: q, requested: cpu=500m, used: cpu=0, limited: cpu=0"));
        assert!(!can_never_fit("exceeded quota: q, requested: cpu=500m, used: cpu=1, limited: cpu=1"));
    }

    #[test]
    fn why_there_is_no_storage_is_what_the_claims_event_says() {
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().expect("a time");
        let pod: Pod = serde_json::from_value(serde_json::json!({
            "metadata": { "name": "r-0-x" },
            "spec": { "containers": [], "volumes": [{ "name": "shared", "persistentVolumeClaim": { "claimName": "r-shared" } }] },
            "status": { "conditions": [{
                "type": "PodScheduled", "status": "False", "lastTransitionTime": "2026-11-30T09:59:50Z",
                "message": "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: 0/3",
            }] },
        }))
        .expect("a pod");
        let event = |kind: &str, message: &str| -> Event {
            let object = serde_json::json!({ "kind": kind, "name": "r-shared" });
            serde_json::from_value(serde_json::json!({ "metadata": {}, "involvedObject": object, "message": message }))
                .expect("an event")
        };
        let missing = event("PersistentVolumeClaim", "storageclass.storage.k8s.io \"x\" not found");
        assert!(is_of_claim(&missing, &pod) && !is_of_claim(&event("Pod", ""), &pod));
        let told = |event: Option<&Event>, seconds| {
            let found = storage(&pod, event, now + SignedDuration::from_secs(seconds)).expect("a trouble");
            (found.1.trim_start_matches("no storage for --shared: ").to_owned(), found.2)
        };
        assert_eq!(told(Some(&missing), 0), ("storageclass.storage.k8s.io \"x\" not found".to_owned(), false));
        assert!(told(Some(&missing), 60).1);
        let cannot = event("PersistentVolumeClaim", "NodePath only supports ReadWriteOnce access modes");
        assert!(told(Some(&cannot), 0).1);
        let (words, fatal) = told(None, 60);
        assert!(words.ends_with("pod has unbound immediate PersistentVolumeClaims") && !fatal, "{words}");
    }

    #[test]
    fn unused_is_of_the_run_only_when_its_cause_says_so() {
        let state = RunState::Failed { cause: FailureCause::Program, code: Some(3), message: String::new() };
        assert!(of_job(None, &state, true).is_empty(), "a finished run that its time to live removed was not deleted");
    }
}
