//! Ranks that meet, do not meet, and lose each other.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::Rank;
use crate::support::{Workstation, environment, nothing_of, tool};

/// A network for ranks that Docker alone starts.
pub(super) struct Network(String);

impl Network {
    pub(super) fn new(name: &str) -> Self {
        let name = format!("nauta-gang-{name}-{}", std::process::id());
        let _ = tool("docker", &["network", "create", &name]);
        Self(name)
    }

    pub(super) fn rank(&self, rank: &str, nodes: &str, key: &tempfile::NamedTempFile) -> Rank {
        let mount = format!("{}:/nauta/key/run-key:ro", key.path().display());
        let host = format!("rank-{rank}");
        let options = ["--network", &self.0, "--network-alias", &host, "--hostname", &host, "-v", &mount];
        let rank = Rank::new().option(&options).env("NAUTA_RANK", rank).env("NAUTA_NODES", nodes);
        rank.env("NAUTA_COORDINATOR", "rank-0").env("NAUTA_START_DEADLINE", "4")
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = std::process::Command::new("docker").args(["network", "rm", &self.0]).output();
    }
}

pub(super) fn key(digits: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), digits.repeat(32)).expect("written");
    file
}

#[test]
fn a_rank_that_does_not_come_is_named() {
    let (network, key) = (Network::new("missing"), key("ab"));
    let first = network.rank("0", "3", &key);
    let second = network.rank("1", "3", &key);
    let other = second.starts("echo never");
    let ended = first.shell("echo never");
    assert_eq!((ended.code, ended.stdout.as_slice()), (125, &b""[..]), "{ended:?}");
    assert!(ended.stderr.contains("rank 2") && !ended.stderr.contains("rank 1 "), "{}", ended.stderr);
    let other = other.wait_with_output().expect("ended");
    assert_eq!((other.status.code(), other.stdout.as_slice()), (Some(125), &b""[..]));
    let alone = network.rank("1", "2", &key).shell("echo never");
    assert!(alone.code == 125 && alone.stderr.contains("rank 0") && alone.stderr.contains("rank-0"), "{alone:?}");
}

#[test]
fn a_stranger_does_not_get_in_and_does_not_disturb() {
    let network = Network::new("stranger");
    let (ours, theirs) = (key("ab"), key("cd"));
    let first = network.rank("0", "2", &ours);
    let coordinator = first.starts("echo together");
    let intruder = network.rank("1", "2", &theirs);
    let stranger = intruder.starts("echo never");
    let late = network.rank("1", "2", &ours).shell("echo together");
    assert_eq!((late.code, late.stdout.as_slice()), (0, &b"together\n"[..]), "{late:?}");
    assert_eq!(coordinator.wait_with_output().expect("ended").stdout, b"together\n");
    let stranger = stranger.wait_with_output().expect("ended");
    assert_eq!((stranger.status.code(), stranger.stdout.as_slice()), (Some(125), &b""[..]), "{stranger:?}");
}

#[test]
fn when_a_rank_is_gone_the_others_stop_and_say_which() {
    for victim in ["0", "2"] {
        let workstation = Workstation::new();
        let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
        workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\n"));
        let mut command = workstation.command(&["run", "--local", "-n", "3", "--", "sh", "-c", "echo up; sleep 300"]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        assert_eq!(lines.take(3).count(), 3);
        let run = workstation.only_run();
        let name = run.file_name().and_then(|name| name.to_str()).expect("text").to_owned();
        let filter = format!("label=nauta.dev/run={name}");
        let rank = format!("label=nauta.dev/rank={victim}");
        let container = tool("docker", &["ps", "-q", "--filter", &filter, "--filter", &rank]);
        let _ = tool("docker", &["kill", container.trim()]);
        let output = child.wait_with_output().expect("ended");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(137), "{said}");
        assert!(said.contains(&format!("failed: rank {victim} was killed by signal 9")), "{said}");
        assert!(said.contains(&format!("rank {victim}")), "{said}");
        nothing_of(&name);
    }
}

/// Kubernetes ends all pods of a Job as soon as one has failed.
#[test]
fn a_rank_that_failed_stays_until_the_others_have_delivered() {
    let (network, key) = (Network::new("parting"), key("5a"));
    let slow = network.rank("0", "2", &key).env("NAUTA_DRAIN", "3").env("NAUTA_GRACE", "5");
    let slow = slow.env("NAUTA_MAILBOX", "127.0.0.1:9/nobody").env("NAUTA_MAILBOX_PLAIN_HTTP", "1");
    let failed = network.rank("1", "2", &key);
    let mut delivering = slow.starts("echo kept > $NAUTA_OUTPUTS/kept; trap 'exit 0' TERM; sleep 100 & wait");
    let failure = failed.shell("exit 7");
    assert_eq!(failure.code, 7, "{}", failure.stderr);
    let said = std::process::Command::new("docker").args(["logs", &slow.name]).output().expect("docker runs");
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("outputs are not complete in the mailbox"), "it had not given up yet: {said}");
    let _ = delivering.kill();
    let _ = delivering.wait();
}
