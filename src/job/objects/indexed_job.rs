//! The Job: one completion per rank, no retries by Kubernetes, an end in any case.

use std::collections::BTreeMap;

use k8s_openapi::api::batch::v1::{
    Job, JobSpec, PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule, SuccessPolicy, SuccessPolicyRule,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::metadata::{command_annotation, object_meta};
use super::plan::ClusterRun;
use super::pod;
use crate::digest::Digest;
use crate::job::RunSpec;
use crate::job::restarts::LOST_CODES;
use crate::layout::label;

/// More lost pods than this end a run that goes on with fewer ranks: something takes them away as they come.
const MOST_LOST: i32 = 1000;

/// The Job of a run.
pub(super) fn job(spec: &RunSpec, at: &ClusterRun) -> Job {
    let ranks = i32::try_from(spec.nodes).unwrap_or(i32::MAX);
    let mut job = Job {
        metadata: ObjectMeta {
            annotations: Some(annotations(spec, at)),
            ..object_meta(spec, &spec.name, &at.namespace)
        },
        spec: Some(JobSpec {
            completion_mode: Some("Indexed".to_owned()),
            completions: Some(ranks),
            parallelism: Some(ranks),
            // Ranks run in lock-step: one that starts again alone would meet nobody. The supervisor restarts gangs; the Job
            // replaces what was lost.
            backoff_limit: Some(losses(spec)),
            pod_failure_policy: Some(failure_policy(spec.replaces_lost())),
            // A rank that does not come back must not keep a run from its end that has gone on without it.
            success_policy: spec.min_nodes.map(|_| rank_0_decides()),
            // Never two pods of one rank at the same time.
            pod_replacement_policy: Some("Failed".to_owned()),
            active_deadline_seconds: Some(seconds(spec.deadlines.run).max(1)),
            ttl_seconds_after_finished: Some(i32::try_from(spec.deadlines.keep.as_secs()).unwrap_or(i32::MAX)),
            template: pod::template(spec, at),
            ..JobSpec::default()
        }),
        status: None,
    };
    let submission = Digest::of(serde_json::to_vec(&job).expect("objects serialise"));
    let annotations = job.metadata.annotations.get_or_insert_default();
    annotations.insert(label::SUBMISSION.to_owned(), submission.to_string());
    job
}

/// The Job is done when rank 0 is: its supervisor ends after all others that are there.
fn rank_0_decides() -> SuccessPolicy {
    let rule = SuccessPolicyRule { succeeded_indexes: Some("0".to_owned()), succeeded_count: None };
    SuccessPolicy { rules: vec![rule] }
}

/// How many pods may be lost. A run that goes on with fewer ranks is not ended by their number.
fn losses(spec: &RunSpec) -> i32 {
    let most = if spec.min_nodes.is_some() { MOST_LOST } else { 0 };
    i32::try_from(spec.restarts.most).unwrap_or(i32::MAX).max(most)
}

fn annotations(spec: &RunSpec, at: &ClusterRun) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::NODES.to_owned(), spec.strength().to_string()),
        (label::COMMAND.to_owned(), command_annotation(&spec.command)),
        (label::SNAPSHOT.to_owned(), spec.snapshot.to_string()),
        (label::MAILBOX.to_owned(), at.mailbox_repository.clone()),
        (label::VERSION.to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ])
}

/// These rules make the Job say which kind of failure ended it, and with which exit code, in its own condition: a list of Jobs
/// alone can tell. With restarts a pod that is lost does not end the Job but is replaced: one that the cluster takes away
/// (not counted), and one that ended with a [lost container's code](LOST_CODES) (counted by `backoffLimit`).
fn failure_policy(replaces: bool) -> PodFailurePolicy {
    let fails = || "FailJob".to_owned();
    let disrupted = PodFailurePolicyRule {
        action: if replaces { "Ignore".to_owned() } else { fails() },
        on_pod_conditions: Some(vec![PodFailurePolicyOnPodConditionsPattern {
            type_: "DisruptionTarget".to_owned(),
            status: "True".to_owned(),
        }]),
        on_exit_codes: None,
    };
    let lost = LOST_CODES.iter().filter(|_| replaces).map(|code| i32::from(*code));
    let exited = PodFailurePolicyRule {
        action: fails(),
        on_exit_codes: Some(PodFailurePolicyOnExitCodesRequirement {
            container_name: Some(pod::CONTAINER.to_owned()),
            operator: "NotIn".to_owned(),
            values: [0].into_iter().chain(lost).collect(),
        }),
        on_pod_conditions: None,
    };
    PodFailurePolicy { rules: vec![disrupted, exited] }
}

/// Whole seconds, as Kubernetes counts them.
pub(super) fn seconds(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}
