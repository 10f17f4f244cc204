//! Logs under faults: every byte arrives once, whatever is killed and cut meanwhile.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nauta::event::Stream;
use nauta::sync::journal::Records;

use super::cluster::{Cleanup, base};
use crate::support::link::Link;
use crate::support::random::Random;
use crate::support::{Workstation, api_server, number};

/// Writes numbered lines of 64 bytes at a rate, in pieces as a buffered program does.
const WRITES: &str = "\
import os, time
rank, rate, seconds = (int(os.environ[name]) for name in ('RANK', 'RATE', 'SECONDS'))
begin, written = time.monotonic(), 0
while written < rate * seconds:
    first = written // 64
    lines = (f'{rank:03d} {first + i:012d} '.ljust(63, '.') + '\\n' for i in range(128))
    os.write(1, ''.join(lines).encode())
    written += 128 * 64
    time.sleep(max(0, begin + written / rate - time.monotonic()))
";

/// What happens to whom.
#[derive(Clone, Copy, Debug)]
enum Fault {
    ApiServerKilled,
    LinkCut,
    LinkDead,
    ClientKilled,
}

/// How much of each; the long form is in `tests/soak`.
struct Plan {
    ranks: u64,
    seconds: u64,
    rate: u64,
    faults: Vec<(Duration, Fault)>,
}

impl Plan {
    fn new(seed: u64) -> Self {
        let seconds = number("NAUTA_TEST_LOG_SECONDS", 40);
        let random = std::cell::RefCell::new(Random::new(seed));
        let sometime = |_| Duration::from_millis(random.borrow_mut().next() % (seconds * 1000));
        let every = number("NAUTA_TEST_LOG_API_KILLS_EVERY", 15);
        let kills = (1..seconds / every).map(|n| Duration::from_secs(n * every));
        let mut faults: Vec<(Duration, Fault)> = kills.map(|at| (at, Fault::ApiServerKilled)).collect();
        for (name, fault) in [
            ("NAUTA_TEST_LOG_CUTS", Fault::LinkCut),
            ("NAUTA_TEST_LOG_DEAD_LINKS", Fault::LinkDead),
            ("NAUTA_TEST_LOG_CLIENTS", Fault::ClientKilled),
        ] {
            faults.extend((0..number(name, 2)).map(sometime).map(|at| (at, fault)));
        }
        faults.sort_by_key(|(at, _)| *at);
        Self {
            ranks: number("NAUTA_TEST_LOG_RANKS", 2),
            seconds,
            rate: number("NAUTA_TEST_LOG_RATE", 1_000_000),
            faults,
        }
    }
}

fn kill_api_server() {
    let kill = ["exec", "nauta-test-control-plane", "pkill", "-9", "-x", "kube-apiserver"];
    // It may just be starting from the last time.
    let _ = Command::new("docker").args(kill).output();
}

fn follows(workstation: &Workstation, run: &str) -> Child {
    let mut command = workstation.command(&["logs", "-f", "--tail", "0", run]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("nauta starts")
}

/// What a rank's program wrote, as it is kept.
fn kept(run: &Path, rank: u64) -> Vec<u8> {
    let bytes = std::fs::read(run.join(format!(".nauta/rank-{rank}.journal"))).expect("kept");
    let mut records = Records::default();
    records.push(&bytes);
    let records = std::iter::from_fn(|| records.next_record().expect("a journal"));
    records.filter(|record| record.stream == Stream::Stdout).flat_map(|record| record.bytes).collect()
}

/// The first line that is not the one that it should be; nothing where all are there once.
fn wrong(bytes: &[u8], rank: u64, lines: u64) -> Option<String> {
    let line = |number| format!("{:.<63}\n", format!("{rank:03} {number:012} "));
    let found = bytes.chunks(64).zip(0..).find(|(found, number)| *found != line(*number).as_bytes());
    match found {
        Some((found, number)) => Some(format!("line {number} is {}", String::from_utf8_lossy(found))),
        None if bytes.len() as u64 == lines * 64 => None,
        None => Some(format!("{} bytes instead of {}", bytes.len(), lines * 64)),
    }
}

#[test]
fn no_byte_is_lost_or_doubled_while_everything_breaks() {
    let seed = number("NAUTA_TEST_SEED", 5);
    let plan = Plan::new(seed);
    crate::support::figure(&format!(
        "seed {seed}: {} ranks, {} s, {} faults",
        plan.ranks,
        plan.seconds,
        plan.faults.len()
    ));
    let link = Link::before(&api_server());
    let workstation = Workstation::new();
    let base = base("NAUTA_TEST_IMAGE_PYTHON");
    workstation.write("writes.py", WRITES).write(
        "nauta.toml",
        &format!(
            "[project]\nname = 'log-loss'\n[environment]\nbase = '{base}'\n[run]\ncommand = 'python3 writes.py'\n"
        ),
    );
    workstation.configure_cluster_at(link.address);
    let _cleanup = Cleanup(&workstation);
    let (ranks, rate, seconds) =
        (plan.ranks.to_string(), format!("RATE={}", plan.rate), format!("SECONDS={}", plan.seconds));
    let _ = workstation.succeeds(&["run", "-d", "-n", &ranks, "-e", &rate, "-e", &seconds]);
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
    let mut client = follows(&workstation, &name);
    let begin = Instant::now();
    for (at, fault) in &plan.faults {
        std::thread::sleep(at.saturating_sub(begin.elapsed()));
        match fault {
            Fault::ApiServerKilled => kill_api_server(),
            Fault::LinkCut => link.cut(),
            Fault::LinkDead => link.go_dead(),
            Fault::ClientKilled => {
                client.kill().expect("killed");
                client.wait().expect("gone");
                client = follows(&workstation, &name);
            }
        }
    }
    assert!(client.wait().expect("ended").success(), "the last follower saw the end");
    let lines = (plan.rate * plan.seconds).div_ceil(128 * 64) * 128;
    for rank in 0..plan.ranks {
        assert_eq!(wrong(&kept(&run, rank), rank, lines), None, "rank {rank} as it was followed; seed {seed}");
    }
    crate::support::figure(&format!("{} connections", link.opened()));
    // Without the cluster: what the mailbox has.
    let _ = workstation.succeeds(&["cancel", &name]);
    for rank in 0..plan.ranks {
        let file = workstation.project.join(format!("rank-{rank}"));
        let path = file.to_str().expect("text");
        let _ = workstation.succeeds(&["logs", "--raw", "--rank", &rank.to_string(), "--output", path, &name]);
        assert_eq!(wrong(&std::fs::read(&file).expect("written"), rank, lines), None, "rank {rank} in the mailbox");
    }
}

/// A link goes dead and nobody is told: what is written meanwhile arrives over another one.
#[test]
fn a_follower_on_a_dead_link_comes_back() {
    let link = Link::before(&api_server());
    let workstation =
        super::cluster::shell("i=0; while [ $i -lt 1500 ]; do i=$((i + 1)); echo line $i; sleep 0.05; done");
    workstation.configure_cluster_at(link.address);
    let _cleanup = Cleanup(&workstation);
    let _ = workstation.succeeds(&["run", "--detach"]);
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text");
    let mut command = workstation.command(&["logs", "-f", name]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line == "[0] line 50"));
    link.go_dead();
    let begin = Instant::now();
    // What was on its way may still come; this was written later.
    assert!(lines.any(|line| line == "[0] line 250"));
    let silence = begin.elapsed();
    // A promise of the program's: dead after 15 s, and then it has to be reached again.
    assert!(silence < Duration::from_secs(20), "{silence:?}");
    crate::support::figure(&format!("line 250, written 10 s after the link went dead, was here after {silence:?}"));
    let rest: Vec<String> = lines.collect();
    assert_eq!(rest.first().map(String::as_str), Some("[0] line 251"));
    assert_eq!(rest.len(), 1500 - 250);
    assert!(child.wait().expect("ended").success());
}
