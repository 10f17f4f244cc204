//! What the environment is built with: arguments, the target stage, secrets and SSH agents. Values of secrets come from this
//! workstation alone, and nothing here repeats one.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};

use clap::Args;

use crate::bounded_file::{self, HAND_WRITTEN, read_text};
use crate::commands::secret::kept;
use crate::context::Context;
use crate::delivery::package_settings;
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::image::{BuildOptions, PackageSettings};
use crate::output::Output;
use crate::secret::{Secret, has_password, is_secret_id, names_a_secret};
use crate::settings::EnvironmentSection;

/// The agent that a build means which names none.
const DEFAULT_AGENT: &str = "default";

/// Flags about the environment's build.
#[derive(Args, Debug, Default)]
#[expect(clippy::struct_field_names, reason = "they are the flags' own names")]
pub(super) struct BuildFlags {
    /// A value for an ARG of the Dockerfile; without VALUE, that of the variable here
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// The stage of the Dockerfile to build
    #[arg(long, value_name = "STAGE")]
    build_target: Option<String>,
    /// A secret for the environment's build, from a variable or a file here, or kept with `nauta secret set ID`
    #[arg(long, value_name = "id=ID[,env=NAME|,src=FILE]")]
    build_secret: Vec<String>,
    /// An SSH agent for the environment's build: `default` is that of `SSH_AUTH_SOCK`
    #[arg(long, value_name = "default|ID=SOCKET")]
    build_ssh: Vec<String>,
}

/// What the build gets.
#[derive(Debug, Default)]
pub(super) struct Build {
    pub(super) options: BuildOptions,
    pub(super) secrets: Vec<(String, Secret)>,
    pub(super) agents: Vec<(String, PathBuf)>,
    pub(super) packages: PackageSettings,
}

#[derive(Debug, thiserror::Error)]
enum BuildError {
    #[error("`--build-arg` takes NAME or NAME=VALUE")]
    ArgName,
    #[error("the build argument `{name}` (from {from}) holds a password, which the image's history would show")]
    Password { name: String, from: &'static str },
    #[error("`--build-secret` takes `id=ID`, and behind it `,env=VARIABLE` or `,src=FILE`")]
    SecretForm,
    #[error("the build secret `{0}` is given twice")]
    Twice(String),
    #[error("the variable `{variable}` for the build secret `{id}` is not set here, or is empty")]
    NotSet { id: String, variable: String },
    #[error("cannot read `{}` for the build secret `{id}`", path.display())]
    File { id: String, path: PathBuf, source: io::Error },
    #[error("there is no value for the build secret `{id}` (from {from}){reasons}")]
    NotKept { id: String, from: &'static str, reasons: String },
    #[error("`--build-ssh` takes `default`, or ID=SOCKET")]
    AgentForm,
    #[error("there is no SSH agent: `SSH_AUTH_SOCK` is not set here")]
    NoAgent,
    #[error("`{}` is no socket of an SSH agent", .0.display())]
    NoSocket(PathBuf),
}

impl Diagnosis for BuildError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::ArgName => "for example `--build-arg CUDA=12.4`".to_owned(),
            Self::Password { .. } => {
                "give it with `--build-secret id=ID,env=VARIABLE`, and read it with `RUN --mount=type=secret,id=ID`"
                    .to_owned()
            }
            Self::SecretForm => "for example `--build-secret id=netrc,src=$HOME/.netrc`".to_owned(),
            Self::Twice(_) => "one of the flags is enough".to_owned(),
            Self::NotSet { variable, .. } => {
                format!("`read -rs {variable} && export {variable}` asks for it without showing it")
            }
            Self::File { source, .. } => {
                bounded_file::hint(source, "name a file of text (at most 500 KB) that you may read")
            }
            Self::NotKept { id, .. } => {
                format!("`nauta secret set {id}` keeps one for this project; or `--build-secret id={id},src=FILE`")
            }
            Self::AgentForm => "for example `--build-ssh default`".to_owned(),
            Self::NoAgent => "start one: `eval \"$(ssh-agent)\" && ssh-add`".to_owned(),
            Self::NoSocket(path) => {
                format!("keys stay with an agent: `ssh-add {}` if it is one, and `--build-ssh default`", path.display())
            }
        };
        vec![hint]
    }
}

/// Finds all of it: flags first, then what the project's file says.
pub(super) async fn find(
    flags: &BuildFlags,
    section: &EnvironmentSection,
    root: &Path,
    context: &Context,
    output: &Output,
) -> Result<Build> {
    let secrets = secrets(flags, section, root, context).await?;
    for secret in secrets.values() {
        output.mask().add(secret);
    }
    let agents = agents(flags, context)?;
    let options = BuildOptions {
        args: args(flags, section, context, output)?,
        target: flags.build_target.clone().or_else(|| section.target.clone()),
        secrets: secrets.keys().cloned().collect(),
        agents: agents.keys().cloned().collect(),
    };
    let packages = package_settings(context, &output.events());
    for password in packages.passwords() {
        output.mask().add(&password);
    }
    let (secrets, agents) = (secrets.into_iter().collect(), agents.into_iter().collect());
    Ok(Build { options, secrets, agents, packages })
}

fn args(
    flags: &BuildFlags,
    section: &EnvironmentSection,
    context: &Context,
    output: &Output,
) -> Result<BTreeMap<String, String>, BuildError> {
    let mut args = section.args.clone();
    for text in &flags.build_arg {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            // As with `docker build`: a variable that is not set here leaves the Dockerfile's default.
            None => (text.as_str(), context.variable(text)),
        };
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(BuildError::ArgName);
        }
        args.extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }
    for (name, value) in &args {
        let is_flag = flags.build_arg.iter().any(|text| text.split('=').next() == Some(name));
        let from = if is_flag { "--build-arg" } else { "`environment.args` in nauta.toml" };
        if has_password(value) {
            return Err(BuildError::Password { name: name.clone(), from });
        }
        if names_a_secret(name) && !value.is_empty() {
            output.events().warn(format!(
                "the build argument `{name}` (from {from}) looks like a secret, and the image's history shows it; \
                 `--build-secret` hands one over unseen"
            ));
        }
    }
    Ok(args)
}

async fn secrets(
    flags: &BuildFlags,
    section: &EnvironmentSection,
    root: &Path,
    context: &Context,
) -> Result<BTreeMap<String, Secret>, BuildError> {
    let mut secrets = BTreeMap::new();
    for text in &flags.build_secret {
        let (id, place) = parse(text)?;
        let value = match place {
            Place::Variable(variable) => match context.variable(&variable) {
                Some(value) => Secret::new(value),
                None => return Err(BuildError::NotSet { id, variable }),
            },
            Place::File(path) => {
                let path = context.directory.join(path);
                match read_text(&path, HAND_WRITTEN) {
                    Ok(text) => Secret::new(text),
                    Err(source) => return Err(BuildError::File { id, path, source }),
                }
            }
            Place::Unsaid => match context.variable(&id) {
                Some(value) => Secret::new(value),
                None => kept_here(&id, "--build-secret", root, context).await?,
            },
        };
        if secrets.insert(id.clone(), value).is_some() {
            return Err(BuildError::Twice(id));
        }
    }
    // What the project names is taken from what is kept for it, and never from a variable or a file: a project that somebody
    // else wrote would help itself.
    for id in &section.secrets.names {
        if !secrets.contains_key(id) {
            let value = kept_here(id, "`environment.secrets` in nauta.toml", root, context).await?;
            secrets.insert(id.clone(), value);
        }
    }
    Ok(secrets)
}

async fn kept_here(id: &str, from: &'static str, root: &Path, context: &Context) -> Result<Secret, BuildError> {
    let (value, reasons) = kept(id, root, &context.credential_sources()).await;
    value.ok_or_else(|| {
        let reasons = reasons.iter().flat_map(|reason| ["; ", reason]).collect();
        BuildError::NotKept { id: id.to_owned(), from, reasons }
    })
}

/// Where a secret comes from.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Variable(String),
    File(String),
    Unsaid,
}

/// `id=ID`, `id=ID,env=VARIABLE` or `id=ID,src=FILE`, as `docker build --secret` has it.
fn parse(text: &str) -> Result<(String, Place), BuildError> {
    let (mut id, mut place) = (None, Place::Unsaid);
    for part in text.split(',') {
        match part.split_once('=').ok_or(BuildError::SecretForm)? {
            ("id", value) if is_secret_id(value) => id = Some(value.to_owned()),
            ("env", value) if !value.is_empty() => place = Place::Variable(value.to_owned()),
            ("src" | "source", value) if !value.is_empty() => place = Place::File(value.to_owned()),
            ("type", "env" | "file") => {}
            _ => return Err(BuildError::SecretForm),
        }
    }
    Ok((id.ok_or(BuildError::SecretForm)?, place))
}

fn agents(flags: &BuildFlags, context: &Context) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut agents = BTreeMap::new();
    for text in &flags.build_ssh {
        let (id, socket) = match text.split_once('=') {
            Some((id, socket)) if !socket.is_empty() => (id, context.directory.join(socket)),
            Some(_) => return Err(BuildError::AgentForm),
            None => (text.as_str(), context.variable("SSH_AUTH_SOCK").ok_or(BuildError::NoAgent)?.into()),
        };
        if id != DEFAULT_AGENT && !is_secret_id(id) {
            return Err(BuildError::AgentForm);
        }
        if !socket.metadata().is_ok_and(|found| found.file_type().is_socket()) {
            return Err(BuildError::NoSocket(socket));
        }
        agents.insert(id.to_owned(), socket);
    }
    Ok(agents)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_given_as_docker_build_has_them() {
        let place = |text: &str| parse(text).ok();
        assert_eq!(place("id=a"), Some(("a".to_owned(), Place::Unsaid)));
        assert_eq!(place("id=a.b,env=X"), Some(("a.b".to_owned(), Place::Variable("X".to_owned()))));
        let file = Some(("a".to_owned(), Place::File("/x=y".to_owned())));
        assert_eq!(place("type=file,id=a,src=/x=y"), file);
        for text in ["", "a", "id=", "src=/x", "id=a,", "id=a,value=canary", "id=nauta-ca", "id=a/b"] {
            let error = parse(text).expect_err(text);
            assert!(!format!("{error} {:?}", error.hints()).contains("canary"), "{text}");
        }
    }
}
