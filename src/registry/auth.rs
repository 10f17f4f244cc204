//! Who we are to a registry, and what we want there.

use std::fmt;
use std::time::Duration;

use crate::secret::{Credential, Secret};

/// What is to be done in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Access {
    /// Reading.
    Pull,
    /// Reading and writing.
    Push,
    /// Removing manifests.
    Delete,
}

impl Access {
    /// In the words of the token protocol.
    const fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        }
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pull => "pull from",
            Self::Push => "push to",
            Self::Delete => "delete in",
        })
    }
}

/// Who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// Nobody in particular.
    Anonymous,
    /// A user with a password (or an access token in its place).
    Basic {
        /// The user's name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// What some registries give at login in place of a password; the token server turns it into tokens.
    IdentityToken(Secret),
    /// A ready token for the registry itself, as [`super::Registry::issue_token`] makes them.
    Bearer(Secret),
}

impl From<Credential> for Auth {
    fn from(credential: Credential) -> Self {
        match credential {
            Credential::Password { user, password } => Self::Basic { user, password },
            Credential::IdentityToken(token) => Self::IdentityToken(token),
            Credential::RegistryToken(token) => Self::Bearer(token),
        }
    }
}

/// A token for one repository, to be handed on in place of a password.
#[derive(Clone, Debug)]
pub struct IssuedToken {
    /// The token.
    pub token: Secret,
    /// How long the registry takes it, from now on.
    pub valid_for: Duration,
}

/// What a request needs, in the token protocol's form (`repository:a/b:pull,push`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Scope {
    /// Repository and access; the first is the one that error messages name.
    grants: Vec<(String, Access)>,
}

impl Scope {
    pub(super) fn new(repository: &str, access: Access) -> Self {
        Self { grants: vec![(repository.to_owned(), access)] }
    }

    /// Also reading from another repository, as mounting a blob does.
    pub(super) fn and_pull(mut self, repository: &str) -> Self {
        if repository != self.repository() {
            self.grants.push((repository.to_owned(), Access::Pull));
        }
        self
    }

    pub(super) fn repository(&self) -> &str {
        &self.grants[0].0
    }

    pub(super) fn access(&self) -> Access {
        self.grants[0].1
    }

    /// One text per repository.
    pub(super) fn words(&self) -> Vec<String> {
        self.grants.iter().map(|(repository, access)| format!("repository:{repository}:{}", access.actions())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounting_asks_for_both_repositories() {
        let scope = Scope::new("a", Access::Push).and_pull("b").and_pull("a");
        assert_eq!(scope.words(), ["repository:a:pull,push", "repository:b:pull"]);
        assert_eq!((scope.repository(), scope.access()), ("a", Access::Push));
    }

    #[test]
    fn who_we_are_is_never_shown() {
        let auth = Auth::Basic { user: "ada".into(), password: Secret::new("hunter2") };
        assert!(!format!("{auth:?}").contains("hunter2"));
    }
}
