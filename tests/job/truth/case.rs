//! One run: what is done to it, what must be said of it, and what is said.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::faults;
use crate::support::random::Random;
use crate::support::{Workstation, environment, tool};

/// No run takes longer than this, and nobody waits longer for what is said of it.
const PATIENCE: Duration = Duration::from_mins(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The program ends by itself.
    Code(u8),
    /// A signal that the program sends itself.
    Signal(u8),
    /// It takes more memory than it may.
    Memory,
    /// Somebody kills it.
    Program,
    /// Somebody kills its supervisor, and thereby its container.
    Supervisor,
    /// Its pod is deleted, or its container removed.
    Deleted { force: bool },
    /// `nauta run` is killed; the run goes on to this code.
    Client(u8),
    /// `nauta cancel`.
    Cancelled,
    /// The API server is killed; the run goes on to this code.
    ApiServer(u8),
    /// Its node halts for some seconds; the run goes on to this code.
    Node(u8),
}

impl Fault {
    pub(super) const NAMES: [&str; 10] =
        ["code", "signal", "memory", "program", "supervisor", "deleted", "client", "cancelled", "API server", "node"];

    pub(super) fn name(self) -> &'static str {
        let index = match self {
            Self::Code(_) => 0,
            Self::Signal(_) => 1,
            Self::Memory => 2,
            Self::Program => 3,
            Self::Supervisor => 4,
            Self::Deleted { .. } => 5,
            Self::Client(_) => 6,
            Self::Cancelled => 7,
            Self::ApiServer(_) => 8,
            Self::Node(_) => 9,
        };
        Self::NAMES[index]
    }

    pub(super) fn disturbs_others(self) -> bool {
        matches!(self, Self::ApiServer(_) | Self::Node(_))
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    number: u64,
    is_local: bool,
    nodes: u32,
    victim: u32,
    pub(super) fault: Fault,
    /// The run begins again, and ends with this code.
    later: Option<u8>,
    /// Tenths of a second until it happens.
    after: u32,
}

/// A run that has ended, as `nauta run` tells it; none of it when that was killed.
struct Told {
    code: Option<i32>,
    document: Value,
    stderr: String,
}

impl Case {
    /// The first dozen has a bit of everything; what follows is drawn.
    pub(super) fn draw(number: u64, random: &mut Random) -> Self {
        let code = [0, 1, 3, 42, 125, 137, 143, 255][random.below(8)];
        let signal = [1, 2, 6, 9, 11, 15][random.below(6)];
        let kind = if number < 12 { usize::try_from(number).expect("small") } else { random.below(14) };
        let mut fault = match kind {
            0 => Fault::Code(0),
            1 | 10 => Fault::Code(code),
            2 => Fault::Signal(signal),
            3 => Fault::Memory,
            4 => Fault::Program,
            5 => Fault::Supervisor,
            6 | 11 => Fault::Deleted { force: random.below(2) == 0 },
            7 | 12 => Fault::Client(code),
            8 => Fault::Cancelled,
            9 if random.below(2) == 0 => Fault::Node(code),
            _ => Fault::ApiServer(code),
        };
        let on_cluster_only = fault.disturbs_others() || number < 9;
        let is_local = !on_cluster_only && random.below(3) == 0;
        let mut nodes = u32::try_from(1 + random.below(3)).expect("small");
        let mut victim = u32::try_from(random.below(nodes as usize)).expect("small");
        if number == 6 {
            // Rank 0 stays for the others when its pod is taken away.
            (fault, nodes, victim) = (Fault::Deleted { force: false }, 2, 0);
        }
        let ends_it =
            !matches!(fault, Fault::Code(0) | Fault::Client(_) | Fault::Cancelled) && !fault.disturbs_others();
        // Docker replaces no container, and a run of one rank that is replaced counts its attempts anew.
        let is_replaced = !is_local && nodes > 1;
        let begins_again = ends_it && random.below(3) == 0 && (is_replaced || !fault.takes_the_container());
        let later = begins_again.then(|| [0, 5][random.below(2)]);
        let after = u32::try_from(random.below(20)).expect("small");
        Self { number, is_local, nodes, victim, fault, later, after }
    }

    /// Runs it; gives what was wrong.
    pub(super) fn run(&self, workstation: &Workstation) -> Vec<String> {
        let mut child = self.start(workstation);
        let (lines_tx, lines) = mpsc::channel();
        let stdout = child.stdout.take().expect("piped");
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| lines_tx.send(line))
        });
        let mut seen = Vec::new();
        let problem = match self.until_up(&lines, &mut seen, workstation) {
            Err(problem) => {
                let told = finish(child, &lines, &mut seen);
                Some(format!("{problem}; {:?}: {}", told.code, told.stderr))
            }
            Ok(run) => {
                std::thread::sleep(Duration::from_millis(100 * u64::from(self.after)));
                self.strike(&run, &mut child, workstation);
                let told = finish(child, &lines, &mut seen);
                let problems = self.judge(&run, &told, workstation);
                let _ = workstation.nauta(&["cancel", &run]);
                if problems.is_empty() {
                    return problems;
                }
                Some(format!("{problems:?}\n{:?}\n{}\n{}", told.code, told.document, told.stderr))
            }
        };
        problem.into_iter().collect()
    }

    fn start(&self, workstation: &Workstation) -> Child {
        let (what, code) = match self.fault {
            Fault::Signal(signal) => ("signal", signal),
            Fault::Memory => ("memory", 0),
            Fault::Code(code) | Fault::Client(code) | Fault::ApiServer(code) | Fault::Node(code) => ("code", code),
            _ => ("wait", 0),
        };
        // Long enough for what happens meanwhile.
        let after = match self.fault {
            Fault::Client(_) => self.after / 10 + 3,
            Fault::ApiServer(_) | Fault::Node(_) => self.after / 10 + 8,
            _ => self.after / 10,
        };
        let mut arguments: Vec<String> = vec!["run".into(), "--json".into(), "--name".into(), self.name()];
        arguments.extend(["--nodes".into(), self.nodes.to_string(), "--memory".into(), "96Mi".into()]);
        for variable in [
            format!("WHAT={what}"),
            format!("CODE={code}"),
            format!("AFTER={after}"),
            format!("VICTIM={}", self.victim),
            format!("LATER={}", self.later.unwrap_or(99)),
        ] {
            arguments.extend(["-e".into(), variable]);
        }
        if self.is_local {
            arguments.push("--local".into());
        }
        if self.later.is_some() {
            arguments.extend(["--restarts".into(), "1".into()]);
        }
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let mut command = workstation.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts")
    }

    fn name(&self) -> String {
        format!("truth-{}", self.number)
    }

    /// Until all ranks run; gives the run's name.
    fn until_up(
        &self,
        lines: &mpsc::Receiver<String>,
        seen: &mut Vec<String>,
        workstation: &Workstation,
    ) -> Result<String, String> {
        let mut up = std::collections::BTreeSet::new();
        while up.len() < self.nodes as usize {
            let line =
                lines.recv_timeout(PATIENCE).map_err(|error| format!("it never came up ({error}): {seen:#?}"))?;
            let event: Value = serde_json::from_str(&line).unwrap_or_default();
            if event["event"] == "log" && event["bytes"].as_str().is_some_and(|text| text.contains("up 1")) {
                up.insert(event["rank"].as_u64());
            }
            seen.push(line);
        }
        let runs = crate::support::folders(&workstation.project.join("runs"));
        let prefix = format!("{}-", self.name());
        let names = runs.iter().filter_map(|path| path.file_name()?.to_str());
        names.map(str::to_owned).find(|name| name.starts_with(&prefix)).ok_or_else(|| "it has no folder".to_owned())
    }

    /// Does to it what is to be done from outside.
    fn strike(&self, run: &str, child: &mut Child, workstation: &Workstation) {
        match self.fault {
            Fault::Code(_) | Fault::Signal(_) | Fault::Memory => {}
            Fault::Program => faults::kill_program(run, self.victim),
            Fault::Supervisor => faults::kill_supervisor(run, self.victim, self.is_local),
            Fault::Deleted { .. } if self.is_local => {
                let _ = tool("docker", &["rm", "-f", &faults::local_container(run, self.victim)]);
            }
            Fault::Deleted { force } => faults::delete_pod(run, self.victim, force),
            Fault::Client(_) => child.kill().expect("killed"),
            Fault::Cancelled => drop(workstation.nauta(&["cancel", run])),
            Fault::ApiServer(_) => {
                faults::kill_api_server();
                std::thread::sleep(Duration::from_secs(2));
                faults::await_api_server();
            }
            Fault::Node(_) => faults::pause_node(run, self.victim, Duration::from_secs(4)),
        }
    }

    /// The codes that are true.
    fn codes(&self) -> Vec<i32> {
        if let Some(later) = self.later {
            return vec![i32::from(later)];
        }
        match self.fault {
            // With their nauta, local runs go.
            Fault::Code(code) | Fault::Client(code) | Fault::ApiServer(code) | Fault::Node(code) => {
                vec![i32::from(code)]
            }
            Fault::Signal(signal) => vec![128 + i32::from(signal)],
            Fault::Memory | Fault::Program => vec![137],
            Fault::Supervisor => vec![137, 125],
            Fault::Deleted { .. } => vec![143, 137, 125],
            Fault::Cancelled => vec![130],
        }
    }

    /// What is wrong with what is said.
    fn judge(&self, run: &str, told: &Told, workstation: &Workstation) -> Vec<String> {
        let mut problems = Vec::new();
        let codes = self.codes();
        let is_success = codes == [0];
        if let Some(code) = told.code.filter(|_| !matches!(self.fault, Fault::Client(_))) {
            if !codes.contains(&code) {
                problems.push(format!("nauta run says {code}, not {codes:?}"));
            }
            if told.document["code"] != code {
                problems.push(format!("its document says {}", told.document["code"]));
            }
            let names_one = !is_success && self.fault != Fault::Cancelled && self.later.is_none();
            // Kubernetes may be the faster one to stop the others where a pod is gone, which rank 0's is not before they are: the right
            // one is named, or none.
            let may_name_none = match self.fault {
                Fault::Deleted { force } => self.nodes > 1 && (force || self.victim > 0),
                _ => false,
            };
            let none_is_right = may_name_none && told.document["first_failed"].is_null();
            if names_one && !none_is_right && told.document["first_failed"] != self.victim {
                problems.push(format!("rank {} is said to have failed first", told.document["first_failed"]));
            }
            let names_nobody = self.fault == Fault::Cancelled;
            if names_nobody && !told.document["first_failed"].is_null() {
                problems.push(format!(
                    "rank {} is said to have failed a run that was ended",
                    told.document["first_failed"]
                ));
            }
            let reason = &told.document["ranks"][self.victim.to_string()]["reason"]["why"];
            if self.fault == Fault::Memory && self.later.is_none() && *reason != "out-of-memory" {
                problems.push(format!("rank {} is said to have ended for {reason}", self.victim));
            }
        }
        problems.extend(self.judge_later(run, told, workstation));
        if !self.is_local {
            problems.extend(self.judge_mailbox(run));
        }
        problems
    }

    /// What is said once somebody asks.
    fn judge_later(&self, run: &str, told: &Told, workstation: &Workstation) -> Vec<String> {
        let mut problems = Vec::new();
        let codes = self.codes();
        let lost = self.is_local && matches!(self.fault, Fault::Client(_));
        let expected: &[&str] = match (codes == [0], self.fault) {
            (_, Fault::Client(_)) if self.is_local => &["lost"],
            (true, _) => &["succeeded"],
            (false, Fault::Cancelled) => &["cancelled"],
            (false, _) => &["failed"],
        };
        let deadline = Instant::now() + PATIENCE;
        let (mut answer, mut listed);
        loop {
            let done = workstation.nauta(&["status", "--json", run]);
            answer = serde_json::from_str::<Value>(done.stdout.lines().last().unwrap_or_default()).unwrap_or_default();
            let all = workstation.nauta(&["list", "--json"]);
            let all = serde_json::from_str::<Value>(all.stdout.lines().last().unwrap_or_default()).unwrap_or_default();
            let of_run = |list: &Vec<Value>| list.iter().find(|other| other["run"] == run).cloned();
            listed = all["runs"].as_array().and_then(of_run).unwrap_or_default();
            let is_one = |state: &Value| state.as_str().is_some_and(|state| expected.contains(&state));
            if is_one(&answer["state"]) && is_one(&listed["state"]) {
                break;
            }
            let is_late = Instant::now() > deadline;
            let is_success = |state: &Value| matches!(state.as_str(), Some("succeeded"));
            let wrong = |state: &Value| is_success(state) && codes != [0] || is_late;
            if wrong(&answer["state"]) || wrong(&listed["state"]) {
                problems.push(format!("not {expected:?}, but {answer} and {listed}; {}", done.stderr));
                break;
            }
            std::thread::sleep(Duration::from_millis(500));
        }
        let code = answer["code"].as_i64().and_then(|code| i32::try_from(code).ok());
        if !lost && !code.is_some_and(|code| codes.contains(&code)) {
            problems.push(format!("nauta status says code {}, not {codes:?}", answer["code"]));
        }
        if told.code.is_some_and(|told| code.is_some_and(|code| code != told))
            && !matches!(self.fault, Fault::Client(_))
        {
            problems.push(format!("nauta status says code {code:?}, nauta run said {:?}", told.code));
        }
        problems
    }

    /// What the ranks left in the mailbox: whoever says how the victim ended says it right.
    fn judge_mailbox(&self, run: &str) -> Vec<String> {
        let mut problems = Vec::new();
        // A rank's end is its program's own, whoever wanted it; only the run's is that of a cancelled one.
        let codes = if self.fault == Fault::Cancelled { vec![143, 137] } else { self.codes() };
        for rank in 0..self.nodes {
            let Some(end) = mailbox_end(run, rank) else { continue };
            let code = end["code"].as_i64().and_then(|code| i32::try_from(code).ok()).unwrap_or(-1);
            // In the second attempt all fail with one code, and whoever is slower is stopped for the faster one's sake.
            let is_victim = rank == self.victim && self.later.is_none() || codes == [0];
            if is_victim && !codes.contains(&code) {
                problems.push(format!("the mailbox says of rank {rank}: {end}"));
            }
            if rank != self.victim && codes != [0] && code == 0 {
                problems.push(format!("the mailbox says of rank {rank}: {end}"));
            }
        }
        if codes == [0] && (0..self.nodes).any(|rank| mailbox_end(run, rank).is_none()) {
            problems.push("the mailbox does not have every end".to_owned());
        }
        problems
    }
}

impl Fault {
    fn takes_the_container(self) -> bool {
        matches!(self, Self::Supervisor | Self::Deleted { .. })
    }
}

fn finish(mut child: Child, lines: &mpsc::Receiver<String>, seen: &mut Vec<String>) -> Told {
    let deadline = Instant::now() + PATIENCE;
    let stderr = child.stderr.take().expect("piped");
    let stderr = std::thread::spawn(move || std::io::read_to_string(stderr).unwrap_or_default());
    while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        seen.push(line);
    }
    let code = loop {
        match child.try_wait().expect("ours") {
            Some(status) => break status.code(),
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                break Some(-1);
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    let document = seen.last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    Told { code, document, stderr: stderr.join().expect("no panic") }
}

/// How a rank ended, as its list of outputs in the registry says.
fn mailbox_end(run: &str, rank: u32) -> Option<Value> {
    let registry = environment("NAUTA_TEST_REGISTRY");
    let url = |path: &str| format!("http://{registry}/v2/tests/truth/{path}");
    let accept = "Accept: application/vnd.oci.image.manifest.v1+json";
    let get = |path: &str| {
        let output = std::process::Command::new("curl").args(["-sfL", "-H", accept, &url(path)]).output().ok()?;
        serde_json::from_slice::<Value>(&output.stdout).ok()
    };
    let manifest = get(&format!("manifests/run-{run}-rank-{rank}"))?;
    let index = get(&format!("blobs/{}", manifest["config"]["digest"].as_str()?))?;
    Some(index["end"].clone()).filter(|end| !end.is_null())
}
