//! Where registry credentials come from: nauta's keyring entries, Docker's credential helpers, Docker's `config.json`.
//!
//! Owns: [`Credentials`]. Nothing else sees a stored secret in clear. Start reading at [`Credentials::find`].

mod docker_config;
mod keyring;

use std::path::PathBuf;

use crate::diagnosis::{Diagnosis, Kind};
use crate::secret::Secret;

/// A name and a password (or token).
#[derive(Clone, Debug)]
pub struct Login {
    /// The name; `<token>` when the secret is an identity token, as Docker writes it.
    pub user: String,
    /// The password or token.
    pub secret: Secret,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The folder of Docker's `config.json`.
    pub docker_config: Option<PathBuf>,
    /// `PATH`, for credential helpers.
    pub search_path: Option<String>,
    /// Whether there is a session bus, without which no keyring answers.
    pub has_session_bus: bool,
}

/// Where a login was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// In the system's keyring.
    Keyring,
    /// In Docker's `config.json`, readable for this user only.
    DockerConfig(PathBuf),
}

/// What can go wrong with stored credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// No keyring answers.
    #[error("there is no keyring on this machine: {reason}")]
    NoKeyring {
        /// Why.
        reason: String,
    },
    /// Docker's configuration cannot be used.
    #[error("cannot use `{}`: {reason}", path.display())]
    DockerConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A credential helper fails.
    #[error("the credential helper `{helper}` fails: {reason}")]
    Helper {
        /// Its program.
        helper: String,
        /// Why.
        reason: String,
    },
}

impl Diagnosis for CredentialError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::NoKeyring { .. } => vec![
                "unlock or install one (GNOME Keyring, KWallet)".to_owned(),
                "or configure a Docker credential helper (`credsStore` in Docker's config.json)".to_owned(),
                "or `nauta login --store docker-config`, which keeps the password readable for you in Docker's config.json"
                    .to_owned(),
            ],
            Self::DockerConfig { .. } => vec!["is it valid JSON, and yours to read and write?".to_owned()],
            Self::Helper { .. } => vec!["run it by hand, or take it out of Docker's config.json".to_owned()],
        }
    }
}

impl Credentials {
    /// The login for a registry, if any is stored.
    pub fn find(&self, host: &str) -> Result<Option<Login>, CredentialError> {
        if self.has_session_bus
            && let Ok(Some(login)) = keyring::find(host)
        {
            return Ok(Some(login));
        }
        self.docker().map_or(Ok(None), |docker| docker.find(host))
    }

    /// Keeps a login in the keyring.
    pub fn store_in_keyring(&self, host: &str, login: &Login) -> Result<Stored, CredentialError> {
        if !self.has_session_bus {
            return Err(CredentialError::NoKeyring { reason: "there is no session bus".to_owned() });
        }
        keyring::store(host, login).map(|()| Stored::Keyring)
    }

    /// Keeps a login in Docker's `config.json`, as `docker login` does.
    pub fn store_in_docker_config(&self, host: &str, login: &Login) -> Result<Stored, CredentialError> {
        let docker = self.docker().ok_or_else(|| CredentialError::DockerConfig {
            path: PathBuf::from("~/.docker/config.json"),
            reason: "there is no home directory".to_owned(),
        })?;
        docker.store(host, login).map(Stored::DockerConfig)
    }

    /// Forgets a login wherever nauta may have put it; `false` when there was none.
    pub fn erase(&self, host: &str) -> Result<bool, CredentialError> {
        let from_keyring = self.has_session_bus && keyring::erase(host).unwrap_or(false);
        let from_docker = self.docker().map_or(Ok(false), |docker| docker.erase(host))?;
        Ok(from_keyring || from_docker)
    }

    fn docker(&self) -> Option<docker_config::DockerConfig> {
        let path = self.docker_config.as_ref()?.join("config.json");
        Some(docker_config::DockerConfig { path, search_path: self.search_path.clone() })
    }
}

/// A Docker `config.json` with one login, for a pull secret.
pub fn docker_config_json(host: &str, login: &Login) -> Secret {
    docker_config::render(host, login)
}
