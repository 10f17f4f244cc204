//! Names that go into URLs: checked first, so that none can reach another path.

use super::error::RegistryError;
use crate::digest::Digest;
use crate::image::{is_repository, is_tag};

/// A repository's name.
pub(super) fn check_repository(name: &str) -> Result<(), RegistryError> {
    if is_repository(name) { Ok(()) } else { Err(invalid(name, "repository")) }
}

/// A tag or a digest.
pub(super) fn check_reference(name: &str) -> Result<(), RegistryError> {
    if name.parse::<Digest>().is_ok() || is_tag(name) { Ok(()) } else { Err(invalid(name, "tag")) }
}

fn invalid(name: &str, what: &'static str) -> RegistryError {
    RegistryError::InvalidName { name: name.chars().take(200).collect(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_leave_their_place_in_the_path() {
        for repository in ["a", "a/b-c/d_e.f", "library/python"] {
            assert!(check_repository(repository).is_ok(), "{repository}");
        }
        for repository in
            ["", "/", "a/", "/a", "a//b", "../a", "a/..", "A", "a b", "a?b", "a#b", "a%2f", &"a".repeat(256)]
        {
            assert!(check_repository(repository).is_err(), "{repository}");
        }
        let digest = Digest::of("x");
        assert!(check_reference(digest.as_str()).is_ok() && check_reference("v1.0_x-y").is_ok());
        for tag in ["", ".", "..", "a/b", "sha256:1", "a:b", "-a", &"a".repeat(129)] {
            assert!(check_reference(tag).is_err(), "{tag}");
        }
    }
}
