//! `nauta secret`: values that programs and builds are given, kept on this workstation.

use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::json;

use super::secret_input::{NoSecret, read_secret};
use crate::context::Context;
use crate::credentials::{self, Credential, CredentialSources, CredentialsError, Destination, Lookup};
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::job::is_variable_name;
use crate::output::Output;
use crate::secret::{Secret, is_secret_id};

/// The user that keyrings and helpers are told: they have a place for one.
const USER: &str = "nauta-secret";

/// Keep secrets for programs and builds, in the system's keyring
///
/// `nauta run --secret NAME` gives one to the program, as does a project whose nauta.toml names it in `[secrets]`; the
/// environment's build gets those that `[environment.secrets]` names.
#[derive(Subcommand, Debug)]
#[command(after_help = "Example: nauta secret set WANDB_API_KEY < key-file")]
pub enum SecretCommand {
    /// Keep a secret for programs and builds of this project
    ///
    /// The value is asked for without showing it, or read from standard input where that is no terminal.
    Set(SetArgs),
    /// Forget a secret
    Remove(Which),
}

/// What is kept.
#[derive(Args, Debug)]
pub struct SetArgs {
    #[command(flatten)]
    which: Which,
    /// Read the value from standard input, though it is a terminal
    #[arg(long)]
    value_stdin: bool,
}

/// Which secret.
#[derive(Args, Debug)]
pub struct Which {
    /// Its name: that of the program's variable, or the build secret's id
    name: String,
    /// For all projects, also those that name it in their nauta.toml without asking you
    #[arg(long)]
    everywhere: bool,
}

#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error(
        "this is no name of a secret: letters, digits and `_`, as a variable's (for builds also `-` and `.`), and not nauta's own"
    )]
    Name,
    #[error("there is no safe place for `{name}`{reasons}")]
    NowhereSafe { name: String, reasons: String },
    #[error(transparent)]
    Input(#[from] NoSecret),
}

impl Diagnosis for SecretError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Name => vec!["for example `nauta secret set WANDB_API_KEY`; the value is asked for".to_owned()],
            Self::NowhereSafe { name, .. } => vec![
                "install or unlock a keyring, or configure a credential helper for Docker".to_owned(),
                format!("or set the variable for each run: `nauta run --secret-env {name}`"),
            ],
            Self::Input(input) => input.hints(),
        }
    }
}

/// Keeps or forgets one.
pub async fn run(command: SecretCommand, context: &Context, output: &Output) -> Result<u8> {
    let (SecretCommand::Set(SetArgs { which, .. }) | SecretCommand::Remove(which)) = &command;
    if !is_variable_name(&which.name) && !is_secret_id(&which.name) {
        return Err(SecretError::Name.into());
    }
    let root = if which.everywhere { None } else { Some(context.project()?.root) };
    let (name, entry, sources) = (&which.name, entry(&which.name, root.as_deref()), context.credential_sources());
    let for_whom = root.map_or_else(|| "all projects".to_owned(), |root| root.display().to_string());
    match &command {
        SecretCommand::Set(SetArgs { value_stdin, .. }) => {
            let value = read_secret("secret", &format!("value of {name}"), *value_stdin).map_err(SecretError::Input)?;
            let place = keep(name, &entry, value, &sources).await?;
            let document = json!({ "schema": 1, "secret": name, "for": for_whom, "kept_in": place });
            output.result(&format!("{name} for {for_whom} is kept in {place}\n"), &document);
        }
        SecretCommand::Remove(_) => {
            let erased = credentials::erase(&entry, Destination::Safe, &sources).await?;
            let is_gone = !erased.removed.is_empty();
            let text = if is_gone { "is forgotten" } else { "was not kept" };
            let document = json!({ "schema": 1, "secret": name, "for": for_whom, "removed": is_gone });
            output.result(&format!("{name} for {for_whom} {text}\n"), &document);
        }
    }
    Ok(0)
}

async fn keep(name: &str, entry: &str, value: Secret, sources: &CredentialSources) -> Result<String> {
    let credential = Credential::Password { user: USER.to_owned(), password: value };
    match credentials::store(entry, &credential, Destination::Safe, sources).await {
        Ok(place) => Ok(place.to_string()),
        Err(CredentialsError::NowhereSafe { skipped, .. }) => {
            let skipped: Vec<String> = skipped.iter().map(ToString::to_string).collect();
            let reasons = skipped.iter().flat_map(|reason| ["; ", reason]).collect();
            Err(SecretError::NowhereSafe { name: name.to_owned(), reasons }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// What is kept under a name: for this project, else for all; and what could not be asked.
pub(super) async fn kept(name: &str, root: &Path, sources: &CredentialSources) -> (Option<Secret>, Vec<String>) {
    let mut reasons = Vec::new();
    for root in [Some(root), None] {
        let Lookup { found, skipped } = credentials::find(&entry(name, root), sources).await;
        if let Some(Credential::Password { password, .. }) = found.map(|found| found.credential) {
            return (Some(password), Vec::new());
        }
        reasons = skipped.iter().map(ToString::to_string).collect();
    }
    (None, reasons)
}

/// The name of an entry, which no registry's host can be.
fn entry(name: &str, root: Option<&Path>) -> String {
    match root {
        Some(root) => format!("secret {name} of {}", root.display()),
        None => format!("secret {name}"),
    }
}
