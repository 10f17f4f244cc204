//! What nauta says of a run's end is what happened to it, whatever happened: real runs with faults, whose end this test knows
//! because it brought it about.
//!
//! `NAUTA_TEST_TRUTH` says how many runs, `NAUTA_TEST_SEED` repeats them.

mod case;
pub(crate) mod faults;

use std::collections::VecDeque;
use std::sync::Mutex;

use self::case::{Case, Fault};
use crate::support::cluster_lock::ClusterLock;
use crate::support::random::Random;
use crate::support::{Workstation, environment, figure, number};

/// At the same time.
const WORKERS: usize = 4;

/// What the program of every run does: what its variables say, at its rank.
const PROGRAM: &str = r"
echo up $NAUTA_ATTEMPT
if [ $NAUTA_ATTEMPT != 1 ]; then sleep 0.2; exit $LATER; fi
if [ $NAUTA_RANK != $VICTIM ]; then
  [ $WHAT$CODE = code0 ] || sleep 60
  exit 0
fi
case $WHAT in
  code) sleep $AFTER; exit $CODE ;;
  signal) sleep $AFTER; kill -$CODE $$; sleep 60 ;;
  memory) sleep $AFTER; exec dd if=/dev/zero of=/dev/null bs=400M count=1 ;;
  wait) sleep 60 ;;
esac
";

fn workstation() -> Workstation {
    let workstation = Workstation::new();
    workstation.write("job.sh", PROGRAM);
    workstation.write(
        "nauta.toml",
        &format!(
            "[project]\nname = 'truth'\n[environment]\nbase = '{}'\n[run]\ncommand = 'sh job.sh'\n",
            super::cluster::base("NAUTA_TEST_IMAGE_BUSYBOX")
        ),
    );
    workstation.configure_cluster("");
    workstation
}

/// Runs that nobody else minds, several at a time.
fn run_all(workstation: &Workstation, cases: Vec<Case>) -> Vec<String> {
    let left = Mutex::new(VecDeque::from(cases));
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                loop {
                    let Some(case) = left.lock().expect("no panic").pop_front() else { return };
                    let run = std::panic::AssertUnwindSafe(|| case.run(workstation));
                    let problems = std::panic::catch_unwind(run)
                        .unwrap_or_else(|_| vec!["the harness failed: see above".to_owned()]);
                    wrong
                        .lock()
                        .expect("no panic")
                        .extend(problems.into_iter().map(|text| format!("{case:?}: {text}")));
                }
            });
        }
    });
    wrong.into_inner().expect("no panic")
}

#[test]
fn the_end_that_is_told_is_the_end_that_was() {
    let (runs, seed) = (number("NAUTA_TEST_TRUTH", 12), number("NAUTA_TEST_SEED", u64::from(std::process::id())));
    figure(&format!("NAUTA_TEST_SEED={seed}"));
    let mut random = Random::new(seed);
    let cases: Vec<Case> = (0..runs).map(|number| Case::draw(number, &mut random)).collect();
    let workstation = workstation();
    let _ = environment("NAUTA_TEST_NAMESPACE");
    let (disturbing, quiet): (Vec<Case>, Vec<Case>) = cases.into_iter().partition(|case| case.fault.disturbs_others());
    let count = |fault: &str| quiet.iter().chain(&disturbing).filter(|case| case.fault.name() == fault).count();
    let counts: Vec<String> = Fault::NAMES.iter().map(|name| format!("{name} {}", count(name))).collect();
    let mut wrong = {
        let _lock = ClusterLock::shared();
        run_all(&workstation, quiet)
    };
    // Short times only: others wait.
    let mut disturbing = VecDeque::from(disturbing);
    while !disturbing.is_empty() {
        let some = disturbing.drain(..disturbing.len().min(WORKERS)).collect();
        let _lock = ClusterLock::exclusive();
        wrong.extend(run_all(&workstation, some));
    }
    figure(&format!("{runs} runs ({}): {} disagreements\n{}", counts.join(", "), wrong.len(), wrong.join("\n")));
    assert!(wrong.is_empty(), "{} of {runs}: {wrong:#?}", wrong.len());
}
