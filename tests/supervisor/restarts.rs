//! Gangs that begin again.

use std::io::{BufRead, BufReader};
use std::process::Child;

use super::Rank;
use super::gang::{Network, key};

/// A rank of a gang that may begin again.
fn rank(network: &Network, rank: &str, nodes: &str, restarts: &str, key: &tempfile::NamedTempFile) -> Rank {
    network
        .rank(rank, nodes, key)
        .env("NAUTA_START_DEADLINE", "60")
        .env("NAUTA_RESTARTS", restarts)
        .env("NAUTA_REPLACED", "1")
}

pub(super) fn until(child: &mut Child, line: &str) {
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    assert!(lines.any(|found| found.expect("text") == line), "`{line}` never came");
    // The pipe must stay open as long as the program writes.
    std::thread::spawn(move || lines.count());
}

#[test]
fn all_ranks_begin_again_in_their_containers() {
    let (network, key) = (Network::new("again"), key("ab"));
    // What a rank leaves on its disk is there in the next attempt; what it has started is not.
    let script = "echo attempt $NAUTA_ATTEMPT >> $NAUTA_OUTPUTS/attempts; cat $NAUTA_OUTPUTS/attempts | tr '\\n' ';'
        pidof sleep && echo leftover; sleep 1000 &
        if [ $NAUTA_ATTEMPT = 3 ]; then exit 0; fi
        if [ $NAUTA_RANK = 1 ]; then sleep 0.5; exit 3; fi; wait";
    let ranks: Vec<Rank> = ["0", "1", "2"].map(|it| rank(&network, it, "3", "2", &key)).into();
    let started: Vec<Child> = ranks.iter().map(|rank| rank.starts(script)).collect();
    for child in started {
        let ended = child.wait_with_output().expect("ended");
        let (stdout, stderr) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
        assert_eq!(ended.status.code(), Some(0), "{stdout}{stderr}");
        assert!(stdout.ends_with("attempt 1;attempt 2;attempt 3;") && !stdout.contains("leftover"), "{stdout}");
        assert!(stderr.contains("attempt 3 of 3 begins: rank 1 exited with code 3"), "{stderr}");
    }
}

#[test]
fn when_no_restart_is_left_the_first_failure_is_the_end() {
    let alone = |restarts: &str, on: &str, script: &str| {
        Rank::new().env("NAUTA_RESTARTS", restarts).env("NAUTA_RESTART_ON", on).shell(script)
    };
    let ended = alone("2", "failure", "echo $NAUTA_ATTEMPT; exit 7");
    assert_eq!((ended.code, ended.stdout.as_slice()), (7, &b"1\n2\n3\n"[..]), "{ended:?}");
    let ended = alone("5", "signal,75", "echo $NAUTA_ATTEMPT; [ $NAUTA_ATTEMPT = 1 ] && kill -9 $$; exit 7");
    assert_eq!((ended.code, ended.stdout.as_slice()), (7, &b"1\n2\n"[..]), "{ended:?}");
    let ended = alone("5", "failure", "echo $NAUTA_ATTEMPT; exit 0");
    assert_eq!((ended.code, ended.stdout.as_slice()), (0, &b"1\n"[..]), "{ended:?}");
    let ended = alone("5", "nonsense", "echo never");
    assert!(ended.code == 125 && ended.stderr.contains("`nonsense` is no kind of failure"), "{ended:?}");
    let missing = Rank::new().env("NAUTA_RESTARTS", "5").runs(&["no-such-program"]);
    assert!(missing.code == 127 && missing.stderr.matches("no-such-program").count() == 1, "{missing:?}");
}

#[test]
fn a_container_in_a_lost_ones_place_joins_the_next_attempt() {
    for lost in ["1", "0"] {
        let (network, key) = (Network::new(&format!("lost-{lost}")), key("ab"));
        let script = "echo attempt $NAUTA_ATTEMPT; [ $NAUTA_ATTEMPT = 1 ] && sleep 1000; exit 0";
        let ranks: Vec<Rank> = ["0", "1", "2"].map(|it| rank(&network, it, "3", "1", &key)).into();
        let mut started: Vec<Child> = ranks.iter().map(|rank| rank.starts(script)).collect();
        for child in &mut started {
            until(child, "attempt 1");
        }
        let lost_at: usize = lost.parse().expect("a number");
        ranks[lost_at].signal("KILL");
        assert_eq!(started[lost_at].wait().expect("ended").code(), Some(137));
        let another = rank(&network, lost, "3", "1", &key).shell(script);
        assert_eq!((another.code, another.stdout.as_slice()), (0, &b"attempt 2\n"[..]), "{another:?}");
        for (i, child) in started.into_iter().enumerate().filter(|(i, _)| *i != lost_at) {
            let ended = child.wait_with_output().expect("ended");
            let stderr = String::from_utf8_lossy(&ended.stderr);
            assert!(ended.status.success(), "rank {i}: {stderr}");
            assert!(stderr.contains(&format!("was stopped because rank {lost} failed")), "rank {i}: {stderr}");
        }
    }
}

#[test]
fn of_two_containers_of_one_rank_the_former_stops() {
    let (network, key) = (Network::new("two"), key("ab"));
    let script = "echo attempt $NAUTA_ATTEMPT; [ $NAUTA_ATTEMPT = 1 ] && sleep 1000; exit 0";
    let ranks = ["0", "1"].map(|it| rank(&network, it, "2", "1", &key));
    let [mut zero, mut one] = [ranks[0].starts(script), ranks[1].starts(script)];
    until(&mut zero, "attempt 1");
    until(&mut one, "attempt 1");
    let another = rank(&network, "1", "2", "1", &key).shell(script);
    assert_eq!((another.code, another.stdout.as_slice()), (0, &b"attempt 2\n"[..]), "{another:?}");
    let former = one.wait_with_output().expect("ended");
    let stderr = String::from_utf8_lossy(&former.stderr);
    assert!(!former.status.success() && stderr.contains("another container has taken the place of rank 1"), "{stderr}");
    assert!(zero.wait().expect("ended").success());
}

#[test]
fn where_nobody_replaces_a_lost_container_the_run_ends() {
    let (network, key) = (Network::new("nobody"), key("ab"));
    let ranks = ["0", "1"].map(|it| rank(&network, it, "2", "5", &key).env("NAUTA_REPLACED", ""));
    let [mut zero, mut one] = ranks.each_ref().map(|rank| rank.starts("echo up; sleep 1000"));
    until(&mut zero, "up");
    until(&mut one, "up");
    ranks[1].signal("KILL");
    let ended = zero.wait_with_output().expect("ended");
    let stderr = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.code() == Some(143) && stderr.contains("because rank 1 failed"), "{stderr}");
}
