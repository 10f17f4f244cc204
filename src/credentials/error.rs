//! What can go wrong when a credential is to be kept or removed.

use std::path::PathBuf;

use super::credential::Skipped;
use crate::diagnosis::{Diagnosis, Kind};

/// Why a credential was not kept or removed. Never holds a part of one.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// Neither a keyring nor a credential helper takes it.
    #[error("there is no safe place for the password of registry `{host}`{}", listed(skipped))]
    NowhereSafe {
        /// The registry.
        host: String,
        /// The places that were tried.
        skipped: Vec<Skipped>,
    },
    /// Docker's `config.json` cannot be read or written.
    #[error("cannot {doing} Docker's configuration `{}`", path.display())]
    ConfigFile {
        /// Read or write.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Docker's `config.json` is no JSON object of the known form.
    #[error("Docker's configuration `{}` is broken: {reason}", path.display())]
    ConfigForm {
        /// The file.
        path: PathBuf,
        /// What is wrong, without the file's content.
        reason: String,
    },
    /// There is no folder for Docker's configuration.
    #[error("Docker's configuration has no place: neither `DOCKER_CONFIG` nor a home directory is known")]
    NoConfigFolder,
    /// A kind of credential that this place has no form for.
    #[error("a registry token cannot be kept; it is for handing on only")]
    NotKept,
    /// A place that should have it could not be asked.
    #[error("the credentials of registry `{host}` were not removed{}", listed(skipped))]
    NotErased {
        /// The registry.
        host: String,
        /// The places that were tried.
        skipped: Vec<Skipped>,
    },
}

fn listed(skipped: &[Skipped]) -> String {
    let reasons: Vec<String> =
        skipped.iter().map(|skipped| format!("; {}: {}", skipped.place, skipped.reason)).collect();
    reasons.concat()
}

impl Diagnosis for CredentialsError {
    fn kind(&self) -> Kind {
        match self {
            Self::NotKept => Kind::Bug,
            _ => Kind::Input,
        }
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::NowhereSafe { host, .. } => vec![
                "install or unlock a keyring (GNOME Keyring, KWallet or another Secret Service)".to_owned(),
                "or configure a credential helper: install `docker-credential-pass` and set `credsStore` in Docker's `config.json`"
                    .to_owned(),
                format!("or run `nauta login --store docker-config {host}`, which keeps the password readable in Docker's `config.json`"),
            ],
            Self::ConfigForm { path, .. } => vec![format!("mend `{}` or move it away", path.display())],
            Self::NoConfigFolder => vec!["set `HOME` or `DOCKER_CONFIG`".to_owned()],
            Self::ConfigFile { .. } | Self::NotKept | Self::NotErased { .. } => Vec::new(),
        }
    }
}
