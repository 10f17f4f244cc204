//! A connection to one namespace of one cluster.

use std::ffi::OsString;
use std::future::Future;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::NamespaceResourceScope;
use kube::config::ExecConfig;
use kube::{Api, Client, Resource};
use tokio::sync::Mutex;

use super::classify::classify;
use super::error::{Cause, ClusterError, Place};
use super::{ClusterAddress, certificate, login, transport};
use crate::bounded_file::{self, HAND_WRITTEN};

/// How long any single answer may take.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How long before their end credentials are renewed.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_secs(60);

/// One namespace of one cluster. Nothing is asked of the server before the first request needs it.
pub struct Cluster {
    place: Place,
    server: String,
    config: kube::Config,
    /// How to log in anew, when the kubeconfig names a program for it.
    login: Option<ExecConfig>,
    /// Where it is looked for: the value of `PATH`.
    path: Option<OsString>,
    live: Mutex<Option<Live>>,
}

/// A client, and until when its credentials hold.
struct Live {
    client: Client,
    until: Option<Timestamp>,
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cluster({})", self.place)
    }
}

impl Cluster {
    /// Reads the kubeconfig and logs in where a program does that; the first request finds out whether anybody answers.
    pub async fn connect(address: &ClusterAddress) -> Result<Self, ClusterError> {
        // The provider is a process-wide setting; somebody else may have made the same choice already.
        _ = rustls::crypto::ring::default_provider().install_default();
        let (place, mut config) = address.load().await?;
        let login = config.auth_info.exec.take();
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let path = address.path.clone();
        let cluster = Self { place, server, config, login, path, live: Mutex::new(None) };
        cluster.client().await?;
        Ok(cluster)
    }

    /// Where this is.
    #[must_use]
    pub const fn place(&self) -> &Place {
        &self.place
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.place.namespace
    }

    /// The API server's address.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    pub(super) fn error(&self, cause: Cause) -> ClusterError {
        ClusterError::new(&self.place, cause)
    }

    pub(super) fn classify(&self, action: &str, error: kube::Error) -> ClusterError {
        self.error(classify(action, &self.server, self.certificate_expired(), error))
    }

    /// A client with credentials that hold for a while yet.
    pub(super) async fn client(&self) -> Result<Client, ClusterError> {
        let mut live = self.live.lock().await;
        let holds = |live: &&Live| live.until.is_none_or(|until| Timestamp::now() + RENEW_BEFORE < until);
        if let Some(live) = live.as_ref().filter(holds) {
            return Ok(live.client.clone());
        }
        let fresh = self.open().await?;
        let client = fresh.client.clone();
        *live = Some(fresh);
        Ok(client)
    }

    async fn open(&self) -> Result<Live, ClusterError> {
        let mut config = self.config.clone();
        let mut until = None;
        if let Some(exec) = &self.login {
            let logged_in = login::log_in(exec, &config.auth_info, self.path.as_deref()).await;
            (config.auth_info, until) = logged_in.map_err(|cause| self.error(cause))?;
        }
        let client = transport::client(config).map_err(|error| match error {
            kube::Error::Auth(_) => self.classify("log in", error),
            other => self.error(Cause::BrokenKubeconfig { message: other.to_string() }),
        })?;
        Ok(Live { client, until })
    }

    /// Throws the credentials away after the server refused them, where new ones can be had.
    async fn renew(&self) -> bool {
        if self.login.is_some() {
            *self.live.lock().await = None;
        }
        self.login.is_some()
    }

    /// Objects of the namespace.
    pub(super) async fn api<K>(&self) -> Result<Api<K>, ClusterError>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        Ok(Api::namespaced(self.client().await?, self.namespace()))
    }

    /// Makes a request within the time limit, with new credentials when the old ones have run out.
    pub(super) async fn ask<T, F>(&self, action: &str, request: impl Fn(Client) -> F) -> Result<T, ClusterError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let answer = self.ask_once(action, &request).await;
        match &answer {
            Err(error) if matches!(error.cause(), Cause::Unauthorised { .. }) && self.renew().await => {
                self.ask_once(action, &request).await
            }
            _ => answer,
        }
    }

    async fn ask_once<T, F>(&self, action: &str, request: &impl Fn(Client) -> F) -> Result<T, ClusterError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let client = self.client().await?;
        match tokio::time::timeout(ANSWER_LIMIT, request(client)).await {
            Ok(answer) => answer.map_err(|error| self.classify(action, error)),
            Err(_) => Err(self.error(Cause::Unreachable {
                server: self.server.clone(),
                message: format!("no answer within {} seconds", ANSWER_LIMIT.as_secs()),
            })),
        }
    }

    /// When our own certificate expired, if it did.
    fn certificate_expired(&self) -> Option<Timestamp> {
        use base64::Engine as _;
        let auth = &self.config.auth_info;
        let data = auth.client_certificate_data.as_ref();
        let pem = match data {
            Some(data) => base64::engine::general_purpose::STANDARD.decode(data).ok()?,
            None => bounded_file::read(Path::new(auth.client_certificate.as_ref()?), HAND_WRITTEN).ok()?,
        };
        certificate::not_after(&String::from_utf8_lossy(&pem)).filter(|end| *end < Timestamp::now())
    }
}
