//! The user's program: how it is started, and why it could not be.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

use nix::unistd::Pid;
use rustix::process::WaitStatus;

use crate::event::{End, Reason};

/// The shell that runs what is written for one.
pub(super) const SHELL: &str = "/bin/sh";

/// A started program.
pub(super) struct Program {
    /// Its process, and the group of all it starts.
    pub(super) pid: Pid,
    pub(super) stdout: ChildStdout,
    pub(super) stderr: ChildStderr,
}

/// Starts the program in a process group of its own, without input, in the folder that the supervisor is in.
pub(super) fn start(command: &[OsString], environment: &BTreeMap<OsString, OsString>) -> Result<Program, End> {
    start_with_input(command, environment, Stdio::null()).map(|(program, _)| program)
}

/// The same, with `input` as its standard input.
pub(super) fn start_with_input(
    command: &[OsString],
    environment: &BTreeMap<OsString, OsString>,
    input: Stdio,
) -> Result<(Program, Option<ChildStdin>), End> {
    let mut process = Command::new(&command[0]);
    process.args(&command[1..]).env_clear().envs(environment);
    process.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = process.spawn().map_err(|error| not_started(command, environment, &error))?;
    let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
        return Err(failed(126, "its output cannot be read".to_owned()));
    };
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap_or(i32::MAX));
    Ok((Program { pid, stdout, stderr }, child.stdin.take()))
}

/// Whether a process is an agent of torchrun's, which starts the program itself; `accelerate launch` is one too.
pub(super) fn is_torch_agent(pid: Pid) -> bool {
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    // An interpreter, its options, and then what it runs.
    command.split(|byte| *byte == 0).take(4).any(|word| {
        let name = Path::new(OsStr::from_bytes(word)).file_name().unwrap_or_default();
        ["torchrun", "accelerate", "torch.distributed.run", "torch.distributed.launch"]
            .iter()
            .any(|agent| name == *agent)
    })
}

/// What means more to a shell than itself.
const SHELLS_OWN: &[char] =
    &['|', '&', ';', '<', '>', '(', ')', '$', '`', '\\', '"', '\'', '*', '?', '[', '#', '~', '=', '{', '\n'];

/// The words of a command that is written for a shell: the shell's own, or the command's where the image has no shell and it
/// needs none.
pub(super) fn words(command: &str) -> Result<Vec<OsString>, String> {
    words_with(command, Path::new(SHELL).exists())
}

fn words_with(command: &str, shell: bool) -> Result<Vec<OsString>, String> {
    if shell {
        return Ok([SHELL, "-c", command].map(OsString::from).into());
    }
    if command.contains(SHELLS_OWN) {
        return Err(format!("`{command}` needs a shell, and the image has no {SHELL}"));
    }
    Ok(command.split_whitespace().map(OsString::from).collect())
}

fn failed(code: u8, message: String) -> End {
    End { code, ..End::not_started(message) }
}

/// Says why a program could not be started, as exactly as can be found out. Codes as shells use them: 127 for what is
/// not there, 126 for what cannot be executed.
fn not_started(command: &[OsString], environment: &BTreeMap<OsString, OsString>, error: &io::Error) -> End {
    let name = command[0].to_string_lossy();
    let Some(path) = find(&command[0], environment) else {
        return failed(127, absent(command, environment));
    };
    let path_text = path.display();
    let run_by = if name.ends_with(".py") { format!("; run it as `python3 {name}`") } else { String::new() };
    match error.kind() {
        io::ErrorKind::NotFound => match interpreter(&path) {
            Some(interpreter) if interpreter.ends_with('\r') => failed(
                126,
                format!("`{path_text}` has Windows line ends: its first line names `{}\\r`", interpreter.trim_end()),
            ),
            Some(interpreter) => failed(127, format!("`{path_text}` wants `{interpreter}`, which is not in the image")),
            None => failed(127, format!("`{path_text}` wants a loader that is not in the image (another C library?)")),
        },
        io::ErrorKind::PermissionDenied => failed(126, format!("`{path_text}` is not executable{run_by}")),
        _ if error.raw_os_error() == Some(nix::libc::ENOEXEC) => match processor(&path) {
            Some(other) => {
                let own = std::env::consts::ARCH;
                failed(
                    126,
                    format!("`{path_text}` is a program for {other}, and this machine is {own}: build it for {own}"),
                )
            }
            None => {
                failed(126, format!("`{path_text}` has no `#!` line and is no program of this machine's kind{run_by}"))
            }
        },
        _ => failed(126, format!("`{path_text}`: {error}")),
    }
}

/// Words that only a shell knows.
const BUILTINS: [&str; 12] =
    ["cd", "export", "source", ".", "set", "unset", "ulimit", "umask", "alias", "eval", "exec", "trap"];
/// Words that join commands, where a shell reads them.
const OPERATORS: [&str; 9] = ["&&", "||", "|", ";", "&", ">", ">>", "<", "2>&1"];

/// Why a program is not found that a name means.
fn absent(command: &[OsString], environment: &BTreeMap<OsString, OsString>) -> String {
    let name = command[0].to_string_lossy();
    let is_assignment = name.split_once('=').is_some_and(|(name, _)| crate::job::is_variable_name(name));
    let is_operator = |word: &OsString| OPERATORS.iter().any(|operator| word == operator);
    if BUILTINS.contains(&&*name) || is_assignment || command.iter().any(is_operator) {
        return format!("`{name}` is for a shell, and no shell runs this command: write it as {}", for_shell(command));
    }
    if let Some((folder, closed)) = closed_folder(environment, &command[0]) {
        let user = nix::unistd::getuid();
        return format!(
            "`{name}` is not found, and user {user} cannot look into `{0}` of PATH: `{1}` is closed to it \
             (`RUN chmod a+rx {1}` in the Dockerfile opens it)",
            folder.display(),
            closed.display()
        );
    }
    format!("`{name}` is not in the image{}", python_hint(&command[0], environment))
}

/// The command as a shell's: `sh -c "cd src && python train.py"`. What holds blanks is quoted in it.
fn for_shell(command: &[OsString]) -> String {
    let word = |word: &OsString| {
        let word = word.to_string_lossy();
        if word.is_empty() || word.contains([' ', '\t', '"', '\'', '(', ')', '*', '?']) {
            format!("'{}'", word.replace('\'', "'\\''"))
        } else {
            word.into_owned()
        }
    };
    let text = command.iter().map(word).collect::<Vec<_>>().join(" ");
    format!("`sh -c \"{}\"`", text.replace('"', "\\\""))
}

/// The first folder of `PATH` that this user cannot look into for want of a right, and what of its path is closed.
fn closed_folder(environment: &BTreeMap<OsString, OsString>, name: &OsStr) -> Option<(PathBuf, PathBuf)> {
    if name.as_bytes().contains(&b'/') {
        return None;
    }
    let is_closed =
        |path: &Path| path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    let folder = std::env::split_paths(environment.get(OsStr::new("PATH"))?).find(|it| is_closed(&it.join(name)))?;
    let closed = folder.ancestors().find(|above| !is_closed(above))?.to_owned();
    Some((folder, closed))
}

/// Where a program's name leads: itself when it has a `/`, else along `PATH`.
pub(super) fn find(name: &OsStr, environment: &BTreeMap<OsString, OsString>) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    let search = environment.get(OsStr::new("PATH"))?;
    std::env::split_paths(search).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// The processors that a program is for, as the kernel calls them; nothing where it is no program.
fn processor(path: &Path) -> Option<String> {
    let mut head = [0; 20];
    io::Read::read_exact(&mut std::fs::File::open(path).ok()?, &mut head).ok()?;
    let is_little = head.strip_prefix(b"\x7fELF")?[1] == 1;
    let machine = [head[18], head[19]];
    Some(match if is_little { u16::from_le_bytes(machine) } else { u16::from_be_bytes(machine) } {
        3 => "i386".to_owned(),
        21 => "ppc64".to_owned(),
        22 => "s390x".to_owned(),
        40 => "arm".to_owned(),
        62 => "x86_64".to_owned(),
        183 => "aarch64".to_owned(),
        243 => "riscv64".to_owned(),
        other => format!("another processor (ELF machine {other})"),
    })
}

/// The interpreter that a script's first line names.
fn interpreter(path: &Path) -> Option<String> {
    Some(first_line(path)?.split([' ', '\t']).next().unwrap_or_default().to_owned())
}

/// What a script's first line says behind its `#!`.
fn first_line(path: &Path) -> Option<String> {
    let mut start = [0; 256];
    let read = io::Read::read(&mut std::fs::File::open(path).ok()?, &mut start).ok()?;
    let line = start[..read].strip_prefix(b"#!")?.split(|b| *b == b'\n').next()?;
    Some(String::from_utf8_lossy(line).trim_start_matches([' ', '\t']).to_owned())
}

fn python_hint(name: &OsStr, environment: &BTreeMap<OsString, OsString>) -> &'static str {
    if name == "python" && find(OsStr::new("python3"), environment).is_some() {
        "; `python3` is (Debian's package `python-is-python3` adds the shorter name)"
    } else {
        ""
    }
}

/// What a process's status says about its end. `killed_for_memory` counts only for SIGKILL.
pub(super) fn end_of(status: WaitStatus, killed_for_memory: bool) -> End {
    let small = |code: i32| u8::try_from(code).unwrap_or(u8::MAX);
    match (status.terminating_signal(), status.exit_status()) {
        (Some(signal), _) => {
            let for_memory = killed_for_memory && signal == nix::libc::SIGKILL;
            let reason = if for_memory { Reason::OutOfMemory } else { Reason::Signalled { signal } };
            End { code: small(128 + signal), reason }
        }
        (None, Some(code)) => End { code: small(code), reason: Reason::Exited },
        (None, None) => End::lost("its end was not understood"),
    }
}

/// What a program's end means that its code alone does not say: a script may name `env` and not what `env` is to start.
pub(super) fn advice(command: &[OsString], environment: &BTreeMap<OsString, OsString>, end: &End) -> Option<String> {
    let path = find(&command[0], environment).filter(|_| end.code == 127 && end.reason == Reason::Exited)?;
    let is_windows = first_line(&path)?.ends_with('\r');
    is_windows.then(|| format!("`{}` has Windows line ends (its first line ends with `\\r`)", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(command: &[&str]) -> (u8, String) {
        let command: Vec<OsString> = command.iter().map(OsString::from).collect();
        let environment = BTreeMap::from([(OsString::from("PATH"), OsString::from("/usr/bin:/bin"))]);
        match start(&command, &environment) {
            Err(End { code, reason: Reason::NotStarted { message } }) => (code, message),
            _ => (0, String::new()),
        }
    }

    #[test]
    fn a_command_for_a_shell_runs_without_one_where_it_can() {
        let words = |command, shell| words_with(command, shell).map(|words| words.join(OsStr::new("|")));
        assert_eq!(words("cd /x; ls", true), Ok("/bin/sh|-c|cd /x; ls".into()));
        assert_eq!(words("/app/worker  --rank 3", false), Ok("/app/worker|--rank|3".into()));
        assert!(words("cd /x; ls", false).is_err_and(|error| error.contains("needs a shell")));
    }

    #[test]
    fn a_folder_of_path_that_is_closed_is_named() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let (root, tools) = (temp.path().join("root"), temp.path().join("root/.local/tools"));
        std::fs::create_dir_all(&tools).expect("made");
        let set = |mode| {
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&root, mode).expect("set");
        };
        set(0o600);
        let path = format!("/bin:{}", tools.display());
        let environment = BTreeMap::from([(OsString::from("PATH"), OsString::from(path))]);
        let found = closed_folder(&environment, OsStr::new("tool"));
        set(0o700);
        // The administrator may enter every folder.
        let expected = (!nix::unistd::geteuid().is_root()).then_some((tools, root));
        assert_eq!(found, expected);
    }

    #[test]
    fn what_cannot_be_started_says_why() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let script = |name: &str, text: &str, mode: u32| {
            let path = temp.path().join(name);
            std::fs::write(&path, text).expect("written");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&path, mode).expect("set");
            path.to_str().expect("text").to_owned()
        };
        let absent = message(&["no-such-program", "x"]);
        assert_eq!(absent, (127, "`no-such-program` is not in the image".to_owned()));
        let (code, text) = message(&["cd", "my src", "&&", "python", "train.py", "|", "tee", "log.txt"]);
        assert!(code == 127 && text.contains("no shell runs this command"), "{text}");
        assert!(text.ends_with("`sh -c \"cd 'my src' && python train.py | tee log.txt\"`"), "{text}");
        assert!(message(&["LR=3", "python", "train.py"]).1.contains("is for a shell"));
        let (code, text) = message(&[&script("a.sh", "#!/bin/sh\r\ntrue\r\n", 0o755)]);
        assert!(code == 126 && text.contains("Windows line ends"), "{text}");
        let (code, text) = message(&[&script("b.sh", "#!/no/such\n", 0o755)]);
        assert!(code == 127 && text.contains("`/no/such`"), "{text}");
        let (code, text) = message(&[&script("c.py", "print()", 0o644)]);
        assert!(code == 126 && text.contains("not executable; run it as `python3"), "{text}");
        let other = format!("\x7fELF\x02\x01\x01{}\x02\0\x16\0", "\0".repeat(9));
        let (code, text) = message(&[&script("e", &other, 0o755)]);
        assert!(code == 126 && text.contains("is a program for s390x, and this machine is"), "{text}");
        let (code, text) = message(&[&script("d", "print()", 0o755)]);
        assert!(code == 126 && text.contains("no `#!` line"), "{text}");
    }
}
