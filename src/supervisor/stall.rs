//! Where the processes of a program are that gives no sign of life: for whoever has to find out why.

use std::fs;

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::reaper;

/// More processes than this are not described.
const MOST: usize = 16;
/// The longest command that is shown, in bytes.
const LONGEST: usize = 100;

/// One line for each process of this rank: what it is, and what it waits for.
pub(super) fn whereabouts() -> Vec<String> {
    let all = reaper::descendants().unwrap_or_default();
    let mut lines: Vec<String> = all.iter().take(MOST).filter_map(|pid| describe(*pid)).collect();
    if all.len() > MOST {
        lines.push(format!("and {} more processes", all.len() - MOST));
    }
    lines
}

fn describe(pid: Pid) -> Option<String> {
    let read = |name: &str| fs::read_to_string(format!("/proc/{pid}/{name}"));
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let mut command = String::from_utf8_lossy(&command).trim_end_matches('\0').replace('\0', " ");
    if command.len() > LONGEST {
        command.truncate(command.floor_char_boundary(LONGEST));
        command.push('…');
    }
    let state = field(&read("status").ok()?, "State")?.to_owned();
    // Where in the kernel it sleeps; `0` is nowhere.
    let waits = read("wchan").ok().filter(|place| !place.is_empty() && place != "0");
    let waits = waits.map_or_else(String::new, |place| format!(" in {place}"));
    Some(format!("process {pid} `{command}`: {state}{waits}"))
}

/// Makes the processes tell where they are that have made arrangements for it, as Python does with `PYTHONFAULTHANDLER`: it
/// writes the stack of each thread, and ends. Whether there was one.
pub(super) fn make_them_tell() -> bool {
    let willing: Vec<Pid> = reaper::descendants().unwrap_or_default().into_iter().filter(|pid| catches(*pid)).collect();
    for pid in &willing {
        reaper::signal_one(*pid, Signal::SIGABRT);
    }
    !willing.is_empty()
}

/// Whether a process has a handler for SIGABRT, which nobody has without a reason.
fn catches(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = field(&status, "SigCgt").and_then(|mask| u64::from_str_radix(mask, 16).ok()).unwrap_or(0);
    caught & (1 << (Signal::SIGABRT as u32 - 1)) != 0
}

/// A field of `/proc/PID/status`.
fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_by_their_whole_names() {
        let status = "Name:\tx\nState:\tS (sleeping)\nSigCgtX:\t1\nSigCgt:\t0000000000000020\n";
        assert_eq!((field(status, "State"), field(status, "SigCgt")), (Some("S (sleeping)"), Some("0000000000000020")));
        assert_eq!(field(status, "Sig"), None);
    }
}
