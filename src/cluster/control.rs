//! Opening a byte stream to a rank.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::Resource as _;
use kube::ResourceExt as _;
use kube::api::AttachParams;
use kube::core::Request;

use super::Cluster;
use super::error::{Cause, ClusterError};
use super::socket::{ControlStream, Protocol};
use crate::event::RankState;
use crate::job::objects::CONTAINER;
use crate::job::state::Fold;
use crate::layout;

/// How long opening a stream may take: the API server in turn asks the node.
const OPEN_LIMIT: Duration = Duration::from_secs(15);

impl Cluster {
    /// Opens a stream to the supervisor of a rank: by port-forward, or by a bridge where only exec is allowed. Whether anybody
    /// listens shows with the first read.
    pub async fn open_control(&self, run: &str, rank: u32) -> Result<ControlStream, ClusterError> {
        let pod = self.running_pod(run, rank).await?;
        match self.open_forward(&pod, layout::CONTROL_PORT).await {
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. }) => {
                self.open_exec(&pod, &[layout::SUPERVISOR, "supervise", "--bridge"]).await
            }
            answer => answer,
        }
    }

    /// Opens a stream to any port of a rank, by port-forward.
    pub async fn open_port(&self, run: &str, rank: u32, port: u16) -> Result<ControlStream, ClusterError> {
        let pod = self.running_pod(run, rank).await?;
        self.open_forward(&pod, port).await
    }

    /// The name of the pod in which a rank runs.
    async fn running_pod(&self, run: &str, rank: u32) -> Result<String, ClusterError> {
        let mut fold = Fold::new(run);
        self.look(run).await?.into_iter().for_each(|change| fold.apply(change));
        if fold.job().is_none() {
            return Err(self.no_such_run(run).await);
        }
        let view = fold.view(jiff::Timestamp::now());
        let none = |message: String| self.error(Cause::NoContainer { run: run.to_owned(), rank, message });
        let state = view.ranks.iter().find(|view| view.rank == rank).map(|view| &view.state);
        match (state, fold.pod(rank)) {
            (Some(RankState::Running | RankState::Hosting | RankState::Meeting { .. }), Some(pod)) => {
                Ok(pod.name_any())
            }
            (None, _) => Err(none(match view.ranks.len() {
                1 => "the run has one rank only, 0".to_owned(),
                ranks => format!("the run has ranks 0 to {}", ranks - 1),
            })),
            (Some(RankState::Ended(end)), _) => Err(none(format!("it {end}"))),
            (Some(RankState::Pending { message }), _) => Err(none(format!("it has not started ({message})"))),
            (Some(_), None) => Err(none("it has no pod".to_owned())),
        }
    }

    pub(super) async fn open_forward(&self, pod: &str, port: u16) -> Result<ControlStream, ClusterError> {
        self.open_socket("open a port-forward", Protocol::PortForward, |pods| pods.portforward(pod, &[port])).await
    }

    /// Starts a program in the rank's container, with its standard input and output as the stream.
    async fn open_exec(&self, pod: &str, command: &[&str]) -> Result<ControlStream, ClusterError> {
        let params = AttachParams::default().container(CONTAINER).stdin(true).stdout(true).stderr(true);
        self.open_socket("start a bridge in the rank", Protocol::Exec, |pods| {
            pods.exec(pod, command.iter().copied(), &params)
        })
        .await
    }

    async fn open_socket(
        &self,
        action: &str,
        protocol: Protocol,
        request: impl FnOnce(&Request) -> Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    ) -> Result<ControlStream, ClusterError> {
        let pods = Request::new(Pod::url_path(&(), Some(self.namespace())));
        let request = request(&pods).map_err(|error| self.classify(action, kube::Error::BuildRequest(error)))?;
        let client = self.client().await?;
        match tokio::time::timeout(OPEN_LIMIT, client.connect(request)).await {
            Ok(Ok(connection)) => Ok(ControlStream::new(connection, protocol)),
            Ok(Err(error)) => Err(self.classify(action, error)),
            Err(_) => Err(self.error(Cause::Unreachable {
                server: self.server().to_owned(),
                message: format!("no stream within {} seconds", OPEN_LIMIT.as_secs()),
            })),
        }
    }
}
