//! The Docker adapter against a real engine.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod build;
mod connect;
mod export;
mod ignored;
mod local;
mod watch;

use std::process::Command;
use std::sync::{Arc, Mutex};

use nauta::docker::{Docker, DockerSettings};
use nauta::event::{Event, Events};

/// The engine that the tests use: the one that the `docker` command would.
fn settings() -> DockerSettings {
    let text = |name: &str| std::env::var(name).ok();
    DockerSettings {
        host: text("DOCKER_HOST"),
        context: text("DOCKER_CONTEXT"),
        config: text("DOCKER_CONFIG").map(Into::into),
        tls_verify: text("DOCKER_TLS_VERIFY"),
        cert_path: text("DOCKER_CERT_PATH").map(Into::into),
        home: text("HOME").map(Into::into),
        runtime_dir: text("XDG_RUNTIME_DIR").map(Into::into),
    }
}

async fn docker() -> Docker {
    match Docker::connect(&settings()).await {
        Ok(docker) => docker,
        Err(error) => panic!("no Docker engine for the tests ({error}): run tests/run"),
    }
}

fn image(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| panic!("{variable} is not set: run tests/run"))
}

fn busybox() -> String {
    image("NAUTA_TEST_IMAGE_BUSYBOX")
}

/// Runs the `docker` command; gives what it wrote to stdout.
fn docker_command(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("the docker command starts");
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Events that are kept.
fn recorder() -> (Events, Arc<Mutex<Vec<Event>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    (Events::new(move |event| sink.lock().unwrap().push(event)), seen)
}

/// A name that no other test uses.
fn unique(what: &str) -> String {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes).expect("random bytes");
    format!("test-{what}-{:08x}", u32::from_be_bytes(bytes))
}
