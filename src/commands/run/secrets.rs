//! The program's secrets: which, and their values. Nothing here repeats what follows an `=` or may be a value.

use std::collections::BTreeMap;
use std::path::Path;

use super::RunArgs;
use crate::commands::secret::kept;
use crate::context::{Context, Destination};
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::job::{ProgramSecret, SecretValue, is_variable_name};
use crate::output::Output;
use crate::secret::Secret;

/// The longest value, in bytes: Linux takes 128 KiB for a variable with its name.
const LONGEST: usize = 120 * 1024;
/// The largest sum, in bytes: a Kubernetes Secret has at most 1 MiB.
const LARGEST: usize = 768 * 1024;

#[derive(Debug, thiserror::Error)]
pub(super) enum SecretsError {
    #[error("`--secret-env` takes the name of a variable and nothing else")]
    EnvName,
    #[error(
        "`--secret` takes a name, a `SECRET/KEY` of the namespace, and behind `=` the name of the program's variable in capital letters"
    )]
    Name,
    #[error("the secret `{0}` is given twice")]
    Twice(String),
    #[error("the variable `{0}` is not set here, or is empty")]
    NotSet(String),
    #[error("no value is kept for the secret `{name}` (from {from}){reasons}")]
    NotKept { name: String, from: &'static str, reasons: String },
    #[error("`{0}` is a Secret of a cluster's namespace, and this run is for Docker")]
    NoNamespace(String),
    #[error("the value of the secret `{0}` cannot be a variable's: it is longer than 120 KiB, or holds a zero byte")]
    Value(String),
    #[error("the run's secrets are larger than 768 KiB together")]
    TooLarge,
}

impl Diagnosis for SecretsError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::EnvName => {
                "`--secret-env HF_TOKEN`, with the value in this shell's `HF_TOKEN`: command lines are no place for it"
                    .to_owned()
            }
            Self::Name => {
                "`--secret WANDB_API_KEY`, or `--secret team-wandb/api-key=WANDB_API_KEY`; values have no place here"
                    .to_owned()
            }
            Self::Twice(_) => "one of the flags is enough".to_owned(),
            Self::NotSet(name) => format!("`read -rs {name} && export {name}` asks for it without showing it"),
            Self::NotKept { name, .. } => {
                format!(
                    "`nauta secret set {name}` keeps one for this project; `--secret-env {name}` takes that of this shell's variable"
                )
            }
            Self::NoNamespace(_) => "`--secret-env` with the same variable stands in for it".to_owned(),
            Self::Value(_) | Self::TooLarge => "put it into a file that the program fetches itself".to_owned(),
        };
        vec![hint]
    }
}

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Origin {
    /// From the variable of the same name here.
    Variable,
    /// From what `nauta secret set` keeps under this name.
    Kept { name: String, from: &'static str },
    /// From the namespace.
    InNamespace { secret: String, key: String },
}

/// Finds the program's secrets, which are masked from now on.
pub(super) async fn find(
    args: &RunArgs,
    named: &[String],
    root: &Path,
    destination: &Destination,
    context: &Context,
    output: &Output,
) -> Result<Vec<ProgramSecret>> {
    let (mut secrets, mut size) = (Vec::new(), 0);
    for (variable, origin) in origins(args, named)? {
        let value = value(&variable, origin, root, destination, context).await?;
        if let SecretValue::Here(secret) = &value {
            output.mask().add(secret);
            let length = secret.expose().len();
            if length > LONGEST || secret.expose().contains('\0') {
                return Err(SecretsError::Value(variable).into());
            }
            size += length;
        }
        secrets.push(ProgramSecret { variable, value });
    }
    if size > LARGEST {
        return Err(SecretsError::TooLarge.into());
    }
    Ok(secrets)
}

async fn value(
    variable: &str,
    origin: Origin,
    root: &Path,
    destination: &Destination,
    context: &Context,
) -> Result<SecretValue> {
    match origin {
        Origin::Variable => {
            let value = context.variable(variable).ok_or_else(|| SecretsError::NotSet(variable.to_owned()))?;
            Ok(SecretValue::Here(Secret::new(value)))
        }
        Origin::Kept { name, from } => match kept(&name, root, &context.credential_sources()).await {
            (Some(value), _) => Ok(SecretValue::Here(value)),
            (None, reasons) => {
                let reasons = reasons.iter().flat_map(|reason| ["; ", reason]).collect();
                Err(SecretsError::NotKept { name, from, reasons }.into())
            }
        },
        Origin::InNamespace { secret, key } if *destination == Destination::Local => {
            Err(SecretsError::NoNamespace(format!("{secret}/{key}")).into())
        }
        Origin::InNamespace { secret, key } => Ok(SecretValue::InNamespace { secret, key }),
    }
}

/// Where each secret comes from, by variable: flags first. What the project names is taken from what is kept for it, and
/// never from a variable or the namespace: a project that somebody else wrote would help itself.
fn origins(args: &RunArgs, named: &[String]) -> Result<BTreeMap<String, Origin>, SecretsError> {
    let mut origins = BTreeMap::new();
    let from_env = args.secret_env.iter().map(|name| {
        if is_variable_name(name) { Ok((name.clone(), Origin::Variable)) } else { Err(SecretsError::EnvName) }
    });
    for given in from_env.chain(args.secret.iter().map(|text| parse(text))) {
        let (variable, origin) = given?;
        if origins.contains_key(&variable) {
            return Err(SecretsError::Twice(variable));
        }
        origins.insert(variable, origin);
    }
    for name in named {
        let kept = || Origin::Kept { name: name.clone(), from: "`secrets.names` in nauta.toml" };
        origins.entry(name.clone()).or_insert_with(kept);
    }
    Ok(origins)
}

/// `NAME`, `NAME=VARIABLE`, `SECRET/KEY` or `SECRET/KEY=VARIABLE`.
fn parse(text: &str) -> Result<(String, Origin), SecretsError> {
    let (source, variable) = text.split_once('=').map_or((text, None), |(source, variable)| (source, Some(variable)));
    // Capitals only: a value that somebody has written here by mistake is to be none.
    let is_capital = |variable: &str| is_variable_name(variable) && !variable.bytes().any(|b| b.is_ascii_lowercase());
    if variable.is_some_and(|variable| !is_capital(variable)) {
        return Err(SecretsError::Name);
    }
    let is_part = |part: &str| {
        !part.is_empty() && part.len() < 254 && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    match source.split_once('/') {
        Some((secret, key)) if is_object_name(secret) && is_part(key) && !matches!(key, "." | "..") => {
            let variable = variable.unwrap_or(key);
            let origin = Origin::InNamespace { secret: secret.to_owned(), key: key.to_owned() };
            if is_variable_name(variable) { Ok((variable.to_owned(), origin)) } else { Err(SecretsError::Name) }
        }
        None if is_variable_name(source) => {
            let origin = Origin::Kept { name: source.to_owned(), from: "--secret" };
            Ok((variable.unwrap_or(source).to_owned(), origin))
        }
        _ => Err(SecretsError::Name),
    }
}

/// Whether an object of Kubernetes can have this name (RFC 1123, "subdomain").
fn is_object_name(name: &str) -> bool {
    let is_inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let is_label = |label: &str| {
        label.bytes().all(|b| is_inner(b) || b == b'-')
            && [label.bytes().next(), label.bytes().next_back()].iter().all(|end| end.is_some_and(is_inner))
    };
    name.len() < 254 && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_named_and_values_are_refused_and_not_repeated() {
        let kept = |name: &str| Origin::Kept { name: name.to_owned(), from: "--secret" };
        let in_namespace = |secret: &str, key: &str| Origin::InNamespace { secret: secret.into(), key: key.into() };
        for (text, variable, origin) in [
            ("HF_TOKEN", "HF_TOKEN", kept("HF_TOKEN")),
            ("mine=HF_TOKEN", "HF_TOKEN", kept("mine")),
            ("team/HF_TOKEN", "HF_TOKEN", in_namespace("team", "HF_TOKEN")),
            ("team-wandb/api.key=WANDB_API_KEY", "WANDB_API_KEY", in_namespace("team-wandb", "api.key")),
        ] {
            assert_eq!(parse(text).expect(text), (variable.to_owned(), origin), "{text}");
        }
        for text in [
            "HF_TOKEN=hf_canary",
            "HF_TOKEN=",
            "=HF_TOKEN",
            "",
            "team/api-key",
            "a/b/c=X",
            "../x=X",
            "NAUTA_RUN",
            "x=NAUTA_RUN",
            "HF TOKEN",
            "1TOKEN",
        ] {
            let error = parse(text).expect_err(text);
            assert!(!format!("{error} {:?}", error.hints()).contains("canary"), "{text}");
        }
    }
}
