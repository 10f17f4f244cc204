//! What a registry asks for when it answers 401: the `WWW-Authenticate` header.

use reqwest::header::{HeaderMap, WWW_AUTHENTICATE};

/// How the registry wants to be convinced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// User and password with every request.
    Basic,
    /// A token from the token server at `realm`.
    Bearer {
        /// The token server's URL.
        realm: String,
        /// What the token server calls this registry.
        service: Option<String>,
        /// The token lacked this right, when one was sent.
        insufficient_scope: bool,
    },
}

impl Challenge {
    /// The best challenge of an answer: a token before a password.
    pub(super) fn find(headers: &HeaderMap) -> Option<Self> {
        let all = headers.get_all(WWW_AUTHENTICATE).iter().take(8);
        let texts = all.filter_map(|value| value.to_str().ok()).filter(|text| text.len() <= 8192);
        let mut found: Vec<Self> = texts.filter_map(Self::parse).collect();
        found.sort_by_key(|challenge| matches!(challenge, Self::Basic));
        found.into_iter().next()
    }

    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once(' ').unwrap_or((text.trim(), ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let parameters = parameters(rest);
        let value = |name: &str| parameters.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        Some(Self::Bearer {
            realm: value("realm")?,
            service: value("service"),
            insufficient_scope: value("error").as_deref() == Some("insufficient_scope"),
        })
    }
}

/// `key="a \"quoted\" value", other=token`: quotes may hold commas, as scopes do.
fn parameters(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|c| *c == ',' || c.is_whitespace()).is_some() {}
        let mut key = String::new();
        while let Some(c) = rest.next_if(|c| *c != '=' && *c != ',') {
            key.push(c.to_ascii_lowercase());
        }
        if key.is_empty() {
            return found;
        }
        if rest.next_if_eq(&'=').is_some() {
            found.push((key.trim().to_owned(), parameter_value(&mut rest)));
        }
    }
}

fn parameter_value(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> String {
    let mut value = String::new();
    if rest.next_if_eq(&'"').is_none() {
        while let Some(c) = rest.next_if(|c| *c != ',' && !c.is_whitespace()) {
            value.push(c);
        }
        return value;
    }
    while let Some(c) = rest.next() {
        match c {
            '"' => break,
            '\\' => value.extend(rest.next()),
            _ => value.push(c),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bearer(realm: &str, service: Option<&str>, insufficient_scope: bool) -> Challenge {
        Challenge::Bearer { realm: realm.into(), service: service.map(str::to_owned), insufficient_scope }
    }

    #[test]
    fn challenges_of_real_registries_are_understood() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push",error="insufficient_scope""#;
        assert_eq!(
            Challenge::parse(hub),
            Some(bearer("https://auth.docker.io/token", Some("registry.docker.io"), true))
        );
        assert_eq!(
            Challenge::parse("bearer realm=https://a/t , service=x"),
            Some(bearer("https://a/t", Some("x"), false))
        );
        assert_eq!(Challenge::parse(r#"Bearer realm="a\"b""#), Some(bearer("a\"b", None, false)));
        assert_eq!(Challenge::parse(r#"Basic realm="nauta""#), Some(Challenge::Basic));
        assert_eq!(Challenge::parse("Basic"), Some(Challenge::Basic));
        for other in ["", "Negotiate", "Bearer", "Bearer service=x", "Bearer realm"] {
            assert_eq!(Challenge::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_token_is_preferred_to_a_password() {
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, "Basic realm=x".parse().expect("a header"));
        headers.append(WWW_AUTHENTICATE, "Bearer realm=\"https://a\"".parse().expect("a header"));
        assert_eq!(Challenge::find(&headers), Some(bearer("https://a", None, false)));
    }

    proptest! {
        #[test]
        fn no_header_breaks_the_parser(text in ".{0,200}") {
            let _ = Challenge::parse(&text);
            let _ = Challenge::parse(&format!("Bearer {text}"));
        }
    }
}
