//! The templates of frameworks train on two ranks, wherever they run.

use super::cluster::{Cleanup, base};
use super::{from_template, parameters};
use crate::support::{Workstation, environment};

fn losses(stdout: &str) -> Vec<f64> {
    stdout.lines().filter_map(|line| line.split("loss ").nth(1)?.parse().ok()).collect()
}

/// The loss falls, and both ranks come to the same parameters.
fn has_trained(stdout: &str) {
    let (losses, digests) = (losses(stdout), parameters(stdout));
    assert!(losses.len() == 5 && losses[4] < losses[0] / 3.0, "{stdout}");
    assert!(digests.len() == 2 && digests[0] == digests[1], "{stdout}");
    assert!(stdout.contains("rank 1 of 2"), "{stdout}");
}

fn trains_here(template: &str, image: &str, checkpoint: &str) -> String {
    let here = from_template(template, &environment(image));
    let stdout = here.succeeds(&["run", "--local"]).stdout;
    assert!(here.only_run().join(checkpoint).is_file());
    has_trained(&stdout);
    stdout
}

/// A template trains on Docker and on the cluster, and both places come to the same.
fn trains_here_and_there(template: &str, image: &str, checkpoint: &str) {
    let local = trains_here(template, image, checkpoint);
    let there = from_template(template, &base(image));
    there.configure_cluster("");
    let _cleanup = Cleanup(&there);
    let cluster = there.succeeds(&["run", "--nodes", "2"]).stdout;
    assert!(there.only_run().join(checkpoint).is_file());
    has_trained(&cluster);
    is_the_same(template, &local, &cluster);
}

/// The same losses, within what a framework's own order of additions makes of them.
fn is_the_same(template: &str, local: &str, cluster: &str) {
    for (ours, theirs) in losses(local).iter().zip(losses(cluster)) {
        assert!((ours - theirs).abs() < 0.01, "{template}: {ours} here, {theirs} on the cluster");
    }
}

#[test]
fn jax() {
    trains_here_and_there("jax", "NAUTA_TEST_IMAGE_PYTHON", "checkpoint.npz");
}

/// On Docker only: an environment of 1.5 GB on three nodes of one machine takes more disk than the test environment asks for.
#[test]
fn tensorflow() {
    let _ = trains_here("tensorflow", "NAUTA_TEST_IMAGE_PYTHON", "checkpoint.weights.h5");
}

#[test]
fn mpi() {
    trains_here_and_there("mpi", "NAUTA_TEST_IMAGE_MPI", "checkpoint.npz");
}

/// The template on a base of the tests: what the template installs from Debian is there but for setuptools, which pip then gets for
/// the build alone.
fn deepspeed_on(base: &str) -> Workstation {
    let workstation = from_template("deepspeed", base);
    let toml = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    let toml = toml.replace(&format!("base = '{base}'"), "dockerfile = 'Dockerfile'");
    let dockerfile = format!(
        "FROM {base}\nCOPY requirements.txt /\nRUN --mount=type=secret,id=nauta-ca,mode=0444 PIP_CERT=/run/secrets/nauta-ca \
         PIP_USE_PEP517=1 PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install -r requirements.txt\n"
    );
    workstation.write("Dockerfile", &dockerfile).write("nauta.toml", &toml);
    workstation
}

/// The launch line of DeepSpeed's documentation ("Getting Started", multi-node), and the one without a list of hosts.
#[test]
fn deepspeed() {
    let here = deepspeed_on(&environment("NAUTA_TEST_IMAGE_PYTORCH"));
    let local = here.succeeds(&["run", "--local"]).stdout;
    assert!(here.only_run().join("checkpoint.pt").is_file());
    has_trained(&local);
    let there = deepspeed_on(&base("NAUTA_TEST_IMAGE_PYTORCH"));
    there.configure_cluster("");
    let _cleanup = Cleanup(&there);
    let line = "deepspeed --hostfile=/job/hostfile train.py --deepspeed --deepspeed_config ds_config.json";
    let arguments: Vec<&str> = ["run", "--"].into_iter().chain(line.split(' ')).collect();
    let cluster = there.succeeds(&arguments).stdout;
    has_trained(&cluster);
    is_the_same("deepspeed", &local, &cluster);
}

#[test]
fn accelerate() {
    trains_here_and_there("accelerate", "NAUTA_TEST_IMAGE_PYTORCH", "checkpoint.pt");
}

/// Accelerate's own launcher, as its documentation writes it for several machines.
#[test]
fn accelerate_launch() {
    let workstation = from_template("accelerate", &environment("NAUTA_TEST_IMAGE_PYTORCH"));
    let line = "accelerate launch --cpu --num_machines 2 --num_processes 2 --machine_rank $RANK \
                --main_process_ip $MASTER_ADDR --main_process_port $MASTER_PORT train.py";
    let plain = workstation.succeeds(&["run", "--local"]);
    let launched = workstation.succeeds(&["run", "--local", "--", "sh", "-c", line]);
    assert_eq!(parameters(&launched.stdout), parameters(&plain.stdout));
    assert!(launched.stdout.contains("rank 1 of 2"), "{}", launched.stdout);
}
