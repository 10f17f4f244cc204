//! The order in which credentials are looked for, and where they are kept.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use super::credential::{Found, Lookup, Place, Skipped};
use super::docker_config::{DockerConfig, server_key};
use super::error::CredentialsError;
use super::helper::Helper;
use super::system_keyring;
use crate::secret::Credential;

/// What of the environment decides about credentials; `context` reads it.
#[derive(Clone, Debug, Default)]
pub struct CredentialSources {
    /// The folder of Docker's `config.json`: `$DOCKER_CONFIG`, or `~/.docker`.
    pub docker_config_dir: Option<PathBuf>,
    /// `$PATH`, in which credential helpers are looked for.
    pub path: Option<OsString>,
    /// `$DBUS_SESSION_BUS_ADDRESS`.
    pub dbus_session_bus_address: Option<OsString>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
}

impl CredentialSources {
    /// Whether it makes sense to ask for a keyring: on Linux and the like, only where a session bus could be.
    pub(super) fn may_have_keyring(&self) -> bool {
        let needs_bus = cfg!(all(unix, not(target_os = "macos")));
        let named = self.dbus_session_bus_address.as_deref().is_some_and(|address| !address.is_empty());
        !needs_bus || named || self.runtime_dir.as_ref().is_some_and(|folder| folder.join("bus").exists())
    }

    fn docker_config(&self) -> Result<DockerConfig, CredentialsError> {
        DockerConfig::read(self.docker_config_dir.as_deref().ok_or(CredentialsError::NoConfigFolder)?)
    }

    fn helper(&self, name: &str) -> Result<Helper, String> {
        Helper::locate(name, self.path.as_deref().or(Some(OsStr::new(""))))
    }
}

/// Where a credential is to be kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Destination {
    /// In the keyring, or else with Docker's credential helper; never in clear.
    #[default]
    Safe,
    /// In Docker's `config.json`, in base64, because the user asks for it.
    DockerConfig,
}

/// What removing came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Where there was something that is gone now.
    pub removed: Vec<Place>,
    /// Where a credential for this registry still is, that nauta would go on using; it is Docker's.
    pub left: Option<Place>,
}

/// Looks for the credential of `host`: nauta's keyring entry, Docker's helpers, Docker's `config.json`. Takes no longer than
/// the limits of each (5 s for a keyring, 10 s for a helper).
pub async fn find(host: &str, sources: &CredentialSources) -> Lookup {
    let mut lookup = Lookup::default();
    match system_keyring::read(host, sources).await {
        Ok(Some(credential)) => lookup.found = Some(Found { credential, place: Place::Keyring }),
        Ok(None) => {}
        Err(reason) => lookup.skipped.push(Skipped { place: Place::Keyring, reason }),
    }
    if lookup.found.is_none() && sources.docker_config_dir.is_some() {
        find_in_docker_config(host, sources, &mut lookup).await;
    }
    lookup
}

async fn find_in_docker_config(host: &str, sources: &CredentialSources, lookup: &mut Lookup) {
    let config = match sources.docker_config() {
        Ok(config) => config,
        Err(error) => {
            let path = sources.docker_config_dir.clone().unwrap_or_default().join("config.json");
            return lookup.skipped.push(Skipped { place: Place::DockerConfig(path), reason: error.to_string() });
        }
    };
    for name in config.helpers(host) {
        let answer = match sources.helper(&name) {
            Ok(helper) => helper.get(server_key(host)).await,
            Err(reason) => Err(reason),
        };
        match answer {
            Ok(Some(credential)) => return lookup.found = Some(Found { credential, place: Place::Helper(name) }),
            Ok(None) => {}
            Err(reason) => lookup.skipped.push(Skipped { place: Place::Helper(name), reason }),
        }
    }
    let place = || Place::DockerConfig(config.path().to_owned());
    lookup.found = config.credential(host).map(|credential| Found { credential, place: place() });
}

/// Keeps the credential of `host`, and says where. [`Place::warning`] has to be shown.
pub async fn store(
    host: &str,
    credential: &Credential,
    destination: Destination,
    sources: &CredentialSources,
) -> Result<Place, CredentialsError> {
    let (user, secret) = credential.to_pair().ok_or(CredentialsError::NotKept)?;
    if destination == Destination::DockerConfig {
        let mut config = sources.docker_config()?;
        config.set(host, credential);
        config.write()?;
        return Ok(Place::DockerConfig(config.path().to_owned()));
    }
    let Err(reason) = system_keyring::write(host, credential, sources).await else {
        return Ok(Place::Keyring);
    };
    let mut skipped = vec![Skipped { place: Place::Keyring, reason }];
    for name in helpers(host, sources)? {
        let kept = match sources.helper(&name) {
            Ok(helper) => helper.store(server_key(host), user, secret).await,
            Err(reason) => Err(reason),
        };
        match kept {
            Ok(()) => return Ok(Place::Helper(name)),
            Err(reason) => skipped.push(Skipped { place: Place::Helper(name), reason }),
        }
    }
    Err(CredentialsError::NowhereSafe { host: host.to_owned(), skipped })
}

/// Removes the credential of `host` from where [`store`] with the same destination keeps it. A login of Docker's own stays
/// unless there is no keyring (then Docker's helper is where nauta keeps its passwords); [`Erased::left`] names it.
pub async fn erase(
    host: &str,
    destination: Destination,
    sources: &CredentialSources,
) -> Result<Erased, CredentialsError> {
    let mut removed = Vec::new();
    if destination == Destination::DockerConfig {
        let mut config = sources.docker_config()?;
        if config.remove(host) {
            config.write()?;
            removed.push(Place::DockerConfig(config.path().to_owned()));
        }
    } else {
        match system_keyring::erase(host, sources).await {
            Ok(true) => removed.push(Place::Keyring),
            Ok(false) => {}
            Err(reason) => removed.extend(erase_from_helpers(host, sources, reason).await?),
        }
    }
    let left = find(host, sources).await.found.map(|found| found.place);
    Ok(Erased { removed, left })
}

async fn erase_from_helpers(
    host: &str,
    sources: &CredentialSources,
    reason: String,
) -> Result<Vec<Place>, CredentialsError> {
    let mut skipped = vec![Skipped { place: Place::Keyring, reason }];
    let mut removed = Vec::new();
    let names = helpers(host, sources)?;
    for name in &names {
        let erased = match sources.helper(name) {
            Ok(helper) => match helper.get(server_key(host)).await {
                Ok(Some(_)) => helper.erase(server_key(host)).await.map(|()| removed.push(Place::Helper(name.clone()))),
                Ok(None) => Ok(()),
                Err(reason) => Err(reason),
            },
            Err(reason) => Err(reason),
        };
        if let Err(reason) = erased {
            skipped.push(Skipped { place: Place::Helper(name.clone()), reason });
        }
    }
    // Without a keyring and without helpers nothing can have been kept; a helper that failed may still have it.
    if skipped.len() > 1 { Err(CredentialsError::NotErased { host: host.to_owned(), skipped }) } else { Ok(removed) }
}

/// The helpers for `host`; none where Docker has no configuration.
fn helpers(host: &str, sources: &CredentialSources) -> Result<Vec<String>, CredentialsError> {
    match sources.docker_config() {
        Ok(config) => Ok(config.helpers(host)),
        Err(CredentialsError::NoConfigFolder) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}
