//! Gangs that go on with fewer ranks.

use std::process::Child;

use super::Rank;
use super::gang::{Network, key};
use super::restarts::until;

fn rank(network: &Network, rank: &str, key: &tempfile::NamedTempFile) -> Rank {
    network
        .rank(rank, "3", key)
        .env("NAUTA_START_DEADLINE", "60")
        .env("NAUTA_MIN_NODES", "2")
        .env("NAUTA_REPLACED", "1")
}

/// Works until somebody leaves a word.
const SCRIPT: &str = "echo up; until [ -e /tmp/enough ]; do sleep 0.1; done; echo done";

/// Three ranks whose programs run.
fn three(network: &Network, key: &tempfile::NamedTempFile) -> ([Rank; 3], [Child; 3]) {
    let ranks = ["0", "1", "2"].map(|it| rank(network, it, key));
    let mut started = ranks.each_ref().map(|rank| rank.starts(SCRIPT));
    for child in &mut started {
        until(child, "up");
    }
    (ranks, started)
}

fn enough(rank: &Rank) {
    let _ = crate::support::tool("docker", &["exec", &rank.name, "touch", "/tmp/enough"]);
}

fn ends(child: Child, code: i32, said: &str) {
    let ended = child.wait_with_output().expect("ended");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(code), "{stderr}");
    assert!(stderr.contains(said), "{stderr}");
}

#[test]
fn a_lost_rank_does_not_stop_the_others_and_another_one_joins_them() {
    let (network, key) = (Network::new("elastic"), key("ab"));
    let (ranks, started) = three(&network, &key);
    ranks[2].signal("KILL");
    let another = rank(&network, "2", &key);
    let mut there_again = another.starts(SCRIPT);
    until(&mut there_again, "up");
    [&ranks[0], &ranks[1], &another].into_iter().for_each(enough);
    let [zero, one, two] = started;
    ends(there_again, 0, "");
    ends(zero, 0, "rank 2 is there again; the run goes on with 3 of 3 ranks");
    ends(one, 0, "");
    ends(two, 137, "");
}

#[test]
fn a_run_is_done_without_the_lost_rank_and_who_comes_after_that_leaves() {
    let (network, key) = (Network::new("late"), key("ab"));
    let (ranks, started) = three(&network, &key);
    ranks[2].signal("KILL");
    let [mut zero, one, two] = started;
    ends(two, 137, "");
    [&ranks[0], &ranks[1]].into_iter().for_each(enough);
    assert!(zero.wait().expect("ended").success());
    ends(one, 0, "");
    let late = rank(&network, "2", &key).env("NAUTA_START_DEADLINE", "1").shell(SCRIPT);
    assert!(late.code == 125 && late.stdout.is_empty(), "{late:?}");
}

#[test]
fn too_few_ranks_and_a_failed_program_end_it() {
    let (network, key) = (Network::new("few"), key("ab"));
    let (ranks, started) = three(&network, &key);
    ranks[2].signal("KILL");
    ranks[1].signal("KILL");
    let [zero, ..] = started;
    // Where lost containers are replaced, a program that was stopped is told by another code than one that was lost.
    ends(zero, 241, "was stopped because rank 1 failed");
    let fails = ["0", "1", "2"].map(|it| rank(&network, it, &key));
    let script = "echo up; [ $NAUTA_RANK = 1 ] && exit 3; sleep 600";
    let [zero, one, two] = fails.each_ref().map(|rank| rank.starts(script));
    ends(one, 3, "");
    ends(zero, 241, "was stopped because rank 1 failed");
    ends(two, 241, "was stopped because rank 1 failed");
}
