//! Many `nauta run --local` at once in one directory, some of them killed.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use super::cluster::base;
use crate::support::random::Random;
use crate::support::{Workstation, entries, figure, folders, number, tool};

/// No run waits for another: this is for a machine that has much to do.
const PATIENCE: Duration = Duration::from_mins(5);

/// What each rank says and leaves: who it is, and nothing else.
const PROGRAM: &str = "echo words of $NAUTA_RUN; cat /ready; echo $NAUTA_RUN > $NAUTA_OUTPUTS/who; \
    i=0; while [ $i -lt 20 ]; do echo $NAUTA_RUN > $NAUTA_OUTPUTS/part-$i; i=$((i+1)); done; sleep 1; echo end of $NAUTA_RUN";

struct Started {
    child: Child,
    nodes: usize,
    /// When it is killed, where it is one of those.
    dies: Option<Instant>,
    files: [PathBuf; 2],
}

impl Started {
    fn text(&self, which: usize) -> String {
        std::fs::read_to_string(&self.files[which]).expect("readable")
    }
}

fn start(workstation: &Workstation, logs: &Path, number: usize, dies_after: Option<Duration>) -> Started {
    let nodes = 1 + number % 2;
    let files = ["out", "err"].map(|stream| logs.join(format!("{number}.{stream}")));
    let [stdout, stderr] = files.each_ref().map(|path| Stdio::from(std::fs::File::create(path).expect("created")));
    let many = nodes.to_string();
    let mut command = workstation.command(&["run", "--local", "-n", &many, "--", "sh", "-c", PROGRAM]);
    let child = command.stdout(stdout).stderr(stderr).spawn().expect("nauta starts");
    Started { child, nodes, dies: dies_after.map(|after| Instant::now() + after), files }
}

/// Kills those whose time has come, until all have ended; gives their codes.
fn until_all_have_ended(runs: &mut [Started]) -> Vec<Option<i32>> {
    let deadline = Instant::now() + PATIENCE;
    let mut codes = vec![None; runs.len()];
    let mut left: BTreeSet<usize> = (0..runs.len()).collect();
    while !left.is_empty() {
        assert!(
            Instant::now() < deadline,
            "{left:?} wait for something: {}",
            runs[*left.first().expect("one")].text(1)
        );
        left.retain(|index| {
            let run = &mut runs[*index];
            if run.dies.is_some_and(|at| Instant::now() > at) {
                run.child.kill().expect("it is a child");
            }
            let ended = run.child.try_wait().expect("a child");
            codes[*index] = ended.and_then(|status| status.code());
            ended.is_none()
        });
        std::thread::sleep(Duration::from_millis(20));
    }
    codes
}

fn name(path: &Path) -> String {
    path.file_name().and_then(|name| name.to_str()).expect("text").to_owned()
}

/// Asserts that whatever has arrived of a run is its own, and whole; gives how many files that are.
fn own_files(folder: &Path) -> usize {
    let run = name(folder);
    let ranks: Vec<PathBuf> =
        [folder.to_owned(), folder.join("rank-1")].into_iter().filter(|path| path.is_dir()).collect();
    let files: Vec<PathBuf> = ranks.iter().flat_map(|rank| entries(rank)).filter(|path| path.is_file()).collect();
    for file in &files {
        assert_eq!(std::fs::read_to_string(file).expect("readable"), format!("{run}\n"), "{}", file.display());
    }
    files.len()
}

#[test]
fn many_runs_of_one_directory_do_not_disturb_each_other_and_killed_ones_leave_nothing() {
    let (count, seed) = (number("NAUTA_TEST_TOGETHER", 8), number("NAUTA_TEST_SEED", u64::from(std::process::id())));
    figure(&format!("NAUTA_TEST_SEED={seed}"));
    let mut random = Random::new(seed);
    let (workstation, logs) = (Workstation::new(), tempfile::tempdir().expect("a folder"));
    let project = format!("together-{seed}");
    workstation.write("nauta.toml", &format!("[project]\nname = '{project}'\n"));
    // All of them want an environment that nobody has built yet.
    workstation.write("Dockerfile", &format!("FROM {}\nRUN echo {seed} > /ready\n", base("NAUTA_TEST_IMAGE_BUSYBOX")));
    let began = Instant::now();
    let mut runs: Vec<Started> = (0..usize::try_from(count).expect("small"))
        .map(|number| {
            let most = 1000 * count;
            let dies = (number % 3 == 1).then(|| Duration::from_millis(random.next() % most));
            start(&workstation, logs.path(), number, dies)
        })
        .collect();
    let codes = until_all_have_ended(&mut runs);
    let took = began.elapsed();
    let mut killed = 0;
    let mut done = BTreeSet::new();
    for (run, code) in runs.iter().zip(&codes) {
        let (stdout, stderr) = (run.text(0), run.text(1));
        let Some(code) = code else {
            killed += 1;
            assert!(run.dies.is_some(), "nobody has killed it: {stderr}");
            continue;
        };
        assert_eq!(*code, 0, "{stderr}");
        let words = |what: &str| stdout.lines().filter_map(|line| Some(line.split_once(what)?.1.to_owned())).collect();
        let (said, ends): (Vec<String>, Vec<String>) = (words("words of "), words("end of "));
        assert!(said.len() == run.nodes && said == ends && said.iter().all(|run| *run == said[0]), "{stdout}");
        assert_eq!(stdout.matches(&format!("] {seed}\n")).count(), run.nodes, "{stdout}");
        let folder = workstation.project.join("runs").join(&said[0]);
        assert_eq!(own_files(&folder), 21 * run.nodes, "{stderr}");
        assert!(done.insert(said[0].clone()), "two runs of one name");
    }
    let all = folders(&workstation.project.join("runs"));
    for lost in all.iter().filter(|folder| !done.contains(&name(folder))) {
        own_files(lost);
    }
    let label = format!("label=nauta.dev/project={project}");
    let remains = || {
        let of = |kind: &[&str]| tool("docker", &[kind, &["--filter", &label]].concat());
        [of(&["ps", "-aq"]), of(&["network", "ls", "-q"]), of(&["volume", "ls", "-q"])].concat()
    };
    let deadline = Instant::now() + Duration::from_mins(1);
    while !remains().is_empty() {
        assert!(Instant::now() < deadline, "left: {}", remains());
        std::thread::sleep(Duration::from_millis(100));
    }
    let listed = workstation.succeeds(&["list", "--json"]).stdout;
    assert_eq!(listed.matches(r#""state":"succeeded""#).count(), done.len(), "{listed}");
    assert_eq!(listed.matches(r#""state":"lost""#).count(), all.len() - done.len(), "{listed}");
    // Nothing is held by the dead: the directory goes on as if nothing had been.
    let after = workstation.succeeds(&["run", "--local", "--", "cat", "/ready"]);
    assert_eq!(after.stdout, format!("[0] {seed}\n"), "{}", after.stderr);
    assert!(workstation.succeeds(&["lock"]).stdout.contains("unchanged"));
    figure(&format!(
        "{count} runs at once in {took:.1?}: {} ended right, {killed} were killed, nothing stayed",
        done.len()
    ));
}
