//! Any bytes as what registries, token servers and whatever answers in their place say.

use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LINK, WWW_AUTHENTICATE};

use super::challenge::Challenge;
use super::{Endpoint, classify, manifest, names, tags, token};

/// Documents: a token, the reason of a refusal, a page of tags, a manifest.
pub(crate) fn answer(bytes: &[u8]) {
    if let Ok(issued) = token::issued(bytes) {
        assert!(!issued.valid_for.is_zero());
        let _ = token::bearer(&issued.token);
    }
    for is_page in [true, false] {
        let said = classify::parse_explanation(bytes, is_page);
        let shown = [&said.code, &said.message];
        assert!(shown.iter().all(|text| !text.contains(char::is_control)), "{shown:?}");
    }
    for tag in tags::in_page(bytes).unwrap_or_default() {
        assert!(names::check_reference(&tag).is_ok());
    }
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_bytes(&bytes[..bytes.len().min(100)]) {
        headers.insert(CONTENT_TYPE, value.clone());
        headers.insert(LINK, value);
    }
    let media_type = manifest::media_type(&headers, bytes);
    assert!(media_type.is_none_or(|text| text.len() <= 255 && text.bytes().all(|byte| byte.is_ascii_graphic())));
    if let Some(link) = tags::next_page(&headers) {
        follow(&link);
    }
}

/// Headers, one in each line.
pub(crate) fn challenge(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n').take(64) {
        if let Ok(value) = HeaderValue::from_bytes(line) {
            headers.append(WWW_AUTHENTICATE, value);
        }
    }
    if let Some(Challenge::Bearer { realm, .. }) = Challenge::find(&headers) {
        follow(&realm);
    }
}

/// Nothing that a registry names leads off TLS.
fn follow(link: &str) {
    let endpoint = Endpoint::new("registry.example").expect("a host");
    if let Ok(url) = endpoint.follow(endpoint.base(), link) {
        let is_loopback = url.host_str().is_some_and(super::endpoint::is_loopback);
        assert!(url.scheme() == "https" || is_loopback, "{url}");
    }
}
