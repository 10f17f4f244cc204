//! Who we are to a registry: basic and bearer authentication (distribution's token specification).

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use crate::secret::Secret;

/// How we say who we are.
#[derive(Clone, Debug)]
pub enum Auth {
    /// We do not.
    Anonymous,
    /// A name and a password.
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A refresh token, as `docker login` gets from some registries.
    IdentityToken(Secret),
    /// A token for this registry alone, as it is.
    Bearer(Secret),
}

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer { realm: String, service: String },
}

/// Tokens by scope, with the moment from which they are no longer used.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<String, (Secret, Instant)>>);

/// A token server's answer; `access_token` is OAuth's name for it.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<u64>,
}

impl Tokens {
    pub(super) fn get(&self, scope: &str) -> Option<Secret> {
        let tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.get(scope).filter(|(_, until)| Instant::now() < *until).map(|(token, _)| token.clone())
    }

    pub(super) fn keep(&self, scope: &str, answer: TokenAnswer) -> Option<Secret> {
        let token = Secret::new(answer.token.or(answer.access_token)?);
        // A minute is what the specification assumes where the server says nothing; three quarters leave time to use it.
        let lifetime = Duration::from_secs(answer.expires_in.unwrap_or(60)).mul_f32(0.75);
        let mut tokens = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        tokens.insert(scope.to_owned(), (token.clone(), Instant::now() + lifetime));
        Some(token)
    }

    pub(super) fn forget(&self, scope: &str) {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(scope);
    }
}

/// The first challenge we can answer.
pub(super) fn challenge(header: &str) -> Option<Challenge> {
    let (scheme, parameters) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let value = |name: &str| {
        let from = parameters.find(&format!("{name}=\""))? + name.len() + 2;
        parameters[from..].split('"').next().map(str::to_owned)
    };
    Some(Challenge::Bearer { realm: value("realm")?, service: value("service").unwrap_or_default() })
}

/// A header value that no log shows.
pub(super) fn header(scheme: &str, credentials: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(&format!("{scheme} {credentials}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub(super) fn basic(user: &str, password: &Secret) -> Option<HeaderValue> {
    header("Basic", &BASE64_STANDARD.encode(format!("{user}:{}", password.expose())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_understood() {
        assert_eq!(challenge("Basic realm=\"x\""), Some(Challenge::Basic));
        let bearer = challenge("Bearer realm=\"https://a/token\",service=\"r\",scope=\"repository:a:pull,push\"");
        assert_eq!(bearer, Some(Challenge::Bearer { realm: "https://a/token".into(), service: "r".into() }));
        assert_eq!(challenge("Negotiate"), None);
        assert_eq!(challenge("Bearer nonsense"), None);
    }

    #[test]
    fn a_token_is_not_used_to_its_last_second() {
        let tokens = Tokens::default();
        let answer = |expires_in| TokenAnswer { token: None, access_token: Some("t".into()), expires_in };
        tokens.keep("a", answer(Some(0)));
        assert_eq!(tokens.get("a"), None);
        tokens.keep("a", answer(None));
        assert_eq!(tokens.get("a").expect("kept").expose(), "t");
        tokens.forget("a");
        assert_eq!(tokens.get("a"), None);
    }
}
