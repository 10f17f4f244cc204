//! What programs find in their environment and in their command: by hand as under nauta, here and on the cluster.

use super::cluster::{Cleanup, base};
use crate::support::{Workstation, environment};

/// A project on busybox.
fn shell(base: &str) -> Workstation {
    let workstation = Workstation::new();
    workstation.write("nauta.toml", &format!("[project]\nname = 'words'\n[environment]\nbase = '{base}'\n"));
    workstation
}

fn local(workstation: &Workstation, options: &[&str], command: &[&str]) -> crate::support::Done {
    workstation.nauta(&[&["run", "--local"], options, &["--"], command].concat())
}

/// The names of what a program finds, without those that every program does.
fn names(stdout: &str, rank: u32) -> Vec<&str> {
    let general = ["HOME", "HOSTNAME", "LOGNAME", "PATH", "PWD", "PYTHONUNBUFFERED", "SHLVL", "USER"];
    let own = stdout.lines().filter_map(|line| Some(line.strip_prefix(&format!("[{rank}] "))?.split_once('=')?.0));
    let mut names: Vec<&str> = own.filter(|name| !general.contains(name) && !name.starts_with("NAUTA_")).collect();
    names.sort_unstable();
    names
}

#[test]
fn one_rank_is_started_as_by_hand_and_several_know_each_other() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let one = local(&workstation, &[], &["env"]);
    assert!(one.code == 0 && names(&one.stdout, 0).is_empty(), "{one:?}");
    let own = local(&workstation, &["-e", "RANK=-1", "-e", "WORLD_SIZE=1"], &["env"]);
    assert!(names(&own.stdout, 0) == ["RANK", "WORLD_SIZE"] && own.stdout.contains("[0] RANK=-1"), "{own:?}");
    let torch = local(&workstation, &["--variables", "torch"], &["env"]);
    let found = names(&torch.stdout, 0);
    assert!(found.contains(&"RANK") && found.contains(&"PET_NNODES") && !found.contains(&"TF_CONFIG"), "{torch:?}");

    let two = local(&workstation, &["-n", "2", "-e", "MASTER_PORT=1234"], &["env"]);
    for line in [
        "NODE_RANK=1",
        "GROUP_RANK=1",
        "LOCAL_RANK=0",
        "JAX_PROCESS_ID=1",
        "ACCELERATE_USE_CPU=true",
        "MASTER_PORT=1234",
    ] {
        assert!(two.stdout.contains(&format!("[1] {line}\n")), "{line}: {two:?}");
    }
    let slots = local(&workstation, &["-n", "2", "--slots", "2"], &["env"]);
    let found = names(&slots.stdout, 1);
    assert!(!found.contains(&"LOCAL_RANK") && found.contains(&"RANK"), "{slots:?}");
    assert!(slots.stdout.contains("[1] PET_NPROC_PER_NODE=2"), "{slots:?}");
    let none = local(&workstation, &["-n", "2", "--variables", "none", "-e", "RANK=mine"], &["env"]);
    assert_eq!(names(&none.stdout, 1), ["RANK"], "{none:?}");
}

#[test]
fn what_nauta_sets_itself_is_refused_with_its_name() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    for (options, name, hint) in [
        (vec!["-n", "2", "-e", "RANK=0"], "`RANK` (from --env)", "--variables none"),
        (vec!["-n", "2", "-e", "MASTER_ADDR=x"], "`MASTER_ADDR` (from --env)", "each rank gets its own"),
        (vec!["-e", "NAUTA_OUTPUTS=/x"], "`NAUTA_OUTPUTS` (from --env)", "take another name"),
        (vec!["--variables", "torches"], "`torches` names no variables", "--variables torch"),
    ] {
        let refused = local(&workstation, &options, &["true"]);
        assert!(refused.code == 125 && refused.stderr.contains(name) && refused.stderr.contains(hint), "{refused:?}");
    }
    let toml = std::fs::read_to_string(workstation.project.join("nauta.toml")).expect("readable");
    workstation.write("nauta.toml", &format!("{toml}[run]\nvariables = 'torch'\nenv = {{ WORLD_SIZE = '7' }}\n"));
    let refused = local(&workstation, &[], &["true"]);
    assert!(refused.stderr.contains("`WORLD_SIZE` (from `run.env` in nauta.toml)"), "{refused:?}");
}

#[test]
fn commands_say_where_they_are_on_both_engines() {
    let command = [
        "sh",
        "-c",
        r#"rank=shell; echo "$@" | tee {outputs}/words; echo ${rank}"#,
        "sh",
        "--out={outputs}/x",
        "{rank}-of-{nodes}",
        "{master}",
        "{run}",
        r#"{"rank": 1}"#,
        "{{rank}}",
        "{lr}",
    ];
    let said = |run: &str, rank: u32| {
        format!(r#"--out=/nauta/outputs/x {rank}-of-2 {run}-0.{run} {run} {{"rank": 1}} {{rank}} {{lr}}"#)
    };
    let [here, there] =
        [environment("NAUTA_TEST_IMAGE_BUSYBOX"), base("NAUTA_TEST_IMAGE_BUSYBOX")].map(|base| shell(&base));
    there.configure_cluster("");
    let _cleanup = Cleanup(&there);
    for (workstation, place) in [(&here, &["--local"][..]), (&there, &[])] {
        let done = workstation.succeeds(&[&["run", "-n", "2"], place, &["--"], &command].concat());
        let run = workstation.only_run();
        let name = run.file_name().and_then(|name| name.to_str()).expect("text");
        for rank in 0..2 {
            assert!(done.stdout.contains(&format!("[{rank}] {}\n", said(name, rank))), "{done:?}");
            assert!(done.stdout.contains(&format!("[{rank}] shell\n")), "{done:?}");
        }
        let words = std::fs::read_to_string(run.join("words")).expect("arrived");
        assert_eq!(words.trim_end(), said(name, 0));
    }
}

/// Each of them listens, and only in the second run somebody comes: for a moment, long before the end.
#[test]
fn ranks_that_never_meet_are_told_of_once_and_only_they() {
    let workstation = shell(&environment("NAUTA_TEST_IMAGE_BUSYBOX"));
    let run =
        |options: &[&str], script: &str| local(&workstation, &[&["-n", "2"], options].concat(), &["sh", "-c", script]);
    let alone = run(&[], "timeout 7 nc -l -p $MASTER_PORT; echo done");
    let told =
        "2 independent copies ran: the ranks' programs never connected to each other, and nothing used MASTER_PORT";
    assert!(alone.code == 0 && alone.stderr.matches(told).count() == 1, "{alone:?}");
    let place = alone.stderr.find(told).expect("told");
    assert!(alone.stderr[place..].lines().count() <= 3, "in the last lines: {}", alone.stderr);
    let met = "if [ $RANK = 0 ]; then nc -l -p $MASTER_PORT >/dev/null; else \
               until echo hello | nc -w 1 $MASTER_ADDR $MASTER_PORT; do sleep 0.1; done; fi; sleep 7";
    for (options, script) in [(&[][..], met), (&["--variables", "none"], "sleep 7")] {
        let done = run(options, script);
        assert!(done.code == 0 && !done.stderr.contains("independent copies"), "{done:?}");
    }
    let json = run(&["--json"], "sleep 7");
    assert!(json.stdout.contains(r#""independent_copies":true"#), "{json:?}");
}
