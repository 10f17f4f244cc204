//! `nauta login` against a real registry, by pipe and on a terminal.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::certificates::Authority;
use crate::support::docker_registry::{DockerRegistry, PASSWORD, USER};
use crate::support::{Workstation, read_until, tool};

fn by_pipe(workstation: &Workstation, arguments: &[&str], password: impl AsRef<[u8]>) -> (Option<i32>, String) {
    let mut command =
        workstation.command(&[&["login", "--user", USER, "--store", "docker-config"], arguments].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("starts");
    child.stdin.take().expect("piped").write_all(password.as_ref()).expect("reads");
    let output = child.wait_with_output().expect("ended");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_wrong_password_is_not_kept() {
    let registry = DockerRegistry::builder().password().start();
    let workstation = Workstation::new();
    let kept = workstation.project.join("../home/.docker/config.json");
    let long = b"x".repeat(65 * 1024);
    for (password, words) in [
        (&b"wrong"[..], "does not take this name and password of `ada`"),
        (b"", "no password came on standard input"),
        (b"p\xe4ssword", "the password on standard input is no UTF-8 text"),
        (long.as_slice(), "is longer than a password can be (64 KiB)"),
    ] {
        let (code, said) = by_pipe(&workstation, &[&registry.address], password);
        assert!(code != Some(0) && said.contains(words) && said.contains("hint:"), "{code:?} {said}");
        assert!(!kept.exists(), "{said}");
    }
    let (code, said) = by_pipe(&workstation, &[&registry.address], format!("{PASSWORD}\n"));
    assert_eq!(code, Some(0), "{said}");
    assert!(kept.exists() && !said.contains(PASSWORD), "{said}");
}

#[test]
fn a_registry_of_ones_own_authority_needs_its_certificate() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let registry = DockerRegistry::builder().password().tls(&authority.valid()).start();
    let workstation = Workstation::new();
    for (trusted, works) in [(&stranger, false), (&authority, true)] {
        workstation.write("ca.pem", &trusted.pem);
        let (code, said) = by_pipe(&workstation, &["--ca", "ca.pem", &registry.address], PASSWORD);
        assert_eq!(code == Some(0), works, "{said}");
        assert!(works || said.contains("unknown authority"), "{said}");
    }
}

#[test]
fn a_terminal_is_asked_and_shows_no_password() {
    let registry = DockerRegistry::builder().password().start();
    let workstation = Workstation::new();
    let nauta = workstation.command(&[]);
    let line = format!(
        "tty; {} login --user {USER} --store docker-config {}",
        nauta.get_program().to_str().expect("text"),
        registry.address
    );
    // `script` gives the command a terminal of its own.
    let mut command = Command::new("script");
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).current_dir(&workstation.project);
    command.env_clear().envs(nauta.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script starts");
    let mut stdin = child.stdin.take().expect("piped");
    let stdout = child.stdout.as_mut().expect("piped");
    let terminal = read_until(stdout, "\n");
    let mut shown = read_until(stdout, ": ");
    // Whoever types before the prompt's program has turned the echo off sees what she types.
    while !tool("stty", &["-F", terminal.trim(), "-a"]).contains(" -echo ") {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    stdin.write_all(format!("{PASSWORD}\n").as_bytes()).expect("reads");
    shown += &read_until(stdout, "is kept in");
    drop(stdin);
    assert!(child.wait().expect("ended").success(), "{shown}");
    assert!(shown.contains(&format!("password of {USER} at {}", registry.address)), "{shown}");
    assert!(!shown.contains(PASSWORD), "{shown}");
}
