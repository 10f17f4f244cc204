//! `nauta completions` and the hidden `nauta man`.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::output::Output;

/// Print the completion script for a shell
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

/// Prints the script.
pub fn run(args: &CompletionsArgs, command: &mut Command, output: &Output) -> u8 {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, "nauta", &mut script);
    let script = String::from_utf8_lossy(&script).into_owned();
    output.result(&script, &serde_json::json!({ "schema": 1, "script": script }));
    0
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
