//! Runs that go on with fewer ranks, and with more again.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::cluster::{Cleanup, base};
use super::truth::faults::{delete_pod, kill_supervisor};
use super::{from_template, parameters};
use crate::support::{Workstation, environment};

/// The template, at a pace at which somebody can look on.
const SLOWLY: &str = "\
import time, train
save = train.save

def save_slowly(*state):
    save(*state)
    time.sleep(0.4)

train.save = save_slowly
train.main()
";
/// One that comes in a lost one's place, and so finds what that had left, takes its time: torchrun needs a while to miss a rank.
const START: &str =
    "[ -e $NAUTA_OUTPUTS/was-here ] && sleep 20; touch $NAUTA_OUTPUTS/was-here; exec torchrun slowly.py";
/// Whatever takes longer is not coming.
const PATIENCE: Duration = Duration::from_mins(4);

struct Run {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
    name: String,
}

impl Run {
    fn start(workstation: &Workstation, options: &[&str]) -> Self {
        workstation.write("slowly.py", SLOWLY);
        // torchrun waits so many seconds for more ranks than are enough.
        let rest = ["-e", "PET_RDZV_CONF=last_call_timeout=3", "--", "sh", "-c", START];
        let mut command = workstation.command(&[&["run"], options, &rest].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts");
        let (lines_tx, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).all(|line| lines_tx.send(line).is_ok()));
        let mut run = Self { child, lines, seen: Vec::new(), name: String::new() };
        run.until("of 4 ranks");
        let folder = workstation.only_run();
        folder.file_name().and_then(|name| name.to_str()).expect("text").clone_into(&mut run.name);
        run
    }

    /// Until two more epochs are trained by so many ranks.
    fn until(&mut self, ranks: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut epochs = 0;
        while epochs < 2 {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                let _ = self.child.kill();
                let mut said = String::new();
                let _ = std::io::Read::read_to_string(&mut self.child.stderr.take().expect("piped"), &mut said);
                panic!("no epoch {ranks}: {:#?}\n{said}", self.seen);
            };
            epochs += usize::from(line.contains(ranks));
            self.seen.push(line);
        }
    }

    /// Its end: all epochs were trained, and so many processes have come to the same parameters. Gives what nauta said.
    fn trains_to_its_end(mut self, epochs: usize, processes: usize) -> String {
        self.seen.extend(self.lines.iter());
        let output = self.child.wait_with_output().expect("ended");
        let (stdout, stderr) = (self.seen.join("\n"), String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
        every_epoch(&stdout, epochs);
        let digests = parameters(&stdout);
        assert!(digests.len() == processes && digests.iter().all(|digest| *digest == digests[0]), "{stdout}");
        stderr
    }
}

/// No epoch is lost when processes begin again, whoever is there.
fn every_epoch(stdout: &str, epochs: usize) {
    let mut seen: Vec<usize> =
        stdout.lines().filter_map(|line| line.split_once("epoch ")?.1.split(' ').next()?.parse().ok()).collect();
    seen.dedup();
    assert!(seen.is_sorted() && seen.last() == Some(&epochs), "{stdout}");
    let losses: Vec<f64> = stdout.lines().filter_map(|line| line.split("loss ").nth(1)?.parse().ok()).collect();
    assert!(losses.last() < losses.first(), "{stdout}");
}

#[test]
fn on_docker_three_of_four_go_on() {
    let workstation = from_template("elastic", &environment("NAUTA_TEST_IMAGE_PYTORCH"));
    let mut run = Run::start(&workstation, &["--local", "-n", "3:4", "-e", "EPOCHS=24"]);
    kill_supervisor(&run.name, 2, true);
    run.until("of 3 ranks");
    let stderr = run.trains_to_its_end(24, 3);
    assert!(stderr.contains("rank 2 was lost, and the others have done the work"), "{stderr}");
}

#[test]
fn on_the_cluster_torchrun_goes_from_four_to_three_to_four() {
    let workstation = from_template("elastic", &base("NAUTA_TEST_IMAGE_PYTORCH"));
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    let mut run = Run::start(&workstation, &["-n", "3:4", "-e", "EPOCHS=200"]);
    // Killed without a word, and then another one deleted, which has its time for a last checkpoint.
    kill_supervisor(&run.name, 3, false);
    run.until("of 3 ranks");
    run.until("of 4 ranks");
    delete_pod(&run.name, 1, false);
    run.until("of 3 ranks");
    run.until("of 4 ranks");
    let _ = run.trains_to_its_end(200, 4);
}
