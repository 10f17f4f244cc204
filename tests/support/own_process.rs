//! Runs a test in a process of its own, for what only a process has: an environment.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const MARK: &str = "NAUTA_TEST_OWN_PROCESS";

/// Whether the test called `name` (its full path) runs in its own process already. If not, runs it there, with the command
/// that `prepare` makes of this program and its arguments, and panics when it fails.
pub(crate) fn is_own_process(name: &str, prepare: impl FnOnce(&Path, &[&str]) -> Command) -> bool {
    if std::env::var_os(MARK).is_some_and(|mark| mark == *name) {
        return true;
    }
    let program: PathBuf = std::env::current_exe().expect("known");
    let mut command = prepare(&program, &["--exact", name, "--nocapture"]);
    let done = command.env(MARK, name).output().unwrap_or_else(|error| panic!("{command:?}: {error}: run tests/run"));
    let (stdout, stderr) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && stdout.contains("1 passed"), "{name} in its own process:\n{stdout}\n{stderr}");
    let _ = std::io::stderr().write_all(&done.stderr);
    false
}
