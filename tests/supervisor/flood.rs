//! Strangers at the port where a gang meets: many at once, who want nothing but to be there.

use std::collections::VecDeque;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::process::Child;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::Rank;
use super::gang::{Network, key};
use crate::support::{figure, number, tool};

/// What a flood may cost rank 0, in KiB.
const MOST_KIB: u64 = 16 * 1024;
/// So many connections a stranger holds open at once.
const HELD: usize = 500;

/// What strangers say once they are connected: nothing, half a handshake, one with another key, or a lot.
fn shapes() -> [Vec<u8>; 4] {
    let half = [&[0, 48][..], &[7; 20]].concat();
    let wrong = [&[0, 48][..], &[7; 48]].concat();
    let body = [&[0xff, 0xff][..], &vec![7; 65_000]].concat();
    [Vec::new(), half, wrong, body]
}

/// Connects again and again, and holds the last ones.
fn flood(to: SocketAddr, said: &[u8], made: &AtomicUsize, stop: &AtomicBool) {
    let mut held = VecDeque::new();
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = TcpStream::connect_timeout(&to, Duration::from_secs(5)) else { continue };
        made.fetch_add(1, Ordering::Relaxed);
        // It is hung up on, early or late.
        let _ = stream.set_nonblocking(true);
        let _ = stream.write(said);
        held.push_back(stream);
        if held.len() > HELD {
            held.pop_front();
        }
    }
}

/// Until so many strangers have come.
fn until(made: &AtomicUsize, most: usize) {
    let deadline = Instant::now() + Duration::from_mins(10);
    while made.load(Ordering::Relaxed) < most {
        assert!(Instant::now() < deadline, "{} of {most} strangers in ten minutes", made.load(Ordering::Relaxed));
        thread::sleep(Duration::from_millis(5));
    }
}

/// A figure of a container's first process, in KiB.
fn memory(container: &str, field: &str) -> u64 {
    let status = tool("docker", &["exec", container, "cat", "/proc/1/status"]);
    let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("Linux tells it");
    line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().expect("a number")
}

fn address(container: &str) -> IpAddr {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    tool("docker", &["inspect", "--format", format, container]).trim().parse().expect("an address")
}

/// Waits until something listens, and gives where.
fn listens(container: &str) -> SocketAddr {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let running = tool("docker", &["ps", "-q", "--filter", &format!("name={container}")]);
        if !running.trim().is_empty() {
            let to = SocketAddr::new(address(container), 7117);
            if TcpStream::connect_timeout(&to, Duration::from_secs(1)).is_ok() {
                return to;
            }
        }
        assert!(Instant::now() < deadline, "rank 0 does not listen");
        thread::sleep(Duration::from_millis(50));
    }
}

fn said_together(rank: Child) {
    let output = rank.wait_with_output().expect("ended");
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"together\n"[..]), "{output:?}");
}

/// Until a rank's program has begun; whether it has.
fn begins(rank: &Rank) -> bool {
    let deadline = Instant::now() + Duration::from_mins(1);
    while !tool("docker", &["logs", &rank.name]).contains("together") {
        if Instant::now() > deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(100));
    }
    true
}

#[test]
fn a_flood_of_strangers_costs_little_and_gangs_form_and_go_on_through_it() {
    let least = usize::try_from(number("NAUTA_TEST_FLOOD", 5000)).expect("small");
    let (network, key) = (Network::new("flood"), key("ab"));
    let joined = "echo together; while [ ! -e /tmp/over ]; do sleep 0.1; done";
    let first = network.rank("0", "2", &key).env("NAUTA_START_DEADLINE", "120");
    let coordinator = first.starts(joined);
    let to = listens(&first.name);
    let before = memory(&first.name, "VmRSS");
    let second = network.rank("1", "2", &key).env("NAUTA_START_DEADLINE", "120");
    let (made, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let began = Instant::now();
    let (member, met) = thread::scope(|scope| {
        for said in shapes() {
            let (made, stop) = (&made, &stop);
            scope.spawn(move || flood(to, &said, made, stop));
        }
        // The flood is there before the other rank comes, and after the gang has met.
        until(&made, least / 2);
        let member = second.starts(joined);
        let met = begins(&first);
        until(&made, made.load(Ordering::Relaxed) + least / 2);
        stop.store(true, Ordering::Relaxed);
        (member, met)
    });
    let (took, made) = (began.elapsed(), made.into_inner());
    let (peak, after) = (memory(&first.name, "VmHWM"), memory(&first.name, "VmRSS"));
    figure(&format!("{made} strangers in {took:.1?}: rank 0 had {before} KiB, at most {peak} KiB, then {after} KiB"));
    for rank in [&first, &second] {
        let _ = tool("docker", &["exec", &rank.name, "touch", "/tmp/over"]);
    }
    assert!(met, "the gang does not meet in a flood");
    said_together(coordinator);
    said_together(member);
    assert!(peak - before < MOST_KIB, "{before} KiB became {peak} KiB");
}
