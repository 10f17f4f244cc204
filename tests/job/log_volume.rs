//! Much log, in few bytes of memory: lines without end, floods of short ones.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use super::cluster::{Cleanup, shell};
use crate::support::{Workstation, environment, number};

/// What nauta may need at either end beside the pages of its own program, in KiB.
const MOST: u64 = 36 * 1024;

#[derive(Clone, Copy, Debug)]
enum Place {
    Local,
    Cluster,
}

/// The most memory that a process has had, in KiB, but for the pages of its program, which the kernel can read again and which are
/// three times as many in a development build; nothing once it is gone.
fn peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let figure = |name: &str| -> Option<u64> {
        let of_name = status.lines().find_map(|line| line.strip_prefix(name));
        of_name?.trim().strip_suffix("kB")?.trim().parse().ok()
    };
    figure("VmHWM:")?.checked_sub(figure("RssFile:")?)
}

/// The supervisors of a run, as this machine sees them in all containers that are on it.
fn supervisors(run: &str) -> Vec<u32> {
    let of_run = |path: &PathBuf| {
        let read = |name: &str| std::fs::read(path.join(name)).unwrap_or_default();
        let variable = format!("NAUTA_RUN={run}").into_bytes();
        read("environ").split(|byte| *byte == 0).any(|one| one == variable)
            && read("cmdline").split(|byte| *byte == 0).nth(1) == Some(b"supervise")
    };
    let processes = std::fs::read_dir("/proc").expect("readable").flatten().map(|entry| entry.path());
    processes.filter(of_run).filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}

/// The most memory that nauta needs at both ends of a run, in KiB.
fn peaks(workstation: &Workstation, client: &mut Child) -> (u64, u64) {
    let (mut here, mut there, mut found) = (0, 0, Vec::new());
    while client.try_wait().expect("a child").is_none() {
        here = here.max(peak(client.id()).unwrap_or(0));
        if found.is_empty() {
            let runs = crate::support::folders(&workstation.project.join("runs"));
            found = runs.iter().filter_map(|run| run.file_name()?.to_str()).flat_map(supervisors).collect();
        }
        there = found.iter().filter_map(|pid| peak(*pid)).fold(there, u64::max);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(here > 0 && there > 0, "both were seen");
    (here, there)
}

/// A line of so many megabytes, then as many short lines as make up the rest.
fn floods(workstation: &Workstation, place: Place) {
    let (line, log) = (number("NAUTA_TEST_LOG_LINE_MB", 64), number("NAUTA_TEST_LOG_MB", 200));
    workstation.write(
        "job.sh",
        &format!(
            "tr '\\0' x < /dev/zero | head -c {line}000000; echo\n\
             yes 'step 000000 loss 0.123456 accuracy 0.654321 learning rate 0.001' | head -c {log}000000; echo end"
        ),
    );
    let mut command = match place {
        Place::Local => workstation.command(&["run", "--local"]),
        // The image is on its way before: what that needs has a bound of its own.
        Place::Cluster => {
            let name = workstation.succeeds(&["run", "--detach"]).stdout;
            workstation.command(&["logs", "--follow", name.trim()])
        }
    };
    let mut client = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("nauta starts");
    let (here, there) = peaks(workstation, &mut client);
    let output = client.wait_with_output().expect("ended");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    crate::support::figure(&format!("{place:?}: {} MiB here, {} MiB in the rank", here / 1024, there / 1024));
    assert!(here <= MOST && there <= MOST, "{here} KiB here, {there} KiB in the rank");
    // Afterwards, with the options that have to hold something back.
    let run = workstation.only_run();
    let name = run.file_name().and_then(|name| name.to_str()).expect("text");
    for options in [&["--tail", "100000"][..], &["--grep", "nothing says this"], &["--raw"]] {
        let mut command = workstation.command(&[&["logs", name], options].concat());
        let mut client = command.stdout(Stdio::null()).spawn().expect("nauta starts");
        let mut here = 0;
        while client.try_wait().expect("a child").is_none() {
            here = here.max(peak(client.id()).unwrap_or(0));
            std::thread::sleep(Duration::from_millis(5));
        }
        crate::support::figure(&format!("{place:?}, {options:?}: {here} KiB"));
        assert!(client.wait().expect("ended").success() && here <= MOST, "{options:?}: {here} KiB");
    }
    let last = workstation.succeeds(&["logs", name, "--tail", "100000"]);
    let lines = last.stdout.lines().count();
    assert!(lines == 100_000 && last.stdout.ends_with("end\n"), "{lines} lines: {}", last.stderr);
}

#[test]
fn on_docker_a_flood_of_log_needs_little_memory() {
    let workstation = Workstation::new();
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\n[run]\ncommand = 'sh job.sh'\n"));
    floods(&workstation, Place::Local);
}

#[test]
fn on_the_cluster_a_flood_of_log_needs_little_memory() {
    let workstation = shell("");
    workstation.configure_cluster("");
    let _cleanup = Cleanup(&workstation);
    floods(&workstation, Place::Cluster);
}
