//! A gang whose ranks are killed, one way or another, again and again: it always names the right one, and always begins again.
//!
//! `NAUTA_TEST_KILLS` says how often; `NAUTA_TEST_SEED` repeats a run.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Rank;
use super::gang::{Network, key};
use crate::support::random::Random;
use crate::support::{figure, number};

const RANKS: usize = 8;
/// Longer than this nothing takes, unless it hangs.
const PATIENCE: Duration = Duration::from_mins(1);

/// A container, and what it says.
struct Running {
    rank: Rank,
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.rank.signal("KILL");
        let _ = self.child.wait();
    }
}

impl Running {
    fn start(network: &Network, key: &tempfile::NamedTempFile, rank: usize) -> Self {
        let rank = network.rank(&rank.to_string(), &RANKS.to_string(), key).env("NAUTA_START_DEADLINE", "60");
        let rank = rank.env("NAUTA_RESTARTS", "1000").env("NAUTA_REPLACED", "1");
        let mut command =
            rank.command("NAUTA_TEST_IMAGE_BUSYBOX", &["sh", "-c", "echo up $NAUTA_ATTEMPT >&2; exec sleep 999"]);
        let mut child = command.spawn().expect("docker starts");
        let (lines_tx, lines) = mpsc::channel();
        let stderr = child.stderr.take().expect("piped");
        std::thread::spawn(move || {
            BufReader::new(stderr).lines().map_while(Result::ok).try_for_each(|line| lines_tx.send(line))
        });
        Self { rank, child, lines }
    }

    /// What it says until it says what ends in `last`, without that.
    fn until(&self, last: &str) -> Vec<String> {
        let mut said = Vec::new();
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.ends_with(last) => return said,
                Ok(line) => said.push(line),
                Err(error) => panic!("{} never said `{last}` ({error}), but {said:?}", self.rank.name),
            }
        }
    }
}

/// The ways in which a rank is lost.
#[derive(Clone, Copy, Debug)]
enum Blow {
    /// A signal ends its program.
    Program(&'static str, u8),
    /// Its container dies, supervisor and all.
    Container,
    /// Its node says nothing more, and comes back after another one has taken its place.
    Node,
}

const BLOWS: [Blow; 8] = [
    Blow::Program("KILL", 9),
    Blow::Program("SEGV", 11),
    Blow::Program("ABRT", 6),
    Blow::Program("BUS", 7),
    Blow::Program("KILL", 9),
    Blow::Program("USR1", 10),
    Blow::Container,
    Blow::Node,
];

fn docker(arguments: &[&str]) {
    let done = Command::new("docker").args(arguments).stdin(Stdio::null()).output().expect("docker starts");
    assert!(done.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn whoever_is_killed_is_named_and_all_begin_again() {
    let kills = number("NAUTA_TEST_KILLS", 12);
    let seed = number("NAUTA_TEST_SEED", u64::from(std::process::id()));
    let mut random = Random::new(seed);
    figure(&format!("NAUTA_TEST_SEED={seed}"));
    let (network, key) = (Network::new("kills"), key("ab"));
    let mut gang: Vec<Running> = (0..RANKS).map(|rank| Running::start(&network, &key, rank)).collect();
    for running in &gang {
        let _ = running.until("up 1");
    }
    let (mut slowest, mut slowest_stop) = ([Duration::ZERO; 3], Duration::ZERO);
    for kill in 1..=kills {
        let (victim, attempt) = (random.below(RANKS), kill + 1);
        let blow = if kill <= BLOWS.len() as u64 {
            BLOWS[usize::try_from(kill - 1).expect("small")]
        } else {
            BLOWS[random.below(BLOWS.len())]
        };
        let (name, started) = (gang[victim].rank.name.clone(), Instant::now());
        let (kind, mut former, why) = match blow {
            Blow::Program(signal, number) => {
                let kill = format!("kill -{signal} $(pidof sleep)");
                // It may fall itself, together with all that the program has left.
                let _ = Command::new("docker").args(["exec", &name, "sh", "-c", &kill]).output();
                (0, None, format!("rank {victim} was killed by signal {number}"))
            }
            Blow::Container | Blow::Node => {
                let (kind, way) = if matches!(blow, Blow::Node) { (2, "pause") } else { (1, "kill") };
                docker(&[way, &name]);
                // The new one comes at once, or when all others have noticed.
                if random.below(2) == 0 {
                    for running in (0..RANKS).filter(|rank| *rank != victim).map(|rank| &gang[rank]) {
                        let _ = running.until(&format!("this rank was stopped because rank {victim} failed"));
                    }
                    slowest_stop = slowest_stop.max(started.elapsed());
                }
                let another = Running::start(&network, &key, victim);
                let why = if victim == 0 { "rank 0 was lost".to_owned() } else { format!("rank {victim} was lost") };
                (kind, Some(std::mem::replace(&mut gang[victim], another)), why)
            }
        };
        for (rank, running) in gang.iter().enumerate() {
            let said = running.until(&format!("up {attempt}")).join("\n");
            let begins = format!("attempt {attempt} of 1001 begins: {why}");
            assert!(said.contains(&begins), "kill {kill}, {blow:?} of rank {victim}: rank {rank} says\n{said}");
        }
        slowest[kind] = slowest[kind].max(started.elapsed());
        if let Some(former) = former.as_mut().filter(|_| matches!(blow, Blow::Node)) {
            docker(&["unpause", &name]);
            // Of two containers of one rank the former stops: it is told, or (rank 0) finds itself alone.
            let stopped = former.lines.iter().any(|line| line.contains("this rank was stopped"));
            assert!(stopped, "kill {kill}: the former container of rank {victim} goes on");
        }
    }
    figure(&format!(
        "{kills} of {kills} kills: the right rank named, all {RANKS} running again after at most {:.1} s (program), {:.1} s \
         (container), {:.1} s (node); without a new container all others were stopped after at most {:.1} s",
        slowest[0].as_secs_f64(),
        slowest[1].as_secs_f64(),
        slowest[2].as_secs_f64(),
        slowest_stop.as_secs_f64()
    ));
}
