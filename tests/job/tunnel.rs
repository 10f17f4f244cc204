//! A registry that only the cluster reaches.

use super::cluster::{Cleanup, shell};
use crate::support::{environment, kubectl, tool};

const NAME: &str = "inner-registry";

/// A registry as a pod of the cluster, with a Service; all of it goes when this is dropped.
struct InnerRegistry;

impl InnerRegistry {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let image = format!("{}/tests/{NAME}:1", environment("NAUTA_TEST_REGISTRY"));
        let base = environment("NAUTA_TEST_IMAGE_PYTHON");
        let program = tool("sh", &["-c", "command -v docker-registry"]);
        std::fs::copy(program.trim(), folder.path().join("docker-registry")).expect("copied");
        std::fs::write(
            folder.path().join("config.yml"),
            "version: 0.1\nstorage: {filesystem: {rootdirectory: /storage}, delete: {enabled: true}}\nhttp: {addr: ':5000'}\n",
        )
        .expect("written");
        std::fs::write(
            folder.path().join("Dockerfile"),
            format!("FROM {base}\nCOPY docker-registry config.yml /\nENTRYPOINT [\"/docker-registry\", \"serve\", \"/config.yml\"]\n"),
        )
        .expect("written");
        tool("docker", &["build", "-q", "-t", &image, folder.path().to_str().expect("text")]);
        tool("docker", &["push", "-q", &image]);
        let manifest = format!(
            r"
apiVersion: v1
kind: Pod
metadata: {{name: {NAME}, labels: {{app: {NAME}}}}}
spec:
  automountServiceAccountToken: false
  securityContext: {{runAsNonRoot: true, runAsUser: 1000, fsGroup: 1000, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: registry
    image: {image}
    imagePullPolicy: Always
    env: [{{name: OTEL_TRACES_EXPORTER, value: none}}]
    ports: [{{name: http, containerPort: 5000}}]
    readinessProbe: {{httpGet: {{path: /v2/, port: http}}, periodSeconds: 1}}
    securityContext: {{allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
    volumeMounts: [{{name: storage, mountPath: /storage}}]
  volumes: [{{name: storage, emptyDir: {{}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {NAME}}}
spec: {{type: NodePort, selector: {{app: {NAME}}}, ports: [{{port: 80, targetPort: http}}]}}
"
        );
        let file = folder.path().join("registry.yaml");
        std::fs::write(&file, manifest).expect("written");
        let inner = Self;
        kubectl(&["apply", "-f", file.to_str().expect("text")]);
        kubectl(&["wait", "--for=condition=Ready", &format!("pod/{NAME}"), "--timeout=120s"]);
        inner
    }

    /// What nodes call it.
    fn from_nodes() -> String {
        let port = kubectl(&["get", "service", NAME, "-o", "jsonpath={.spec.ports[0].nodePort}"]);
        format!("localhost:{port}")
    }
}

impl Drop for InnerRegistry {
    fn drop(&mut self) {
        let _ = kubectl(&["delete", "pod,service", NAME, "--ignore-not-found", "--wait=true", "--grace-period=1"]);
    }
}

#[test]
fn a_registry_inside_the_cluster_is_reached_through_the_api_server() {
    let _inner = InnerRegistry::start();
    let workstation = shell("echo $NAUTA_RANK > $NAUTA_OUTPUTS/rank; cat large | wc -c");
    let (kubeconfig, namespace) = (environment("NAUTA_TEST_KUBECONFIG_USER"), environment("NAUTA_TEST_NAMESPACE"));
    let pods = format!("{NAME}.{namespace}.svc.cluster.local:80");
    let nodes = InnerRegistry::from_nodes();
    workstation.configure(&format!(
        "[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\nregistry = '{pods}/inside'\n\
         registry_service = '{NAME}:80'\nregistry_from_nodes = '{nodes}'\nplain_http = ['{pods}']\n"
    ));
    let noise = crate::support::random::Random::new(11).bytes(9_000_000);
    std::fs::write(workstation.project.join("large"), noise).expect("written");
    let _cleanup = Cleanup(&workstation);
    let done = workstation.succeeds(&["run", "--nodes", "2"]);
    assert!(done.stdout.contains("[0] 9000000") && done.stdout.contains("[1] 9000000"), "{done:?}");
    let run = workstation.only_run();
    // The outputs came back through the same way.
    assert_eq!(std::fs::read_to_string(run.join("rank-1/rank")).expect("came back"), "1\n");
    assert!(!done.stderr.contains("control stream"), "{}", done.stderr);
    // A Service that is not there is named.
    workstation.configure(&format!(
        "[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\nregistry = '{pods}/inside'\n\
         registry_service = 'nobody:80'\n"
    ));
    let wrong = workstation.nauta(&["run", "--dry-run"]);
    assert!(
        wrong.code == 125 && wrong.stderr.contains("Service `nobody`") && wrong.stderr.contains("hint:"),
        "{wrong:?}"
    );
}
