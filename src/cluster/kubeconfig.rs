//! From kubeconfig files to a configuration of the client.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig, KubeconfigError};

use crate::bounded_file::{KEPT, fits};
use crate::programs;
use crate::proxies;

use super::error::{Cause, ClusterError, Place};

/// How long a connection may take to come up.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Which cluster is meant.
#[derive(Clone, Debug, Default)]
pub struct ClusterAddress {
    /// The kubeconfig files, the first to say something wins; those that do not exist are passed over.
    pub kubeconfig: Vec<PathBuf>,
    /// The context; none: the current one.
    pub context: Option<String>,
    /// The namespace; none: the context's.
    pub namespace: Option<String>,
    /// The value of `PATH`, where login programs are looked for.
    pub path: Option<OsString>,
}

impl ClusterAddress {
    /// What is known of the place before anything was read.
    fn place(&self) -> Place {
        let paths: Vec<String> = self.kubeconfig.iter().map(|path| path.display().to_string()).collect();
        Place {
            kubeconfig: paths.join(":"),
            context: self.context.clone().unwrap_or_default(),
            namespace: self.namespace.clone().unwrap_or_default(),
        }
    }

    /// Reads the files and picks the context.
    pub(super) async fn load(&self) -> Result<(Place, kube::Config), ClusterError> {
        let mut place = self.place();
        let (used, kubeconfig) = read_all(&self.kubeconfig).map_err(|cause| ClusterError::new(&place, cause))?;
        place.kubeconfig = used;
        place.context = pick_context(&kubeconfig, self.context.as_deref()).map_err(|c| ClusterError::new(&place, c))?;
        let own_proxy = names_proxy(&kubeconfig, &place.context);
        let options = KubeConfigOptions { context: Some(place.context.clone()), ..KubeConfigOptions::default() };
        let config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await;
        let mut config = config.map_err(|error| ClusterError::new(&place, broken(&error)))?;
        locate_command(&mut config.auth_info, self.path.as_deref())
            .map_err(|cause| ClusterError::new(&place, cause))?;
        place.namespace = self.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        config.default_namespace.clone_from(&place.namespace);
        config.connect_timeout = Some(CONNECT_LIMIT);
        // As kubectl does it: NO_PROXY is about the environment's proxy, and lists servers. (kube compares it with the proxy.)
        if !own_proxy && !proxies::lead_to(&config.cluster_url) {
            config.proxy_url = None;
        }
        // Retries are ours: the client's own wait up to a quarter of an hour without a word.
        config.default_retry = false;
        Ok((place, config))
    }
}

/// Whether the kubeconfig itself says which proxy leads to the context's cluster.
pub(super) fn names_proxy(kubeconfig: &Kubeconfig, context: &str) -> bool {
    let context = kubeconfig.contexts.iter().find(|named| named.name == context);
    let Some(cluster) = context.and_then(|named| named.context.as_ref()).map(|context| &context.cluster) else {
        return false;
    };
    let cluster = kubeconfig.clusters.iter().find(|named| named.name == *cluster);
    let proxy = cluster.and_then(|named| named.cluster.as_ref()).and_then(|cluster| cluster.proxy_url.as_ref());
    proxy.is_some_and(|proxy| !proxy.is_empty())
}

/// The program of an old kind of login is started by the client: by a path that does not depend on where we are.
fn locate_command(auth: &mut AuthInfo, path: Option<&OsStr>) -> Result<(), Cause> {
    let Some(command) = auth.auth_provider.as_mut().and_then(|provider| provider.config.get_mut("cmd-path")) else {
        return Ok(());
    };
    if Path::new(command.as_str()).is_absolute() {
        return Ok(());
    }
    let found = programs::locate(command, path).filter(|_| !command.contains('/'));
    let found = found.and_then(|program| program.into_os_string().into_string().ok());
    *command = found.ok_or_else(|| Cause::LoginMissing {
        program: command.clone(),
        message: "it is in none of the absolute folders of PATH".to_owned(),
        install_hint: None,
    })?;
    Ok(())
}

fn broken(error: &KubeconfigError) -> Cause {
    Cause::BrokenKubeconfig { message: error.to_string() }
}

/// The files that exist, merged, and their names.
fn read_all(paths: &[PathBuf]) -> Result<(String, Kubeconfig), Cause> {
    let mut merged: Option<Kubeconfig> = None;
    let mut used = Vec::new();
    for path in paths {
        let Some(next) = read(path)? else { continue };
        used.push(path.display().to_string());
        merged = Some(match merged {
            None => next,
            Some(former) => former.merge(next).map_err(|error| broken(&error))?,
        });
    }
    merged.map(|merged| (used.join(":"), merged)).ok_or(Cause::NoKubeconfig)
}

fn read(path: &Path) -> Result<Option<Kubeconfig>, Cause> {
    match fits(path, KEPT) {
        Err(source) if source.kind() == ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Cause::UnreadableKubeconfig { path: path.to_owned(), source }),
        Ok(()) => {}
    }
    match Kubeconfig::read_from(path) {
        Ok(kubeconfig) => Ok(Some(kubeconfig)),
        Err(KubeconfigError::ReadConfig(source, _)) if source.kind() == ErrorKind::NotFound => Ok(None),
        Err(KubeconfigError::ReadConfig(source, path)) => Err(Cause::UnreadableKubeconfig { path, source }),
        Err(KubeconfigError::Parse(error)) => {
            // The parser shows the lines around the fault, and a kubeconfig's lines may be keys: its first line only.
            let text = error.to_string();
            let message = text.lines().next().unwrap_or_default();
            Err(Cause::BrokenKubeconfig { message: format!("`{}` is no kubeconfig: {message}", path.display()) })
        }
        Err(error) => Err(Cause::BrokenKubeconfig { message: format!("`{}`: {error}", path.display()) }),
    }
}

pub(super) fn pick_context(kubeconfig: &Kubeconfig, asked: Option<&str>) -> Result<String, Cause> {
    let known = || kubeconfig.contexts.iter().map(|context| context.name.clone()).collect::<Vec<_>>();
    let current = kubeconfig.current_context.as_deref().filter(|name| !name.is_empty());
    let Some(context) = asked.or(current) else { return Err(Cause::NoContext { known: known() }) };
    if kubeconfig.contexts.iter().any(|known| known.name == context) {
        Ok(context.to_owned())
    } else {
        Err(Cause::UnknownContext { context: context.to_owned(), known: known() })
    }
}
