//! What leaves a rank, from real containers over the control stream.

use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::{Workstation, environment, interrupt, read_until};

fn run(script: &str) -> (Workstation, crate::support::Done) {
    let workstation = Workstation::new();
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{}'\n", environment("NAUTA_TEST_IMAGE_BUSYBOX")));
    workstation.write("job.sh", script);
    let done = workstation.nauta(&["run", "--local", "--", "sh", "job.sh"]);
    (workstation, done)
}

#[test]
fn what_is_no_file_is_left_out_and_said() {
    let (workstation, done) = run("cd $NAUTA_OUTPUTS
        echo good > good; mkdir -p deep/er; echo deep > deep/er/file; mkfifo pipe; ln -s /etc/passwd link
        echo x > \"$(printf 'new\\nline')\"; echo x > 'back\\slash'; echo secret > unreadable; chmod 0 unreadable
        chmod 4755 good; mkdir empty; : > zero; mkdir .git; echo x > .git/config");
    assert_eq!(done.code, 125, "files are missing: {}", done.stderr);
    assert!(done.stderr.contains("succeeded, outputs incomplete"), "{}", done.stderr);
    let listed = workstation.succeeds(&["list"]).stdout;
    assert!(listed.contains("  incomplete  "), "{listed}");
    let run = workstation.only_run();
    assert_eq!(std::fs::read_to_string(run.join("good")).expect("arrived"), "good\n");
    assert_eq!(run.join("good").metadata().expect("there").permissions().mode() & 0o7777, 0o755);
    assert_eq!(std::fs::read_to_string(run.join("deep/er/file")).expect("arrived"), "deep\n");
    assert_eq!(run.join("zero").metadata().expect("arrived").len(), 0);
    for (name, reason) in [
        ("pipe", "no regular file"),
        ("link", "a link that leads elsewhere"),
        ("unreadable", "denied"),
        ("new", "name"),
        ("back", "name"),
        (".git/config", "trust"),
    ] {
        let said = done.stderr.lines().any(|line| line.contains(name) && line.contains(reason));
        assert!(said, "{name}: {}", done.stderr);
        assert!(!run.join(name).exists(), "{name}");
    }
}

/// Who keeps their files to themselves keeps these too.
#[test]
fn outputs_respect_the_users_umask() {
    let workstation = Workstation::new();
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{}'\n", environment("NAUTA_TEST_IMAGE_BUSYBOX")));
    let script =
        "cd $NAUTA_OUTPUTS; mkdir d; echo x > d/file; chmod 0777 d/file; dd if=/dev/zero of=large bs=1M count=3";
    let inner = workstation.command(&["run", "--local", "--", "sh", "-c", script]);
    let mut outer = Command::new("sh");
    outer.args(["-c", "umask 077; exec \"$0\" \"$@\""]).arg(inner.get_program()).args(inner.get_args()).env_clear();
    outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer.current_dir(inner.get_current_dir().expect("in the project"));
    let done = outer.output().expect("starts");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let run = workstation.only_run();
    for (path, mode) in [("d", 0o700), ("d/file", 0o700), ("large", 0o600)] {
        assert_eq!(run.join(path).metadata().expect("arrived").permissions().mode() & 0o777, mode, "{path}");
    }
}

#[test]
fn many_small_files_and_a_large_one_arrive() {
    let (workstation, done) = run("cd $NAUTA_OUTPUTS
        i=0; while [ $i -lt 2000 ]; do echo $i > f$i; i=$((i+1)); done
        dd if=/dev/urandom of=large bs=1M count=200 2>/dev/null; sha256sum large > sum");
    assert_eq!(done.code, 0, "{}", done.stderr);
    let run = workstation.only_run();
    assert!(
        (0..2000)
            .all(|i| std::fs::read_to_string(run.join(format!("f{i}"))).is_ok_and(|text| text == format!("{i}\n")))
    );
    let sum = std::fs::read_to_string(run.join("sum")).expect("arrived");
    let digest = nauta::digest::Digest::of(std::fs::read(run.join("large")).expect("arrived"));
    assert_eq!(sum.split(' ').next(), Some(digest.hex()));
    let own = crate::support::entries(&run.join(".nauta"));
    assert!(!own.iter().any(|path| path.to_string_lossy().contains("part-")), "{own:?}");
}

#[test]
fn what_is_special_alone_is_no_loss() {
    let (workstation, done) = run("cd $NAUTA_OUTPUTS; mkfifo pipe; ln -s /etc/passwd link; echo good > good");
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert!(workstation.only_run().join("good").is_file());
}

/// More than one list of files can hold, written when there is no time left.
#[test]
fn very_many_files_that_are_written_last_arrive() {
    let files = crate::support::number("NAUTA_TEST_MANY_FILES", 25_000);
    let (workstation, done) = run(&format!(
        "cd $NAUTA_OUTPUTS; awk 'BEGIN {{ for (i = 0; i < {files}; i++) {{ d = int(i / 1000); if (i % 1000 == 0) system(\"mkdir -p \" d); f = d \"/\" i; printf \"%04d\", i % 10000 > f; close(f) }} }}'"
    ));
    assert_eq!(done.code, 0, "{}", done.stderr);
    let run = workstation.only_run();
    let missing = (0..files).find(|i| {
        let text = std::fs::read_to_string(run.join(format!("{}/{i}", i / 1000)));
        text.ok() != Some(format!("{:04}", i % 10000))
    });
    assert_eq!(missing, None);
}

/// It never stands still for long enough to be taken as it is.
#[test]
fn a_file_that_is_replaced_all_the_time_arrives_meanwhile() {
    let workstation = Workstation::new();
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{}'\n", environment("NAUTA_TEST_IMAGE_BUSYBOX")));
    workstation.write(
        "job.sh",
        "cd $NAUTA_OUTPUTS; while true; do date > latest.tmp; mv latest.tmp latest; echo replaced; sleep 0.3; done",
    );
    let mut command = workstation.command(&["run", "--local", "--", "sh", "job.sh"]);
    let mut client = command.stdout(Stdio::piped()).spawn().expect("nauta starts");
    let mut stdout = client.stdout.take().expect("piped");
    let _ = read_until(&mut stdout, "replaced");
    std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
    while !workstation.only_run().join("latest").is_file() {
        assert_eq!(client.try_wait().expect("a child"), None, "it runs for as long as nothing has arrived");
        std::thread::sleep(Duration::from_millis(200));
    }
    interrupt(&client);
    assert!(!client.wait().expect("ended").success());
}

#[test]
fn files_that_move_while_they_are_looked_at_end_as_they_are_at_the_end() {
    let (workstation, done) = run("cd $NAUTA_OUTPUTS
        i=0; while [ $i -lt 60 ]; do echo step $i > latest.tmp; mv latest.tmp latest; echo line >> log; ln -sf latest swap; rm -f swap; echo x > swap; i=$((i+1)); sleep 0.1; done; rm swap");
    let run = workstation.only_run();
    assert_eq!(std::fs::read_to_string(run.join("latest")).expect("arrived"), "step 59\n", "{}", done.stderr);
    assert_eq!(std::fs::read_to_string(run.join("log")).expect("arrived").lines().count(), 60);
    assert!(!run.join("latest.tmp").exists());
}
