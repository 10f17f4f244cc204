//! A value that is never shown: its Debug, Display and serialised forms are masked.
//!
//! Owns: [`Secret`], [`Credential`]. Does not own: where secrets are kept (`credentials`).

use std::fmt;

/// A password, token or key. Only [`Secret::expose`] gives the value away, so its uses can be found by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value that must not be shown.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value in clear, for the one place that has to send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

/// What convinces a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password (or an access token in its place).
    Password {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// What some registries give at login; their token server turns it into tokens.
    IdentityToken(Secret),
    /// A ready token for the registry itself, usually short-lived.
    RegistryToken(Secret),
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn no_form_shows_the_value() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).expect("a string serialises"));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.expose(), "hunter2");
    }
}
