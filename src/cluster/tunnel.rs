//! A way to a Service of the cluster from this workstation, through the API server.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::Cluster;
use super::error::{Cause, ClusterError};
use super::socket::ControlStream;

/// Bytes moved at a time.
const PIECE: usize = 64 * 1024;

impl Cluster {
    /// A port of loopback whose connections lead to `port` of a Service of the namespace. Each connection is a stream of its
    /// own to a pod that is ready then: when one breaks, the next goes to whichever pod there is. It is there until this
    /// process ends, and open to everybody on this machine, as with `kubectl port-forward`.
    pub async fn tunnel(self: &Arc<Self>, service: &str, port: u16) -> Result<SocketAddr, ClusterError> {
        // Whoever names a Service that is not there is told so now, and not by a broken connection.
        self.behind(service, port).await?;
        let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listening = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = listening.map_err(|error| {
            self.error(Cause::NoTunnel { service: service.to_owned(), message: format!("no free port here ({error})") })
        })?;
        let (cluster, service) = (Arc::clone(self), service.to_owned());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (cluster, service) = (Arc::clone(&cluster), service.clone());
                tokio::spawn(async move {
                    match cluster.open_service(&service, port).await {
                        Ok(stream) => relay(client, stream).await,
                        // The client sees a connection that closes, and tries again.
                        Err(error) => tracing::debug!(%error, "no way to the service"),
                    }
                });
            }
        });
        Ok(address)
    }

    async fn open_service(&self, service: &str, port: u16) -> Result<ControlStream, ClusterError> {
        let (pod, port) = self.behind(service, port).await?;
        self.open_forward(&pod, port).await
    }

    /// A pod that serves a Service, and the port there.
    async fn behind(&self, name: &str, port: u16) -> Result<(String, u16), ClusterError> {
        let namespace = self.namespace();
        let none = |message: String| self.error(Cause::NoTunnel { service: name.to_owned(), message });
        let found = self
            .ask("look for the registry's Service", |client| {
                let api = Api::<Service>::namespaced(client, namespace);
                async move { api.get_opt(name).await }
            })
            .await?;
        let spec = found.and_then(|service| service.spec).ok_or_else(|| none(format!("it is not in {namespace}")))?;
        let ports = spec.ports.unwrap_or_default();
        let target = ports.into_iter().find(|known| known.port == i32::from(port));
        let target = target.ok_or_else(|| none(format!("it has no port {port}")))?.target_port;
        let selector: Vec<String> =
            spec.selector.unwrap_or_default().iter().map(|(key, value)| format!("{key}={value}")).collect();
        if selector.is_empty() {
            return Err(none("it selects no pods".to_owned()));
        }
        let params = ListParams::default().labels(&selector.join(","));
        let pods = self
            .ask("look for the registry's pods", |client| {
                let (api, params) = (Api::<Pod>::namespaced(client, namespace), params.clone());
                async move { api.list(&params).await }
            })
            .await?;
        let pod = pods.items.into_iter().find(is_ready).ok_or_else(|| none("none of its pods is ready".to_owned()))?;
        let number = match &target {
            None => Some(port),
            Some(IntOrString::Int(number)) => u16::try_from(*number).ok(),
            Some(IntOrString::String(named)) => port_named(&pod, named),
        };
        let number = number.ok_or_else(|| none(format!("its port {port} leads nowhere")))?;
        Ok((pod.name_any(), number))
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let is_up = conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "True"));
    is_up && pod.metadata.deletion_timestamp.is_none()
}

fn port_named(pod: &Pod, name: &str) -> Option<u16> {
    let containers = &pod.spec.as_ref()?.containers;
    let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
    let found = ports.find(|port| port.name.as_deref() == Some(name))?;
    u16::try_from(found.container_port).ok()
}

/// Passes bytes on until either side has ended: HTTP says itself where a message ends.
async fn relay(client: TcpStream, stream: ControlStream) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_pod, mut to_pod) = tokio::io::split(stream);
    let ended = tokio::select! {
        ended = pass(&mut from_client, &mut to_pod) => ended,
        ended = pass(&mut from_pod, &mut to_client) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection through the tunnel broke");
    }
}

async fn pass(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
) -> std::io::Result<()> {
    let mut buffer = vec![0; PIECE];
    loop {
        let n = tokio::io::AsyncReadExt::read(from, &mut buffer).await?;
        if n == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..n]).await?;
        to.flush().await?;
    }
}
