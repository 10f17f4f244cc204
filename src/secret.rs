//! A value that is never shown: its Debug, Display and serialised forms are masked.
//!
//! Owns: [`Secret`], [`Credential`], [`Mask`]. Does not own: where secrets are kept (`credentials`).

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

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

/// Secrets that nothing of what is printed may hold; clones know the same ones.
#[derive(Clone, Default)]
pub struct Mask(Arc<RwLock<Vec<String>>>);

impl Mask {
    /// What is shorter is not masked, in bytes: it would take half of all words with it.
    const SHORTEST: usize = 6;

    /// From now on `secret` is masked: as it is, each of its lines, as a part of JSON, and in base64.
    pub fn add(&self, secret: &Secret) {
        let whole = secret.expose();
        let json = serde_json::to_string(whole).unwrap_or_default();
        let forms = [whole, json.trim_matches('"'), &BASE64_STANDARD.encode(whole)].map(str::to_owned);
        let lines = whole.lines().map(|line| line.trim().to_owned());
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(forms.into_iter().chain(lines).filter(|form| form.len() >= Self::SHORTEST));
        // The longest first: it may hold others.
        known.sort_by_key(|form| std::cmp::Reverse(form.len()));
        known.dedup();
    }

    /// `text` with `***` in place of each secret.
    #[must_use]
    pub fn apply<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().fold(Cow::Borrowed(text), |text, secret| {
            if text.contains(secret.as_str()) { Cow::Owned(text.replace(secret.as_str(), "***")) } else { text }
        })
    }
}

/// Whether a variable's name says that its value is a secret: `HF_TOKEN`, `WANDB_API_KEY`, `PGPASSWORD`.
#[must_use]
pub fn names_a_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let ends = ["TOKEN", "PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "APIKEY", "SECRETKEY", "_PAT", "_PWD"];
    let is_key = name == "KEY" || ["_KEY", "_KEY_ID"].iter().any(|end| name.ends_with(end));
    let has_secret = name.split('_').any(|word| ["SECRET", "PASSWORD"].contains(&word));
    is_key || has_secret || ends.iter().any(|end| name.ends_with(end))
}

/// Whether a build secret can be called so: it is a file's name in builds, and a part of `--mount`. A few names are nauta's own.
#[must_use]
pub fn is_secret_id(id: &str) -> bool {
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    (1..=100).contains(&id.len())
        && id.bytes().all(is_word)
        && !id.starts_with(['.', '-'])
        && !id.to_ascii_lowercase().starts_with("nauta")
}

/// Whether a URL in a text holds a password, as `https://ada:word@host`; one that is a variable's or left out is none.
#[must_use]
pub fn has_password(text: &str) -> bool {
    let after = text.split("://").skip(1);
    after.map(|rest| rest.split(|c: char| c.is_whitespace() || "/\"'`<>?#".contains(c)).next().unwrap_or_default()).any(
        |authority| {
            let user = authority.rsplit_once('@').map(|(user, _)| user);
            user.and_then(|user| user.split_once(':')).is_some_and(|(_, password)| is_literal(password))
        },
    )
}

/// Whether a password is one, and no placeholder: `$TOKEN`, `${TOKEN}`, `{token}`, `%(token)s`, `***`, `xxx`.
#[must_use]
pub fn is_literal(password: &str) -> bool {
    let marks = ["$", "{", "}", "%(", "***", "..."];
    let words = ["password", "passwd", "pass", "token", "secret", "pw", "pat"];
    let lower = password.to_ascii_lowercase();
    !password.is_empty()
        && !marks.iter().any(|mark| password.contains(mark))
        && !words.contains(&lower.as_str())
        && !lower.bytes().all(|byte| byte == b'x')
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
    use super::{Mask, Secret, has_password, is_secret_id, names_a_secret};

    #[test]
    fn every_form_of_a_secret_is_masked() {
        let mask = Mask::default();
        assert_eq!(mask.apply("correct horse"), "correct horse");
        let known = mask.clone();
        known.add(&Secret::new("correct \"horse\"\nbattery staple\nab"));
        known.add(&Secret::new("short"));
        for text in [
            "correct \"horse\"\nbattery staple\nab",
            r#"correct \"horse\"\nbattery staple\nab"#,
            "Y29ycmVjdCAiaG9yc2UiCmJhdHRlcnkgc3RhcGxlCmFi",
            "battery staple",
        ] {
            assert_eq!(mask.apply(&format!("a {text} b")), "a *** b");
        }
        assert_eq!(mask.apply("shorter words stay: ab"), "shorter words stay: ab");
    }

    #[test]
    fn names_of_secrets_are_known_and_others_are_not() {
        for name in
            ["HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "db_password", "KEY", "SECRET_FILE"]
        {
            assert!(names_a_secret(name), "{name}");
        }
        for name in
            ["TOKENIZERS_PARALLELISM", "MAX_TOKENS", "MONKEY", "KEYBOARD", "EPOCHS", "CUDA_VISIBLE_DEVICES", "PWD"]
        {
            assert!(!names_a_secret(name), "{name}");
        }
    }

    #[test]
    fn passwords_in_urls_are_told_from_placeholders() {
        for text in [
            "--index-url https://ada:tok-123@index.example/simple",
            "http://:hunter2@h",
            "a https://h/x b https://u:p%40q@h:8080/",
            "url = \"https://u:hunter2@h\"",
        ] {
            assert!(has_password(text), "{text}");
        }
        for text in [
            "https://h/a:b@c",
            "https://ada@h/",
            "https://u:${TOKEN}@h/",
            "https://u:$TOKEN@h",
            "https://<user>:<password>@h",
            "https://user:password@h",
            "https://u:{token}@h",
            "git+ssh://git@h:22/x",
            "https://u:***@h",
            "see https://h and mail a:b@c",
        ] {
            assert!(!has_password(text), "{text}");
        }
    }

    #[test]
    fn ids_of_build_secrets_are_words() {
        for id in ["token", "pip.conf", "aws-credentials", "HF_TOKEN", "x"] {
            assert!(is_secret_id(id), "{id}");
        }
        for id in ["", ".netrc", "a/b", "a,b", "a b", "id=x", "nauta-ca", "NAUTA_X", &"x".repeat(101)] {
            assert!(!is_secret_id(id), "{id}");
        }
    }

    #[test]
    fn no_form_shows_the_value() {
        let secret = Secret::new("hunter2");
        let shown = format!("{secret} {secret:?} {}", serde_json::to_string(&secret).expect("a string serialises"));
        assert!(!shown.contains("hunter2"), "{shown}");
        assert_eq!(secret.expose(), "hunter2");
    }
}
