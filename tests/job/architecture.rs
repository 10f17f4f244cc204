//! Nodes with other processors than the workstation's.

use std::path::{Path, PathBuf};
use std::process::Command;

use nauta::digest::Digest;
use nauta::registry::{Auth, Blob, Endpoint, Registry};
use serde_json::{Value, json};

use super::delivery::project;
use crate::support::docker_registry::DockerRegistry;
use crate::support::{Done, Workstation, environment, tool};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LIMIT: u64 = 100 << 20;

fn open(host: &str) -> Registry {
    Registry::new(Endpoint::new(host).expect("an address"), Auth::Anonymous)
}

async fn json_of(registry: &Registry, repository: &str, digest: &Value) -> Value {
    let digest: Digest = digest.as_str().expect("text").parse().expect("a digest");
    let bytes = registry.pull_blob(repository, &digest, LIMIT).await.expect("is there");
    serde_json::from_slice(&bytes).expect("JSON")
}

async fn manifest_of(registry: &Registry, repository: &str, reference: &str) -> Value {
    let manifest = registry.pull_manifest(repository, reference).await.expect("answers").expect("is there");
    serde_json::from_slice(&manifest.bytes).expect("JSON")
}

/// Puts busybox into `server` as an image for two architectures; gives its name.
async fn push_busybox(server: &DockerRegistry) -> String {
    const REPOSITORY: &str = "base/busybox";
    let from = environment("NAUTA_TEST_REGISTRY");
    let name = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    let (repository, tag) = name.rsplit_once(':').expect("a tag");
    let (from, to) = (open(&from), open(&server.address));
    let mut manifest = manifest_of(&from, repository, tag).await;
    let mut config = json_of(&from, repository, &manifest["config"]["digest"]).await;
    for layer in manifest["layers"].as_array().expect("layers") {
        let digest = layer["digest"].as_str().expect("text").parse().expect("a digest");
        let bytes = from.pull_blob(repository, &digest, LIMIT).await.expect("is there");
        to.push_blob(REPOSITORY, &Blob::from_bytes(bytes), |_| ()).await.expect("takes it");
    }
    let mut manifests = Vec::new();
    for architecture in ["arm64", "amd64"] {
        config["architecture"] = json!(architecture);
        let blob = Blob::from_bytes(config.to_string());
        to.push_blob(REPOSITORY, &blob, |_| ()).await.expect("takes it");
        manifest["config"]["digest"] = json!(blob.digest());
        manifest["config"]["size"] = json!(blob.size());
        let media_type = manifest["mediaType"].as_str().unwrap_or(MANIFEST).to_owned();
        let bytes = manifest.to_string();
        let size = bytes.len();
        let digest = to.push_manifest(REPOSITORY, architecture, &media_type, bytes).await.expect("takes it");
        let platform = json!({"os": "linux", "architecture": architecture});
        manifests.push(json!({"mediaType": media_type, "digest": digest, "size": size, "platform": platform}));
    }
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string();
    to.push_manifest(REPOSITORY, "1", INDEX, index).await.expect("takes it");
    format!("{}/{REPOSITORY}:1", server.address)
}

/// An installation of its own, so that supervisors can be put beside it.
struct Installation {
    prefix: tempfile::TempDir,
}

impl Installation {
    fn new() -> Self {
        let prefix = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(prefix.path().join("bin")).expect("created");
        let program = prefix.path().join("bin/nauta");
        // By a process of its own: a file that is open for writing here could not be started.
        let _ = tool("cp", &[env!("CARGO_BIN_EXE_nauta"), program.to_str().expect("text")]);
        Self { prefix }
    }

    /// Where the other architecture's supervisor belongs.
    fn supervisor(&self) -> PathBuf {
        let version = env!("CARGO_PKG_VERSION");
        self.prefix.path().join(format!("libexec/nauta/{version}/nauta-linux-{}", machine(other())))
    }

    fn put_supervisor(&self, bytes: &[u8]) {
        let path = self.supervisor();
        std::fs::create_dir_all(path.parent().expect("has one")).expect("created");
        std::fs::write(&path, bytes).expect("written");
        let checksum = format!("{}  {}\n", Digest::of(bytes).hex(), path.display());
        std::fs::write(path.with_added_extension("sha256"), checksum).expect("written");
    }

    fn run(&self, workstation: &Workstation) -> Done {
        let arguments = ["run", "--dry-run"];
        let mut command = Command::new(self.prefix.path().join("bin/nauta"));
        let environment = workstation.command(&arguments);
        let environment = environment.get_envs().filter_map(|(name, value)| Some((name, value?)));
        command.args(arguments).env_clear().envs(environment).current_dir(&workstation.project);
        let output = command.output().expect("starts");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Done { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// The architecture that this machine does not have.
fn other() -> &'static str {
    if cfg!(target_arch = "aarch64") { "amd64" } else { "arm64" }
}

fn machine(architecture: &str) -> &'static str {
    if architecture == "arm64" { "aarch64" } else { "x86_64" }
}

/// What the image of a plan runs on, and the supervisor in it.
async fn delivered(server: &DockerRegistry, done: &Done) -> (String, Vec<u8>) {
    assert_eq!(done.code, 0, "{}", done.stderr);
    let registry = open(&server.address);
    let image = done.stdout.split("image: ").nth(1).and_then(|rest| rest.lines().next()).expect("an image");
    let digest = image.split_once('@').expect("a digest").1;
    let manifest = manifest_of(&registry, "tests/shell", digest).await;
    let config = json_of(&registry, "tests/shell", &manifest["config"]["digest"]).await;
    for layer in manifest["layers"].as_array().expect("layers") {
        let digest = layer["digest"].as_str().expect("text").parse().expect("a digest");
        let bytes = registry.pull_blob("tests/shell", &digest, LIMIT).await.expect("is there");
        if let Some(found) = supervisor_in(&bytes) {
            return (config["architecture"].as_str().expect("text").to_owned(), found);
        }
    }
    panic!("no layer has a supervisor: {manifest}");
}

fn supervisor_in(layer: &[u8]) -> Option<Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::MultiGzDecoder::new(layer));
    for entry in archive.entries().ok()? {
        let mut entry = entry.ok()?;
        if entry.path().is_ok_and(|path| path == Path::new("nauta/bin/nauta")) {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).expect("whole");
            return Some(bytes);
        }
    }
    None
}

/// Says what the target's nodes are.
fn configure(workstation: &Workstation, server: &DockerRegistry, architecture: &str) {
    let (kubeconfig, namespace) = (environment("NAUTA_TEST_KUBECONFIG_USER"), environment("NAUTA_TEST_NAMESPACE"));
    workstation.configure(&format!(
        "[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\nregistry = '{}/tests'\n\
         architecture = '{architecture}'\n",
        server.address
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_another_kind_get_their_own_supervisor_and_environment() {
    let server = DockerRegistry::start();
    let workstation = project(&server);
    configure(&workstation, &server, other());
    let base = push_busybox(&server).await;
    workstation.write(
        "nauta.toml",
        &format!("[project]\nname = 'shell'\n[environment]\nbase = '{base}'\n[run]\ncommand = 'sh job.sh'\n"),
    );
    let installation = Installation::new();

    let done = installation.run(&workstation);
    assert!(done.code == 125 && done.stderr.contains("no nauta for them"), "{}", done.stderr);
    assert!(done.stderr.contains("install.sh"), "{}", done.stderr);

    installation.put_supervisor(b"what runs there");
    let done = installation.run(&workstation);
    assert_eq!(delivered(&server, &done).await, (other().to_owned(), b"what runs there".to_vec()));
    assert!(done.stdout.contains(&format!("kubernetes.io/arch: {}", other())), "{}", done.stdout);

    std::fs::write(installation.supervisor(), b"what ran there!").expect("written");
    let done = installation.run(&workstation);
    assert!(done.code == 125 && done.stderr.contains("checksum"), "{}", done.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn docker_builds_for_the_nodes() {
    let server = DockerRegistry::start();
    let workstation = project(&server);
    configure(&workstation, &server, other());
    let base = push_busybox(&server).await;
    workstation.write("nauta.toml", "[project]\nname = 'shell'\n[run]\ncommand = 'sh job.sh'\n");
    workstation.write("Dockerfile", &format!("FROM {base}\nCOPY words /words\n"));
    workstation.write("words", &format!("{:?}", std::time::SystemTime::now()));
    let installation = Installation::new();
    installation.put_supervisor(b"what runs there");
    let done = installation.run(&workstation);
    assert_eq!(delivered(&server, &done).await.0, other());
    // The same project for nodes like this machine: another environment.
    let own = if other() == "arm64" { "amd64" } else { "arm64" };
    configure(&workstation, &server, own);
    let done = installation.run(&workstation);
    assert_eq!(delivered(&server, &done).await.0, own);
    assert!(done.stdout.contains(&format!("kubernetes.io/arch: {own}")), "{}", done.stdout);
}
