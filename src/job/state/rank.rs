//! The state of one rank, from its pod.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Pod, PodCondition};

use super::end::container;
use super::pull::pull_words;
use crate::event::RankState;
use crate::job::objects::COMPLETION_INDEX;

/// Which rank a pod is: an annotation, and from Kubernetes 1.28 on a label too.
#[must_use]
pub fn rank_of(pod: &Pod) -> Option<u32> {
    let find = |from: &Option<BTreeMap<String, String>>| from.as_ref()?.get(COMPLETION_INDEX)?.parse().ok();
    find(&pod.metadata.annotations).or_else(|| find(&pod.metadata.labels))
}

/// The condition of this type, whether it holds or not.
pub(super) fn pod_condition<'a>(pod: &'a Pod, type_: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// The node a pod is bound to.
pub(super) fn node(pod: &Pod) -> Option<String> {
    pod.spec.as_ref().and_then(|spec| spec.node_name.clone())
}

/// Whether the rank's container runs now.
pub(super) fn is_up(pod: &Pod) -> bool {
    container(pod).and_then(|status| status.state.as_ref()).is_some_and(|state| state.running.is_some())
}

/// Why a container waits, and the kubelet's words about it.
pub(super) fn waiting(pod: &Pod) -> Option<(&str, &str)> {
    let waiting = container(pod)?.state.as_ref()?.waiting.as_ref()?;
    Some((waiting.reason.as_deref().unwrap_or_default(), waiting.message.as_deref().unwrap_or_default()))
}

/// What a rank that has not started waits for.
pub(super) fn pending(pod: &Pod) -> RankState {
    let unscheduled = pod_condition(pod, "PodScheduled").filter(|condition| condition.status == "False");
    let message = match (unscheduled, waiting(pod)) {
        (Some(condition), _) => condition.message.clone().unwrap_or_else(|| "no node yet".to_owned()),
        (None, Some((reason, ""))) => words(reason).to_owned(),
        (None, Some(("ErrImagePull" | "ImagePullBackOff", message))) => pull_words(message),
        (None, Some((reason, message))) => format!("{}: {message}", words(reason)),
        (None, None) => match node(pod) {
            Some(node) => format!("node `{node}` has not taken it up"),
            None => "no node yet".to_owned(),
        },
    };
    RankState::Pending { message }
}

/// Kubernetes' reasons in words, where they are usual and harmless.
fn words(reason: &str) -> &str {
    match reason {
        "ContainerCreating" | "PodInitializing" => "its container is being made",
        other => other,
    }
}
