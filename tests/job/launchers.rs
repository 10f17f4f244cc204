//! Programs that are started from rank 0: Open MPI's and DeepSpeed's launchers, and whatever calls `ssh`. No image has one.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use super::cluster::{Cleanup, base};
use crate::support::{Done, Workstation, environment, interrupt, nothing_of};

const ALLREDUCE: &str = "\
import os, shutil, socket, sys
from mpi4py import MPI
world = MPI.COMM_WORLD
total = world.allreduce(world.rank)
assert shutil.which('ssh') in (None, '/nauta/state/launch/ssh') and shutil.which('sshd') is None
place = socket.gethostname().rsplit('-', 1)[1]
sys.stdout.write(f'process {world.rank} of {world.size} on {place} sums up to {total}\\n')
sys.stdout.flush()
if 'fail' in sys.argv:
    # Without a word to the others, who wait for it.
    os._exit(3) if world.rank == world.size - 1 else world.allreduce(0)
";

fn mpi(base: &str) -> Workstation {
    let workstation = Workstation::new();
    workstation.write("sum.py", ALLREDUCE);
    workstation.write("nauta.toml", &format!("[project]\nname = 'mpi'\n[environment]\nbase = '{base}'\n"));
    workstation
}

fn sums(done: &Done) -> Vec<String> {
    let mut lines: Vec<String> =
        done.stdout.lines().filter_map(|line| Some(line.split_once("process ")?.1.to_owned())).collect();
    lines.sort();
    lines
}

#[test]
fn mpi_adds_up_over_four_pods_as_over_four_containers_without_ssh() {
    let expected: Vec<String> = (0..4).map(|rank| format!("{rank} of 4 on {rank} sums up to 6")).collect();
    let here = mpi(&environment("NAUTA_TEST_IMAGE_MPI"));
    let local = here.succeeds(&["run", "--local", "-n", "4", "--", "mpirun", "python3", "sum.py"]);
    assert_eq!(sums(&local), expected, "{}\n{}", local.stdout, local.stderr);
    let there = mpi(&base("NAUTA_TEST_IMAGE_MPI"));
    there.configure_cluster("");
    let _cleanup = Cleanup(&there);
    let cluster = there.succeeds(&["run", "-n", "4", "--", "mpirun", "python3", "sum.py"]);
    assert_eq!(sums(&cluster), expected, "{}\n{}", cluster.stdout, cluster.stderr);
}

#[test]
fn slots_are_processes_and_the_code_of_one_that_fails_is_the_runs() {
    let workstation = mpi(&environment("NAUTA_TEST_IMAGE_MPI"));
    let run = |options: &[&str], arguments: &[&str]| {
        let command = [&["--", "mpirun"], arguments].concat();
        workstation.nauta(&[&["run", "--local", "-n", "2"], options, &command].concat())
    };
    let two_each = run(&["--slots", "2"], &["--bind-to", "none", "python3", "sum.py"]);
    let expected = ["0 of 4 on 0", "1 of 4 on 0", "2 of 4 on 1", "3 of 4 on 1"].map(|s| format!("{s} sums up to 6"));
    assert_eq!((two_each.code, sums(&two_each)), (0, expected.to_vec()), "{two_each:?}");
    let fails = run(&[], &["python3", "sum.py", "fail"]);
    assert!(fails.code == 3 && fails.stderr.contains("failed: rank 0 exited with code 3"), "{fails:?}");
}

#[test]
fn ctrl_c_ends_all_processes_of_mpi() {
    let workstation = mpi(&environment("NAUTA_TEST_IMAGE_MPI"));
    let script =
        "import time; from mpi4py import MPI; MPI.COMM_WORLD.Barrier(); print('up', flush=True); time.sleep(1000)";
    let mut command = workstation.command(&["run", "--local", "-n", "3", "--", "mpirun", "python3", "-c", script]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("nauta starts");
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines().map_while(Result::ok);
    // mpirun joins what its processes say at the same moment to one line now and then.
    let mut up = 0;
    while up < 3 {
        up += lines.next().expect("three come up").matches("up").count();
    }
    interrupt(&child);
    let rest: Vec<String> = lines.collect();
    let code = child.wait().expect("ended").code();
    assert!(code.is_some_and(|code| code > 0 && code != 125), "{code:?} {rest:?}");
    nothing_of(workstation.only_run().file_name().and_then(|name| name.to_str()).expect("text"));
}

/// A run of two ranks on busybox in which rank 0's script may start programs on rank 1.
fn from_rank_0(options: &[&str], script: &str) -> Done {
    let workstation = Workstation::new();
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write("nauta.toml", &format!("[project]\nname = 'shell'\n[environment]\nbase = '{base}'\n"));
    workstation.write("job.sh", &format!("one=$NAUTA_RUN-1.$NAUTA_RUN\n{script}"));
    let first = ["run", "--local", "-n", "2", "--launch", "rank0"];
    workstation.nauta(&[&first, options, &["--", "sh", "job.sh"]].concat())
}

#[test]
fn what_goes_in_and_out_is_that_of_the_command() {
    let done = from_rank_0(
        &[],
        "cat $NAUTA_HOSTFILE | sed s/$NAUTA_RUN/run/g; cmp $NAUTA_HOSTFILE /job/hostfile && echo linked
        echo words | ssh -o BatchMode=yes -p 2222 $one 'cat; echo \"rank $NAUTA_RANK in $PWD\"; echo err >&2; exit 7' 2>/tmp/1
        echo code $?
        ssh $one no-such-program 2>/tmp/2; echo code $?
        ssh nobody@$one 'kill -15 $$'; echo code $?
        ssh $NAUTA_RUN-7 true 2>/tmp/3; echo code $?
        rsh -n $NAUTA_RUN-0 'echo rank $NAUTA_RANK'
        head -c 20000000 /dev/zero | ssh $one cat | wc -c
        ssh $one 'head -c 20000000 /dev/zero' | wc -c
        echo $(cat /tmp/1 /tmp/2 /tmp/3)
        pdsh -S -f 8 -w $NAUTA_RUN-0,$one 'echo place %n of 2; exit %n' 2>/dev/null; echo code $?",
    );
    assert_eq!(done.code, 0, "{done:?}");
    let mut lines: Vec<&str> = done.stdout.lines().filter_map(|line| line.strip_prefix("[0] ")).collect();
    let mut places = lines.split_off(lines.len() - 3);
    let code_of_all = places.pop();
    places.sort_unstable();
    let errors = lines.pop().unwrap_or_default();
    let hosts = ["run-0.run slots=1", "run-1.run slots=1", "linked"];
    let said = ["words", "rank 1 in /workspace/shell", "code 7", "code 127", "code 143", "code 255", "rank 0"];
    assert_eq!(lines, [&hosts[..], &said, &["20000000", "20000000"]].concat(), "{done:?}");
    assert!(
        places[0].ends_with("-0: place 0 of 2") && places[1].contains("-1.") && places[1].ends_with(": place 1 of 2"),
        "{places:?}"
    );
    assert_eq!(code_of_all, Some("code 1"));
    for said in ["err", "no-such-program", "is none of this run's 2 ranks"] {
        assert!(errors.contains(said), "{said}: {errors}");
    }
}

#[test]
fn who_hangs_up_ends_what_was_started() {
    let done = from_rank_0(
        &[],
        "ssh $one 'sleep 1000; true' & sleep 1; ssh $one 'pidof sleep >/dev/null && echo it runs'
        kill -9 $!; sleep 1; ssh $one 'pidof sleep >/dev/null || echo it is gone'
        ssh $one 'trap \"echo told; exit 9\" TERM; while :; do sleep 0.1; done' & sleep 1; kill $!; wait $!; echo code $?",
    );
    let lines: Vec<&str> = done.stdout.lines().filter(|line| !line.contains("Terminated")).collect();
    assert_eq!(lines, ["[0] it runs", "[0] it is gone", "[0] told", "[0] code 9"], "{done:?}");
}

#[test]
fn the_rank_whose_process_was_killed_is_named() {
    let killed = from_rank_0(&[], "ssh $one 'kill -9 $$' || exit 4");
    assert_eq!(killed.code, 137, "{killed:?}");
    assert!(killed.stderr.contains("failed: rank 1 was killed by signal 9"), "{killed:?}");
    // The kernel kills a child of what was started, and its parent only tells.
    let memory = from_rank_0(&["--memory", "48Mi"], "ssh $one 'tail /dev/zero; exit 5' || exit $?");
    assert_eq!(memory.code, 137, "{memory:?}");
    assert!(memory.stderr.contains("failed: rank 1 was killed by the kernel: out of memory"), "{memory:?}");
    let exited = from_rank_0(&[], "ssh $one 'exit 5' || exit $?");
    assert!(exited.code == 5 && exited.stderr.contains("failed: rank 0 exited with code 5"), "{exited:?}");
    // What rank 0's program makes of it is its own affair.
    let survived = from_rank_0(&[], "ssh $one 'kill -9 $$'; echo went on");
    assert!(survived.code == 0 && survived.stdout.contains("[0] went on"), "{survived:?}");
}

#[test]
fn hosts_wait_and_begin_again_with_the_gang() {
    let script = "sleep 3; ssh $one 'echo attempt $NAUTA_ATTEMPT of rank $RANK; [ $NAUTA_ATTEMPT = 2 ] || kill -9 $$'";
    let done = from_rank_0(&["--restarts", "2", "--restart-on", "signal", "--json"], script);
    assert_eq!(done.code, 0, "{done:?}");
    for said in ["attempt 1 of rank 1", "attempt 2 of rank 1", "attempt 2 of 3 begins: rank 1 was killed by signal 9"] {
        assert!(done.stdout.contains(said), "{said}: {done:?}");
    }
    let hosting = r#""event":"rank","rank":1,"state":"hosting""#;
    assert!(done.stdout.matches(hosting).count() == 2 && !done.stdout.contains("attempt 3"), "{}", done.stdout);
}

#[test]
fn who_runs_the_command_is_said_and_can_be_chosen() {
    let workstation = Workstation::new();
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    let toml = format!("[environment]\nbase = '{base}'\n[run]\nlaunch = 'rank0'\nnodes = 2\ncommand = 'echo once'\n");
    workstation.write("nauta.toml", &toml);
    let once = workstation.succeeds(&["run", "--local"]);
    assert!(once.stdout.matches("once").count() == 1 && once.stderr.contains("rank 0 starts the programs of all"));
    let each = workstation.succeeds(&["run", "--local", "--launch", "all"]);
    assert!(each.stdout.matches("once").count() == 2 && !each.stderr.contains("starts the programs"), "{each:?}");
    let wrong = workstation.nauta(&["run", "--local", "--launch", "some"]);
    assert!(
        wrong.code == 125 && wrong.stderr.contains("`all` or `rank0`") && wrong.stderr.contains("hint:"),
        "{wrong:?}"
    );
}
