//! What the cluster's answers mean: pods and events to states of ranks, and to troubles that waiting does not mend.

use k8s_openapi::api::core::v1::{ContainerState, Event as ClusterEvent, Pod};
use serde::Deserialize;

use crate::event::{End, RankState, Reason};

/// The label that an indexed Job gives each of its pods.
const INDEX: &str = "batch.kubernetes.io/job-completion-index";

/// Something that keeps a run from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The cluster's words.
    pub message: String,
    /// Whether waiting cannot mend it.
    pub fatal: bool,
}

/// The supervisor's last word, left for the engine.
#[derive(Deserialize)]
struct LastWord {
    end: End,
}

/// The rank that a pod is.
pub fn rank_of(pod: &Pod) -> Option<u32> {
    pod.metadata.labels.as_ref()?.get(INDEX)?.parse().ok()
}

/// Where a pod's rank stands.
pub fn rank_state(pod: &Pod) -> RankState {
    let status = pod.status.as_ref();
    let container = status.and_then(|s| s.container_statuses.as_ref()?.first());
    let state = container.and_then(|c| c.state.as_ref());
    if let Some(ContainerState { terminated: Some(ended), .. }) = state {
        let word = ended.message.as_deref().and_then(|text| serde_json::from_str::<LastWord>(text).ok());
        return RankState::Ended(
            word.map_or_else(|| end_of(ended.exit_code, ended.reason.as_deref()), |word| word.end),
        );
    }
    let phase = status.and_then(|s| s.phase.as_deref()).unwrap_or_default();
    let said = |s: &k8s_openapi::api::core::v1::PodStatus| {
        [s.reason.clone(), s.message.clone()].into_iter().flatten().collect::<Vec<_>>().join(": ")
    };
    if phase == "Failed" || pod.metadata.deletion_timestamp.is_some() {
        let message =
            status.map(said).filter(|text| !text.is_empty()).unwrap_or_else(|| "its pod was deleted".to_owned());
        return RankState::Ended(End { code: 125, reason: Reason::Lost { message } });
    }
    match state {
        Some(ContainerState { running: Some(_), .. }) => RankState::Running,
        _ => RankState::Pending { message: trouble(pod).map(|trouble| trouble.message).unwrap_or_default() },
    }
}

fn end_of(code: i32, reason: Option<&str>) -> End {
    let small = u8::try_from(code & 0xff).unwrap_or(u8::MAX);
    match reason {
        Some("OOMKilled") => End { code: small, reason: Reason::OutOfMemory },
        Some("Completed" | "Error") | None if code < 128 => End { code: small, reason: Reason::Exited },
        Some("Error") | None => End { code: small, reason: Reason::Signalled { signal: code - 128 } },
        Some(other) => End { code: 125, reason: Reason::Lost { message: other.to_owned() } },
    }
}

/// What keeps a pod from starting.
pub fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let waiting = status.container_statuses.as_ref().and_then(|c| c.first()?.state.as_ref()?.waiting.as_ref());
    if let Some(waiting) = waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        if !["ContainerCreating", "PodInitializing", ""].contains(&reason) {
            let message = format!("{reason}: {}", waiting.message.as_deref().unwrap_or("no more was said"));
            let lower = message.to_lowercase();
            let gone =
                ["not found", "unauthorized", "denied", "no basic auth", "manifest unknown", "authorization failed"];
            let fatal = match reason {
                "ErrImagePull" | "ImagePullBackOff" => gone.iter().any(|word| lower.contains(word)),
                "InvalidImageName" | "CreateContainerConfigError" | "CreateContainerError" | "RunContainerError" => {
                    true
                }
                _ => false,
            };
            return Some(Trouble { message, fatal });
        }
    }
    let conditions = status.conditions.as_ref()?;
    let scheduled = conditions.iter().find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    Some(Trouble { message: format!("it cannot be scheduled: {}", scheduled.message.as_deref()?), fatal: false })
}

/// What an event of the Job says keeps it from having pods at all (quota, Pod Security, webhooks).
pub fn job_trouble(event: &ClusterEvent) -> Option<Trouble> {
    (event.reason.as_deref() == Some("FailedCreate"))
        .then(|| Trouble { message: event.message.clone().unwrap_or_default(), fatal: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[expect(clippy::needless_pass_by_value, reason = "called with `json!` alone")]
    fn pod(status: serde_json::Value) -> Pod {
        let labels = json!({ INDEX: "2" });
        serde_json::from_value(json!({ "metadata": { "labels": labels }, "status": status })).expect("a pod")
    }

    #[test]
    fn the_supervisors_last_word_counts_most() {
        let word =
            r#"{"nauta":1,"rank":2,"end":{"code":143,"reason":{"why":"peer-failed","rank":1}},"first_failed":1}"#;
        let pod = pod(
            json!({ "containerStatuses": [{ "name": "rank", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": 143, "reason": "Error", "message": word } } }] }),
        );
        assert_eq!(rank_of(&pod), Some(2));
        assert_eq!(rank_state(&pod), RankState::Ended(End { code: 143, reason: Reason::PeerFailed { rank: 1 } }));
    }

    #[test]
    fn missing_images_are_fatal_and_slow_registries_are_not() {
        let waiting = |reason: &str, message: &str| {
            pod(
                json!({ "phase": "Pending", "containerStatuses": [{ "name": "rank", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "waiting": { "reason": reason, "message": message } } }] }),
            )
        };
        assert!(trouble(&waiting("ErrImagePull", "repo/x: not found")).expect("trouble").fatal);
        assert!(!trouble(&waiting("ErrImagePull", "dial tcp: i/o timeout")).expect("trouble").fatal);
        assert_eq!(trouble(&waiting("ContainerCreating", "")), None);
    }

    #[test]
    fn the_schedulers_words_are_passed_on() {
        let condition = json!({ "type": "PodScheduled", "status": "False", "message": "0/3 nodes are available" });
        let pod = pod(json!({ "phase": "Pending", "conditions": [condition] }));
        let RankState::Pending { message } = rank_state(&pod) else { panic!("pending") };
        assert!(message.contains("0/3 nodes"), "{message}");
    }
}
