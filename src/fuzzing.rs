//! What is tried with any bytes at all: a target for each parser of bytes that others have made.
//!
//! A target takes any bytes, and panics where something does not hold that should. `fuzz/` looks for such bytes; the tests run
//! those that it has found. Owns: the list. Does not own: the targets, which are in `fuzz.rs` beside what they try.

use crate::{cluster, commands, control, credentials, docker, follow, image, job, output};
use crate::{registry, settings, snapshot, supervisor, sync};

/// Tries some bytes.
pub type Target = fn(&[u8]);

/// All targets by their names, which are those of their folders in `fuzz/corpus`.
pub const TARGETS: [(&str, Target); 25] = [
    ("control-frames", control::fuzz::frames),
    ("credential-helper", credentials::fuzz::helper),
    ("docker-config", credentials::fuzz::docker_config),
    ("docker-context", docker::fuzz::context),
    ("dockerfile", image::fuzz::dockerfile),
    ("exec-credential", cluster::fuzz::exec_credential),
    ("gang-handshake", supervisor::fuzz::handshake),
    ("gang-messages", supervisor::fuzz::messages),
    ("ignore-rules", snapshot::fuzz::rules),
    ("image-documents", image::fuzz::documents),
    ("image-name", image::fuzz::name),
    ("journal", sync::fuzz::journal),
    ("kubeconfig", cluster::fuzz::kubeconfig),
    ("kubelet-log", follow::fuzz::kubelet_log),
    ("launcher-frames", supervisor::fuzz::launcher_frames),
    ("log-lines", output::fuzz::log_lines),
    ("outputs-index", sync::fuzz::index),
    ("pod-words", job::fuzz::pod_words),
    ("registry-answer", registry::fuzz::answer),
    ("registry-challenge", registry::fuzz::challenge),
    ("registry-hosting", cluster::fuzz::hosting),
    ("requirements", image::fuzz::requirements),
    ("run-record", commands::fuzz::record),
    ("saved-image", docker::fuzz::saved_image),
    ("settings", settings::fuzz::files),
];

/// Tries bytes with the target of this name.
///
/// # Panics
/// Where something does not hold, and where there is no such target.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|(known, _)| *known == name);
    target.expect("a target's name").1(bytes);
}
