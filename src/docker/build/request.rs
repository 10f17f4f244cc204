//! The build request, and the answer as it comes.

use std::collections::BTreeMap;
use std::pin::pin;

use bollard::BollardRequest;
use bollard::models::{BuildInfo, BuildInfoAux};
use bytes::Bytes;
use futures::TryStreamExt;
use http::Response;
use hyper::body::Incoming;

use super::context;
use super::progress::Progress;
use super::session::{FindLogin, Session, check_secrets};
use crate::docker::Docker;
use crate::docker::error::DockerError;
use crate::docker::transport;
use crate::docker::upload::UploadStream;
use crate::event::{Event, Events, Phase};
use crate::image::Builder;
use crate::image::build_plan::{BuildPlan, Dockerfile, RegistryLogin};
use crate::secret::{Credential, Secret};

/// So many bytes leave between two words about them.
const TELL_EVERY: u64 = 8 * 1024 * 1024;

/// An image that was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltImage {
    /// The engine's id of it, `sha256:…`.
    pub id: String,
}

impl Docker {
    /// Which builder the engine has. BuildKit is there when the engine opens a session; its version says nothing, since
    /// other engines speak this API, too.
    pub async fn builder(&self) -> Result<Builder, DockerError> {
        let nothing = BuildPlan::new(Dockerfile::Text(String::new()), Builder::BuildKit);
        Ok(if Session::open(self, &nothing, None).await?.is_some() { Builder::BuildKit } else { Builder::Classic })
    }

    /// Builds an image; what the builder says becomes events. Dropping this cancels the build.
    pub async fn build(&self, plan: &BuildPlan, events: &Events) -> Result<BuiltImage, DockerError> {
        self.build_asking(plan, None, events).await
    }

    /// The same, where BuildKit asks `logins` for those of registries as it comes to them.
    pub async fn build_asking(
        &self,
        plan: &BuildPlan,
        logins: Option<FindLogin>,
        events: &Events,
    ) -> Result<BuiltImage, DockerError> {
        check_secrets(&plan.secrets)?;
        let hidden = || plan.secrets.iter().map(|(id, _)| id).chain(plan.agents.iter().map(|(id, _)| id)).next();
        match plan.builder {
            Builder::BuildKit => self.build_with_buildkit(plan, logins, events).await,
            Builder::Classic => match hidden() {
                Some(id) => Err(DockerError::SecretsNeedBuildKit { id: id.clone() }),
                None => self.run_build(plan, None, events).await,
            },
        }
    }

    async fn build_with_buildkit(
        &self,
        plan: &BuildPlan,
        logins: Option<FindLogin>,
        events: &Events,
    ) -> Result<BuiltImage, DockerError> {
        let session = Session::open(self, plan, logins).await?;
        let session = session.ok_or_else(|| DockerError::NoBuildKit { endpoint: self.endpoint().clone() })?;
        let session_id = session.id().to_owned();
        let mut building = pin!(self.run_build(plan, Some(&session_id), events));
        // A session that ends early makes the build fail with the builder's own words, so the build is awaited anyway.
        tokio::select! {
            built = &mut building => built,
            () = session.serve() => building.await,
        }
    }

    async fn run_build(
        &self,
        plan: &BuildPlan,
        session: Option<&str>,
        events: &Events,
    ) -> Result<BuiltImage, DockerError> {
        let upload = context::upload(plan);
        let body = told(upload.body, events.clone());
        let built = async {
            let response = self.send("build the image", request(plan, session, body)).await?;
            self.follow_build(response, events).await
        };
        upload.outcome.explain(built.await).await
    }

    /// Reads the builder's messages to their end.
    async fn follow_build(&self, response: Response<Incoming>, events: &Events) -> Result<BuiltImage, DockerError> {
        let mut lines = pin!(transport::lines(response));
        let broken = |source| DockerError::Engine {
            endpoint: self.endpoint().clone(),
            what: "finish the image build".to_owned(),
            source,
        };
        let mut progress = Progress::default();
        let mut id = None;
        while let Some(line) = lines.try_next().await.map_err(|e| broken(e.into()))? {
            if line.trim().is_empty() {
                continue;
            }
            let info: BuildInfo = serde_json::from_str(&line).map_err(|e| broken(e.into()))?;
            if let Some(error) = info.error_detail {
                let message = error.message.unwrap_or_default();
                return Err(progress.failure(&message, error.code.filter(|code| *code != 0)));
            }
            match info.aux {
                Some(BuildInfoAux::BuildKit(status)) => progress.buildkit(status, events),
                Some(BuildInfoAux::Default(image)) => id = image.id,
                None => progress.classic(info.stream.as_deref(), info.status.as_deref(), info.id.as_deref(), events),
            }
        }
        progress.finish(events);
        let image = id.map(|id| BuiltImage { id });
        image.ok_or_else(|| broken("the connection ended before the image's id".into()))
    }
}

/// The same bytes; every few megabytes it is said how many there were, since nothing else is while they leave.
fn told(body: UploadStream, events: Events) -> UploadStream {
    let (mut done, mut told) = (0, 0);
    let tell = move |piece: &Bytes| {
        done += piece.len() as u64;
        if done - told >= TELL_EVERY {
            told = done;
            let detail = "sending the build's files to Docker".to_owned();
            events.send(Event::Progress { phase: Phase::Environment, done, total: None, detail });
        }
    };
    Box::pin(body.inspect_ok(tell))
}

fn request(plan: &BuildPlan, session: Option<&str>, body: UploadStream) -> BollardRequest {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("dockerfile", context::dockerfile(plan)).append_pair("rm", "1").append_pair("forcerm", "1");
    for tag in &plan.tags {
        query.append_pair("t", tag);
    }
    query.append_pair("labels", &json(&plan.labels));
    let mut args: BTreeMap<&String, &str> = plan.proxies.iter().map(|(name, value)| (name, value.expose())).collect();
    args.extend(plan.args.iter().map(|(name, value)| (name, value.as_str())));
    query.append_pair("buildargs", &json(&args));
    if let Some(target) = &plan.target {
        query.append_pair("target", target);
    }
    if let Some(platform) = &plan.platform {
        query.append_pair("platform", platform);
    }
    match session {
        Some(session) => query.append_pair("version", "2").append_pair("session", session),
        None => query.append_pair("version", "1"),
    };
    let mut request =
        http::Request::post(format!("/build?{}", query.finish())).header("Content-Type", "application/x-tar");
    if session.is_none() && !plan.logins.is_empty() {
        request = request.header("X-Registry-Config", registry_config(plan).expose());
    }
    request.body(bollard::body_try_stream(body)).expect("an encoded query and base64 are valid")
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("a map of strings serialises")
}

/// The credentials as the classic builder takes them: a JSON object by registry, in base64.
fn registry_config(plan: &BuildPlan) -> Secret {
    use base64::Engine as _;
    let form = |login: &RegistryLogin| {
        // The one registry that engines have always called by another name.
        let registry = match login.registry.as_str() {
            "registry-1.docker.io" => "https://index.docker.io/v1/",
            registry => registry,
        };
        let form = match &login.credential {
            Credential::Password { user, password } => {
                serde_json::json!({ "username": user, "password": password.expose(), "serveraddress": registry })
            }
            Credential::IdentityToken(token) => {
                serde_json::json!({ "identitytoken": token.expose(), "serveraddress": registry })
            }
            Credential::RegistryToken(token) => {
                serde_json::json!({ "registrytoken": token.expose(), "serveraddress": registry })
            }
        };
        (registry.to_owned(), form)
    };
    let logins: serde_json::Map<String, serde_json::Value> = plan.logins.iter().map(form).collect();
    Secret::new(base64::engine::general_purpose::URL_SAFE.encode(json(&logins)))
}
