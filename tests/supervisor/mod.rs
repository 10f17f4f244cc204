//! The supervisor as PID 1 of real containers, started by Docker alone: no workstation follows.

mod elastic;
mod flood;
mod gang;
mod kills;
mod matrix;
mod process;
mod restarts;
mod stall;

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::environment;

/// A container with the supervisor in it; removed when this is dropped.
struct Rank {
    name: String,
    arguments: Vec<String>,
}

/// How a container ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: Vec<u8>,
    stderr: String,
}

impl Rank {
    /// On the busybox image, alone in its run, with no time for followers that never come.
    fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("nauta-pid1-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let binary = format!("{}:/nauta/bin/nauta:ro", env!("CARGO_BIN_EXE_nauta"));
        let rank = Self { arguments: vec!["run".into(), "--name".into(), name.clone(), "-v".into(), binary], name };
        rank.env("NAUTA_RANK", "0").env("NAUTA_NODES", "1").env("NAUTA_DRAIN", "0").env("NAUTA_GRACE", "1")
    }

    fn option(mut self, words: &[&str]) -> Self {
        self.arguments.extend(words.iter().map(ToString::to_string));
        self
    }

    fn env(self, name: &str, value: &str) -> Self {
        self.option(&["-e", &format!("{name}={value}")])
    }

    fn command(&self, image: &str, program: &[&str]) -> Command {
        self.command_in(&environment(image), program)
    }

    fn command_in(&self, image: &str, program: &[&str]) -> Command {
        let mut command = Command::new("docker");
        command.args(&self.arguments).arg(image).args(["/nauta/bin/nauta", "supervise", "--"]).args(program);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs a program to its end.
    fn runs_on(&self, image: &str, program: &[&str]) -> Ended {
        self.runs_in(&environment(image), program)
    }

    /// The same, in an image by its own name.
    fn runs_in(&self, image: &str, program: &[&str]) -> Ended {
        let output = self.command_in(image, program).output().expect("docker starts");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Ended { code: output.status.code().unwrap_or(-1), stdout: output.stdout, stderr }
    }

    fn runs(&self, program: &[&str]) -> Ended {
        self.runs_on("NAUTA_TEST_IMAGE_BUSYBOX", program)
    }

    fn shell(&self, script: &str) -> Ended {
        self.runs(&["sh", "-c", script])
    }

    /// Starts a program; whoever drops the rank before it ends removes its container.
    fn starts(&self, script: &str) -> Child {
        self.command("NAUTA_TEST_IMAGE_BUSYBOX", &["sh", "-c", script]).spawn().expect("docker starts")
    }

    fn signal(&self, signal: &str) {
        let _ = Command::new("docker").args(["kill", "-s", signal, &self.name]).output();
    }
}

impl Drop for Rank {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rm", "-f", &self.name]).output();
    }
}
