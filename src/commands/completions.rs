//! `nauta completions` and the hidden `nauta man`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::env::Shells;
use clap_complete::{CompleteEnv, Shell};

use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::env_vars;
use crate::output::Output;

/// Print the completion script for a shell
///
/// `install.sh` puts the scripts where bash, zsh and fish look for them.
///
/// Example: nauta completions bash > ~/.local/share/bash-completion/completions/nauta
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Write man pages into a folder
#[derive(Args, Debug)]
pub struct ManArgs {
    /// The folder, made if need be
    folder: PathBuf,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot write man pages into `{}`", folder.display())]
struct ManError {
    folder: PathBuf,
    source: std::io::Error,
}

impl Diagnosis for ManError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
}

/// Prints the script. It asks nauta itself at every TAB: names of runs, targets and templates are completed too, and a
/// new nauta needs no new script.
pub fn run(args: &CompletionsArgs, output: &Output) -> u8 {
    let mut script = Vec::new();
    let name = args.shell.to_string();
    if let Some(shell) = Shells::builtins().completer(&name) {
        // Writing into memory does not fail.
        let _ = shell.write_registration(env_vars::COMPLETE, "nauta", "nauta", "nauta", &mut script);
    }
    let script = format!("{}\n", String::from_utf8_lossy(&script).trim());
    output.data(&script, &serde_json::json!({ "schema": 1, "shell": name, "script": script }));
    0
}

/// Answers a shell that asks what may come next, when that is what nauta was called for.
#[expect(
    clippy::disallowed_methods,
    reason = "before there is a context: a TAB answers even where that cannot be read"
)]
pub fn answer(command: impl Fn() -> Command, arguments: &[OsString]) -> bool {
    let here = std::env::current_dir().ok();
    let asked = CompleteEnv::with_factory(command).var(env_vars::COMPLETE);
    asked.try_complete(arguments, here.as_deref()).unwrap_or(true)
}

/// Writes the pages.
pub fn man(args: ManArgs, command: Command) -> Result<u8> {
    let write = || {
        std::fs::create_dir_all(&args.folder)?;
        clap_mangen::generate_to(command, &args.folder)
    };
    match write() {
        Ok(()) => Ok(0),
        Err(source) => Err(ManError { folder: args.folder, source }.into()),
    }
}
