//! Any bytes as what a pod's container and its kubelet say.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};

use super::objects::CONTAINER;
use super::state::{classify_pull, pull_words, rank_end};

/// A container's last words, and a kubelet's about an image: every container that has ended has an end.
pub(crate) fn pod_words(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let _ = pull_words(&text);
    let _ = classify_pull(&text);
    let terminated = ContainerStateTerminated { exit_code: 3, message: Some(text.into_owned()), ..Default::default() };
    let state = Some(ContainerState { terminated: Some(terminated), ..Default::default() });
    let main = ContainerStatus { name: CONTAINER.to_owned(), state, ..Default::default() };
    let status = Some(PodStatus { container_statuses: Some(vec![main]), ..Default::default() });
    assert!(rank_end(&Pod { status, ..Default::default() }).is_some());
}
