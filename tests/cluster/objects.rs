//! The manifests: what they look like, that Kubernetes takes them, and that YAML keeps every text as it is.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use nauta::job::objects::{ClusterRun, ObjectError, RunObjects, holds_credentials};
use nauta::job::{Mailbox, ProgramSecret, SecretValue};
use nauta::secret::Secret;

use super::support::{at, namespace, spec};
use crate::support::kubectl_on;

const IMAGE: &str =
    "registry.example:5000/team/mnist@sha256:0000000000000000000000000000000000000000000000000000000000000000";

fn minimal() -> RunObjects {
    let mut spec = spec("mnist-7k3f", 1);
    spec.resources = nauta::job::Resources::default();
    RunObjects::plan(&spec, &at("team", IMAGE)).expect("a valid run")
}

fn full() -> RunObjects {
    let mut spec = spec("mnist-7k3f", 4);
    spec.project = "MNIST für alle".into();
    spec.command = ["sh", "-c", "echo $(date) $$ \"$HOME\"\npython train.py"].map(str::to_owned).to_vec();
    spec.env = BTreeMap::from([("LR".into(), "1e-3".into()), ("GREETING".into(), "$(whoami)".into())]);
    spec.resources.memory = "8Gi".parse().ok();
    spec.resources.cpu = "2".parse().ok();
    spec.resources.gpus = 2;
    spec.shared = "10Gi".parse().ok();
    let at = ClusterRun {
        mailbox: Some(Mailbox { from_ranks: "10.0.0.1:5000/team/mnist".into(), plain_http: true }),
        mailbox_repository: "localhost:5000/team/mnist".into(),
        mailbox_credentials: Some(Secret::new("{\"auths\":{\"canary\":{}}}")),
        pull_secrets: vec!["team-pull".into()],
        pull_credentials: Some(Secret::new("{\"auths\":{\"canary\":{}}}")),
        secrets: vec![
            ProgramSecret { variable: "HF_TOKEN".into(), value: SecretValue::Here(Secret::new("canary")) },
            ProgramSecret {
                variable: "WANDB_API_KEY".into(),
                value: SecretValue::InNamespace { secret: "team-wandb".into(), key: "api-key".into() },
            },
        ],
        node_selector: BTreeMap::from([("gpu".into(), "a100".into())]),
        storage_class: Some("nfs".into()),
        ..at("team", IMAGE)
    };
    RunObjects::plan(&spec, &at).expect("a valid run")
}

/// Versions and digests of the whole change with every release; the golden files should not.
fn golden(name: &str, yaml: &str) {
    insta::with_settings!({ filters => vec![
        (r"nauta.dev/version: \S+", "nauta.dev/version: [version]"),
        (r"nauta.dev/submission: \S+", "nauta.dev/submission: [digest]"),
    ]}, { insta::assert_snapshot!(name, yaml) });
}

#[test]
fn the_manifests_of_a_run_without_wishes() {
    golden("minimal", &minimal().render_yaml());
}

#[test]
fn the_manifests_of_a_run_with_every_wish() {
    golden("full", &full().render_yaml());
}

#[test]
fn a_dry_run_shows_no_credentials() {
    let yaml = full().render_yaml();
    let encoded = "Y2FuYXJ5"; // `canary` in base64, where it begins at a multiple of three bytes
    assert!(!yaml.contains("canary") && !yaml.contains(encoded) && !yaml.contains("dockerconfigjson\""), "{yaml}");
    assert!(yaml.contains("kubectl create secret docker-registry mnist-7k3f-pull"), "{yaml}");
    assert!(yaml.contains("kubectl create secret generic mnist-7k3f-secrets"), "{yaml}");
    assert!(!format!("{:?}", at("x", "y").run_key).contains("abab"));
}

#[test]
fn a_job_tells_whether_credentials_were_put_into_its_namespace() {
    assert!(holds_credentials(&full().job) && !holds_credentials(&minimal().job));
    let named = ClusterRun { pull_secrets: vec!["team-pull".into()], ..at("team", IMAGE) };
    let named = RunObjects::plan(&spec("mnist-7k3f", 1), &named).expect("a valid run");
    assert!(!holds_credentials(&named.job), "those of others are theirs to keep");
}

#[test]
fn an_image_by_tag_and_a_giant_command_are_refused() {
    let refused = RunObjects::plan(&spec("a", 1), &at("team", "registry/mnist:latest"));
    assert!(matches!(refused, Err(ObjectError::ImageByTag { .. })), "{refused:?}");
    let mut giant = spec("a", 1);
    giant.env.insert("BLOB".into(), "x".repeat(2 << 20));
    let refused = RunObjects::plan(&giant, &at("team", IMAGE)).expect_err("too large");
    assert!(refused.to_string().contains("bytes"), "{refused}");
}

#[test]
fn the_same_run_is_the_same_submission() {
    assert_eq!(minimal().submission(), minimal().submission());
    assert!(minimal().submission().starts_with("sha256:"));
    assert_ne!(minimal().submission(), full().submission());
}

#[test]
fn owned_objects_go_with_their_job() {
    let objects = full().owned_by("1234");
    let owner = |metadata: &ObjectMeta| {
        let owner = &metadata.owner_references.as_ref().expect("an owner")[0];
        format!("{} {} {}", owner.kind, owner.name, owner.uid)
    };
    assert_eq!(owner(&objects.service.metadata), "Job mnist-7k3f 1234");
    assert_eq!(owner(&objects.key.metadata), "Job mnist-7k3f 1234");
    let credentials = objects.credentials_owned_by("5678");
    assert_eq!(credentials.len(), 3);
    for secret in credentials {
        assert_eq!(owner(&secret.metadata), "Service mnist-7k3f 5678");
    }
    let claim = objects.shared.as_ref().expect("it shares a folder");
    assert_eq!(owner(&claim.metadata), "Job mnist-7k3f 1234");
}

/// The objects that kubectl makes of manifests on its standard input.
fn apply(arguments: &[&str], manifests: &str) -> Vec<serde_json::Value> {
    let output = kubectl_on(manifests, &[arguments, &["-o", "json"]].concat());
    assert!(output.status.success(), "{}\n{manifests}", String::from_utf8_lossy(&output.stderr));
    let warnings = String::from_utf8_lossy(&output.stderr);
    assert!(!warnings.contains("Warning"), "the API server warns: {warnings}");
    // One list, or one object after the other: kubectl does both.
    let answers = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<serde_json::Value>();
    let answers = answers.map(|answer| answer.expect("JSON"));
    answers.flat_map(|answer| answer["items"].as_array().cloned().unwrap_or_else(|| vec![answer])).collect()
}

#[test]
fn kubectl_applies_the_manifests_as_they_are() {
    let shared = ["Secret", "PersistentVolumeClaim", "Service", "Job"];
    for (objects, expected) in [(minimal(), &["Secret", "Service", "Job"][..]), (full(), &shared)] {
        let yaml = objects.render_yaml().replace("namespace: team", &format!("namespace: {}", namespace()));
        let applied = apply(&["apply", "--dry-run=server", "--validate=strict"], &yaml);
        let kinds: Vec<&str> = applied.iter().filter_map(|o| o["kind"].as_str()).collect();
        assert_eq!(kinds, expected);
    }
}

/// Texts that YAML would love to take for something else (of the 1.1 kind too, which kubectl reads).
const TRAPS: [&str; 32] = [
    "",
    " ",
    "yes",
    "no",
    "on",
    "off",
    "y",
    "n",
    "true",
    "null",
    "~",
    "1",
    "0777",
    "0o17",
    "1_000",
    "1e3",
    "0x1f",
    ".5",
    "12:30:45",
    "2026-11-23",
    "- a",
    "a: b",
    "a #b",
    "#a",
    "&a",
    "*a",
    "!a",
    "%a",
    "@a",
    "{a}",
    "line\nline\n\n",
    "\ttab \u{e9}\u{1f600} ' \" \\ \u{7}",
];

#[test]
fn every_text_survives_yaml() {
    let mut spec = spec("traps", 1);
    spec.command = TRAPS.map(str::to_owned).to_vec();
    spec.command.push("x ".repeat(200));
    spec.env = TRAPS.iter().enumerate().map(|(i, text)| (format!("T{i}"), (*text).to_owned())).collect();
    let objects = RunObjects::plan(&spec, &at(&namespace(), IMAGE)).expect("a valid run");
    let applied = apply(&["create", "--dry-run=client"], &objects.render_yaml());
    let job = applied.iter().find(|o| o["kind"] == "Job").expect("the Job");
    let expected = serde_json::to_value(&objects.job).expect("serialises");
    assert_eq!(job["spec"], expected["spec"]);
    assert_eq!(job["metadata"]["annotations"], expected["metadata"]["annotations"]);
}
