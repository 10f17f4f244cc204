//! Convincing a registry: passwords, and tokens from its token server, renewed before they expire.

use std::collections::HashMap;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode, Url};
use serde::Deserialize;
use tokio::time::Instant;
use url::form_urlencoded;

use super::auth::{Auth, IssuedToken, Scope};
use super::challenge::Challenge;
use super::classify;
use super::error::RegistryError;
use super::meter::Meter;
use super::retry::Patience;
use super::transport::Transport;
use crate::secret::Secret;

/// No token server has reason to say more, in bytes.
const MAX_ANSWER: usize = 256 * 1024;
/// What the token protocol assumes where the server does not say.
const DEFAULT_LIFETIME: Duration = Duration::from_mins(1);

/// Knows who we are, how this registry wants it said, and the tokens it has given.
pub(super) struct Authenticator {
    auth: RwLock<Auth>,
    challenge: RwLock<Option<Challenge>>,
    tokens: tokio::sync::Mutex<HashMap<Scope, Token>>,
}

struct Token {
    header: HeaderValue,
    renew_at: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl Authenticator {
    pub(super) fn new(auth: Auth) -> Self {
        Self { auth: RwLock::new(auth), challenge: RwLock::default(), tokens: tokio::sync::Mutex::default() }
    }

    pub(super) fn auth(&self) -> Auth {
        self.auth.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// From now on we are somebody else, or the same with a newer token.
    pub(super) async fn replace(&self, auth: Auth) {
        let mut tokens = self.tokens.lock().await;
        *self.auth.write().unwrap_or_else(PoisonError::into_inner) = auth;
        tokens.clear();
    }

    /// Notes how the registry wants to be convinced.
    pub(super) fn learn(&self, challenge: Challenge) {
        *self.challenge.write().unwrap_or_else(PoisonError::into_inner) = Some(challenge);
    }

    /// The `Authorization` header for a request; `None` before the registry has asked, or when there is nothing to say.
    pub(super) async fn header(
        &self,
        transport: &Transport,
        scope: &Scope,
        patience: Patience,
    ) -> Result<Option<HeaderValue>, RegistryError> {
        let auth = self.auth();
        if let Auth::Bearer(token) = &auth {
            return Ok(Some(bearer(token)));
        }
        let challenge = self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone();
        match (challenge, &auth) {
            (Some(Challenge::Basic), Auth::Basic { user, password }) => Ok(Some(basic(user, password))),
            (Some(Challenge::Basic) | None, _) => Ok(None),
            (Some(Challenge::Bearer { realm, service, .. }), _) => {
                // The lock is held during the request: parallel uploads need one token, not one each.
                let mut tokens = self.tokens.lock().await;
                if let Some(token) = tokens.get(scope).filter(|token| Instant::now() < token.renew_at) {
                    return Ok(Some(token.header.clone()));
                }
                let issued = fetch(transport, &auth, &realm, service.as_deref(), scope, patience).await?;
                let header = bearer(&issued.token);
                let renew_at = Instant::now() + issued.valid_for.mul_f64(0.75);
                tokens.insert(scope.clone(), Token { header: header.clone(), renew_at });
                Ok(Some(header))
            }
        }
    }

    /// After a 401: forgets the token that was refused. Whether another try can go differently.
    pub(super) async fn refused(
        &self,
        used: Option<&HeaderValue>,
        scope: &Scope,
        challenge: Option<Challenge>,
    ) -> bool {
        let Some(challenge) = challenge else {
            return false;
        };
        let auth = self.auth();
        let hopeful = match (&challenge, &auth) {
            (_, Auth::Bearer(token)) => used != Some(&bearer(token)),
            (Challenge::Basic, Auth::Basic { .. }) => used.is_none(),
            (Challenge::Basic, _) => false,
            (Challenge::Bearer { insufficient_scope, .. }, _) => used.is_none() || !insufficient_scope,
        };
        self.learn(challenge);
        let mut tokens = self.tokens.lock().await;
        if tokens.get(scope).is_some_and(|token| Some(&token.header) == used) {
            tokens.remove(scope);
        }
        hopeful
    }

    /// A fresh token to hand on; `None` when this registry has no token server.
    pub(super) async fn issue(
        &self,
        transport: &Transport,
        scope: &Scope,
        patience: Patience,
    ) -> Result<Option<IssuedToken>, RegistryError> {
        let challenge = self.challenge.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (auth, Some(Challenge::Bearer { realm, service, .. })) = (self.auth(), challenge) else {
            return Ok(None);
        };
        if matches!(auth, Auth::Bearer(_)) {
            return Ok(None);
        }
        fetch(transport, &auth, &realm, service.as_deref(), scope, patience).await.map(Some)
    }
}

/// Asks the token server. With a password or anonymously by GET, with an identity token by POST (OAuth 2 refresh).
async fn fetch(
    transport: &Transport,
    auth: &Auth,
    realm: &str,
    service: Option<&str>,
    scope: &Scope,
    patience: Patience,
) -> Result<IssuedToken, RegistryError> {
    let url = realm_url(transport, realm)?;
    let request = token_request(url, auth, service, scope);
    let host = transport.shown_host(request.url());
    let response = transport.send(request, patience, &Meter::default(), &|_| ()).await?;
    let status = response.status();
    if classify::is_server_trouble(status) {
        return Err(classify::server_trouble(response, host, patience.stall).await);
    }
    match status {
        StatusCode::OK => read_token(transport, response, patience).await,
        StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST => Err(RegistryError::Unauthorised {
            host: transport.endpoint().host().to_owned(),
            repository: scope.repository().to_owned(),
            with_credentials: *auth != Auth::Anonymous,
        }),
        StatusCode::FORBIDDEN => Err(RegistryError::Forbidden {
            host: transport.endpoint().host().to_owned(),
            repository: scope.repository().to_owned(),
            access: scope.access(),
            message: classify::explanation(response, patience.stall).await.message,
        }),
        other => Err(RegistryError::Refused {
            host,
            doing: "issue a token".to_owned(),
            status: other.as_u16(),
            message: classify::explanation(response, patience.stall).await.message,
        }),
    }
}

/// Credentials go there, so it has TLS, or is the very host that the user allowed to be without.
fn realm_url(transport: &Transport, realm: &str) -> Result<Url, RegistryError> {
    let endpoint = transport.endpoint();
    let url = endpoint.follow(endpoint.base(), realm)?;
    let same_host = url.host_str() == endpoint.base().host_str();
    if url.scheme() == "https" || same_host || url.host_str().is_some_and(super::endpoint::is_loopback) {
        return Ok(url);
    }
    let to = format!("{}://{}", url.scheme(), url.host_str().unwrap_or("?"));
    Err(RegistryError::Redirect { host: endpoint.host().to_owned(), to, reason: "credentials need TLS" })
}

fn token_request(mut url: Url, auth: &Auth, service: Option<&str>, scope: &Scope) -> Request {
    if let Auth::IdentityToken(token) = auth {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", token.expose());
        form.append_pair("client_id", "nauta").append_pair("scope", &scope.words().join(" "));
        form.append_pair("service", service.unwrap_or_default());
        let mut request = Request::new(Method::POST, url);
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        *request.body_mut() = Some(form.finish().into());
        return request;
    }
    url.query_pairs_mut().append_pair("client_id", "nauta").extend_pairs(service.map(|service| ("service", service)));
    for words in scope.words() {
        url.query_pairs_mut().append_pair("scope", &words);
    }
    let mut request = Request::new(Method::GET, url);
    if let Auth::Basic { user, password } = auth {
        request.headers_mut().insert(AUTHORIZATION, basic(user, password));
    }
    request
}

async fn read_token(
    transport: &Transport,
    mut response: Response,
    patience: Patience,
) -> Result<IssuedToken, RegistryError> {
    let host = transport.shown_host(response.url());
    let mut bytes = Vec::new();
    while let Some(piece) = transport.next_piece(&mut response, patience.stall).await? {
        bytes.extend_from_slice(&piece);
        if bytes.len() > MAX_ANSWER {
            return Err(RegistryError::TooLarge { host, what: "the token".to_owned(), limit: MAX_ANSWER as u64 });
        }
    }
    issued(&bytes).map_err(|found| RegistryError::NotARegistry { host, found: found.to_owned() })
}

/// The token in a token server's answer; the error says what is there instead.
pub(super) fn issued(bytes: &[u8]) -> Result<IssuedToken, &'static str> {
    let answer: TokenAnswer = serde_json::from_slice(bytes).map_err(|_| "its token server sends no token")?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("its token server sends no usable token");
    }
    let valid_for = if answer.expires_in == 0 { DEFAULT_LIFETIME } else { Duration::from_secs(answer.expires_in) };
    // A century is as good as for ever, and cannot overflow the clock.
    Ok(IssuedToken { token: Secret::new(token), valid_for: valid_for.min(Duration::from_hours(876_000)) })
}

pub(super) fn bearer(token: &Secret) -> HeaderValue {
    sensitive(&format!("Bearer {}", token.expose()))
}

fn basic(user: &str, password: &Secret) -> HeaderValue {
    sensitive(&format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{}", password.expose()))))
}

/// A token with characters that no header may hold is sent as none: the registry then says that it is wrong.
fn sensitive(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("Bearer"));
    value.set_sensitive(true);
    value
}
