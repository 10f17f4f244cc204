//! Credentials as values, and the places they come from.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::secret::{Credential, Secret};

/// How Docker's helpers mark an identity token: it stands in the password's place.
pub(super) const TOKEN_USER: &str = "<token>";

impl Credential {
    /// From a user and a secret as Docker's helpers give them; `None` when they are empty.
    pub(super) fn from_pair(user: &str, secret: &str) -> Option<Self> {
        match (user, secret) {
            (_, "") | ("", _) => None,
            (TOKEN_USER, token) => Some(Self::IdentityToken(Secret::new(token))),
            (user, password) => Some(Self::Password { user: user.to_owned(), password: Secret::new(password) }),
        }
    }

    /// As Docker's helpers take it; `None` for what they cannot keep.
    pub(super) fn to_pair(&self) -> Option<(&str, &str)> {
        match self {
            Self::Password { user, password } => Some((user, password.expose())),
            Self::IdentityToken(token) => Some((TOKEN_USER, token.expose())),
            Self::RegistryToken(_) => None,
        }
    }

    /// The form in which nauta's keyring entries hold it.
    pub(super) fn to_entry(&self) -> Secret {
        let value = match self {
            Self::Password { user, password } => json!({"user": user, "password": password.expose()}),
            Self::IdentityToken(token) => json!({"identity-token": token.expose()}),
            Self::RegistryToken(token) => json!({"registry-token": token.expose()}),
        };
        Secret::new(value.to_string())
    }

    /// The inverse of [`Credential::to_entry`].
    pub(super) fn from_entry(text: &str) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "kebab-case")]
        struct Entry {
            user: Option<String>,
            password: Option<String>,
            identity_token: Option<String>,
            registry_token: Option<String>,
        }
        let entry: Entry = serde_json::from_value(serde_json::from_str::<Value>(text).ok()?).ok()?;
        match entry {
            Entry { user: Some(user), password: Some(password), .. } => {
                Some(Self::Password { user, password: Secret::new(password) })
            }
            Entry { identity_token: Some(token), .. } => Some(Self::IdentityToken(Secret::new(token))),
            Entry { registry_token: Some(token), .. } => Some(Self::RegistryToken(Secret::new(token))),
            _ => None,
        }
    }
}

/// Where a credential is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The system's keyring, in an entry of nauta's own.
    Keyring,
    /// A credential helper of Docker's, by the name in Docker's `config.json`.
    Helper(String),
    /// Docker's `config.json` itself, in base64.
    DockerConfig(PathBuf),
}

impl Place {
    /// What to know before a secret is kept there; `None` when it is safe.
    #[must_use]
    pub fn warning(&self) -> Option<String> {
        match self {
            Self::DockerConfig(path) => Some(format!(
                "`{}` holds the password in base64, which hides nothing: whoever can read the file can use it",
                path.display()
            )),
            _ => None,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Keyring => f.write_str("the system's keyring"),
            Self::Helper(name) => write!(f, "Docker's credential helper `{name}`"),
            Self::DockerConfig(path) => write!(f, "`{}`", path.display()),
        }
    }
}

/// A credential and where it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The credential.
    pub credential: Credential,
    /// Its place.
    pub place: Place,
}

/// A place that could not be looked into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Which.
    pub place: Place,
    /// Why; never a part of a secret.
    pub reason: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was not asked: {}", self.place, self.reason)
    }
}

/// What looking for a credential came to. A broken place does not hide those after it; its reason belongs into the message
/// when the registry then asks for credentials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lookup {
    /// The first one found.
    pub found: Option<Found>,
    /// Places before it that could not be looked into.
    pub skipped: Vec<Skipped>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keyring_entries_and_helper_pairs_round_trip() {
        let secret = || Secret::new("a:b\"\u{e9}");
        let all = [
            Credential::Password { user: "ada".into(), password: secret() },
            Credential::IdentityToken(secret()),
            Credential::RegistryToken(secret()),
        ];
        for credential in all {
            assert_eq!(Credential::from_entry(credential.to_entry().expose()), Some(credential.clone()));
            if let Some((user, secret)) = credential.to_pair() {
                assert_eq!(Credential::from_pair(user, secret), Some(credential));
            }
        }
        assert_eq!(Credential::from_pair("", ""), None);
        for text in ["", "{}", "[]", "{\"user\":\"x\"}", "password"] {
            assert_eq!(Credential::from_entry(text), None, "{text}");
        }
    }

    #[test]
    fn no_form_shows_a_secret() {
        let credential = Credential::Password { user: "ada".into(), password: Secret::new("hunter2") };
        let lookup = Lookup { found: Some(Found { credential, place: Place::Keyring }), skipped: Vec::new() };
        assert!(!format!("{lookup:?}").contains("hunter2"));
    }
}
