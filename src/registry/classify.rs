//! Turns failures of the HTTP library and refusals of registries into [`RegistryError`]s, once and in one place.

use std::error::Error;
use std::io;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Response, StatusCode};
use rustls::{CertificateError, InvalidMessage};
use serde::Deserialize;

use super::error::{CertificateProblem, Reach, RegistryError};

/// Enough for any registry's explanation.
const MAX_EXPLANATION: usize = 16 * 1024;
/// How much of it a message shows, in characters.
const SHOWN: usize = 300;

/// A failure to get an answer from `host`. The library's own texts hold whole URLs, so none of them is kept.
pub(super) fn transport(error: &reqwest::Error, host: &str, connect: Duration) -> RegistryError {
    let host = host.to_owned();
    let reach = if let Some(tls) = cause::<rustls::Error>(error) {
        match tls_failure(tls) {
            TlsFailure::Certificate(problem) => return RegistryError::Certificate { host, problem },
            TlsFailure::PlainHttp => return RegistryError::PlainHttp { host },
            TlsFailure::Other(text) => Reach::Tls(text),
        }
    } else if let Some(proxy) = texts(error).into_iter().find(|text| text.contains("tunnel") || text.contains("proxy"))
    {
        Reach::Proxy(shown(&proxy))
    } else if texts(error).iter().any(|text| text.starts_with("dns error")) {
        Reach::NoAddress
    } else {
        io_failure(error, connect)
    };
    RegistryError::Unreachable { host, reach }
}

fn io_failure(error: &reqwest::Error, connect: Duration) -> Reach {
    match cause::<io::Error>(error).map(io::Error::kind) {
        Some(io::ErrorKind::ConnectionRefused) => Reach::Refused,
        Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable) => {
            Reach::NoRoute
        }
        Some(io::ErrorKind::TimedOut) => Reach::TimedOut(connect),
        _ if error.is_timeout() => Reach::TimedOut(connect),
        _ => Reach::Broken,
    }
}

enum TlsFailure {
    Certificate(CertificateProblem),
    PlainHttp,
    Other(String),
}

fn tls_failure(error: &rustls::Error) -> TlsFailure {
    use CertificateError as C;
    match error {
        rustls::Error::InvalidCertificate(problem) => TlsFailure::Certificate(match problem {
            // Another authority of the same name, as one made anew is, is found by its signature alone.
            C::UnknownIssuer | C::BadSignature => CertificateProblem::UnknownIssuer,
            C::Expired | C::ExpiredContext { .. } => CertificateProblem::Expired,
            C::NotValidYet => CertificateProblem::NotYetValid(None),
            C::NotValidYetContext { time, not_before } => {
                CertificateProblem::NotYetValid(not_before.as_secs().checked_sub(time.as_secs()))
            }
            C::NotValidForName => CertificateProblem::WrongName(Vec::new()),
            C::NotValidForNameContext { presented, .. } => {
                // `DnsName("registry.example.com")`
                let name = |presented: &String| presented.split('"').nth(1).unwrap_or(presented).to_owned();
                CertificateProblem::WrongName(presented.iter().map(name).collect())
            }
            C::Revoked => CertificateProblem::Revoked,
            other => CertificateProblem::Other(shown(&other.to_string())),
        }),
        // A server without TLS answers "HTTP/1.1 400", which is no TLS record.
        rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType) => TlsFailure::PlainHttp,
        other => TlsFailure::Other(shown(&other.to_string())),
    }
}

/// The first cause of type `T`; I/O errors hide theirs inside.
fn cause<'a, T: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        if let Some(inner) = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref)
            && let Some(found) = cause::<T>(inner)
        {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The texts of all causes below the outermost error (whose text holds the URL).
fn texts(error: &reqwest::Error) -> Vec<String> {
    let mut texts = Vec::new();
    let mut next = error.source();
    while let Some(error) = next {
        texts.push(error.to_string());
        next = error.source();
    }
    texts
}

/// What a registry said about a refusal.
#[derive(Debug, Default)]
pub(super) struct Explanation {
    /// The protocol's code, such as `MANIFEST_BLOB_UNKNOWN`; empty when there was none.
    pub(super) code: String,
    /// Its words, escaped and cut; may be empty.
    pub(super) message: String,
    /// A web page came instead of the protocol's JSON.
    pub(super) is_page: bool,
    /// The words say that there is no space.
    pub(super) is_full: bool,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    detail: serde_json::Value,
}

/// Reads what a registry says about a refusal. Never fails: an unreadable explanation is none.
pub(super) async fn explanation(mut response: Response, stall: Duration) -> Explanation {
    let is_page = is_page(response.headers());
    let mut bytes = Vec::new();
    while let Ok(Ok(Some(piece))) = tokio::time::timeout(stall, response.chunk()).await {
        bytes.extend_from_slice(&piece[..piece.len().min(MAX_EXPLANATION - bytes.len())]);
        if bytes.len() == MAX_EXPLANATION {
            break;
        }
    }
    parse_explanation(&bytes, is_page)
}

pub(super) fn parse_explanation(bytes: &[u8], is_page: bool) -> Explanation {
    let text = String::from_utf8_lossy(bytes);
    let is_full = says_full(&text);
    if is_page {
        return Explanation { is_page, is_full, ..Explanation::default() };
    }
    let first = serde_json::from_slice::<Errors>(bytes).ok().and_then(|errors| errors.errors.into_iter().next());
    let Some(item) = first else {
        return Explanation { message: shown(text.trim()), is_full, ..Explanation::default() };
    };
    let detail = match &item.detail {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => format!(" ({text})"),
        other => format!(" ({other})"),
    };
    Explanation { code: shown(&item.code), message: shown(&format!("{}{detail}", item.message)), is_page, is_full }
}

/// Distribution's file system driver shows the bare error number: 28 is ENOSPC, 122 is EDQUOT.
fn says_full(text: &str) -> bool {
    let lower = text.to_lowercase();
    ["no space left", "quota exceeded", "insufficient storage", "\"err\":28", "\"err\":122"]
        .iter()
        .any(|w| lower.contains(w))
}

/// Whether an answer is a web page.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"text/html"))
}

/// `Retry-After` in seconds; its date form is rare, and needs a clock that agrees with the server's.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// An answer that says "not now" or "my fault", as an error.
pub(super) async fn server_trouble(response: Response, host: String, stall: Duration) -> RegistryError {
    let status = response.status();
    let after = retry_after(response.headers());
    let said = explanation(response, stall).await;
    if said.is_full || status == StatusCode::INSUFFICIENT_STORAGE {
        return RegistryError::Full { host, message: said.message };
    }
    match status {
        StatusCode::TOO_MANY_REQUESTS => RegistryError::RateLimited { host, after },
        status => RegistryError::ServerFailed { host, status: status.as_u16(), after, message: said.message },
    }
}

/// Whether an answer says "not now" or "my fault".
pub(super) fn is_server_trouble(status: StatusCode) -> bool {
    status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT)
}

/// A foreign text made fit for a terminal: one line, no control characters, cut, and nothing in it that looks like a
/// credential (some servers repeat what they were sent).
pub(super) fn shown(text: &str) -> String {
    let mut line: String =
        text.chars().take(SHOWN).map(|c| if c.is_control() || is_invisible(c) { ' ' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        line.push('…');
    }
    let mut hide = false;
    let words = line.split_whitespace().map(|word| {
        let shown = if hide { "***".to_owned() } else { without_url_secrets(word) };
        let bare = word.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_ascii_lowercase();
        hide = bare.ends_with("bearer") || bare.ends_with("basic");
        shown
    });
    words.collect::<Vec<_>>().join(" ")
}

/// A word without the user and the query of the URL in it.
fn without_url_secrets(word: &str) -> String {
    let Some((scheme, rest)) = word.split_once("://") else {
        return word.to_owned();
    };
    let (rest, query) = rest.split_once('?').map_or((rest, ""), |(rest, _)| (rest, "?***"));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    format!("{scheme}://{host}{query}")
}

/// Characters that reorder or hide others on a terminal.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_lose_what_a_terminal_would_obey() {
        let hostile = format!("\u{1b}[31mred\u{202e}\r\nx{}", "y".repeat(1000));
        let body =
            serde_json::json!({"errors": [{"code": "DENIED", "message": hostile, "detail": {"a": 1}}]}).to_string();
        let said = parse_explanation(body.as_bytes(), false);
        assert_eq!(said.code, "DENIED");
        assert!(said.message.starts_with("[31mred x"), "{}", said.message);
        assert!(said.message.chars().count() <= SHOWN + 1);
    }

    #[test]
    fn what_servers_repeat_of_credentials_is_hidden() {
        let said = shown(
            "got header 'Authorization: Bearer canary' for https://u:canary@s3.example.com/x?sig=canary&a=1 basic: canary",
        );
        assert_eq!(said, "got header 'Authorization: Bearer *** for https://s3.example.com/x?*** basic: ***");
    }

    #[test]
    fn odd_answers_are_still_explanations() {
        assert_eq!(parse_explanation(b"Forbidden\n", false).message, "Forbidden");
        assert_eq!(parse_explanation(b"<html>login</html>", true).message, "");
        assert_eq!(parse_explanation(b"{\"errors\":[]}", false).message, "{\"errors\":[]}");
        assert_eq!(parse_explanation(&[0xff; 9], false).code, "");
        assert!(parse_explanation(br#"{"errors":[{"code":"UNKNOWN","detail":{"Err":28}}]}"#, false).is_full);
    }
}
