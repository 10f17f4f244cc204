//! Secrets stay on the workstation.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::support::docker_registry::{DockerRegistry, PASSWORD, USER};
use crate::support::{Workstation, environment, tool};

/// Names that hold secrets, of forty kinds.
const NAMES: [&str; 40] = [
    ".env",
    ".env.production",
    "server.pem",
    "server.key",
    "store.p12",
    "store.pfx",
    "store.jks",
    "store.keystore",
    "passwords.kdbx",
    "id_rsa",
    "id_dsa",
    "id_ecdsa_sk",
    "id_ed25519",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".pgpass",
    ".htpasswd",
    ".git-credentials",
    ".dockercfg",
    ".docker/config.json",
    ".aws/credentials",
    ".azure/accessTokens.json",
    ".gcloud/key.json",
    ".config/gcloud/credentials.db",
    ".kube/config",
    ".ssh/config",
    ".gnupg/secring.gpg",
    ".huggingface/token",
    "kubeconfig",
    "lab.kubeconfig",
    "credentials.json",
    "service-account-lab.json",
    "application_default_credentials.json",
    "terraform.tfstate",
    "prod.tfvars",
    "secrets.yaml",
    "secrets.toml",
    ".git/config",
];
/// Where they are put.
const PLACES: [&str; 5] = ["", "src/", "a/b/c/", "with space/", "tests/data/"];

/// Everything below a folder that any reader could make of it: bytes as they are, and unpacked.
pub(super) fn contents(folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            contents(&path, found);
        } else if let Ok(bytes) = std::fs::read(&path) {
            let mut plain = Vec::new();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut plain).expect("a whole stream");
            }
            found.push((path.display().to_string(), bytes));
            found.push((format!("{} unpacked", path.display()), plain));
        }
    }
}

/// Collects the command lines of all processes until it is told to stop.
pub(super) fn watch_command_lines(stop: Arc<AtomicBool>) -> std::thread::JoinHandle<BTreeSet<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut seen = BTreeSet::new();
        while !stop.load(Ordering::SeqCst) {
            for entry in std::fs::read_dir("/proc").expect("Linux").flatten() {
                seen.extend(std::fs::read(entry.path().join("cmdline")));
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        seen
    })
}

#[test]
fn two_hundred_planted_secrets_stay_at_home() {
    let server = DockerRegistry::builder().password().start();
    let mut workstation = Workstation::new();
    let (kubeconfig, namespace) = (environment("NAUTA_TEST_KUBECONFIG_USER"), environment("NAUTA_TEST_NAMESPACE"));
    workstation.configure(&format!(
        "[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\nregistry = '{}/tests'\n",
        server.address
    ));
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    let unique = format!("{:?}", std::time::SystemTime::now());
    // Environments are shared among projects, so that the image has no name of this one.
    let label = format!("planted-secrets={}", std::process::id());
    workstation
        .write("Dockerfile", &format!("FROM {base}\nLABEL {label}\nCOPY . /app\nRUN echo '{unique}' && ls -R /app\n"))
        .write("nauta.toml", "[project]\nname = 'secrets'\n[run]\ncommand = 'true'\n")
        .write("src/train.py", "print('harmless')\n");
    let canary = |number: usize| format!("canary-{number:03}-of-nauta");
    for (number, (name, place)) in NAMES.iter().flat_map(|name| PLACES.map(|place| (name, place))).enumerate() {
        workstation.write(&format!("{place}{name}"), &format!("secret = {}\n", canary(number)));
    }
    // Those that are no files: logins, passwords in addresses, the environment itself.
    let state = tempfile::tempdir().expect("a folder");
    let docker = tempfile::tempdir().expect("a folder");
    let login = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, format!("{USER}:{PASSWORD}"));
    let config = format!("{{\"auths\": {{\"{}\": {{\"auth\": \"{login}\"}}}}}}", server.address);
    std::fs::write(docker.path().join("config.json"), config).expect("written");
    workstation
        .set("DOCKER_CONFIG", docker.path().to_str().expect("text"))
        .set("XDG_STATE_HOME", state.path().to_str().expect("text"))
        .set("HTTPS_PROXY", "http://somebody:canary-proxy-of-nauta@127.0.0.1:9")
        .set("NO_PROXY", "*")
        .set("AWS_SECRET_ACCESS_KEY", "canary-environment-of-nauta");
    let stop = Arc::new(AtomicBool::new(false));
    let watching = watch_command_lines(Arc::clone(&stop));
    let done = workstation.succeeds(&["-vv", "run", "--dry-run"]);
    stop.store(true, Ordering::SeqCst);
    let mut found: Vec<(String, Vec<u8>)> =
        watching.join().expect("no panic").into_iter().map(|line| ("a command line".to_owned(), line)).collect();
    contents(&server.storage(), &mut found);
    contents(state.path(), &mut found);
    contents(&workstation.project.join("runs"), &mut found);
    let image = tool("docker", &["images", "-q", "--filter", &format!("label={label}")]);
    let image = image.lines().next().expect("the environment was built").to_owned();
    for arguments in [&["history", "--no-trunc", &image][..], &["image", "inspect", &image]] {
        found.push((format!("docker {}", arguments.join(" ")), tool("docker", arguments).into_bytes()));
    }
    found.push(("stdout".to_owned(), done.stdout.into_bytes()));
    found.push(("stderr".to_owned(), done.stderr.clone().into_bytes()));
    assert!(found.iter().any(|(_, bytes)| holds(bytes, "harmless")), "the search finds what is there");
    let secrets = (0..200).map(canary);
    let others = ["canary-proxy-of-nauta", "canary-environment-of-nauta", PASSWORD, &login].map(str::to_owned);
    for secret in secrets.chain(others) {
        for (place, bytes) in &found {
            assert!(!holds(bytes, &secret), "{secret} is in {place}");
        }
    }
    assert!(done.stderr.contains("may hold a secret"), "{}", done.stderr);
    let _ = tool("docker", &["rmi", "-f", &image]);
}

pub(super) fn holds(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

fn on_busybox(command: &str) -> Workstation {
    let (workstation, base) = (Workstation::new(), environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let text = format!("[environment]\nbase = '{base}'\n[project]\nname = 'secrets'\n[run]\ncommand = '{command}'\n");
    workstation.write("nauta.toml", &text);
    workstation
}

#[test]
fn records_hold_the_names_of_variables_and_version_control_holds_no_runs() {
    let workstation = on_busybox("true");
    let canary = "canary-variable-of-nauta";
    let variable = format!("API_TOKEN={canary}");
    let done = workstation.succeeds(&["--quiet", "run", "--local", "-e", &variable, "-e", "EPOCHS=3"]);
    let warning = "warning: `API_TOKEN` (from --env) looks like a secret";
    assert!(done.stderr.contains(warning) && done.stderr.contains("`--secret-env API_TOKEN`"), "{}", done.stderr);
    assert!(!done.stderr.contains("EPOCHS"), "{}", done.stderr);
    let mut found = Vec::new();
    contents(&workstation.project.join("runs"), &mut found);
    assert!(found.iter().any(|(path, bytes)| path.ends_with("record.json") && holds(bytes, "API_TOKEN")), "{found:?}");
    assert!(!found.iter().any(|(_, bytes)| holds(bytes, canary)), "{found:?}");
    assert!(workstation.succeeds(&["list"]).stdout.contains("succeeded"));
    let ignore = workstation.project.join("runs/.gitignore");
    assert_eq!(std::fs::read_to_string(&ignore).expect("made"), "*\n");
    // What the user makes of it stays, and who wants the values has them.
    std::fs::write(&ignore, "!*.csv\n").expect("written");
    let _ = workstation.succeeds(&["run", "--local", "--record-env", "-e", &variable]);
    assert_eq!(std::fs::read_to_string(&ignore).expect("kept"), "!*.csv\n");
    contents(&workstation.project.join("runs"), &mut found);
    assert!(found.iter().any(|(path, bytes)| path.ends_with("record.json") && holds(bytes, canary)));
}

#[test]
fn a_token_in_an_innocent_file_stops_the_run() {
    let server = DockerRegistry::start();
    let workstation = super::delivery::project(&server);
    let token = format!("ghp_{}", "Ab1".repeat(12));
    workstation.write("src/config.py", &format!("NAME = 'x'\nTOKEN = '{token}'\n"));
    let stopped = workstation.nauta(&["run", "--dry-run"]);
    assert_eq!(stopped.code, 125, "{stopped:?}");
    assert!(stopped.stderr.contains("`src/config.py` line 2 looks like a GitHub token"), "{}", stopped.stderr);
    assert!(!stopped.stderr.contains(&token), "{}", stopped.stderr);
    let mut found = Vec::new();
    contents(&server.storage(), &mut found);
    assert!(!found.iter().any(|(_, bytes)| holds(bytes, &token)));
    // Whoever means it says so.
    workstation.write(".nautaignore", "!src/config.py\n");
    let _ = workstation.succeeds(&["run", "--dry-run"]);
}
