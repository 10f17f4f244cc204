//! Programs in the shape of public ones (`tests/programs`), unchanged, on Docker and on the cluster: what they make comes back, and is
//! what a plain `docker run` makes. `docs/programs.md` is the table of them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use nauta::digest::Digest;

use super::cluster::{Cleanup, base};
use crate::meta::reference::keep;
use crate::support::{Workstation, entries, environment};

/// A program and how it is typed.
struct Program {
    /// Its folder below `tests/programs`, and what its shape is.
    folder: &'static str,
    shape: &'static str,
    image: &'static str,
    /// What is typed behind `nauta run -n 1`, and behind `-n 2` where that is something else.
    command: &'static str,
    of_two: Option<&'static str>,
    /// A line of `.nautaignore` that it needs, as nauta names it.
    sends: Option<&'static str>,
    /// What comes back.
    outputs: &'static [&'static str],
}

const TORCH: &str = "NAUTA_TEST_IMAGE_PYTORCH";

const PROGRAMS: [Program; 7] = [
    Program {
        folder: "digits",
        shape: "first example: data in `../data`, the model in the working directory",
        image: TORCH,
        command: "python3 main.py --save-model",
        of_two: None,
        sends: None,
        outputs: &["digits_net.pt"],
    },
    Program {
        folder: "language",
        shape: "language model: text in the tree, `model.pt` written and read again",
        image: TORCH,
        command: "python3 main.py",
        of_two: None,
        sends: None,
        outputs: &["model.pt"],
    },
    Program {
        folder: "story",
        shape: "trainer that goes distributed when it finds `RANK`; Git ignores its data and its results",
        image: TORCH,
        command: "python3 train.py --max_iters=20",
        of_two: Some("python3 train.py --max_iters=20 --backend=gloo"),
        sends: Some("!data/letters/*.bin"),
        outputs: &["out/ckpt.pt"],
    },
    Program {
        folder: "addition",
        shape: "script in a folder of its own, which imports the package at the root",
        image: TORCH,
        command: "python3 projects/adder.py --steps 50",
        of_two: None,
        sends: None,
        outputs: &["out/adder/args.txt", "out/adder/config.json", "out/adder/model.pt"],
    },
    Program {
        folder: "images",
        shape: "data-parallel training by `env://`, with a checkpoint that it goes on from",
        image: TORCH,
        command: "python3 main.py",
        of_two: None,
        sends: None,
        outputs: &["checkpoint.pth.tar", "model_best.pth.tar"],
    },
    Program {
        folder: "ring",
        shape: "MPI: the first process writes what came back",
        image: "NAUTA_TEST_IMAGE_MPI",
        command: "mpirun python3 ring.py",
        of_two: None,
        sends: None,
        outputs: &["ring.txt"],
    },
    Program {
        folder: "notebook",
        shape: "notebook, exported as a script",
        image: "NAUTA_TEST_IMAGE_PYTHON",
        command: "python3 analysis.py",
        of_two: None,
        sends: None,
        outputs: &["results/summary.json"],
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

impl Program {
    fn project(&self, base: &str) -> Workstation {
        let workstation = Workstation::new();
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
        // Docker Hub may be out of reach of the tests.
        let file = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
        let base_line = file.lines().find(|line| line.starts_with("base = ")).expect("`init` names a base");
        workstation.write("nauta.toml", &file.replace(base_line, &format!("base = '{base}'")));
        workstation
    }

    /// What a plain container makes of the same files. On a laptop, its package would be installed as editable.
    fn in_a_plain_container(&self, workstation: &Workstation) -> BTreeMap<String, Digest> {
        let mut pack = Command::new("tar");
        pack.arg("-C").arg(&workstation.project).args(["-c", "."]).stdout(Stdio::piped());
        let mut pack = pack.spawn().expect("tar runs");
        let command = self.command.replace("mpirun", "mpirun -n 1");
        let script = format!(
            "mkdir -p /tmp/w/p && cd /tmp/w/p && tar x && {command} >&2 && sha256sum {}",
            self.outputs.join(" ")
        );
        let image = environment(self.image);
        let mut docker = Command::new("docker");
        docker.args([
            "run",
            "-i",
            "--rm",
            "--user",
            "1000:1000",
            "-e",
            "HOME=/tmp",
            "-e",
            "PYTHONPATH=.",
            "--entrypoint",
            "sh",
            &image,
            "-c",
        ]);
        let done = docker.arg(script).stdin(pack.stdout.take().expect("piped")).output().expect("docker runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert!(pack.wait().expect("waited").success());
        let lines = String::from_utf8(done.stdout).expect("text");
        let pairs = lines.lines().filter_map(|line| line.split_once("  "));
        pairs.map(|(digest, path)| (path.to_owned(), format!("sha256:{digest}").parse().expect("a digest"))).collect()
    }

    fn run(&self, workstation: &Workstation, place: &[&str], ranks: &str) -> BTreeMap<String, Digest> {
        let command = self.of_two.filter(|_| ranks != "1").unwrap_or(self.command);
        let words: Vec<&str> = command.split(' ').collect();
        let done = workstation.succeeds(&[&["run"], place, &["-n", ranks, "--"], &words].concat());
        let run = workstation.only_run();
        let found = digests(&run);
        let names: Vec<&str> = found.keys().map(String::as_str).collect();
        assert_eq!(names, self.outputs, "{} with {ranks} ranks: {done:?}", self.folder);
        std::fs::remove_dir_all(run).expect("removed");
        found
    }
}

fn comes_back(folder: &str) {
    let program = PROGRAMS.iter().find(|program| program.folder == folder).expect("one of them");
    let here = program.project(&environment(program.image));
    let plain = program.in_a_plain_container(&here);
    assert_eq!(program.run(&here, &["--local"], "1"), plain);
    let _ = program.run(&here, &["--local"], "2");
    let there = program.project(&base(program.image));
    there.configure_cluster("");
    let _cleanup = Cleanup(&there);
    let _ = program.run(&there, &[], "2");
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
fn ring() {
    comes_back("ring");
}

#[test]
fn notebook() {
    comes_back("notebook");
}

#[test]
fn the_table_of_programs() {
    let mut page = "# Programs that run unchanged\n\n\
        Programs in the shape of public ones, as the tests run them: on Docker with one rank and with two, on the cluster with two. With one rank, what comes\n\
        back is, byte for byte, what a plain `docker run` of the same program makes. What comes back from where is in the [guide](guide.md#what-comes-back), what\n\
        frameworks need in [frameworks](frameworks.md).\n\n\
        | program | what one types | in `runs/<run>/` |\n|---|---|---|\n"
        .to_owned();
    for program in &PROGRAMS {
        let mut typed = format!("`nauta run -n 1 -- {}`", program.command);
        if let Some(of_two) = program.of_two {
            let _ = write!(typed, "; with two ranks `-- {of_two}`");
        }
        if let Some(line) = program.sends {
            let _ = write!(typed, "; `{line}` in `.nautaignore`, as Git ignores the data");
        }
        let outputs: Vec<String> = program.outputs.iter().map(|path| format!("`{path}`")).collect();
        let shape = format!("{} ([source](../tests/programs/{}))", program.shape, program.folder);
        let _ = writeln!(page, "| {shape} | {typed} | {} |", outputs.join(", "));
    }
    keep("docs/programs.md", &page);
}
