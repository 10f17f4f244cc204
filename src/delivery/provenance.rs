//! What an environment image in a registry says of itself: what it was made from, by whom and when.
//!
//! It stands in the annotations of the image's manifest, and so under its digest. Whoever may push there may write what they
//! like: it finds mistakes and strangers, and names who pushed; it is no signature (decision 40).

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;

use crate::digest::Digest;
use crate::layout::label;
use crate::project::label_value;

/// Defined by the OCI image specification ("Annotations").
const CREATED: &str = "org.opencontainers.image.created";
const BASE: &str = "org.opencontainers.image.base.name";

/// What an environment has to be: what its tag stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expected {
    /// The digest of all that it is made from.
    pub(super) key: Digest,
    /// The images that it is built on.
    pub(super) bases: Vec<String>,
    /// Which processors it is for.
    pub(super) architecture: &'static str,
}

/// Who made one, and when.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Maker {
    user: String,
    created: Timestamp,
}

/// Why an environment is not believed to be what its tag says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Doubt {
    #[error("it is no image for these processors")]
    NoImage,
    #[error("it does not say what it was made from")]
    Silent,
    #[error("it says that it was made from something else")]
    OtherKey,
    #[error("it says that it is built on another image")]
    OtherBase,
    #[error("it is for other processors")]
    OtherArchitecture,
}

impl Expected {
    /// What is written on an environment that is made now.
    pub(super) fn annotations(&self, user: &str, now: Timestamp) -> BTreeMap<String, String> {
        let seconds = Timestamp::from_second(now.as_second()).unwrap_or(now);
        let pairs = [
            (label::ENVIRONMENT, self.key.to_string()),
            (BASE, self.bases.join(" ")),
            (label::USER, user.to_owned()),
            (label::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
            (CREATED, seconds.to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// Whether an image that was found under the tag says that it is this environment; and who made it.
    pub(super) fn compare(&self, manifest: &[u8], config: &serde_json::Value) -> Result<Maker, Doubt> {
        #[derive(Deserialize)]
        struct Annotated {
            #[serde(default)]
            annotations: BTreeMap<String, String>,
        }
        let Ok(Annotated { annotations }) = serde_json::from_slice(manifest) else { return Err(Doubt::Silent) };
        let said = |key: &str| annotations.get(key).map(String::as_str).ok_or(Doubt::Silent);
        if said(label::ENVIRONMENT)? != self.key.as_str() {
            return Err(Doubt::OtherKey);
        }
        if said(BASE)? != self.bases.join(" ") {
            return Err(Doubt::OtherBase);
        }
        if config["os"] != "linux" || config["architecture"] != self.architecture {
            return Err(Doubt::OtherArchitecture);
        }
        let created = said(CREATED)?.parse().map_err(|_| Doubt::Silent)?;
        Ok(Maker { user: label_value(said(label::USER)?), created })
    }
}

impl Maker {
    /// For people.
    pub(super) fn describe(&self, now: Timestamp) -> String {
        let (seconds, user) = (now.duration_since(self.created).as_secs(), &self.user);
        let ago = |count: i64, unit: &str| {
            format!("pushed by {user} {count} {unit}{} ago", if count == 1 { "" } else { "s" })
        };
        match seconds {
            // A clock that goes wrong, or somebody who wrote what they liked.
            ..-120 => format!("pushed by {user}, it says at {}", self.created),
            -120..60 => format!("pushed by {user} just now"),
            60..3600 => ago(seconds / 60, "minute"),
            3600..86_400 => ago(seconds / 3600, "hour"),
            _ => ago(seconds / 86_400, "day"),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn expected() -> Expected {
        Expected { key: Digest::of("inputs"), bases: vec!["python:3.12".to_owned()], architecture: "amd64" }
    }

    #[test]
    fn an_environment_is_what_it_says_or_is_doubted() {
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().expect("a time");
        let config = json!({ "os": "linux", "architecture": "amd64" });
        let manifest = |edit: &dyn Fn(&mut BTreeMap<String, String>)| {
            let mut annotations = expected().annotations("ada", now);
            edit(&mut annotations);
            json!({ "annotations": annotations }).to_string().into_bytes()
        };
        let compare = |manifest: &[u8]| expected().compare(manifest, &config);
        let maker = compare(&manifest(&|_| {})).expect("itself");
        assert_eq!(maker, Maker { user: "ada".to_owned(), created: now });
        let set = |key: &'static str, value: &'static str| {
            manifest(&move |all| drop(all.insert(key.to_owned(), value.to_owned())))
        };
        assert_eq!(compare(b"{}"), Err(Doubt::Silent));
        assert_eq!(compare(&manifest(&|all| drop(all.remove(CREATED)))), Err(Doubt::Silent));
        assert_eq!(compare(&set(CREATED, "yesterday")), Err(Doubt::Silent));
        assert_eq!(compare(&set(label::ENVIRONMENT, "sha256:00")), Err(Doubt::OtherKey));
        assert_eq!(compare(&set(BASE, "evil:1")), Err(Doubt::OtherBase));
        let other = json!({ "os": "linux", "architecture": "arm64" });
        assert_eq!(expected().compare(&manifest(&|_| {}), &other), Err(Doubt::OtherArchitecture));
        // A name is shown as a label can hold it.
        let drawn = compare(&set(label::USER, "\u{1b}]0;x\u{7}ada")).expect("itself");
        assert_eq!(drawn.user, "0-x-ada");
    }

    #[test]
    fn ages_are_told_in_one_unit() {
        let maker = Maker { user: "ada".to_owned(), created: "2026-11-30T10:00:00Z".parse().expect("a time") };
        let at = |text: &str| maker.describe(text.parse().expect("a time"));
        assert_eq!(at("2026-11-30T10:00:30Z"), "pushed by ada just now");
        assert_eq!(at("2026-11-30T10:01:30Z"), "pushed by ada 1 minute ago");
        assert_eq!(at("2026-11-30T15:00:00Z"), "pushed by ada 5 hours ago");
        assert_eq!(at("2026-12-03T11:00:00Z"), "pushed by ada 3 days ago");
        assert_eq!(at("2026-11-01T00:00:00Z"), "pushed by ada, it says at 2026-11-30T10:00:00Z");
    }
}
