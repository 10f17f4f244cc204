//! Files of the project that are written to while a run is sent.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::support::{Workstation, environment};

/// `nauta run >run.log 2>&1`, beside a program that appends to another log.
#[test]
fn logs_in_the_project_do_not_stop_a_run() {
    let workstation = Workstation::new();
    workstation.configure(&format!("[defaults]\nbase = '{}'\n", environment("NAUTA_TEST_IMAGE_BUSYBOX")));
    workstation.write("run.sh", "ls\ngrep -vc '^step [0-9]*$' other.log\n");
    let (log, other) = (workstation.project.join("run.log"), workstation.project.join("other.log"));
    std::fs::write(&other, "step 0\n".repeat(300_000)).expect("written");
    let stop = Arc::new(AtomicBool::new(false));
    let writing = std::thread::spawn({
        let stop = Arc::clone(&stop);
        move || {
            let mut file = std::fs::File::options().append(true).open(other).expect("there");
            let mut line = 0;
            while !stop.load(Ordering::SeqCst) {
                line += 1;
                // Whole lines at once, more often than the file is read.
                file.write_all(format!("step {line}\n").as_bytes()).expect("written");
                std::thread::sleep(Duration::from_micros(50));
            }
        }
    });
    // On a busy machine nothing may be written just while a run reads: then another one does.
    let runs = (0..20).map(|_| {
        let file = std::fs::File::create(&log).expect("created");
        let mut command = workstation.command(&["run", "--local", "run.sh"]);
        let status = command.stdout(file.try_clone().expect("cloned")).stderr(file).status().expect("nauta starts");
        (status, std::fs::read_to_string(&log).expect("text"))
    });
    let seen = runs.into_iter().find(|(_, said)| said.contains("is being written to"));
    stop.store(true, Ordering::SeqCst);
    writing.join().expect("no panic");
    let (status, said) = seen.expect("a run that saw it grow");
    // `grep` counts lines that are none of the writer's, and has the code 1 where there are none.
    assert_eq!(status.code(), Some(1), "{said}");
    let ranks: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("[0] ")).collect();
    assert_eq!(ranks[..3], ["other.log", "run.sh", "0"], "{said}");
    assert_eq!(said.matches("`run.log` stays here: nauta's own output goes there").count(), 1, "{said}");
    assert!(
        said.matches("`other.log` is being written to, and is sent as it was when the run began").count() == 1,
        "{said}"
    );
}
