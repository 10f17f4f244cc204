//! The templates of frameworks train on two ranks, wherever they run.

use super::cluster::{Cleanup, base};
use super::{from_template, parameters, template_on};
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

/// A template trains on Docker and on the cluster, and both places come to the same. One environment does for both.
fn trains_here_and_there(template: &str, image: &str, checkpoint: &str) {
    let [here, there] = [(); 2].map(|()| from_template(template, &base(image)));
    train_the_same(template, [&here, &there], checkpoint);
}

fn train_the_same(template: &str, [here, there]: [&Workstation; 2], checkpoint: &str) {
    let local = here.succeeds(&["run", "--local"]).stdout;
    assert!(here.only_run().join(checkpoint).is_file());
    has_trained(&local);
    there.configure_cluster("");
    let _cleanup = Cleanup(there);
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

/// Ranks that know nothing of each other: the template `python` finds the same in both places.
#[test]
fn plain_processes() {
    let estimates = |workstation: &Workstation| {
        let run = workstation.only_run();
        ["estimate.json", "rank-1/estimate.json"].map(|file| std::fs::read_to_string(run.join(file)).expect("arrived"))
    };
    let [here, there] = [Workstation::new(), Workstation::new()];
    for workstation in [&here, &there] {
        let _ = workstation.succeeds(&["init", "--template", "python"]);
    }
    here.configure(&format!("[defaults]\nbase = '{}'\n", environment("NAUTA_TEST_IMAGE_PYTHON")));
    let _ = here.succeeds(&["run", "--local"]);
    there.configure_cluster(&format!("[defaults]\nbase = '{}'\n", base("NAUTA_TEST_IMAGE_PYTHON")));
    let _cleanup = Cleanup(&there);
    let _ = there.succeeds(&["run", "--nodes", "2"]);
    assert_eq!(estimates(&here), estimates(&there));
    assert!(estimates(&here)[1].contains("\"rank\": 1, \"darts\": 500000"), "{:?}", estimates(&here));
}

#[test]
fn jax() {
    trains_here_and_there("jax", "NAUTA_TEST_IMAGE_PYTHON", "checkpoint.npz");
}

#[test]
fn tensorflow() {
    trains_here_and_there("tensorflow", "NAUTA_TEST_IMAGE_PYTHON", "checkpoint.weights.h5");
}

/// Templates as they are, on a Debian with nothing in it: what they install by apt and pip is all they have.
/// `NAUTA_TEST_TEMPLATES=mpi,pytorch,accelerate,deepspeed` names more than the smallest of them.
#[test]
fn what_templates_install_is_enough() {
    let templates = std::env::var("NAUTA_TEST_TEMPLATES").unwrap_or_else(|_| "mpi".to_owned());
    for template in templates.split(',') {
        let image = "NAUTA_TEST_IMAGE_DEBIAN";
        let [here, there] = [(); 2].map(|()| template_on(template, &base(image)));
        let checkpoint = if template == "mpi" { "checkpoint.npz" } else { "checkpoint.pt" };
        train_the_same(template, [&here, &there], checkpoint);
    }
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
    let here = deepspeed_on(&base("NAUTA_TEST_IMAGE_PYTORCH"));
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
    let alone = from_template("accelerate", &base("NAUTA_TEST_IMAGE_PYTORCH")).succeeds(&["run", "--local", "-n", "1"]);
    assert!(losses(&alone.stdout).len() == 5 && alone.stdout.contains("rank 0 of 1"), "{alone:?}");
}

/// Without arguments, JAX looks for a cluster that it knows.
#[test]
fn jax_finds_all_by_itself_where_it_is_asked_for() {
    let workstation = from_template("jax", &base("NAUTA_TEST_IMAGE_PYTHON"));
    let program =
        "import jax; jax.distributed.initialize(); print('place', jax.process_index(), 'of', jax.process_count())";
    let done = workstation.succeeds(&["run", "--local", "--variables", "jax", "--", "python3", "-c", program]);
    assert!((0..2).all(|rank| done.stdout.contains(&format!("[{rank}] place {rank} of 2"))), "{done:?}");
}
