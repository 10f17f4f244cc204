//! Secrets of programs: they arrive, and are nowhere else.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nauta::digest::Digest;
use serde_json::json;

use super::cluster::{Cleanup, base};
use super::secrets::{contents, holds, watch_command_lines};
use crate::support::own_process::is_own_process;
use crate::support::{Workstation, apply, environment, kubectl, kubectl_command, tool};

const BUS: &str = "DBUS_SESSION_BUS_ADDRESS";
const HERE: &str = "canary-of-this-shell \"$(id)\" \\ end";
const KEPT: &str = "canary-that-is-kept";
/// In a command line by intention: others look for theirs in all command lines meanwhile.
const SAID: &str = "canary-that-is-said";

/// Rank 0 starts what rank 1 does, and the first attempt fails.
const JOB: &str = "\
if [ $# = 1 ]; then echo digest $(printf '%s|%s' \"$CANARY_ENV\" \"$CANARY_KEPT\" | sha256sum); exit; fi
sh job.sh there
ssh $(tail -n 1 $NAUTA_HOSTFILE | cut -d' ' -f1) sh /workspace/with-secrets/job.sh there
while [ ! -e $NAUTA_OUTPUTS/go ] && [ -n \"$WAITS\" ]; do sleep 0.1; done
[ $NAUTA_ATTEMPT = 2 ]
";
/// All of it.
const WHOLE: [&str; 7] = ["-n", "2", "--launch", "rank0", "--restarts", "1", "--secret-env"];

fn project(base: &str) -> Workstation {
    let mut workstation = Workstation::new();
    workstation.write("job.sh", JOB);
    let text =
        format!("[environment]\nbase = '{base}'\n[project]\nname = 'with-secrets'\n[run]\ncommand = 'sh job.sh'\n");
    workstation.write("nauta.toml", &text);
    let state = workstation.project.join("../state");
    workstation.set("CANARY_ENV", HERE).set("NAUTA_LOG", "trace");
    workstation.set("XDG_STATE_HOME", state.to_str().expect("text"));
    workstation
}

/// What the program prints of its secrets.
fn digest() -> String {
    format!("digest {}", Digest::of(format!("{HERE}|{KEPT}")).hex())
}

/// Collects where secrets could have come to.
struct Search {
    found: Vec<(String, Vec<u8>)>,
    stop: Arc<AtomicBool>,
    watching: Option<std::thread::JoinHandle<std::collections::BTreeSet<Vec<u8>>>>,
}

impl Search {
    fn begin() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let watching = Some(watch_command_lines(Arc::clone(&stop)));
        Self { found: Vec::new(), stop, watching }
    }

    fn add(&mut self, place: &str, bytes: impl Into<Vec<u8>>) {
        self.found.push((place.to_owned(), bytes.into()));
    }

    /// Nothing has a secret, in no form; but all say which secrets there were.
    fn finds_nothing(mut self, workstation: &Workstation) {
        self.stop.store(true, Ordering::SeqCst);
        let lines = self.watching.take().expect("begun").join().expect("no panic");
        for line in lines {
            self.add("a command line", line);
        }
        contents(&workstation.project.join("runs"), &mut self.found);
        contents(&workstation.project.join("../state"), &mut self.found);
        let is_record = |place: &str| place.ends_with("record.json");
        assert!(self.found.iter().any(|(place, bytes)| is_record(place) && holds(bytes, "CANARY_ENV")));
        let encoded = |text| base64::Engine::encode(&base64::prelude::BASE64_STANDARD, text);
        for secret in ["canary-of-this-shell", KEPT, &encoded(HERE), &encoded(KEPT)] {
            for (place, bytes) in &self.found {
                assert!(!holds(bytes, secret), "{secret} is in {place}: {}", String::from_utf8_lossy(bytes));
            }
        }
    }
}

/// A session of its own with an unlocked keyring.
fn in_a_session(program: &std::path::Path, arguments: &[&str]) -> Command {
    crate::credentials::keyring::in_a_session(program, arguments)
}

#[test]
fn a_kept_secret_reaches_the_ranks_of_its_project_and_nothing_else() {
    if !is_own_process(
        "job::program_secrets::a_kept_secret_reaches_the_ranks_of_its_project_and_nothing_else",
        in_a_session,
    ) {
        return;
    }
    let image = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    let session = std::env::var(BUS).expect("a session");
    let in_session = || {
        let mut workstation = project(&image);
        workstation.set(BUS, &session);
        let text = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
        workstation.write("nauta.toml", &format!("{text}[secrets]\nnames = ['CANARY_KEPT']\n"));
        workstation
    };
    let (workstation, other) = (in_session(), in_session());
    let mut keep = workstation.command(&["secret", "set", "CANARY_KEPT"]);
    let mut keep = keep.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("nauta starts");
    keep.stdin.take().expect("a pipe").write_all(format!("{KEPT}\n").as_bytes()).expect("read");
    let kept = keep.wait_with_output().expect("ended");
    assert!(String::from_utf8_lossy(&kept.stdout).contains("is kept in the system's keyring"), "{kept:?}");
    // Another project that names it has none.
    let refused = other.nauta(&["run", "--local"]);
    assert_eq!(refused.code, 125, "{refused:?}");
    assert!(refused.stderr.contains("no value is kept for the secret `CANARY_KEPT`"), "{}", refused.stderr);

    let mut search = Search::begin();
    let trace = workstation.project.join("../trace");
    let mut command =
        workstation.command(&[&["run", "--local", "-e", "WAITS=1"], &WHOLE[..], &["CANARY_ENV"]].concat());
    command.stdout(Stdio::piped()).stderr(File::create(&trace).expect("a file"));
    let mut child = command.spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    let mut words: Vec<String> = lines.by_ref().filter(|line| line.contains("digest")).take(2).collect();
    let label = "label=nauta.dev/project=with-secrets";
    let containers = tool("docker", &["ps", "-q", "--filter", label]);
    assert_eq!(containers.lines().count(), 2);
    for container in containers.lines() {
        search.add("docker inspect", tool("docker", &["inspect", container]));
        search.add("the container's image", tool("docker", &["history", "--no-trunc", &image]));
        let export = Command::new("docker").args(["export", container]).output().expect("docker");
        assert!(export.status.success() && holds(&export.stdout, "nauta/key/run-key"), "its files are there");
        search.add("the container's files", export.stdout);
        search.add("docker logs", tool("docker", &["logs", container]));
        search.add("docker exec", tool("docker", &["exec", container, "env"]));
    }
    for container in containers.lines() {
        // Of rank 1 nobody waits for it, and it may be gone.
        let _ = Command::new("docker").args(["exec", container, "touch", "/nauta/outputs/go"]).output();
    }
    words.extend(lines);
    let ended = child.wait().expect("waited");
    let trace = std::fs::read(trace).expect("readable");
    assert!(ended.success() && holds(&trace, "TRACE"), "{words:?}\n{}", String::from_utf8_lossy(&trace));
    let digests = words.iter().filter(|line| line.contains(&digest())).count();
    assert_eq!(digests, 4, "two ranks, two attempts: {words:?}");
    search.add("standard error", trace);
    search.add("standard output", words.join("\n"));
    search.finds_nothing(&workstation);
    let forgotten = workstation.succeeds(&["secret", "remove", "CANARY_KEPT"]);
    assert!(forgotten.stdout.contains("is forgotten"), "{}", forgotten.stdout);
}

#[test]
fn on_a_cluster_the_kubelet_alone_reads_them() {
    let workstation = project(&base("NAUTA_TEST_IMAGE_BUSYBOX"));
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let team = format!("with-secrets-{}", std::process::id());
    let data = json!({"api-key": KEPT});
    apply(&[json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": team}, "stringData": data})]);
    let in_namespace = format!("{team}/api-key=CANARY_KEPT");
    let mut search = Search::begin();
    let flags = [&WHOLE[..], &["CANARY_ENV", "--secret", &in_namespace]].concat();
    let done = workstation.succeeds(&[&["run"], &flags[..]].concat());
    let digests = done.stdout.lines().filter(|line| line.contains(&digest())).count();
    assert_eq!(digests, 4, "two ranks, two attempts: {}\n{}", done.stdout, done.stderr);
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text");
    let label = format!("nauta.dev/run={name}");
    let described = kubectl(&["describe", "jobs,pods", "-l", &label]);
    let told = format!("<set to the key 'CANARY_ENV' in secret '{name}-secrets'>");
    let of_team = format!("<set to the key 'api-key' in secret '{team}'>");
    assert!(described.contains(&told) && described.contains(&of_team), "{described}");
    search.add("kubectl describe", described);
    search.add("the objects", kubectl(&["get", "jobs,pods,services,events", "-l", &label, "-o", "yaml"]));
    search.add("kubectl logs", kubectl(&["logs", "-l", &label, "--tail", "-1"]));
    let dry = workstation.succeeds(&[&["run", "--dry-run"], &flags[..]].concat());
    assert!(
        dry.stdout.contains("kubectl create secret generic") && dry.stdout.contains("secretKeyRef"),
        "{}",
        dry.stdout
    );
    for (place, text) in
        [("its output", done.stdout), ("its trace", done.stderr), ("a dry run", dry.stdout), ("its trace", dry.stderr)]
    {
        search.add(place, text);
    }
    search.finds_nothing(&workstation);
    // With the run's end, the values are gone; those of the team stay.
    let _ = kubectl(&["wait", "--for=delete", "--timeout=60s", &format!("secret/{name}-secrets")]);
    let left = kubectl_command(&["get", "secret", &team]).output().expect("kubectl");
    let _ = kubectl(&["delete", "secret", &team]);
    assert!(left.status.success());
}

#[test]
fn what_a_program_says_of_its_secrets_is_masked_here() {
    let mut workstation = project(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    workstation.set("CANARY_ENV", SAID);
    let run = ["run", "--local", "--secret-env", "CANARY_ENV", "--"];
    let done = workstation.succeeds(&[&run[..], &["sh", "-c", "echo \"it is $CANARY_ENV\"; echo on"]].concat());
    assert_eq!(done.stdout, "[0] it is ***\n[0] on\n", "{}", done.stderr);
    let failed = workstation.nauta(&[&run[..], &[SAID]].concat());
    assert_eq!(failed.code, 127, "{failed:?}");
    assert!(failed.stderr.contains("`***` is not in the image"), "{}", failed.stderr);
    assert!(!failed.stderr.contains(SAID), "{}", failed.stderr);
    for arguments in [["--secret-env", "CANARY_ENV=canary-value"], ["--secret", "CANARY_ENV=canary-value"]] {
        let refused = workstation.nauta(&[&["run", "--local"], &arguments[..]].concat());
        assert!(refused.code == 125 && !refused.stderr.contains("canary-value"), "{refused:?}");
    }
    let unset = workstation.nauta(&["run", "--local", "--secret-env", "CANARY_UNSET"]);
    assert!(unset.stderr.contains("the variable `CANARY_UNSET` is not set here"), "{}", unset.stderr);
}
