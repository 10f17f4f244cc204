//! Names of images: `[host[:port]/]repository[:tag|@digest]`, with Docker Hub's defaults.

use std::fmt;
use std::str::FromStr;

use crate::digest::Digest;

/// Docker Hub, as image names say it.
const HUB: &str = "docker.io";

/// The name of an image in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageReference {
    /// The registry's host and port, such as `localhost:5000`; `docker.io` where the name has none.
    pub host: String,
    /// The repository, such as `team/mnist`.
    pub repository: String,
    /// The tag; `latest` where there is neither a tag nor a digest.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// What is wrong with an image's name.
#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no image name: {reason}")]
pub struct InvalidReference {
    text: String,
    reason: &'static str,
}

impl ImageReference {
    /// Tag or digest, as the registry's API wants it; the digest where there is one.
    pub fn version(&self) -> &str {
        self.digest.as_ref().map(Digest::as_str).or(self.tag.as_deref()).unwrap_or("latest")
    }
}

/// An image's name for people: of a digest no more than tells it from others.
#[must_use]
pub fn short_name(name: &str) -> String {
    const DIGITS: usize = 12;
    match name.split_once("@sha256:") {
        Some((name, digits)) => format!("{name}@sha256:{}", digits.get(..DIGITS).unwrap_or(digits)),
        None => name.to_owned(),
    }
}

impl FromStr for ImageReference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, InvalidReference> {
        let invalid = |reason| InvalidReference { text: text.chars().take(200).collect(), reason };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse().map_err(|_| invalid("its digest is not SHA-256"))?)),
            None => (text, None),
        };
        let (host, path) = match rest.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => (host, path),
            _ => (HUB, rest),
        };
        if !host.starts_with(|c: char| c.is_ascii_alphanumeric())
            || host.matches(':').count() > 1
            || !host.chars().all(|c| c.is_ascii_alphanumeric() || ".:-".contains(c))
        {
            return Err(invalid("its host is none"));
        }
        let (repository, tag) = match path.rsplit_once(':') {
            Some((repository, tag)) => (repository, Some(tag)),
            None => (path, None),
        };
        if !is_repository(repository) {
            return Err(invalid("repositories are lower-case words with `/`, `.`, `_` and `-` between them"));
        }
        if !tag.is_none_or(is_tag) {
            return Err(invalid("tags have at most 128 letters, digits, `_`, `.` and `-`"));
        }
        let official = host == HUB && !repository.contains('/');
        Ok(Self {
            host: host.to_owned(),
            repository: if official { format!("library/{repository}") } else { repository.to_owned() },
            tag: tag.map(str::to_owned).or_else(|| digest.is_none().then(|| "latest".to_owned())),
            digest,
        })
    }
}

/// Whether a registry takes this as a repository's name: lower-case words with separators, at most 255 characters (OCI
/// distribution specification, "Pulling manifests").
#[must_use]
pub fn is_repository(name: &str) -> bool {
    name.len() <= 255 && name.split('/').all(is_component)
}

fn is_component(text: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.starts_with(alphanumeric)
        && text.ends_with(alphanumeric)
        && text.chars().all(|c| alphanumeric(c) || "._-".contains(c))
}

/// Whether a registry takes this as a tag (the same specification).
#[must_use]
pub fn is_tag(text: &str) -> bool {
    (1..=128).contains(&text.len())
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

impl fmt::Display for ImageReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_shortened_and_a_tag_is_not() {
        assert_eq!(short_name("localhost:5000/a:1"), "localhost:5000/a:1");
        let pinned = format!("a:1@sha256:{}", "0123456789abcdef".repeat(4));
        assert_eq!(short_name(&pinned), "a:1@sha256:0123456789ab");
    }

    #[test]
    fn names_get_docker_hubs_defaults_and_nothing_else() {
        let full = |text: &str| text.parse::<ImageReference>().map(|r| r.to_string()).ok();
        assert_eq!(full("python").as_deref(), Some("docker.io/library/python:latest"));
        assert_eq!(full("python:3.12-slim").as_deref(), Some("docker.io/library/python:3.12-slim"));
        assert_eq!(full("team/app:1").as_deref(), Some("docker.io/team/app:1"));
        assert_eq!(full("localhost:5000/a/b:1").as_deref(), Some("localhost:5000/a/b:1"));
        assert_eq!(full("localhost/a").as_deref(), Some("localhost/a:latest"));
        let digest = Digest::of("x");
        let pinned = format!("r.example.com/a@{digest}");
        assert_eq!(full(&pinned).as_deref(), Some(pinned.as_str()));
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for text in ["", "A/B", "a//b", "a:", "a:b:c/d", "a b", "-a", "a@sha256:1", "../a", "a\nb"] {
            assert!(text.parse::<ImageReference>().is_err(), "{text}");
        }
    }
}
