//! Requests: authentication, retries, redirects, and what an answer means.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use reqwest::header::{AUTHORIZATION, HeaderMap, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Body, Method, Response, StatusCode, Url};

use super::auth::{self, Auth, Challenge, Tokens};
use super::error::{RegistryError, printable};
use super::{Content, Endpoint};

/// A connection that is not made within this time is not made at all.
const CONNECT: Duration = Duration::from_secs(5);
/// A request that moves no byte for this long is sent again.
const STALL: Duration = Duration::from_secs(30);
/// How long one request is tried again in all.
const BUDGET: Duration = Duration::from_mins(2);
/// An answer larger than this is none of a registry's documents, in bytes.
const MAX_DOCUMENT: usize = 4 * 1024 * 1024;

/// What we want to do in a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read.
    Pull,
    /// Read and write.
    Push,
}

impl Access {
    const fn actions(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
        }
    }
}

/// What went over the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests sent.
    pub requests: u64,
    /// Bytes of bodies sent.
    pub sent: u64,
}

#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    sent: AtomicU64,
}

/// One registry. Cheap to clone; connections are kept and shared.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    auth: Auth,
    http: reqwest::Client,
    challenge: std::sync::OnceLock<Option<Challenge>>,
    tokens: Tokens,
    counters: Counters,
}

/// A request, so that it can be sent more than once.
pub(super) struct Request<'a> {
    pub(super) method: Method,
    /// Absolute, or a path below `/v2/`.
    pub(super) url: String,
    pub(super) repository: &'a str,
    pub(super) access: Access,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<&'a Content>,
    /// Another repository that must be readable too (mounts).
    pub(super) from: Option<&'a str>,
}

impl<'a> Request<'a> {
    pub(super) fn new(method: Method, url: String, repository: &'a str, access: Access) -> Self {
        Self { method, url, repository, access, headers: HeaderMap::new(), body: None, from: None }
    }
}

impl Registry {
    /// A registry at `endpoint`; nothing is sent yet.
    pub fn new(endpoint: Endpoint, auth: Auth) -> Result<Self, RegistryError> {
        // Twice is an error of no consequence: the provider is installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .http1_only()
            .user_agent(concat!("nauta/", env!("CARGO_PKG_VERSION")));
        let unusable =
            |e: reqwest::Error| RegistryError::Certificate { host: endpoint.host.clone(), reason: chain(&e) };
        if endpoint.is_plain() {
            // A container without certificates of its own can still speak to a registry without TLS.
            builder = builder.tls_certs_only(std::iter::empty());
        }
        if let Some(pem) = &endpoint.ca {
            let certificates = reqwest::Certificate::from_pem_bundle(pem).map_err(unusable)?;
            builder = builder.tls_certs_merge(certificates);
        }
        let http = builder.build().map_err(unusable)?;
        let (challenge, tokens) = (std::sync::OnceLock::new(), Tokens::default());
        Ok(Self(Arc::new(Inner { endpoint, auth, http, challenge, tokens, counters: Counters::default() })))
    }

    /// The registry's host and port.
    pub fn host(&self) -> &str {
        &self.0.endpoint.host
    }

    /// What went over the wire since it was made.
    pub fn traffic(&self) -> Traffic {
        let Counters { requests, sent } = &self.0.counters;
        Traffic { requests: requests.load(Ordering::Relaxed), sent: sent.load(Ordering::Relaxed) }
    }

    /// The same registry for somebody without credentials.
    pub fn as_anonymous(&self) -> Result<Self, RegistryError> {
        Self::new(self.0.endpoint.clone(), Auth::Anonymous)
    }

    /// Whether we may do this in `repository`, proved by asking. Nothing stays behind.
    pub async fn check(&self, repository: &str, access: Access) -> Result<(), RegistryError> {
        match access {
            Access::Pull => {
                let response =
                    self.send(Request::new(Method::GET, format!("{repository}/tags/list"), repository, access)).await?;
                match response.status() {
                    StatusCode::NOT_FOUND | StatusCode::OK => Ok(()),
                    _ => Err(self.unexpected("asking for its tags", response).await),
                }
            }
            Access::Push => {
                let start = Request::new(Method::POST, format!("{repository}/blobs/uploads/"), repository, access);
                let response = self.send(start).await?;
                if response.status() != StatusCode::ACCEPTED {
                    return Err(self.unexpected("starting an upload", response).await);
                }
                let location = self.location(&response)?;
                // A registry that does not know how to cancel forgets the upload by itself.
                let _ = self.send(Request::new(Method::DELETE, location, repository, access)).await;
                Ok(())
            }
        }
    }

    /// Whether somebody without credentials may do this in `repository`.
    pub async fn allows_anonymous(&self, repository: &str, access: Access) -> Result<bool, RegistryError> {
        match self.as_anonymous()?.check(repository, access).await {
            Ok(()) => Ok(true),
            Err(RegistryError::Unauthorised { .. } | RegistryError::Forbidden { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends a request until it is answered for good: 429, 5xx and broken connections are tried again within a budget,
    /// 401 once with a new token. Answers of 403 and of a full registry are errors; all others are the caller's to read.
    pub(super) async fn send(&self, request: Request<'_>) -> Result<Response, RegistryError> {
        let deadline = Instant::now() + BUDGET;
        let mut pause = Duration::from_millis(200);
        let mut renewed = false;
        loop {
            let outcome = self.send_once(&request).await;
            let wait = match outcome {
                Ok(response) => match response.status() {
                    StatusCode::UNAUTHORIZED if !renewed => {
                        renewed = true;
                        self.learn_challenge(&response);
                        self.0.tokens.forget(&scope(&request));
                        continue;
                    }
                    StatusCode::UNAUTHORIZED => {
                        let tried = !matches!(self.0.auth, Auth::Anonymous);
                        return Err(RegistryError::Unauthorised { host: self.host().to_owned(), tried });
                    }
                    StatusCode::FORBIDDEN => {
                        let (host, repository) = (self.host().to_owned(), request.repository.to_owned());
                        return Err(RegistryError::Forbidden { host, repository });
                    }
                    status if is_passing(status) && Instant::now() < deadline => {
                        retry_after(&response).unwrap_or(pause)
                    }
                    status if status.is_server_error() => {
                        return Err(self.unexpected(&format!("{} {}", request.method, request.url), response).await);
                    }
                    _ => return Ok(response),
                },
                Err(error) if is_passing_error(&error) && Instant::now() < deadline && pause < BUDGET / 8 => pause,
                Err(error) => return Err(error),
            };
            tracing::debug!(host = self.host(), url = request.url, ?wait, "trying again");
            tokio::time::sleep(wait.mul_f32(jitter()).min(deadline.saturating_duration_since(Instant::now()))).await;
            pause *= 2;
        }
    }

    async fn send_once(&self, request: &Request<'_>) -> Result<Response, RegistryError> {
        let url = self.absolute(&request.url)?;
        let mut builder = self.0.http.request(request.method.clone(), url.clone()).headers(request.headers.clone());
        if self.is_own(&url)
            && let Some(value) = self.authorisation(request).await?
        {
            builder = builder.header(AUTHORIZATION, value);
        }
        if let Some(content) = request.body {
            let body = content.open(self.host()).await?;
            builder = builder.header("Content-Length", content.len()).body(body);
            self.0.counters.sent.fetch_add(content.len(), Ordering::Relaxed);
        } else if matches!(request.method, Method::POST | Method::PUT) {
            builder = builder.header("Content-Length", 0).body(Body::from(""));
        }
        self.0.counters.requests.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(method = %request.method, url = %url, "request");
        builder.send().await.map_err(|error| self.broken(&error))
    }

    /// The answer's body, bounded; a registry that sends more is not one.
    pub(super) async fn document(&self, mut response: Response) -> Result<Bytes, RegistryError> {
        let mut document = BytesMut::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(&error))? {
            document.extend_from_slice(&piece);
            if document.len() > MAX_DOCUMENT {
                let message = format!("a document of more than {MAX_DOCUMENT} bytes");
                let (host, what) = (self.host().to_owned(), "reading a document".to_owned());
                return Err(RegistryError::Unexpected { host, status: response.status().as_u16(), what, message });
            }
        }
        Ok(document.freeze())
    }

    /// Follows a redirect of a download; credentials stay with the registry they are for.
    pub(super) async fn follow(&self, mut response: Response, headers: &HeaderMap) -> Result<Response, RegistryError> {
        for _ in 0..5 {
            if !response.status().is_redirection() {
                break;
            }
            let url = self.absolute(&self.location(&response)?)?;
            if url.scheme() == "http" && !self.0.endpoint.is_plain() {
                return Err(RegistryError::PlainHttp { host: url.host_str().unwrap_or_default().to_owned() });
            }
            response = self.0.http.get(url).headers(headers.clone()).send().await.map_err(|e| self.broken(&e))?;
        }
        Ok(response)
    }

    /// The `Location` of an answer.
    pub(super) fn location(&self, response: &Response) -> Result<String, RegistryError> {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let joined = location.and_then(|location| response.url().join(location).ok());
        joined.map(String::from).ok_or_else(|| RegistryError::Unexpected {
            host: self.host().to_owned(),
            status: response.status().as_u16(),
            what: "a request that must name a location".to_owned(),
            message: String::new(),
        })
    }

    /// An answer that the protocol does not know here, with the registry's words.
    pub(super) async fn unexpected(&self, what: &str, response: Response) -> RegistryError {
        let status = response.status().as_u16();
        let text =
            self.document(response).await.map(|body| String::from_utf8_lossy(&body).into_owned()).unwrap_or_default();
        let host = self.host().to_owned();
        if text.contains("no space left on device") || text.contains("disk quota exceeded") {
            return RegistryError::Full { host };
        }
        RegistryError::Unexpected { host, status, what: what.to_owned(), message: printable(&error_text(&text)) }
    }

    fn absolute(&self, url: &str) -> Result<Url, RegistryError> {
        let text = if url.contains("://") { url.to_owned() } else { format!("{}/v2/{url}", self.0.endpoint.base()) };
        Url::parse(&text).map_err(|error| RegistryError::Unreachable {
            host: self.host().to_owned(),
            reason: format!("`{}` is no address: {error}", printable(&text)),
        })
    }

    /// Whether a URL is the registry's own: only there do credentials go.
    fn is_own(&self, url: &Url) -> bool {
        Url::parse(&self.0.endpoint.base()).is_ok_and(|own| own.origin() == url.origin())
    }

    fn learn_challenge(&self, response: &Response) {
        let header = response.headers().get(WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let _ = self.0.challenge.set(header.and_then(auth::challenge));
    }

    async fn authorisation(
        &self,
        request: &Request<'_>,
    ) -> Result<Option<reqwest::header::HeaderValue>, RegistryError> {
        if let Auth::Bearer(token) = &self.0.auth {
            return Ok(auth::header("Bearer", token.expose()));
        }
        match self.0.challenge.get() {
            None | Some(None) => Ok(None),
            Some(Some(Challenge::Basic)) => match &self.0.auth {
                Auth::Basic { user, password } => Ok(auth::basic(user, password)),
                _ => Ok(None),
            },
            Some(Some(Challenge::Bearer { realm, service })) => {
                let scope = scope(request);
                let token = match self.0.tokens.get(&scope) {
                    Some(token) => Some(token),
                    None => self.fetch_token(realm, service, &scope).await?,
                };
                Ok(token.and_then(|token| auth::header("Bearer", token.expose())))
            }
        }
    }

    async fn fetch_token(
        &self,
        realm: &str,
        service: &str,
        scope: &str,
    ) -> Result<Option<crate::secret::Secret>, RegistryError> {
        let url = self.absolute(realm)?;
        if url.scheme() == "http" && !self.0.endpoint.is_plain() {
            return Err(RegistryError::PlainHttp { host: url.host_str().unwrap_or_default().to_owned() });
        }
        let scopes: Vec<(&str, &str)> = scope.split(' ').map(|scope| ("scope", scope)).collect();
        let with_query = |pairs: &[(&str, &str)]| {
            let mut url = url.clone();
            url.query_pairs_mut().extend_pairs(pairs).extend_pairs(&scopes);
            url
        };
        let request = match &self.0.auth {
            Auth::IdentityToken(token) => {
                let mut form = url::form_urlencoded::Serializer::new(String::new());
                form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token.expose());
                form.append_pair("service", service).append_pair("client_id", "nauta").append_pair("scope", scope);
                let form_type = "application/x-www-form-urlencoded";
                self.0.http.post(url.clone()).header("Content-Type", form_type).body(form.finish())
            }
            Auth::Basic { user, password } => {
                let request = self.0.http.get(with_query(&[("service", service), ("account", user)]));
                match auth::basic(user, password) {
                    Some(value) => request.header(AUTHORIZATION, value),
                    None => request,
                }
            }
            _ => self.0.http.get(with_query(&[("service", service)])),
        };
        self.0.counters.requests.fetch_add(1, Ordering::Relaxed);
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        if !response.status().is_success() {
            return Ok(None);
        }
        let answer = serde_json::from_slice(&self.document(response).await?).ok();
        Ok(answer.and_then(|answer| self.0.tokens.keep(scope, answer)))
    }

    pub(super) fn broken(&self, error: &reqwest::Error) -> RegistryError {
        let host = self.host().to_owned();
        let reason = chain(error);
        let lower = reason.to_lowercase();
        if lower.contains("certificate") || lower.contains("unknownissuer") {
            RegistryError::Certificate { host, reason }
        } else if lower.contains("invalidcontenttype") || lower.contains("corrupt message") {
            RegistryError::PlainHttp { host }
        } else {
            RegistryError::Unreachable { host, reason }
        }
    }
}

/// The scope of a token for a request (token specification, "Requesting a Token").
fn scope(request: &Request<'_>) -> String {
    let own = format!("repository:{}:{}", request.repository, request.access.actions());
    match request.from {
        Some(from) => format!("{own} repository:{from}:pull"),
        None => own,
    }
}

fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 502 | 503 | 504)
}

/// Broken connections pass; refused certificates and names that do not exist do not.
fn is_passing_error(error: &RegistryError) -> bool {
    matches!(error, RegistryError::Unreachable { reason, .. }
        if !["refused", "dns", "lookup", "no address"].iter().any(|word| reason.to_lowercase().contains(word)))
}

fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds).min(Duration::from_mins(1)))
}

/// Between 0.5 and 1.5, so that many clients do not come back at once.
fn jitter() -> f32 {
    0.5 + f32::from(u16::try_from(getrandom::u32().unwrap_or(0) % 1000).unwrap_or(0)) / 1000.0
}

/// An error and its causes in one line; the innermost says what happened.
fn chain(error: &reqwest::Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    if error.is_timeout() { "no answer in time".to_owned() } else { innermost.to_string() }
}

/// The words of a registry's error document, or the document itself when it is none.
fn error_text(document: &str) -> String {
    let parsed: Option<serde_json::Value> = serde_json::from_str(document).ok();
    let Some(error) = parsed.as_ref().and_then(|value| value["errors"].get(0)) else { return document.to_owned() };
    let words = ["code", "message"].map(|key| error[key].as_str().unwrap_or_default());
    words.join(": ")
}
