//! Programs in the shape of public ones (`tests/programs`), unchanged, on Docker and on the cluster: what they make comes back, and is
//! what a plain `docker run` makes. `docs/programs.md` is the table of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nauta::digest::Digest;

use super::cluster::{Cleanup, base};
use crate::meta::reference::keep;
use crate::support::{Workstation, entries, tool};

/// A program and how it is typed.
struct Program {
    /// Its folder below `tests/programs`, and what its shape is.
    folder: &'static str,
    shape: &'static str,
    image: &'static str,
    /// What is typed behind `nauta run -n 1`, and behind `-n 2` where that is something else.
    typed: &'static str,
    of_two: Option<&'static str>,
    /// A line of `.nautaignore` that it needs, as nauta names it.
    sends: Option<&'static str>,
    /// What comes back; what comes as well with two ranks, and behind `!` what does not then.
    outputs: &'static [&'static str],
    with_two: &'static [&'static str],
    /// Of these, what has times or host names in it by its nature.
    by_values: &'static [&'static str],
    /// What one of two ranks says that has met the other.
    meets: Option<&'static str>,
}

const TORCH: &str = "NAUTA_TEST_IMAGE_PYTORCH";
const PYTHON: &str = "NAUTA_TEST_IMAGE_PYTHON";

/// Files of `TensorBoard` have the time and the host in their names.
const EVENTS: &str = "events.out.tfevents.";
const TRAIN: &str = "logs/train/events.out.tfevents.*";
const VALIDATION: &str = "logs/validation/events.out.tfevents.*";

/// What most of them are.
const PROGRAM: Program = Program {
    folder: "",
    shape: "",
    image: TORCH,
    typed: "",
    of_two: None,
    sends: None,
    outputs: &[],
    with_two: &[],
    by_values: &[],
    meets: None,
};

const PROGRAMS: [Program; 12] = [
    Program {
        folder: "digits",
        shape: "first example: data in `../data`, the model in the working directory",
        typed: "-- python3 main.py --save-model",
        outputs: &["digits_net.pt"],
        ..PROGRAM
    },
    Program {
        folder: "language",
        shape: "language model: text in the tree, `model.pt` written and read again",
        typed: "-- python3 main.py",
        outputs: &["model.pt"],
        ..PROGRAM
    },
    Program {
        folder: "story",
        shape: "trainer that goes distributed when it finds `RANK`; Git ignores its data and its results",
        typed: "-- python3 train.py --max_iters=20",
        of_two: Some("-- python3 train.py --max_iters=20 --backend=gloo"),
        sends: Some("!data/letters/*.bin"),
        outputs: &["out/ckpt.pt"],
        ..PROGRAM
    },
    Program {
        folder: "addition",
        shape: "script in a folder of its own, which imports the package at the root",
        typed: "-- python3 projects/adder.py --steps 50",
        outputs: &["out/adder/args.txt", "out/adder/config.json", "out/adder/model.pt"],
        ..PROGRAM
    },
    Program {
        folder: "images",
        shape: "data-parallel training by `env://`, with a checkpoint that it goes on from",
        typed: "-- python3 main.py",
        outputs: &["checkpoint.pth.tar", "model_best.pth.tar"],
        ..PROGRAM
    },
    Program {
        folder: "lightning_nodes",
        shape: "Lightning with `num_nodes`: its own logger, and checkpoints where it puts them",
        typed: "-- python3 autoencoder.py --num_nodes={nodes}",
        outputs: &[
            "lightning_logs/version_0/checkpoints/epoch=1-step=24.ckpt",
            "lightning_logs/version_0/hparams.yaml",
            "lightning_logs/version_0/metrics.csv",
        ],
        with_two: &[
            "!lightning_logs/version_0/checkpoints/epoch=1-step=24.ckpt",
            "lightning_logs/version_0/checkpoints/epoch=1-step=12.ckpt",
        ],
        meets: Some("GLOBAL_RANK: 1, MEMBER: 2/2"),
        ..PROGRAM
    },
    Program {
        folder: "lightning_devices",
        shape: "Lightning with `devices`: it starts the processes of a rank itself; the best checkpoint and the last",
        typed: "-- python3 train.py --devices=2 --num_nodes={nodes}",
        of_two: Some("--slots 2 -- python3 train.py --devices=2 --num_nodes={nodes}"),
        outputs: &["checkpoints/best.ckpt", "checkpoints/last.ckpt", "logs/classifier/version_0/metrics.csv"],
        meets: Some("GLOBAL_RANK: 3, MEMBER: 4/4"),
        ..PROGRAM
    },
    Program {
        folder: "launched",
        shape: "Accelerate by its own launcher, with the whole state after each epoch",
        typed: "-- accelerate launch train.py",
        outputs: &[
            "results/epoch_0/model.safetensors",
            "results/epoch_0/optimizer.bin",
            "results/epoch_0/random_states_0.pkl",
            "results/epoch_0/scheduler.bin",
            "results/epoch_1/model.safetensors",
            "results/epoch_1/optimizer.bin",
            "results/epoch_1/random_states_0.pkl",
            "results/epoch_1/scheduler.bin",
        ],
        with_two: &["rank-1/results/epoch_0/random_states_1.pkl", "rank-1/results/epoch_1/random_states_1.pkl"],
        meets: Some("process 1 of 2 is done"),
        ..PROGRAM
    },
    Program {
        folder: "trainer",
        shape: "Hugging Face's Trainer, whose arguments are the command line's",
        typed: "-- python3 run_tags.py --output_dir out --max_steps 8 --save_steps 8 --logging_dir out/logs",
        of_two: Some(
            "-- python3 run_tags.py --output_dir out --max_steps 8 --save_steps 8 --logging_dir out/logs --ddp_backend gloo",
        ),
        outputs: &[
            "out/all_results.json",
            "out/checkpoint-8/config.json",
            "out/checkpoint-8/model.safetensors",
            "out/checkpoint-8/optimizer.pt",
            "out/checkpoint-8/rng_state.pth",
            "out/checkpoint-8/scheduler.pt",
            "out/checkpoint-8/trainer_state.json",
            "out/checkpoint-8/training_args.bin",
            "out/config.json",
            "out/eval_results.json",
            "out/model.safetensors",
            "out/train_results.json",
            "out/trainer_state.json",
            "out/training_args.bin",
        ],
        with_two: &[
            "!out/checkpoint-8/rng_state.pth",
            "out/checkpoint-8/rng_state_0.pth",
            "rank-1/out/checkpoint-8/rng_state_1.pth",
        ],
        by_values: &[
            "out/all_results.json",
            "out/eval_results.json",
            "out/train_results.json",
            "out/trainer_state.json",
        ],
        meets: Some("process 1 of 2 is done"),
        ..PROGRAM
    },
    Program {
        folder: "keras",
        shape: "Keras with `CSVLogger`, `TensorBoard` and `ModelCheckpoint`; each rank trains a model of its own",
        image: PYTHON,
        typed: "-- python3 mnist_like.py",
        outputs: &["best.weights.h5", "final.keras", TRAIN, VALIDATION, "training.csv"],
        with_two: &[
            "rank-1/final.keras",
            "rank-1/logs/train/events.out.tfevents.*",
            "rank-1/logs/validation/events.out.tfevents.*",
        ],
        by_values: &["final.keras", TRAIN, VALIDATION],
        ..PROGRAM
    },
    Program {
        folder: "ring",
        shape: "MPI: the first process writes what came back",
        image: "NAUTA_TEST_IMAGE_MPI",
        typed: "-- mpirun python3 ring.py",
        outputs: &["ring.txt"],
        ..PROGRAM
    },
    Program {
        folder: "notebook",
        shape: "notebook, exported as a script",
        image: PYTHON,
        typed: "-- python3 analysis.py",
        outputs: &["results/summary.json"],
        ..PROGRAM
    },
];

/// The digests of all files below a folder, but for nauta's own.
fn digests(folder: &Path) -> BTreeMap<String, Digest> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for path in entries(&next) {
            let name = path.strip_prefix(folder).expect("below").display().to_string();
            if path.is_dir() && name != ".nauta" {
                folders.push(path);
            } else if path.is_file() {
                found.insert(name, Digest::of(std::fs::read(&path).expect("readable")));
            }
        }
    }
    found
}

/// A path without the time and the host that it names.
fn timeless(path: &str) -> String {
    path.find(EVENTS).map_or_else(|| path.to_owned(), |at| format!("{}*", &path[..at + EVENTS.len()]))
}

/// What a shell in a container of an image makes of a folder's files, where nauta has them; `$0` is what looks for values.
fn in_container(image: &str, files: &Path, script: &str) -> Vec<u8> {
    let mut pack = Command::new("tar");
    let mut pack = pack.arg("-C").arg(files).args(["-c", "."]).stdout(Stdio::piped()).spawn().expect("tar runs");
    let mut docker = Command::new("docker");
    docker.args(["run", "-i", "--rm", "--user", "1000:1000", "-e", "HOME=/tmp", "-e", "PYTHONPATH=."]);
    docker.args(["--tmpfs", "/workspace:uid=1000,exec", "--entrypoint", "sh", image, "-c"]);
    docker.arg(format!("mkdir /workspace/project && cd /workspace/project && tar x && {script}"));
    docker.arg(include_str!("../programs/values.py"));
    let done = docker.stdin(pack.stdout.take().expect("piped")).output().expect("docker runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    assert!(pack.wait().expect("waited").success());
    done.stdout
}

impl Program {
    fn project(&self) -> Workstation {
        let workstation = Workstation::new();
        workstation.configure_cluster("[defaults]\nca_bundle = '/etc/ssl/certs/ca-certificates.crt'");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs").join(self.folder);
        let copied = Command::new("cp").arg("-r").arg(source.join(".")).arg(&workstation.project).status();
        assert!(copied.expect("cp runs").success());
        let ignored = workstation.project.join("gitignore");
        if ignored.is_file() {
            std::fs::rename(ignored, workstation.project.join(".gitignore")).expect("renamed");
        }
        if workstation.project.join("prepare.py").is_file() {
            let text = "it was a dark and stormy night, and the rain fell in torrents. ".repeat(40);
            workstation.write("data/letters/train.bin", &text);
        }
        if let Some(line) = self.sends {
            workstation.write(".nautaignore", &format!("{line}\n"));
        }
        let _ = workstation.succeeds(&["init"]);
        // Docker Hub may be out of reach of the tests. Ranks that wait for each other for ever are a fault, and not a long test.
        let file = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
        let base_line = file.lines().find(|line| line.starts_with("base = ")).expect("`init` names a base");
        let file = file.replace(base_line, &format!("base = '{}'", base(self.image)));
        workstation.write("nauta.toml", &file.replace("[run]\n", "[run]\nstall_timeout = '2m'\n"));
        workstation
    }

    /// The image of its runs: the base, or what nauta builds on it.
    fn environment(&self, workstation: &Workstation) -> String {
        if !workstation.project.join("requirements.txt").is_file() {
            return base(self.image);
        }
        let run = workstation.succeeds(&["run", "--local", "-n", "1", "-d", "--", "true"]).stdout;
        let filter = format!("label=nauta.dev/run={}", run.trim());
        let image = tool("docker", &["ps", "-a", "--filter", &filter, "--format", "{{.Image}}"]).trim().to_owned();
        let _ = workstation.succeeds(&["pull", run.trim()]);
        std::fs::remove_dir_all(workstation.only_run()).expect("removed");
        image
    }

    /// What a folder holds: digests of its files, and of what is in them beside times and host names.
    fn contents(&self, image: &str, folder: &Path) -> BTreeMap<String, Digest> {
        let mut found: BTreeMap<String, Digest> =
            digests(folder).into_iter().map(|(path, digest)| (timeless(&path), digest)).collect();
        if !self.by_values.is_empty() {
            let script = format!("python3 -c \"$0\" {}", self.by_values.join(" "));
            let lines = String::from_utf8(in_container(image, folder, &script)).expect("text");
            for (digest, path) in lines.lines().filter_map(|line| line.split_once("  ")) {
                found.insert(timeless(path), format!("sha256:{digest}").parse().expect("a digest"));
            }
        }
        found
    }

    /// What a plain container makes of the same files. On a laptop, its package would be installed as editable.
    fn in_a_plain_container(&self, image: &str, workstation: &Workstation) -> BTreeMap<String, Digest> {
        let command = self.typed.trim_start_matches("-- ").replace("mpirun", "mpirun -n 1").replace("{nodes}", "1");
        let script = format!("{command} >&2 && tar c {}", self.outputs.join(" "));
        let outputs = in_container(image, &workstation.project, &script);
        let folder = tempfile::tempdir().expect("a folder");
        let (into, archive) = (folder.path().display().to_string(), folder.path().join("outputs.tar"));
        std::fs::write(&archive, outputs).expect("written");
        tool("tar", &["-x", "-C", &into, "-f", &archive.display().to_string()]);
        std::fs::remove_file(archive).expect("removed");
        self.contents(image, folder.path())
    }

    /// Runs it, and looks at what came back; gives its folder.
    fn run(&self, workstation: &Workstation, place: &[&str], ranks: &str) -> PathBuf {
        let typed = self.of_two.filter(|_| ranks != "1").unwrap_or(self.typed);
        let words: Vec<&str> = typed.split(' ').collect();
        let done = workstation.succeeds(&[&["run"], place, &["-n", ranks], &words].concat());
        let run = workstation.only_run();
        let found: BTreeSet<String> = digests(&run).keys().map(|path| timeless(path)).collect();
        let mut expected: BTreeSet<String> = self.outputs.iter().map(ToString::to_string).collect();
        for path in self.with_two.iter().filter(|_| ranks != "1") {
            match path.strip_prefix('!') {
                Some(path) => assert!(expected.remove(path), "{path}"),
                None => assert!(expected.insert(path.to_string()), "{path}"),
            }
        }
        assert_eq!(found, expected, "{} with {ranks} ranks: {done:?}", self.folder);
        if let Some(words) = self.meets.filter(|_| ranks != "1") {
            let met = done.stdout.contains(words) && !done.stderr.contains("independent copies");
            assert!(met, "{} with {ranks} ranks: {done:?}", self.folder);
        }
        run
    }
}

fn comes_back(folder: &str) {
    let program = PROGRAMS.iter().find(|program| program.folder == folder).expect("one of them");
    let workstation = program.project();
    let image = program.environment(&workstation);
    let plain = program.in_a_plain_container(&image, &workstation);
    let _cleanup = Cleanup(&workstation);
    for (place, ranks) in [(&["--local"][..], "1"), (&["--local"], "2"), (&[], "2")] {
        let run = program.run(&workstation, place, ranks);
        if ranks == "1" {
            assert_eq!(program.contents(&image, &run), plain, "{folder}");
        }
        std::fs::remove_dir_all(run).expect("removed");
    }
}

#[test]
fn digits() {
    comes_back("digits");
}

#[test]
fn language() {
    comes_back("language");
}

#[test]
fn story() {
    comes_back("story");
}

#[test]
fn addition() {
    comes_back("addition");
}

#[test]
fn images() {
    comes_back("images");
}

#[test]
fn lightning_nodes() {
    comes_back("lightning_nodes");
}

#[test]
fn lightning_devices() {
    comes_back("lightning_devices");
}

#[test]
fn launched() {
    comes_back("launched");
}

#[test]
fn trainer() {
    comes_back("trainer");
}

#[test]
fn keras() {
    comes_back("keras");
}

#[test]
fn ring() {
    comes_back("ring");
}

#[test]
fn notebook() {
    comes_back("notebook");
}

/// Environments are what takes long: programs that want alike things share theirs, with each other and with a template.
#[test]
fn programs_share_environments() {
    let wanted = |path: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path).join("requirements.txt");
        std::fs::read_to_string(path).expect("readable")
    };
    for other in ["lightning_devices", "launched", "trainer"] {
        assert_eq!(wanted(&format!("tests/programs/{other}")), wanted("tests/programs/lightning_nodes"), "{other}");
    }
    assert_eq!(wanted("tests/programs/keras"), wanted("templates/tensorflow"));
}

/// Paths, those of one folder together.
fn listed(paths: &[&str]) -> String {
    let mut folders: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for path in paths {
        let (folder, name) = path.rfind('/').map_or(("", *path), |at| path.split_at(at + 1));
        folders.entry(folder).or_default().push(name.to_owned());
    }
    let folders = folders.into_iter().map(|(folder, names)| match names.as_slice() {
        [only] => format!("`{folder}{only}`"),
        names => {
            let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
            if folder.is_empty() { names.join(", ") } else { format!("in `{folder}` {}", names.join(", ")) }
        }
    });
    folders.collect::<Vec<_>>().join("; ")
}

impl Program {
    /// What comes back, in words.
    fn told_outputs(&self) -> String {
        let mut text = listed(self.outputs);
        let (without, with): (Vec<&str>, Vec<&str>) = self.with_two.iter().partition(|path| path.starts_with('!'));
        let without: Vec<&str> = without.iter().map(|path| path.trim_start_matches('!')).collect();
        match (with.as_slice(), without.as_slice()) {
            ([], []) => {}
            (with, []) => drop(write!(text, "<br>with two ranks also {}", listed(with))),
            (with, without) => drop(write!(text, "<br>with two ranks {} instead of {}", listed(with), listed(without))),
        }
        if !self.by_values.is_empty() {
            let _ = write!(text, "<br>by values: {}", listed(self.by_values));
        }
        text
    }
}

#[test]
fn the_table_of_programs() {
    let mut page = "# Programs that run unchanged\n\n\
        Programs in the shape of public ones, as the tests run them: on Docker with one rank and with two, on the cluster with two. With one rank, what comes\n\
        back is, byte for byte, what a plain `docker run` of the same program in the same image makes. Files that have times, host names or addresses in them by\n\
        their nature (\"by values\") are there, and hold the same values: steps and figures of TensorBoard's events, results without how long they took, a model's\n\
        weights. What comes back from where is in the [guide](guide.md#what-comes-back), what frameworks need in [frameworks](frameworks.md).\n\n\
        | program | what one types | in `runs/<run>/` |\n|---|---|---|\n"
        .to_owned();
    for program in &PROGRAMS {
        let mut typed = format!("`nauta run -n 1 {}`", program.typed);
        if let Some(of_two) = program.of_two {
            let _ = write!(typed, "; with two ranks `nauta run -n 2 {of_two}`");
        }
        if let Some(line) = program.sends {
            let _ = write!(typed, "; `{line}` in `.nautaignore`, as Git ignores the data");
        }
        let shape = format!("{} ([source](../tests/programs/{}))", program.shape, program.folder);
        let _ = writeln!(page, "| {shape} | {typed} | {} |", program.told_outputs());
    }
    keep("docs/programs.md", &page);
}
