//! What to do about each [`DockerError`].

use super::endpoint::{Endpoint, HOST_VARIABLE, Origin};
use super::error::{DockerError, LOGIN_WORDS, is_about_the_network};
use crate::diagnosis::{Diagnosis, nearest};

/// Actions, most likely first.
pub(super) fn of(error: &DockerError) -> Vec<String> {
    use DockerError as E;
    match error {
        E::NoSuchContext { context, known, .. } => context_hints(context, known),
        E::ContextWithoutHost { .. } | E::UnverifiedTls { .. } => {
            vec!["choose another context: run `docker context ls`, then `docker context use NAME`".to_owned()]
        }
        E::Address { .. } => {
            vec![format!("set `{HOST_VARIABLE}` to `unix:///path/to/docker.sock` or `tcp://host:port`")]
        }
        E::Ssh { address, .. } => ssh_hints(address),
        E::NoSocket { endpoint } => no_socket_hints(endpoint),
        E::Refused { endpoint } => refused_hints(endpoint),
        E::PermissionDenied { .. } => vec![
            "join the group that owns the socket: run `sudo usermod -aG docker $USER`, then log in again".to_owned(),
            "or use rootless Docker: run `dockerd-rootless-setuptool.sh install`".to_owned(),
        ],
        E::Unreachable { .. } => vec![format!("check the address and the network, or `{HOST_VARIABLE}`")],
        E::Tls { .. } => vec![
            "check `ca.pem`, `cert.pem` and `key.pem` in `DOCKER_CERT_PATH` or in the context".to_owned(),
            "a port without TLS is used when `DOCKER_TLS_VERIFY` is not set".to_owned(),
        ],
        E::TooOld { .. } => vec!["update Docker to 20.10 or later".to_owned()],
        E::TooNew { .. } => vec!["update nauta".to_owned()],
        E::DiskFull { .. } => vec![
            "see what takes the room: run `docker system df`".to_owned(),
            "free what no image needs: run `docker builder prune` and `docker image prune`".to_owned(),
        ],
        E::NoAddressRange => vec!["remove networks that nothing uses: run `docker network prune`".to_owned()],
        E::SecretsNeedBuildKit { .. } | E::NoBuildKit { .. } => {
            vec!["update Docker to 20.10 or later".to_owned()]
        }
        E::BuildFailed { lines, .. } => failed_build_hints(lines),
        E::BuildRefused { message, .. } => refused_build_hints(message),
        E::Archive(error) => error.hints(),
        E::RunExists { run } => vec![format!("choose another name, or end it: run `nauta cancel {run}`")],
        E::Local { .. } => vec!["check that the file is there, and its permissions".to_owned()],
        _ => Vec::new(),
    }
}

fn failed_build_hints(lines: &[String]) -> Vec<String> {
    let mut hints: Vec<String> = lines.last().map(|line| format!("its last words: {line}")).into_iter().collect();
    if let Some(line) = lines.iter().find(|line| is_about_trust(line)) {
        hints.push(format!("it did not trust a certificate: {}", line.trim()));
        hints.push(
            "if a company's proxy looks into connections, name its certificates: `ca_bundle` under `[environment]` in nauta.toml, or \
             under `[defaults]` in your configuration"
                .to_owned(),
        );
    }
    if lines.iter().any(|line| wants_index_login(line)) {
        hints.push(
            "the package index wants a login: keep it in `~/.netrc`, pip.conf or a variable such as `UV_INDEX_NAME_PASSWORD`, which builds \
             get as secrets; a Dockerfile of your own gets one with `--build-secret`"
                .to_owned(),
        );
    }
    if lines.iter().any(|line| line.contains("exec format error")) {
        hints.push("its programs are for other processors, which this machine has to emulate: install QEMU's user emulation (Debian: `qemu-user-static` and `binfmt-support`)".to_owned());
    }
    hints.push(missing_program(lines).map_or_else(
        || "mend what the step needs, and run again: the steps before it are kept".to_owned(),
        str::to_owned,
    ));
    hints
}

/// Whether a line says that a certificate is not trusted, in the words of OpenSSL, curl, git, Go and rustls.
pub(super) fn is_about_trust(line: &str) -> bool {
    const WORDS: [&str; 7] = [
        "CERTIFICATE_VERIFY_FAILED",
        "certificate verify failed",
        "SSL certificate problem",
        "unable to get local issuer certificate",
        "certificate signed by unknown authority",
        "invalid peer certificate",
        "server certificate verification failed",
    ];
    WORDS.iter().any(|words| line.contains(words))
}

/// Whether a line is pip's, uv's or conda's about an index that wants a login.
pub(super) fn wants_index_login(line: &str) -> bool {
    let is_code =
        ["401 Unauthorized", "401 Client Error", "HTTP error 401", "HTTP 401", "403 Forbidden", "403 Client Error"]
            .iter()
            .any(|words| line.contains(words));
    is_code || line.contains("401 Error, Credentials not correct") || line.trim_start().starts_with("User for ")
}

/// What to do where a step has not found a program that the base has not.
fn missing_program(lines: &[String]) -> Option<&'static str> {
    let says = |words: &[&str]| lines.iter().any(|line| words.iter().any(|words| line.contains(words)));
    if says(&["No module named pip", "pip: not found", "pip3: not found", "pip: command not found"]) {
        return Some(
            "the base image has no pip: name one that has it (`base = \"python:3.12-slim\"` under `[environment]`), or on Debian add \
             `packages = [\"python3-pip\"]` there",
        );
    }
    says(&["python3: not found", "python3: command not found", "python: not found", "exec: \"python3\""]).then_some(
        "the base image has no Python: name one that has it (`base = \"python:3.12-slim\"` under `[environment]`), or on Debian add \
         `packages = [\"python3-pip\"]` there",
    )
}

/// The path that a `COPY` or `ADD` has not found among what it was sent, as BuildKit and the classic builder say it.
fn missing_source(message: &str) -> Option<&str> {
    let is_about_files = ["failed to compute cache key", "failed to calculate checksum", "COPY failed", "ADD failed"]
        .iter()
        .any(|words| message.contains(words));
    if !is_about_files {
        return None;
    }
    let quoted = || {
        let ends = ["\": not found", "\" not found"];
        ends.iter().find_map(|end| message.split_once(end)).and_then(|(before, _)| before.rsplit_once('"'))
    };
    let stated = || message.rsplit_once(": file does not exist").and_then(|(before, _)| before.rsplit_once("stat "));
    let (_, path) = quoted().or_else(stated)?;
    Some(path.trim_start_matches('/'))
}

fn context_hints(context: &str, known: &[String]) -> Vec<String> {
    let mut hints = Vec::new();
    if let Some(name) = nearest(context, known.iter().map(String::as_str)) {
        hints.push(format!("did you mean `{name}`? run `docker context use {name}`"));
    }
    hints.push("run `docker context ls` to see what there is, or `docker context use default`".to_owned());
    hints
}

fn ssh_hints(address: &str) -> Vec<String> {
    let host = address.trim_start_matches("ssh://").trim_end_matches('/');
    vec![
        format!("forward its socket: run `ssh -fNL /tmp/docker-remote.sock:/var/run/docker.sock {host}`"),
        format!("then set `{HOST_VARIABLE}=unix:///tmp/docker-remote.sock`"),
    ]
}

fn no_socket_hints(endpoint: &Endpoint) -> Vec<String> {
    match endpoint.origin() {
        Origin::Default | Origin::Rootless => vec![
            "install Docker (Debian and Ubuntu: `sudo apt-get install docker.io`)".to_owned(),
            "or start it: run `sudo systemctl start docker`".to_owned(),
            format!("if it listens elsewhere, set `{HOST_VARIABLE}` or run `docker context use NAME`"),
        ],
        _ => vec!["start the engine that listens there, or choose another address".to_owned()],
    }
}

fn refused_hints(endpoint: &Endpoint) -> Vec<String> {
    match endpoint.origin() {
        Origin::Default => vec!["start it: run `sudo systemctl start docker`".to_owned()],
        Origin::Rootless => vec!["start it: run `systemctl --user start docker`".to_owned()],
        _ => vec![
            "start the engine that should listen there".to_owned(),
            format!("or choose another address: `{HOST_VARIABLE}`, or `docker context use NAME`"),
        ],
    }
}

fn refused_build_hints(message: &str) -> Vec<String> {
    if let Some(path) = missing_source(message) {
        return vec![
            format!(
                "no file that is sent to the build has this path: `nauta files --why {path}` says whether a rule keeps it here"
            ),
            "paths in COPY and ADD are relative to the project's folder".to_owned(),
        ];
    }
    if is_about_the_network(message) {
        vec![
            "check the base image's name: without a registry before it, Docker asks Docker Hub".to_owned(),
            "if it is right, Docker cannot reach its registry: try `docker pull` with it".to_owned(),
        ]
    } else if message.contains("--mount option requires BuildKit") {
        vec!["this Docker engine has no BuildKit: update it to 20.10 or later".to_owned()]
    } else if message.contains("could not parse ssh")
        || message.contains("no SSH key")
        || message.contains("no SSH agent")
    {
        vec!["hand your agent on: `--build-ssh default`".to_owned()]
    } else if message.contains("Unknown flag") || message.contains("unknown flag") {
        vec!["this engine's own builder is older than that: begin the Dockerfile with `# syntax=docker/dockerfile:1`, or update Docker".to_owned()]
    } else if message.contains("not found") || LOGIN_WORDS.iter().any(|words| message.contains(words)) {
        vec!["check the base image's name; if it is private, run `docker login` for its registry".to_owned()]
    } else {
        vec!["check the Dockerfile and the base image it names".to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_fit_what_a_build_lacks() {
        for (message, path) in [
            ("failed to compute cache key: \"/dist\" not found: not found", Some("dist")),
            ("failed to compute cache key: failed to walk /x: lstat /x: no such file", None),
            ("failed to calculate checksum of ref abc::def: \"/dist/a.whl\": not found", Some("dist/a.whl")),
            (
                "COPY failed: file not found in build context or excluded by .dockerignore: stat dist: file does not exist",
                Some("dist"),
            ),
            ("pull access denied for nobody/none, repository does not exist", None),
        ] {
            assert_eq!(missing_source(message), path, "{message}");
        }
        let hints = refused_build_hints("COPY failed: stat dist: file does not exist");
        assert!(hints[0].contains("`nauta files --why dist`") && !hints.concat().contains("login"), "{hints:?}");
        assert!(refused_build_hints("pull access denied for x").concat().contains("docker login"));
        let failed = |line: &str| failed_build_hints(&[line.to_owned()]).concat();
        assert!(failed("/usr/bin/python3: No module named pip").contains("`packages = [\"python3-pip\"]`"));
        assert!(failed("/bin/sh: 1: python3: not found").contains("has no Python"));
        assert!(failed("error: bad").contains("mend what the step needs"));
    }
}
