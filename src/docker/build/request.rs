//! The build request, and the answer as it comes.

use std::collections::BTreeMap;
use std::pin::pin;

use bollard::BollardRequest;
use bollard::models::{BuildInfo, BuildInfoAux};
use futures::TryStreamExt;
use http::Response;
use hyper::body::Incoming;

use super::context;
use super::progress::Progress;
use super::session::{Session, check_secrets};
use crate::docker::Docker;
use crate::docker::error::DockerError;
use crate::docker::transport;
use crate::docker::upload::UploadStream;
use crate::event::Events;
use crate::image::Builder;
use crate::image::build_plan::BuildPlan;
use crate::secret::Secret;

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
        Ok(if Session::open(self, &[], &[]).await?.is_some() { Builder::BuildKit } else { Builder::Classic })
    }

    /// Builds an image; what the builder says becomes events. Dropping this cancels the build.
    pub async fn build(&self, plan: &BuildPlan, events: &Events) -> Result<BuiltImage, DockerError> {
        check_secrets(&plan.secrets)?;
        match plan.builder {
            Builder::BuildKit => self.build_with_buildkit(plan, events).await,
            Builder::Classic => match plan.secrets.first() {
                Some((id, _)) => Err(DockerError::SecretsNeedBuildKit { id: id.clone() }),
                None => self.run_build(plan, None, events).await,
            },
        }
    }

    async fn build_with_buildkit(&self, plan: &BuildPlan, events: &Events) -> Result<BuiltImage, DockerError> {
        let session = Session::open(self, &plan.secrets, &plan.logins).await?;
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
        let built = async {
            let response = self.send("build the image", request(plan, session, upload.body)).await?;
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

fn request(plan: &BuildPlan, session: Option<&str>, body: UploadStream) -> BollardRequest {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("dockerfile", context::dockerfile(plan)).append_pair("rm", "1").append_pair("forcerm", "1");
    for tag in &plan.tags {
        query.append_pair("t", tag);
    }
    query.append_pair("labels", &json(&plan.labels));
    let proxies: BTreeMap<&String, &str> = plan.proxies.iter().map(|(name, value)| (name, value.expose())).collect();
    query.append_pair("buildargs", &json(&proxies));
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
    #[derive(serde::Serialize)]
    struct Login<'a> {
        username: &'a str,
        password: &'a str,
        serveraddress: &'a str,
    }
    let logins: BTreeMap<&str, Login> = plan
        .logins
        .iter()
        .map(|login| {
            // The one registry that engines have always called by another name.
            let registry = match login.registry.as_str() {
                "registry-1.docker.io" => "https://index.docker.io/v1/",
                registry => registry,
            };
            (registry, Login { username: &login.username, password: login.password.expose(), serveraddress: registry })
        })
        .collect();
    Secret::new(base64::engine::general_purpose::URL_SAFE.encode(json(&logins)))
}
