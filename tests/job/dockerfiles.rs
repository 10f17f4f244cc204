//! Dockerfiles of one's own: what `docker build` takes, nauta takes.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use base64::Engine as _;

use crate::support::{Done, Workstation, environment, said, tool};

/// A word that no other test and no earlier run has used.
pub(super) fn unique() -> String {
    format!("{:?}", std::time::SystemTime::now()).replace(|c: char| !c.is_ascii_digit(), "")
}

/// A workstation whose project prints what its image has in `/said`.
fn project(dockerfile: &str) -> Workstation {
    let workstation = Workstation::new();
    workstation.write("Dockerfile", dockerfile).write("nauta.toml", "[run]\ncommand = 'cat /said'\n");
    workstation
}

fn fails(workstation: &Workstation, arguments: &[&str]) -> Done {
    let done = workstation.nauta(arguments);
    assert_eq!(done.code, 125, "{arguments:?}: {}\n{}", done.stdout, done.stderr);
    assert!(done.stderr.contains("hint:"), "{}", done.stderr);
    done
}

#[test]
fn arguments_a_stage_and_secrets_reach_the_build() {
    let (unique, base) = (unique(), environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let mut workstation = project("");
    std::fs::remove_file(workstation.project.join("Dockerfile")).expect("removed");
    workstation
        .write(
            "Containerfile",
            &format!(
                "ARG BASE\nFROM ${{BASE}} AS first\nARG WORD=none\nARG FROM_HERE=unset\n\
                 RUN --mount=type=secret,id=the.token,required=true \
                 echo \"$WORD $FROM_HERE $(wc -c < /run/secrets/the.token)\" > /said # {unique}\n\
                 FROM first\nRUN echo second >> /said\n"
            ),
        )
        .write(
            "nauta.toml",
            &format!(
                "[run]\ncommand = 'cat /said'\n[environment]\ntarget = 'first'\nargs = {{ BASE = '{base}', WORD = 'file' }}\n\
                 [environment.secrets]\nnames = ['the.token']\n"
            ),
        );
    let without = fails(&workstation, &["run", "--local"]);
    assert!(without.stderr.contains("no value for the build secret `the.token`"), "{}", without.stderr);
    assert!(without.stderr.contains("`nauta secret set the.token`"), "{}", without.stderr);

    let token = format!("canary-{unique}");
    workstation.set("A_TOKEN", &token).set("FROM_HERE", "here");
    let secret = "--build-secret=id=the.token,env=A_TOKEN";
    let first = workstation.succeeds(&["run", "--local", "--build-arg", "FROM_HERE", secret]);
    let size = token.len();
    assert_eq!(first.stdout, format!("[0] file here {size}\n"), "{}", first.stderr);
    let image = first.stderr.contains("built Containerfile");
    assert!(image && !first.stderr.contains(&token), "{}", first.stderr);

    // Another value opens the same; another argument or stage is another environment.
    workstation.set("A_TOKEN", "another value");
    let again = workstation.succeeds(&["run", "--local", "--build-arg", "FROM_HERE", secret]);
    assert!(again.stderr.contains("Containerfile of the project is unchanged"), "{}", again.stderr);
    let other = workstation.succeeds(&["run", "--local", "--build-arg", "WORD=flag", secret]);
    assert!(other.stdout.starts_with("[0] flag unset "), "{}", other.stdout);
    let stage = workstation.succeeds(&["run", "--local", "--build-arg", "WORD=flag", secret, "--build-target", ""]);
    assert!(stage.stdout.ends_with("[0] second\n"), "{}", stage.stdout);
    let unknown = fails(&workstation, &["run", "--local", secret, "--build-target", "third"]);
    assert!(unknown.stderr.contains("third"), "{}", unknown.stderr);

    let images = tool("docker", &["image", "ls", "-q", "nauta/environment"]);
    let newest: Vec<&str> = images.lines().take(6).collect();
    for image in newest {
        let seen = tool("docker", &["history", "--no-trunc", image]) + &tool("docker", &["image", "inspect", image]);
        assert!(!seen.contains(&token), "{seen}");
    }
}

#[test]
fn what_builds_are_given_wrongly_is_refused_without_repeating_it() {
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    let workstation = project(&format!("FROM {base}\n"));
    for (flag, words) in [
        ("--build-arg=INDEX=https://ada:canary@h/simple", "`--build-secret id=ID,env=VARIABLE`"),
        ("--build-secret=id=x,value=canary", "`--build-secret` takes `id=ID`"),
        ("--build-secret=id=x,env=NOT_SET_HERE", "`NOT_SET_HERE` for the build secret `x` is not set"),
        ("--build-secret=id=x,src=not-there", "not-there` for the build secret `x`"),
        ("--build-ssh=default", "`SSH_AUTH_SOCK` is not set"),
        ("--build-ssh=default=Dockerfile", "is no socket of an SSH agent"),
    ] {
        let refused = fails(&workstation, &["run", "--local", flag]);
        assert!(refused.stderr.contains(words) && !refused.stderr.contains("canary"), "{flag}: {}", refused.stderr);
    }
    let warned = workstation.nauta(&["run", "--local", "--build-arg=API_TOKEN=x", "--", "true"]);
    assert!(warned.stderr.contains("`API_TOKEN` (from --build-arg) looks like a secret"), "{}", warned.stderr);
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\nargs = {{ X = '1' }}\n"));
    let none = fails(&workstation, &["run", "--local", "--", "true"]);
    assert!(none.stderr.contains("a build argument is for a Dockerfile"), "{}", none.stderr);
    workstation.write("nauta.toml", "[environment.secrets]\ntoken = 'canary'\n");
    let value = workstation.nauta(&["run", "--local", "--", "true"]);
    assert!(value.stderr.contains("names = [\"token\"]") && !value.stderr.contains("canary"), "{}", value.stderr);
}

/// An SSH agent with one key; it ends with the test.
struct Agent {
    child: Child,
    folder: tempfile::TempDir,
}

impl Agent {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("agent");
        let child = Command::new("ssh-agent").arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn();
        let agent = Self { child: child.expect("ssh-agent: install openssh-client"), folder };
        let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !agent.socket().exists() {
            assert!(std::time::Instant::now() < until, "the agent does not listen");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let key = agent.folder.path().join("key").display().to_string();
        tool("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-C", "of-the-test", "-f", &key]);
        let mut add = Command::new("ssh-add");
        add.args(["-q", &key]).env("SSH_AUTH_SOCK", agent.socket());
        let _ = said(add);
        agent
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("agent")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Asks the agent for its keys, for a signature with the first one, and to forget all of them.
const ASK: &str = r"
import os, socket, struct
agent = socket.socket(socket.AF_UNIX)
agent.connect(os.environ['SSH_AUTH_SOCK'])
def ask(body):
    agent.sendall(struct.pack('>I', len(body)) + body)
    size = struct.unpack('>I', agent.recv(4, socket.MSG_WAITALL))[0]
    return agent.recv(size, socket.MSG_WAITALL)
keys = ask(b'\x0b')
size = struct.unpack('>I', keys[5:9])[0]
key = keys[5:9 + size]
signed = ask(b'\x0d' + key + struct.pack('>I', 5) + b'words' + struct.pack('>I', 0))
forgot = ask(b'\x13')
print(keys[0], struct.unpack('>I', keys[1:5])[0], signed[0], forgot[0], ask(b'\x0b')[4], file=open('/said', 'w'))
";

#[test]
fn a_build_signs_with_the_workstations_agent_and_changes_nothing_in_it() {
    let base = environment("NAUTA_TEST_IMAGE_PYTHON");
    let mut workstation = project(&format!(
        "FROM {base}\nCOPY ask.py /\nRUN --mount=type=ssh,required=true python3 /ask.py # {}\n",
        unique()
    ));
    workstation.write("ask.py", ASK);
    let refused = fails(&workstation, &["run", "--local"]);
    assert!(refused.stderr.contains("`--build-ssh default`"), "{}", refused.stderr);
    let agent = Agent::start();
    workstation.set("SSH_AUTH_SOCK", agent.socket().to_str().expect("text"));
    let done = workstation.succeeds(&["run", "--local", "--build-ssh", "default"]);
    // One key, a signature, a refusal, and one key still.
    assert_eq!(done.stdout, "[0] 12 1 14 5 1\n", "{}", done.stderr);
}

/// Puts an image into the registry that wants a login, where Docker here no longer has it.
fn publish(name: &str, login: &str) {
    let config = tempfile::tempdir().expect("a folder");
    std::fs::write(config.path().join("config.json"), login).expect("written");
    tool("docker", &["tag", &environment("NAUTA_TEST_IMAGE_BUSYBOX"), name]);
    tool("docker", &["--config", config.path().to_str().expect("text"), "push", "-q", name]);
    tool("docker", &["rmi", name]);
}

#[test]
fn logins_are_looked_up_when_the_builder_asks() {
    let registry = environment("NAUTA_TEST_REGISTRY_AUTH");
    let password = std::fs::read_to_string(environment("NAUTA_TEST_REGISTRY_PASSWORD_FILE")).expect("readable");
    let pair = format!("{}:{}", environment("NAUTA_TEST_REGISTRY_USER"), password.trim());
    let auth = base64::prelude::BASE64_STANDARD.encode(pair);
    let login = serde_json::json!({ "auths": { registry.clone(): { "auth": auth } } }).to_string();
    let name = format!("tests/asked-{}", unique());
    publish(&format!("{registry}/{name}:amd64"), &login);
    // What the names are is known to the builder alone: `TARGETARCH` is its own.
    let workstation = project(&format!(
        "ARG REGISTRY={registry}\nFROM ${{REGISTRY}}/{name}:${{TARGETARCH}}\nRUN echo private > /said\n"
    ));
    let anonymous = fails(&workstation, &["run", "--local"]);
    assert!(anonymous.stderr.contains(&format!("run `nauta login {registry}`")), "{}", anonymous.stderr);
    let helper = serde_json::json!({ "credHelpers": { registry.clone(): "not-installed" } }).to_string();
    workstation.write("../home/.docker/config.json", &helper);
    let missing = fails(&workstation, &["run", "--local"]);
    assert!(missing.stderr.contains("`docker-credential-not-installed` is not in PATH"), "{}", missing.stderr);
    workstation.write("../home/.docker/config.json", &login);
    assert_eq!(workstation.succeeds(&["run", "--local"]).stdout, "[0] private\n");
    // A default of an argument is known, and such a name is pinned as a plain one is.
    workstation.write("Dockerfile", &format!("ARG R={registry}\nFROM ${{R}}/{name}:amd64\nRUN echo pinned > /said\n"));
    let pinned = workstation.succeeds(&["run", "--local"]);
    assert!(pinned.stdout == "[0] pinned\n" && pinned.stderr.contains("from now on"), "{pinned:?}");
}

#[test]
fn certificates_are_offered_to_a_dockerfile_and_distrust_is_told() {
    let base = environment("NAUTA_TEST_IMAGE_PYTHON");
    let unique = unique();
    let workstation =
        project(&format!("FROM {base}\nRUN --mount=type=secret,id=other true # {unique}\nRUN echo fine > /said\n"));
    workstation.configure("[defaults]\nca_bundle = '/etc/ssl/certs/ca-certificates.crt'\n");
    let offered = workstation.succeeds(&["run", "--local"]);
    assert!(offered.stderr.contains("RUN --mount=type=secret,id=nauta-ca"), "{}", offered.stderr);
    let lines = "echo another line; ".repeat(30);
    workstation.write(
        "Dockerfile",
        &format!(
            "FROM {base}\nRUN --mount=type=secret,id=nauta-ca,required=true \
             grep -c BEGIN /run/secrets/nauta-ca > /said # {unique}\n\
             RUN echo 'SSLError(1, [SSL: CERTIFICATE_VERIFY_FAILED] of the test)'; {lines} exit 1\n"
        ),
    );
    let failed = fails(&workstation, &["run", "--local"]);
    assert!(!failed.stderr.contains("does not use the certificates"), "{}", failed.stderr);
    let hint = failed.stderr.lines().find(|line| line.contains("did not trust a certificate"));
    assert!(hint.is_some_and(|hint| hint.contains("of the test")), "{}", failed.stderr);
    assert!(failed.stderr.contains("`ca_bundle` under `[environment]`"), "{}", failed.stderr);
}

#[test]
fn a_builder_that_is_older_than_a_dockerfile_is_told() {
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    let newer = "# syntax=docker/dockerfile:1";
    for instruction in ["RUN <<END\necho newer > /said\nEND", "COPY --link words /said"] {
        let workstation = project(&format!("FROM {base}\n{instruction}\n"));
        let done = workstation.write("words", "newer").nauta(&["run", "--local"]);
        // An engine that knows it builds it.
        let is_built = done.code == 0 && done.stdout.contains("[0] newer");
        assert!(is_built || done.code == 125 && done.stderr.contains(newer), "{instruction}: {}", done.stderr);
    }
}

#[test]
fn an_entry_point_that_hands_on_runs_first_and_another_is_told() {
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    let script = r#"#!/bin/sh\nexport GREETING="hello $NAUTA_RANK"\nexec "$@"\n"#;
    let dockerfile = |entrypoint: &str| {
        format!(
            "FROM {base}\nRUN printf '{script}' > /entry.sh && chmod 755 /entry.sh\nENTRYPOINT {entrypoint}\nCMD [\"x\"]\n"
        )
    };
    let workstation = project(&dockerfile(r#"["/entry.sh"]"#));
    workstation.configure_cluster("").write("nauta.toml", "[run]\ncommand = ['sh', '-c', 'echo $GREETING']\n");
    for target in ["--local", "--target=lab"] {
        let done = workstation.succeeds(&["run", target]);
        assert_eq!(done.stdout, "[0] hello 0\n", "{target}: {}", done.stderr);
    }
    workstation.write("Dockerfile", &dockerfile(r#"["echo"]"#));
    let other = workstation.succeeds(&["run", "--local"]);
    let said = format!("{}{}", other.stdout, other.stderr);
    assert!(!other.stdout.contains("[0] sh -c"), "{said}");
    assert!(said.contains("ENTRYPOINT (`echo`) hands on to no command, and is left out"), "{said}");
}
