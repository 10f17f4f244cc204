//! Byte streams to a rank.

use k8s_openapi::api::core::v1::{EmptyDirVolumeSource, ServiceAccount, Volume, VolumeMount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use nauta::cluster::{Cause, Cluster, ControlRoute};
use nauta::job::objects::RunObjects;
use nauta::job::state::RunState;
use nauta::layout;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::support::{
    Guard, address, admin_client, container, image, kubectl, namespace, script, spec, unique, until, user, variable,
};

/// A server on the control port that gives back what it gets, and says goodbye after `stop`.
const ECHO: &str = "
import socket
server = socket.create_server(('127.0.0.1', 7118))
print('listening', flush=True)
while True:
    peer, _ = server.accept()
    with peer:
        while data := peer.recv(65536):
            peer.sendall(data)
            if data.endswith(b'stop'):
                break
";

async fn echo(stem: &str) -> RunObjects {
    let mut spec = spec(&unique(stem), 1);
    spec.resources.memory = "64Mi".parse().ok();
    let mut objects = script(&spec, &namespace(), "true").await;
    container(&mut objects).image = Some(image("NAUTA_TEST_IMAGE_PYTHON").await);
    container(&mut objects).command = Some(["python3", "-c", ECHO].map(str::to_owned).to_vec());
    objects
}

/// Waits until the server in the rank listens, by its log.
async fn listening(cluster: &Cluster, run: &str) {
    use futures::StreamExt as _;
    until(cluster, run, |view| view.state == RunState::Running).await;
    let range = nauta::cluster::LogRange { follow: true, ..Default::default() };
    let mut log = Box::pin(cluster.logs(run, 0, range).await.expect("a log"));
    let first = log.next().await.expect("a line").expect("readable");
    assert!(first.starts_with(b"listening"), "{first:?}");
}

#[tokio::test]
async fn a_port_forward_carries_bytes_both_ways_and_ends_when_the_server_does() {
    let objects = echo("forward").await;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    listening(&cluster, &guard.run).await;
    let mut stream = cluster.open_control(&guard.run, 0).await.expect("a stream");
    assert_eq!(format!("{stream:?}"), "ControlStream(PortForward)");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|i| u8::try_from(i % 251).expect("small")).collect();
    let mut received = vec![0; sent.len()];
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let upload = async {
        writer.write_all(&sent).await?;
        writer.flush().await
    };
    let (wrote, read) = tokio::join!(upload, reader.read_exact(&mut received));
    wrote.expect("written");
    read.expect("read");
    assert!(sent == received, "what came back is what was sent");
    stream.write_all(b"stop").await.expect("written");
    stream.shutdown().await.expect("closes nothing");
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.expect("an orderly end");
    assert_eq!(rest, b"stop");
    let mut again = cluster.open_control(&guard.run, 0).await.expect("another stream after that");
    again.write_all(b"stop").await.expect("written");
}

#[tokio::test]
async fn a_port_that_nobody_listens_on_is_an_error_and_not_an_end() {
    let objects = script(&spec(&unique("closed"), 1), &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    until(&cluster, &guard.run, |view| view.state == RunState::Running).await;
    let mut stream = cluster.open_control(&guard.run, 0).await.expect("the API server takes it");
    let error = stream.read_to_end(&mut Vec::new()).await.expect_err("nobody listens");
    assert!(error.to_string().contains("refused"), "{error}");
}

#[tokio::test]
async fn a_rank_that_is_not_there_is_named() {
    let objects = script(&spec(&unique("absent"), 1), &namespace(), "exec sleep 600").await;
    let guard = Guard::new(&objects);
    let cluster = user().await;
    cluster.submit(&objects).await.expect("submitted");
    until(&cluster, &guard.run, |view| view.state == RunState::Running).await;
    let error = cluster.open_control(&guard.run, 5).await.expect_err("only one rank");
    assert!(error.to_string().contains("rank 5 of run") && error.to_string().contains("has one rank only"), "{error}");
    let error = cluster.open_control("no-such-run", 0).await.expect_err("no run");
    assert!(matches!(error.cause(), Cause::NoSuchRun { .. }), "{error:?}");
}

/// A user of the namespace with these rights only, deleted at the end.
struct Limited {
    name: String,
    kubeconfig: tempfile::NamedTempFile,
}

impl Limited {
    async fn new(rules: serde_json::Value) -> Self {
        let (name, namespace) = (unique("limited"), namespace());
        let client = admin_client().await;
        let create = PostParams::default();
        let metadata = json!({"name": name, "labels": {"nauta.dev/test": "limited"}});
        let account = serde_json::from_value(json!({"metadata": metadata})).expect("valid");
        let role = serde_json::from_value(json!({"metadata": metadata, "rules": rules})).expect("valid");
        let binding = serde_json::from_value(json!({
            "metadata": metadata,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
        }))
        .expect("valid");
        Api::<ServiceAccount>::namespaced(client.clone(), &namespace).create(&create, &account).await.expect("made");
        Api::<Role>::namespaced(client.clone(), &namespace).create(&create, &role).await.expect("made");
        Api::<RoleBinding>::namespaced(client, &namespace).create(&create, &binding).await.expect("made");
        let token = kubectl().args(["create", "token", &name, "-n", &namespace]).output().expect("kubectl");
        assert!(token.status.success(), "{}", String::from_utf8_lossy(&token.stderr));
        let kubeconfig = tempfile::NamedTempFile::new().expect("a file");
        let original =
            std::fs::read_to_string(variable("NAUTA_TEST_KUBECONFIG_USER")).expect("readable: run tests/run");
        let kept: Vec<&str> = original.lines().filter(|line| !line.contains("client-")).collect();
        let user = format!("token: {}", String::from_utf8_lossy(&token.stdout).trim());
        let text = kept.join("\n").replace("  user:\n", &format!("  user: {{{user}}}\n"));
        assert!(text.contains(&user), "{original}");
        std::fs::write(kubeconfig.path(), text).expect("written");
        Self { name, kubeconfig }
    }

    async fn connect(&self) -> Cluster {
        let path = self.kubeconfig.path().display().to_string();
        Cluster::connect(&address(&path, &namespace())).await.expect("connects")
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        let name = self.name.clone();
        let clean = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let (client, namespace, delete) = (admin_client().await, namespace(), DeleteParams::default());
                _ = Api::<RoleBinding>::namespaced(client.clone(), &namespace).delete(&name, &delete).await;
                _ = Api::<Role>::namespaced(client.clone(), &namespace).delete(&name, &delete).await;
                _ = Api::<ServiceAccount>::namespaced(client, &namespace).delete(&name, &delete).await;
            });
        };
        _ = std::thread::spawn(clean).join();
    }
}

fn rules(streams: &[&str]) -> serde_json::Value {
    json!([
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["services", "secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]},
        {"apiGroups": [""], "resources": streams, "verbs": ["get", "create"]},
    ])
}

#[tokio::test]
async fn where_port_forward_is_forbidden_a_bridge_is_started_instead() {
    let limited = Limited::new(rules(&["pods/exec"])).await;
    let cluster = limited.connect().await;
    // Stands where the supervisor would: a bridge that gives back what it gets.
    let place = layout::SUPERVISOR;
    let stand_in =
        format!("printf '#!/bin/sh\\necho \"$@\"; exec cat' > {place} && chmod +x {place} && exec sleep 600");
    let mut objects = script(&spec(&unique("bridge"), 1), &namespace(), &stand_in).await;
    let mount = VolumeMount { name: "bin".into(), mount_path: "/nauta/bin".into(), ..VolumeMount::default() };
    container(&mut objects).volume_mounts.get_or_insert_default().push(mount);
    let volume = Volume { name: "bin".into(), empty_dir: Some(EmptyDirVolumeSource::default()), ..Volume::default() };
    let template = &mut objects.job.spec.as_mut().expect("a specification").template;
    template.spec.as_mut().expect("a specification").volumes.get_or_insert_default().push(volume);
    let guard = Guard::new(&objects);

    let findings = cluster.check(&objects).await.expect("enough rights");
    assert_eq!(findings.control, ControlRoute::Exec);
    assert!(!findings.events && !findings.kubelet_logs && !findings.warnings.is_empty(), "{findings:?}");
    cluster.submit(&objects).await.expect("submitted, though Secrets may not be read");
    until(&cluster, &guard.run, |view| view.state == RunState::Running).await;

    let hello = b"supervise --bridge\n";
    let mut stream = bridge(&cluster, &guard.run).await;
    assert_eq!(format!("{stream:?}"), "ControlStream(Exec)");
    let sent: Vec<u8> = (0..1_000_000_u32).map(|i| u8::try_from(i % 251).expect("small")).collect();
    let mut received = vec![0; hello.len() + sent.len()];
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let upload = async {
        writer.write_all(&sent).await?;
        writer.flush().await
    };
    let (wrote, read) = tokio::join!(upload, reader.read_exact(&mut received));
    wrote.expect("written");
    read.expect("read");
    assert!(
        received[..hello.len()] == hello[..] && received[hello.len()..] == sent[..],
        "what came back is what was sent"
    );
}

/// The stand-in may not have been written yet when its container runs.
async fn bridge(cluster: &Cluster, run: &str) -> nauta::cluster::ControlStream {
    for _ in 0..50 {
        let mut stream = cluster.open_control(run, 0).await.expect("exec is allowed");
        let mut probe = [0];
        if stream.read_exact(&mut probe).await.is_ok() {
            return cluster.open_control(run, 0).await.expect("exec is allowed");
        }
    }
    panic!("the bridge of {run} never answered");
}

#[tokio::test]
async fn where_no_stream_is_allowed_the_check_says_what_that_means() {
    let limited = Limited::new(rules(&["pods/log"])).await;
    let objects = script(&spec(&unique("mute"), 1), &namespace(), "exec sleep 600").await;
    let findings = limited.connect().await.check(&objects).await.expect("enough to run");
    assert_eq!(findings.control, ControlRoute::None);
    assert!(findings.warnings[0].contains("outputs only through the registry"), "{findings:?}");
}

#[tokio::test]
async fn each_right_that_is_missing_is_named() {
    let all = rules(&["pods/exec"]);
    for (rule, verbs, expected) in [
        (0, json!(["get", "list", "watch", "delete"]), "create jobs.batch"),
        (2, json!(["get", "list"]), "watch pods"),
        (1, json!(["get"]), "create services; create secrets"),
    ] {
        let mut rules = all.clone();
        rules[rule]["verbs"] = verbs;
        let limited = Limited::new(rules).await;
        let objects = script(&spec(&unique("rights"), 1), &namespace(), "true").await;
        let error = limited.connect().await.check(&objects).await.expect_err("a right is missing");
        assert!(error.to_string().contains(&format!("not allowed to {expected} (")), "{error}");
    }
}
