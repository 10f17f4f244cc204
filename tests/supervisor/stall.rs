//! Programs that give no sign of life, and what ranks find around them.

use std::process::Child;

use super::Rank;
use super::gang::{Network, key};

fn pair(name: &str, more: impl Fn(Rank) -> Rank, scripts: [&str; 2]) -> [(i32, String); 2] {
    let (network, key) = (Network::new(name), key("ab"));
    let ranks = ["0", "1"].map(|it| more(network.rank(it, "2", &key)));
    let started = [ranks[0].starts(scripts[0]), ranks[1].starts(scripts[1])];
    started.map(|child: Child| {
        let ended = child.wait_with_output().expect("ended");
        (ended.status.code().unwrap_or(-1), String::from_utf8_lossy(&ended.stderr).into_owned())
    })
}

#[test]
fn when_nobody_gives_a_sign_of_life_all_are_stopped_and_say_where_they_were() {
    let watched = |rank: Rank| rank.env("NAUTA_STALL_TIMEOUT", "3").env("NAUTA_OUTPUTS", "/nauta/outputs");
    for (code, stderr) in pair("stall", watched, ["echo up; sleep 600"; 2]) {
        assert_eq!(code, 124, "{stderr}");
        assert!(stderr.contains("this rank was stopped: no rank has written anything for"), "{stderr}");
        assert!(stderr.contains("`sleep 600`: S (sleeping)"), "{stderr}");
    }
    // One that speaks, or leaves something in the folder of outputs, is enough.
    let speaks = "for i in 1 2 3 4 5 6; do echo $i; sleep 1; done";
    // Nobody would come for what is left at the end.
    let leaves = "for i in 1 2 3 4 5 6; do echo $i > $NAUTA_OUTPUTS/file-$i; sleep 1; done; rm $NAUTA_OUTPUTS/*";
    for (name, script) in [("speaks", speaks), ("leaves", leaves)] {
        for (code, stderr) in pair(name, watched, ["sleep 6.5", script]) {
            assert_eq!(code, 0, "{name}: {stderr}");
        }
    }
    // It may begin again.
    let again = Rank::new().env("NAUTA_STALL_TIMEOUT", "2").env("NAUTA_RESTARTS", "1").env("NAUTA_RESTART_ON", "stall");
    let ended = again.shell("[ $NAUTA_ATTEMPT = 2 ] || sleep 600");
    assert!(
        ended.code == 0 && ended.stderr.contains("attempt 2 of 2 begins: rank 0 was stopped: no rank"),
        "{ended:?}"
    );
}

#[test]
fn what_ranks_find_around_them_is_said_once() {
    let all_well = |rank: Rank| rank.option(&["--shm-size", "128m"]);
    let [(_, said), (_, other)] = pair("well", all_well, ["sleep 1"; 2]);
    assert!(said.contains("preflight: 2 ranks; shm 128 MiB, disk "), "{said}");
    assert!(!other.contains("preflight"), "{other}");
    // Promised what is not there; and Docker's own /dev/shm, of 64 MiB.
    let poor = |rank: Rank| rank.env("NAUTA_GPUS", "1").env("NAUTA_NODE", "worker-7");
    let [(code, said), _] = pair("poor", poor, ["sleep 1"; 2]);
    assert!(code == 0 && said.contains("preflight: trouble with 2 ranks of 2"), "{said}");
    let row = said.lines().find(|line| line.starts_with("nauta: 1 ")).expect("a row");
    for part in ["worker-7", "64.00 MiB", "0 of 1", "sees 0 of 1 accelerators; /dev/shm has only 64.00 MiB"] {
        assert!(row.contains(part), "{part}: {said}");
    }
}
