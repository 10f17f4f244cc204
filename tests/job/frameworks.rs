//! The templates of frameworks train on two ranks, wherever they run.

use super::cluster::{Cleanup, base};
use super::{from_template, parameters, template_on};
use crate::support::{Done, Workstation, environment};

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

/// A template trains on Docker and on the cluster, and both places come to the same.
fn trains_here_and_there(template: &str, image: &str, checkpoint: &str) {
    let [here, there] = [environment(image), base(image)].map(|base| from_template(template, &base));
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
        let [here, there] = [environment(image), base(image)].map(|base| template_on(template, &base));
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

/// Accelerate's own launcher, as one types it for one machine.
#[test]
fn accelerate_launch() {
    let workstation = from_template("accelerate", &environment("NAUTA_TEST_IMAGE_PYTORCH"));
    let plain = workstation.succeeds(&["run", "--local"]);
    let launched = workstation.succeeds(&["run", "--local", "--", "accelerate", "launch", "train.py"]);
    assert_eq!(parameters(&launched.stdout), parameters(&plain.stdout));
    assert!(launched.stdout.contains("rank 1 of 2"), "{}", launched.stdout);
}

/// Without arguments, JAX looks for a cluster that it knows.
#[test]
fn jax_finds_all_by_itself_where_it_is_asked_for() {
    let workstation = from_template("jax", &environment("NAUTA_TEST_IMAGE_PYTHON"));
    let program =
        "import jax; jax.distributed.initialize(); print('place', jax.process_index(), 'of', jax.process_count())";
    let done = workstation.succeeds(&["run", "--local", "--variables", "jax", "--", "python3", "-c", program]);
    assert!((0..2).all(|rank| done.stdout.contains(&format!("[{rank}] place {rank} of 2"))), "{done:?}");
}

const LIGHTNING: &str = "\
import os, sys
import lightning as L
import torch
from torch.utils.data import DataLoader, TensorDataset

class Line(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def training_step(self, batch, _):
        x, y = batch
        return torch.nn.functional.mse_loss(self.layer(x), y)
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

x = torch.rand(64, 2)
data = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), batch_size=8)
trainer = L.Trainer(num_nodes=int(sys.argv[1]), devices=int(sys.argv[2]), accelerator='cpu', strategy='ddp', max_epochs=1,
                    enable_progress_bar=False, logger=False, enable_checkpointing=False, enable_model_summary=False)
trainer.fit(Line(), data)
sys.stdout.write(f'trained {trainer.global_rank} of {trainer.world_size}\\n')
sys.stdout.flush()
";

const TRAINER: &str = "\
import sys
import torch
from transformers import Trainer, TrainingArguments

class Line(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def forward(self, x, labels):
        return {'loss': torch.nn.functional.mse_loss(self.layer(x).squeeze(-1), labels)}

points = [torch.tensor([i / 64, 1.0]) for i in range(64)]
data = [{'x': point, 'labels': point.sum()} for point in points]
# Debian's PyTorch has MPI, which would be taken first where there are no accelerators.
backend = {'ddp_backend': 'gloo'} if len(sys.argv) > 1 else {}
arguments = TrainingArguments('/tmp/out', num_train_epochs=1, save_strategy='no', report_to=[], disable_tqdm=True, **backend)
Trainer(Line(), arguments, train_dataset=data).train()
sys.stdout.write(f'trained {arguments.process_index} of {arguments.world_size}\\n')
sys.stdout.flush()
";

/// Lightning finds the machines by `NODE_RANK`, and starts the processes of one itself unless it is told that somebody else does.
/// Hugging Face's Trainer goes distributed when it sees a rank. One environment has both.
#[test]
fn lightning_and_hugging_faces_trainer() {
    let project = |base: &str| {
        let workstation = template_on("accelerate", base);
        let toml = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
        let lines: Vec<&str> = toml.lines().filter(|line| !line.starts_with("packages")).collect();
        workstation.write("nauta.toml", &lines.join("\n").replace("digits-accelerate", "lines"));
        workstation.write("requirements.txt", "lightning\ntransformers<5\naccelerate\nhuggingface_hub<1\n");
        workstation.write("line.py", LIGHTNING).write("trainer.py", TRAINER);
        workstation
    };
    let has_trained = |done: &Done, processes: u32| {
        let is_there = |rank| done.stdout.contains(&format!("trained {rank} of {processes}\n"));
        assert!((0..processes).all(is_there) && !done.stderr.contains("independent copies"), "{done:?}");
    };
    let [here, there] = [environment, base].map(|of: fn(&str) -> String| project(&of("NAUTA_TEST_IMAGE_PYTORCH")));
    let local = |options: &[&str], program: &[&str]| {
        here.succeeds(&[&["run", "--local"], options, &["--stall-timeout", "2m", "--", "python3"], program].concat())
    };
    has_trained(&local(&["-n", "2"], &["line.py", "2", "1"]), 2);
    has_trained(&local(&["-n", "1"], &["line.py", "1", "2"]), 2);
    has_trained(&local(&["-n", "2", "--slots", "2"], &["line.py", "2", "2"]), 4);
    has_trained(&local(&["-n", "1"], &["trainer.py"]), 1);
    has_trained(&local(&["-n", "2"], &["trainer.py", "gloo"]), 2);
    there.configure_cluster("");
    let _cleanup = Cleanup(&there);
    has_trained(&there.succeeds(&["run", "-n", "2", "--stall-timeout", "2m", "--", "python3", "line.py", "2", "1"]), 2);
}
