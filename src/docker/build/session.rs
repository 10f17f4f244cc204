//! BuildKit's session: the engine asks for secrets and registry credentials, and we answer, over a connection of its
//! own that the engine turns around.

use std::collections::HashMap;
use std::sync::Arc;

use bollard::health::health_check_response::ServingStatus;
use bollard::health::health_server::{Health, HealthServer};
use bollard::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use bollard::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard::moby::filesync::v1::auth_server::{Auth, AuthServer};
use bollard::moby::filesync::v1::{
    CredentialsRequest, CredentialsResponse, FetchTokenRequest, FetchTokenResponse, GetTokenAuthorityRequest,
    GetTokenAuthorityResponse, VerifyTokenAuthorityRequest, VerifyTokenAuthorityResponse,
};
use bollard::moby::sshforward::v1::ssh_server::SshServer;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::service::TowerToHyperService;
use tonic::service::Routes;
use tonic::{Request, Response, Status, async_trait};

use super::agent::Agents;
use crate::docker::Docker;
use crate::docker::error::DockerError;
use crate::docker::transport::Stream;
use crate::image::build_plan::BuildPlan;
use crate::secret::{Credential, Secret};

/// Finds the login for a registry, as BuildKit calls it (`host[:port]`).
pub type FindLogin = Arc<dyn Fn(String) -> BoxFuture<'static, Option<Credential>> + Send + Sync>;

/// The largest secret that BuildKit takes, in bytes.
const MAX_SECRET: u64 = 500 * 1024;
/// What the session offers, as BuildKit wants it said in advance.
const METHODS: [&str; 3] = [
    "/moby.filesync.v1.Auth/Credentials",
    "/moby.filesync.v1.Auth/FetchToken",
    "/moby.buildkit.secrets.v1.Secrets/GetSecret",
];
/// What it offers besides where agents are handed on.
const AGENT_METHODS: [&str; 2] = ["/moby.sshforward.v1.SSH/CheckAgent", "/moby.sshforward.v1.SSH/ForwardAgent"];

/// A session that the engine has accepted.
pub(super) struct Session {
    id: String,
    stream: Box<dyn Stream>,
    routes: Routes,
}

impl Session {
    /// Opens a session; `None` when the engine has no BuildKit.
    pub(super) async fn open(
        docker: &Docker,
        plan: &BuildPlan,
        logins: Option<FindLogin>,
    ) -> Result<Option<Self>, DockerError> {
        let id = random_id()?;
        let mut request = http::Request::post("/session")
            .header("Connection", "Upgrade")
            .header("Upgrade", "h2c")
            .header("X-Docker-Expose-Session-Uuid", &id)
            .header("X-Docker-Expose-Session-Name", "nauta");
        let agent_methods = AGENT_METHODS.iter().filter(|_| !plan.agents.is_empty());
        for method in METHODS.iter().chain(agent_methods) {
            request = request.header("X-Docker-Expose-Session-Grpc-Method", *method);
        }
        let request = request.body(bollard::body_full(bytes::Bytes::new())).expect("constant headers are valid");
        let upgraded = docker.transport().upgrade(request).await;
        let stream = upgraded.map_err(|e| docker.error("open a build session", e))?;
        Ok(stream.map(|stream| Self { id, stream: Box::new(stream), routes: routes(plan, logins) }))
    }

    /// What the build request calls this session.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Answers until the engine closes the session; dropping this closes it.
    pub(super) async fn serve(self) {
        let service = TowerToHyperService::new(self.routes.prepare());
        let served = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
            .serve_connection(TokioIo::new(self.stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "the build session ended");
        }
    }
}

/// Secrets must be small, before anything is built.
pub(super) fn check_secrets(secrets: &[(String, Secret)]) -> Result<(), DockerError> {
    for (id, secret) in secrets {
        let size = secret.expose().len() as u64;
        if size > MAX_SECRET {
            return Err(DockerError::SecretTooLarge { id: id.clone(), size });
        }
    }
    Ok(())
}

fn random_id() -> Result<String, DockerError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|e| DockerError::Local { what: "get random bytes".to_owned(), source: e.into() })?;
    Ok(bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")))
}

fn routes(plan: &BuildPlan, logins: Option<FindLogin>) -> Routes {
    let vault = Vault { secrets: plan.secrets.iter().cloned().collect() };
    let routes = Routes::new(HealthServer::new(Healthy))
        .add_service(AuthServer::new(Logins { logins }))
        .add_service(SecretsServer::new(vault));
    if plan.agents.is_empty() {
        return routes;
    }
    routes.add_service(SshServer::new(Agents::new(&plan.agents)))
}

/// Says that it is well, which is what keeps the session alive.
struct Healthy;

#[async_trait]
impl Health for Healthy {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("list"))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("watch"))
    }
}

/// Gives secrets to builds.
struct Vault {
    secrets: HashMap<String, Secret>,
}

#[async_trait]
impl Secrets for Vault {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        let secret = self.secrets.get(id).ok_or_else(|| Status::not_found(format!("there is no secret {id}")))?;
        Ok(Response::new(GetSecretResponse { data: secret.expose().as_bytes().to_vec() }))
    }
}

/// Gives credentials for the registries of images as they are asked for, whatever names them. Tokens are left for the engine
/// to fetch with them.
struct Logins {
    logins: Option<FindLogin>,
}

#[async_trait]
impl Auth for Logins {
    async fn credentials(&self, request: Request<CredentialsRequest>) -> Result<Response<CredentialsResponse>, Status> {
        let Some(find) = &self.logins else { return Ok(Response::new(CredentialsResponse::default())) };
        let answer = match find(request.into_inner().host).await {
            Some(Credential::Password { user, password }) => {
                CredentialsResponse { username: user, secret: password.expose().to_owned() }
            }
            // A secret without a name is what BuildKit exchanges for tokens.
            Some(Credential::IdentityToken(token)) => {
                CredentialsResponse { username: String::new(), secret: token.expose().to_owned() }
            }
            // BuildKit has no place for a token of the registry's own.
            Some(Credential::RegistryToken(_)) | None => CredentialsResponse::default(),
        };
        Ok(Response::new(answer))
    }

    async fn fetch_token(&self, _: Request<FetchTokenRequest>) -> Result<Response<FetchTokenResponse>, Status> {
        Err(Status::unimplemented("tokens are the engine's to fetch"))
    }

    async fn get_token_authority(
        &self,
        _: Request<GetTokenAuthorityRequest>,
    ) -> Result<Response<GetTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("tokens are the engine's to fetch"))
    }

    async fn verify_token_authority(
        &self,
        _: Request<VerifyTokenAuthorityRequest>,
    ) -> Result<Response<VerifyTokenAuthorityResponse>, Status> {
        Err(Status::unavailable("tokens are the engine's to fetch"))
    }
}
