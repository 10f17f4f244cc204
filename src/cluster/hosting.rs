//! The registry that a cluster announces for itself (KEP-1755), under its three names.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::GetParams;
use serde::{Deserialize, Serialize};

use super::Cluster;
use super::error::{Cause, ClusterError};

/// Where the announcement is.
const NAMESPACE: &str = "kube-public";
const NAME: &str = "local-registry-hosting";
const KEY: &str = "localRegistryHosting.v1";

/// A registry's names: `host[:port]`, each as somebody else has to say it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegistryHosting {
    /// From the workstation.
    pub host: Option<String>,
    /// From the nodes, in image references.
    pub host_from_container_runtime: Option<String>,
    /// From inside pods.
    pub host_from_cluster_network: Option<String>,
    /// Where to read more.
    pub help: Option<String>,
}

impl Cluster {
    /// The registry that the cluster announces, if it does and we may read it. The server's memory is good enough for what
    /// hardly ever changes, and is asked without its database.
    pub async fn registry_hosting(&self) -> Result<Option<RegistryHosting>, ClusterError> {
        let answer = self
            .ask("look for the cluster's registry", |client| {
                let api = Api::<ConfigMap>::namespaced(client, NAMESPACE);
                async move { api.get_with(NAME, &GetParams::any()).await }
            })
            .await;
        match answer {
            Ok(map) => Ok(map.data.and_then(|data| parse(data.get(KEY)?))),
            Err(error) if matches!(error.cause(), Cause::Forbidden { .. } | Cause::Answer { code: 404, .. }) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Empty names are no names.
pub(super) fn parse(text: &str) -> Option<RegistryHosting> {
    let hosting: RegistryHosting = serde_saphyr::from_str(text).ok()?;
    let named = |name: Option<String>| name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let hosting = RegistryHosting {
        host: named(hosting.host),
        host_from_container_runtime: named(hosting.host_from_container_runtime),
        host_from_cluster_network: named(hosting.host_from_cluster_network),
        help: named(hosting.help),
    };
    (hosting != RegistryHosting::default()).then_some(hosting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_announcement_may_leave_names_out() {
        let hosting =
            parse("host: \"localhost:5000\"\nhostFromClusterNetwork: \"\"\nhelp: \"https://x\"\n").expect("valid");
        assert_eq!(hosting.host.as_deref(), Some("localhost:5000"));
        assert_eq!(hosting.host_from_cluster_network, None);
        assert_eq!(parse("{}"), None);
        assert_eq!(parse("["), None);
    }
}
