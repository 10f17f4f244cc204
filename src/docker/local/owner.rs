//! Which process answers for a run, so that leftovers of dead processes can be told from runs that go on.

use std::fs;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// A process, named so that no other process at any time is mistaken for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::docker) struct Owner {
    /// The machine, its host name included, since the engine may serve several.
    machine: String,
    /// The machine's boot: process ids start anew with each.
    boot: String,
    /// The namespace that the process id belongs to.
    namespace: String,
    pid: u32,
    /// When the process started, in the kernel's ticks since boot: process ids are used again.
    started: u64,
}

/// What is known about a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    Alive,
    Dead,
    /// It is, or was, on another machine or in another container.
    Elsewhere,
}

impl Owner {
    /// This process.
    pub(super) fn this_process() -> Self {
        Self::of(std::process::id())
    }

    /// A process of this machine.
    pub(in crate::docker) fn of(pid: u32) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
        let host = nix::unistd::gethostname().unwrap_or_default();
        let machine = Digest::of(format!("{} {}", read("/etc/machine-id"), host.to_string_lossy()));
        let namespace = fs::read_link("/proc/self/ns/pid").unwrap_or_default();
        Self {
            machine: machine.short().to_owned(),
            boot: read("/proc/sys/kernel/random/boot_id"),
            namespace: namespace.to_string_lossy().into_owned(),
            pid,
            started: started(pid).unwrap_or(0),
        }
    }

    /// Whether the process still runs.
    pub(super) fn life(&self) -> Life {
        let now = Self::of(self.pid);
        if now.machine != self.machine {
            Life::Elsewhere
        } else if now.boot != self.boot {
            Life::Dead
        } else if now.namespace != self.namespace {
            Life::Elsewhere
        } else if exists(self.pid) && now.started == self.started {
            Life::Alive
        } else {
            Life::Dead
        }
    }
}

/// The 22nd field of `/proc/<pid>/stat`; the second is a name in parentheses that may hold anything. Absent where there
/// is no such file system, and then the process id alone has to do.
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(')')?;
    fields.split_whitespace().nth(19)?.parse().ok()
}

fn exists(pid: u32) -> bool {
    let Ok(pid) = i32::try_from(pid) else { return false };
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), None) != Err(nix::errno::Errno::ESRCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_alive_until_it_is_not() {
        assert_eq!(Owner::this_process().life(), Life::Alive);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let owner = Owner::of(child.id());
        assert_eq!(owner.life(), Life::Alive);
        let used_again = Owner { started: owner.started + 1, ..owner.clone() };
        assert_eq!(used_again.life(), Life::Dead);
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(owner.life(), Life::Dead);
        assert_eq!(Owner { boot: "another".into(), ..Owner::this_process() }.life(), Life::Dead);
        assert_eq!(Owner { machine: "another".into(), ..Owner::this_process() }.life(), Life::Elsewhere);
        assert_eq!(Owner { namespace: "another".into(), ..Owner::this_process() }.life(), Life::Elsewhere);
    }
}
