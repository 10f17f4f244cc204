//! Every parser of what others have made takes the corpus in `fuzz/`, and many changes of it, without harm.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nauta::fuzzing::TARGETS;

use crate::support::random::Random;
use crate::support::{figure, number};

/// No input needs more of a processor.
const LONGEST: Duration = Duration::from_secs(3);
/// What all inputs of a target may need together, in KiB.
const MOST_KIB: u64 = 256 * 1024;
/// What parsers look for.
const TOKENS: [&[u8]; 24] = [
    b"\0",
    b"\n",
    b"\r",
    b"\x1b[",
    b"\xff",
    b"{",
    b"}",
    b"[",
    b"]",
    b"\"",
    b"\\",
    b":",
    b",",
    b"/",
    b"..",
    b"null",
    b"-1",
    b"18446744073709551615",
    b"1e999",
    b"\\u0000",
    b"\xe2\x80\xae",
    b"\xff\xff\xff\xff",
    b"sha256:",
    b"*",
];

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("readable").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), std::fs::read(path).expect("readable"))).collect()
}

/// An input with a few changes, or with a part of another one.
fn changed(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(9)).min(bytes.len());
        match random.below(7) {
            0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
            1 if at < bytes.len() => bytes[at] = random.next().to_le_bytes()[0],
            2 => drop(bytes.drain(at..end)),
            3 => drop(bytes.splice(at..end, TOKENS[random.below(TOKENS.len())].iter().copied())),
            4 => {
                let from = random.below(other.len() + 1);
                let to = from + random.below(other.len() - from + 1);
                bytes.splice(at..end, other[from..to].iter().copied());
            }
            5 => bytes.truncate(at),
            _ => {
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part.iter().copied().cycle().take(part.len() * (1 + random.below(20))));
            }
        }
    }
    bytes
}

/// What this thread has had of a processor.
fn spent() -> Duration {
    let spent = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::try_from(spent).expect("no negative time")
}

fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux tells it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn what_others_have_made_does_no_harm_and_neither_does_what_it_becomes() {
    // Memory is looked at: nothing else may use any.
    let mut own = Command::new(std::env::current_exe().expect("known"));
    own.args(["--exact", "fuzz::in_a_process_of_its_own", "--ignored", "--nocapture"]);
    let output = own.output().expect("starts");
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
#[ignore = "the test above runs it"]
fn in_a_process_of_its_own() {
    let (changes, seed) = (number("NAUTA_TEST_CHANGES", 2000), number("NAUTA_TEST_SEED", 18));
    for (name, target) in TARGETS {
        let (corpus, before, began) = (corpus(name), peak(), spent());
        for (number, (path, input)) in corpus.iter().enumerate() {
            let other = &corpus[(number + 1) % corpus.len()].1;
            // Of inputs that are much work there are fewer changes.
            let enough = spent() + Duration::from_millis(changes / 2);
            let mut random = Random::new(seed);
            for change in (0..=changes).take_while(|change| *change == 0 || spent() < enough) {
                let bytes = if change == 0 { input.clone() } else { changed(input, other, &mut random) };
                let what = || format!("change {change} (seed {seed}) of {}: {}", path.display(), bytes.escape_ascii());
                let started = spent();
                let outcome = catch_unwind(AssertUnwindSafe(|| target(&bytes)));
                assert!(outcome.is_ok(), "{}", what());
                let needed = spent().saturating_sub(started);
                assert!(needed < LONGEST, "{needed:?} for {}", what());
            }
        }
        let grown = peak().saturating_sub(before);
        figure(&format!("{name}: {:.1?}, {grown} KiB", spent().saturating_sub(began)));
        assert!(grown < MOST_KIB, "{name} took {grown} KiB");
    }
}

#[test]
fn every_target_can_be_fuzzed_and_has_a_corpus() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).expect("readable");
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = std::fs::read_dir(fuzz.join(folder)).expect("readable");
        let names = entries.map(|entry| entry.expect("readable").file_name().into_string().expect("text"));
        names.map(|name| name.trim_end_matches(".rs").to_owned()).collect()
    };
    let targets: BTreeSet<String> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!((&names("corpus"), &names("fuzz_targets")), (&targets, &targets));
    for name in targets {
        let program = std::fs::read_to_string(fuzz.join(format!("fuzz_targets/{name}.rs"))).expect("readable");
        assert!(program.contains(&format!("run(\"{name}\", bytes)")), "{program}");
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name}");
        assert!(corpus(&name).len() >= 3, "{name} has few inputs");
    }
}
