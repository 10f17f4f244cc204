//! One request and its answer: who we are is said to the registry alone, redirects are followed, refusals are errors.

use std::sync::Arc;

use reqwest::header::{AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, LOCATION};
use reqwest::{Method, Request, Response, StatusCode, Url};

use super::auth::Scope;
use super::blob::{self, Slice};
use super::challenge::Challenge;
use super::classify;
use super::client::Registry;
use super::error::RegistryError;
use super::meter::Meter;
use crate::archive::GrowingFile;

/// Registries send on to their storage, which may send on once more.
const MAX_REDIRECTS: usize = 5;

/// What a request carries.
#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    /// Bytes that are all there.
    Slice(Slice<'a>),
    /// A file that is still being written.
    Growing(&'a GrowingFile),
}

/// A request that can be sent again.
#[derive(Clone)]
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) scope: &'a Scope,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Payload<'a>>,
    /// What it is for, after "refused to"; without the host.
    pub(super) doing: &'a str,
}

impl<'a> Call<'a> {
    pub(super) fn new(method: Method, url: Url, scope: &'a Scope, doing: &'a str) -> Self {
        Self { method, url, scope, headers: HeaderMap::new(), body: None, doing }
    }

    pub(super) fn header(mut self, name: HeaderName, value: &str) -> Self {
        let value = HeaderValue::from_str(value).expect("media types, ranges and digests are plain ASCII");
        self.headers.insert(name, value);
        self
    }

    pub(super) fn body(mut self, slice: Slice<'a>) -> Self {
        self.body = Some(Payload::Slice(slice));
        self
    }

    /// With a body whose length nobody knows yet.
    pub(super) fn growing_body(mut self, file: &'a GrowingFile) -> Self {
        self.body = Some(Payload::Growing(file));
        self
    }
}

impl Registry {
    /// Sends until an answer comes that is neither "not now" nor a broken connection, within the budget.
    pub(super) async fn exchange(&self, call: &Call<'_>) -> Result<Response, RegistryError> {
        let mut attempts = self.attempts();
        loop {
            match self.exchange_once(call, &|_| ()).await {
                Ok(response) => return Ok(response),
                Err(error) => attempts.wait_after(error).await?,
            }
        }
    }

    /// Sends once (and again where the registry asks who we are, or takes a token for too old). Answers come back with any
    /// status but 401, 403, 429, 5xx and redirects.
    pub(super) async fn exchange_once(
        &self,
        call: &Call<'_>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Response, RegistryError> {
        let mut url = call.url.clone();
        let (mut asked, mut learned) = (false, false);
        for _ in 0..=MAX_REDIRECTS + 1 {
            let own = self.endpoint().is_own(&url);
            let header = if own { self.authorization(call.scope).await? } else { None };
            let response = self.send(call, &url, header.clone(), progress).await?;
            let status = response.status();
            if own && status == StatusCode::UNAUTHORIZED {
                let challenge = Challenge::find(response.headers());
                let authenticator = &self.shared.authenticator;
                if asked || !authenticator.refused(header.as_ref(), call.scope, challenge.clone()).await {
                    return Err(self.denied(call, response, header.is_some(), challenge).await);
                }
                // Who has said nothing yet only learns what is asked for; a token may then turn out to be too old.
                asked = learned || header.is_some();
                learned = true;
                classify::explanation(response, self.patience.stall).await; // read to its end, the connection is kept
                continue;
            }
            if own && status == StatusCode::FORBIDDEN {
                return Err(self.denied(call, response, header.is_some(), None).await);
            }
            match redirect(call, &response) {
                Some(location) => url = self.endpoint().follow(&url, &location)?,
                None => return self.accept(response, own).await,
            }
        }
        Err(RegistryError::Lying { host: self.host(), what: format!("it redirects more than {MAX_REDIRECTS} times") })
    }

    async fn authorization(&self, scope: &Scope) -> Result<Option<HeaderValue>, RegistryError> {
        self.shared.authenticator.header(&self.shared.transport, scope, self.patience).await
    }

    async fn send(
        &self,
        call: &Call<'_>,
        url: &Url,
        authorization: Option<HeaderValue>,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<Response, RegistryError> {
        let mut request = Request::new(call.method.clone(), url.clone());
        request.headers_mut().clone_from(&call.headers);
        if let Some(authorization) = authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        let meter = match &call.body {
            None => return self.shared.transport.send(request, self.patience, &Meter::default(), progress).await,
            Some(Payload::Slice(slice)) => {
                let meter = Arc::new(Meter::new(slice.len()));
                request.headers_mut().insert(CONTENT_LENGTH, slice.len().into());
                *request.body_mut() = Some(slice.body(Arc::clone(&meter)));
                meter
            }
            Some(Payload::Growing(file)) => {
                let meter = Arc::new(Meter::new(u64::MAX));
                *request.body_mut() = Some(blob::growing_body((*file).clone(), Arc::clone(&meter)));
                meter
            }
        };
        let sent = self.shared.transport.send(request, self.patience, &meter, progress).await;
        self.count_sent(meter.moved());
        match (meter.take_fault(), &call.body) {
            (Some(fault), Some(Payload::Slice(slice))) => Err(slice.fault(fault, &self.host())),
            (Some(source), Some(Payload::Growing(file))) => {
                Err(RegistryError::File { doing: "read", path: file.path.clone(), source })
            }
            _ => sent,
        }
    }

    /// Lets an answer through unless it says "not now" or "my fault". A foreign store that refuses us has usually let its
    /// signed address expire: the registry gives a new one at the next try.
    async fn accept(&self, response: Response, own: bool) -> Result<Response, RegistryError> {
        let status = response.status();
        let stale = !own && matches!(status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED);
        if !stale && !classify::is_server_trouble(status) {
            return Ok(response);
        }
        let host = self.shared.transport.shown_host(response.url());
        Err(classify::server_trouble(response, host, self.patience.stall).await)
    }

    async fn denied(
        &self,
        call: &Call<'_>,
        response: Response,
        with_credentials: bool,
        challenge: Option<Challenge>,
    ) -> RegistryError {
        let (host, repository) = (self.host(), call.scope.repository().to_owned());
        let unauthorised = response.status() == StatusCode::UNAUTHORIZED;
        let known = self.shared.authenticator.auth() != super::auth::Auth::Anonymous;
        let lacks_right = matches!(challenge, Some(Challenge::Bearer { insufficient_scope: true, .. }));
        let said = classify::explanation(response, self.patience.stall).await;
        if said.is_page {
            return RegistryError::NotARegistry { host, found: "a web page that refuses access".to_owned() };
        }
        if said.is_full {
            return RegistryError::Full { host, message: said.message };
        }
        if !known || (unauthorised && !lacks_right) {
            return RegistryError::Unauthorised { host, repository, with_credentials: known && with_credentials };
        }
        RegistryError::Forbidden { host, repository, access: call.scope.access(), message: said.message }
    }

    /// An answer that nobody expected.
    pub(super) async fn unexpected(&self, call: &Call<'_>, response: Response) -> RegistryError {
        let (host, status) = (self.host(), response.status());
        let said = classify::explanation(response, self.patience.stall).await;
        let wants_tls = status == StatusCode::BAD_REQUEST && said.message.contains("HTTP request to an HTTPS server");
        if wants_tls || (said.is_page && status == StatusCode::BAD_REQUEST && self.endpoint().is_plain_http()) {
            return RegistryError::WantsTls { host };
        }
        if said.is_page {
            return RegistryError::NotARegistry { host, found: format!("a web page with status {}", status.as_u16()) };
        }
        if said.is_full {
            return RegistryError::Full { host, message: said.message };
        }
        let repository = call.scope.repository().to_owned();
        match said.code.as_str() {
            "NAME_UNKNOWN" => RegistryError::NoRepository { host, repository, message: said.message },
            "DENIED" | "UNSUPPORTED" => {
                RegistryError::Forbidden { host, repository, access: call.scope.access(), message: said.message }
            }
            _ => {
                let doing = call.doing.to_owned();
                RegistryError::Refused { host, doing, status: status.as_u16(), message: said.message }
            }
        }
    }
}

/// Where an answer sends the request on to. Only 307 and 308 keep the method; the others are for reading.
fn redirect(call: &Call<'_>, response: &Response) -> Option<String> {
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    let redirects = match response.status() {
        StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => true,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER => reads,
        _ => false,
    };
    location(response.headers()).filter(|_| redirects)
}

/// The `Location` header.
pub(super) fn location(headers: &HeaderMap) -> Option<String> {
    headers.get(LOCATION).and_then(|value| value.to_str().ok()).filter(|text| text.len() <= 8192).map(str::to_owned)
}
