//! Docker's credential helpers: programs that keep secrets for others. Taken as hostile, slow and talkative.

use std::ffi::OsStr;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

use crate::programs;
use crate::secret::Credential;

/// A helper that needs longer is hanging.
const LIMIT: Duration = Duration::from_secs(10);
/// No secret is larger, in bytes.
const MAX_OUTPUT: u64 = 64 * 1024;
/// How helpers say that they do not have it.
const NOT_FOUND: &str = "credentials not found";

/// A credential helper, by the name that Docker's `config.json` gives it.
pub(super) struct Helper {
    program: PathBuf,
    limit: Duration,
}

/// What a helper said, with its verdict.
struct Answer {
    success: bool,
    output: Vec<u8>,
}

impl Helper {
    /// Looks for `docker-credential-<name>` in the absolute folders of `path`: never in the current directory, where a
    /// project could have put one.
    pub(super) fn locate(name: &str, path: Option<&OsStr>) -> Result<Self, String> {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)) {
            return Err("its name is none".to_owned());
        }
        let file = format!("docker-credential-{name}");
        let absent = || format!("`{file}` is not in PATH; install it, or take it out of Docker's `config.json`");
        let program = programs::locate(&file, path).ok_or_else(absent)?;
        Ok(Self { program, limit: LIMIT })
    }

    /// The credential for `server`; `None` when the helper has none.
    pub(super) async fn get(&self, server: &str) -> Result<Option<Credential>, String> {
        let answer = self.run("get", server.as_bytes()).await?;
        if !answer.success {
            return if answer.says_not_found() { Ok(None) } else { Err(answer.complaint()) };
        }
        answer.credential()
    }

    /// Keeps a credential for `server`.
    pub(super) async fn store(&self, server: &str, user: &str, secret: &str) -> Result<(), String> {
        let input = json!({"ServerURL": server, "Username": user, "Secret": secret}).to_string();
        let answer = self.run("store", input.as_bytes()).await?;
        if answer.success { Ok(()) } else { Err(answer.complaint()) }
    }

    /// Forgets the credential for `server`. Whether there was one is not known to all helpers.
    pub(super) async fn erase(&self, server: &str) -> Result<(), String> {
        let answer = self.run("erase", server.as_bytes()).await?;
        if answer.success || answer.says_not_found() { Ok(()) } else { Err(answer.complaint()) }
    }

    /// Runs the helper without a shell, away from the current directory, in a process group of its own so that what it
    /// starts ends with it.
    async fn run(&self, action: &str, input: &[u8]) -> Result<Answer, String> {
        let mut child = Command::new(&self.program)
            .arg(action)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("`{}` cannot be started: {error}", self.program.display()))?;
        let mut group = Group::of(&child);
        let answer = tokio::time::timeout(self.limit, converse(&mut child, input)).await;
        let answer = answer.map_err(|_| format!("it did not answer within {} s", self.limit.as_secs()))??;
        group.0 = None; // waited for: its number may be somebody else's, and what it started in good order may stay
        Ok(answer)
    }
}

impl Answer {
    /// The credential that it holds, if it holds one.
    fn credential(&self) -> Result<Option<Credential>, String> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Pair {
            #[serde(default)]
            username: String,
            #[serde(default)]
            secret: String,
        }
        // A parser's own words would quote the secret.
        let pair: Pair =
            serde_json::from_slice(&self.output).map_err(|_| "its answer is not the expected JSON".to_owned())?;
        Ok(Credential::from_pair(&pair.username, &pair.secret))
    }

    fn says_not_found(&self) -> bool {
        String::from_utf8_lossy(&self.output).contains(NOT_FOUND)
    }

    /// A refusal in the helper's own words: by the protocol they are no secret then.
    fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.output);
        let shown: String = text.trim().chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect();
        if shown.is_empty() { "it failed without a word".to_owned() } else { format!("it says \"{shown}\"") }
    }
}

/// Tries what a helper says.
pub(super) fn try_answer(output: &[u8]) {
    let answer = Answer { success: true, output: output.to_vec() };
    let _ = (answer.credential(), answer.says_not_found());
    assert!(!answer.complaint().contains(char::is_control));
}

async fn converse(child: &mut Child, input: &[u8]) -> Result<Answer, String> {
    let failed = |error: io::Error| format!("it broke off: {error}");
    let mut stdin = child.stdin.take().expect("piped");
    let stdout = child.stdout.take().expect("piped");
    let write = async {
        // A helper that does not read what it needs not is none of our business.
        let _ = stdin.write_all(input).await;
        drop(stdin);
    };
    let ((), output) = tokio::join!(write, read_bounded(stdout));
    let output = output.map_err(failed)?.ok_or_else(|| format!("it says more than {MAX_OUTPUT} bytes"))?;
    let status = child.wait().await.map_err(failed)?;
    Ok(Answer { success: status.success(), output })
}

/// All that comes, or `None` when it is too much.
async fn read_bounded(stream: impl AsyncRead + Unpin) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    stream.take(MAX_OUTPUT + 1).read_to_end(&mut bytes).await?;
    Ok((bytes.len() as u64 <= MAX_OUTPUT).then_some(bytes))
}

/// Kills a helper that was not waited for, and its process group; also when the caller stops waiting.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &Child) -> Self {
        Self(child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            let _ = killpg(group, Signal::SIGKILL); // it may have ended just now
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// A real small program, in a folder of its own.
    fn helper(script: &str) -> (tempfile::TempDir, Helper) {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("docker-credential-test");
        std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("writable");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("ours");
        let mut helper = Helper::locate("test", Some(folder.path().as_os_str())).expect("is there");
        helper.limit = Duration::from_secs(5);
        (folder, helper)
    }

    #[tokio::test]
    async fn a_helper_is_asked_by_stdin_and_its_secret_is_taken() {
        let script = r#"read server; [ "$1:$server" = get:localhost:5000 ] && echo '{"ServerURL":"x","Username":"ada","Secret":"s"}'"#;
        let (_folder, helper) = helper(script);
        assert_eq!(helper.get("localhost:5000").await, Ok(Credential::from_pair("ada", "s")));
        assert!(helper.get("other").await.is_err());
    }

    #[tokio::test]
    async fn not_having_it_is_no_failure() {
        let (_folder, helper) = helper("echo credentials not found in native keychain; exit 1");
        assert_eq!(helper.get("x").await, Ok(None));
        assert_eq!(helper.erase("x").await, Ok(()));
        let (_folder, helper) = self::helper(r#"echo '{"Username":"","Secret":""}'"#);
        assert_eq!(helper.get("x").await, Ok(None));
    }

    #[tokio::test]
    async fn hostile_helpers_are_bounded() {
        let (_folder, loud) = helper("yes");
        assert!(loud.get("x").await.expect_err("says too much").contains("more than"));
        let (_folder, deaf) = helper("exec <&-; echo '{}'");
        assert_eq!(deaf.get(&"x".repeat(1 << 20)).await, Ok(None));
        let (_folder, rude) = helper("printf '\\033[2Jno'; exit 3");
        assert_eq!(rude.get("x").await, Err("it says \" [2Jno\"".to_owned()));
        let (_folder, odd) = helper("echo canary-secret");
        assert!(!odd.get("x").await.expect_err("is no JSON").contains("canary"));
    }

    #[tokio::test]
    async fn a_hanging_helper_ends_with_all_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let pid = folder.path().join("pid");
        let (_folder, mut hanging) = helper(&format!("sleep 1000 & echo $! > {}; wait", pid.display()));
        hanging.limit = Duration::from_millis(500);
        assert!(hanging.get("x").await.expect_err("hangs").contains("did not answer"));
        let pid: i32 = std::fs::read_to_string(pid).expect("was started").trim().parse().expect("a number");
        let gone = || {
            let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            state.is_empty() || state.contains(") Z ")
        };
        for _ in 0..100 {
            if gone() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{pid} lives on");
    }

    #[test]
    fn only_absolute_folders_and_plain_names_count() {
        for name in ["", "../x", "a/b", "a b", "x\0"] {
            assert!(Helper::locate(name, Some(OsStr::new("/usr/bin"))).is_err(), "{name}");
        }
        let (folder, _) = helper("true");
        std::fs::set_permissions(folder.path().join("docker-credential-test"), std::fs::Permissions::from_mode(0o644))
            .expect("ours");
        assert!(Helper::locate("test", Some(folder.path().as_os_str())).is_err(), "is not executable");
        for path in [".", "", ":", "bin:./bin"] {
            assert!(Helper::locate("test", Some(OsStr::new(path))).is_err(), "{path}");
        }
        assert!(Helper::locate("test", None).is_err());
    }
}
