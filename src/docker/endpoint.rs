//! Where the Docker engine is: `DOCKER_HOST`, `DOCKER_CONTEXT`, the configuration's current context, or the default
//! socket, in the order in which the `docker` command looks.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;

use super::error::DockerError;
use crate::bounded_file::{self, KEPT};
use crate::digest::Digest;
use crate::env_vars;

/// Where the engine listens unless something says otherwise.
const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// What the environment says about Docker, read by the caller. Empty values are the same as none.
#[derive(Clone, Debug, Default, serde::Serialize, Deserialize)]
pub struct DockerSettings {
    /// `DOCKER_HOST`.
    pub host: Option<String>,
    /// `DOCKER_CONTEXT`.
    pub context: Option<String>,
    /// `DOCKER_CONFIG`, the folder of `config.json`.
    pub config: Option<PathBuf>,
    /// `DOCKER_TLS_VERIFY`: when set, TCP is TLS.
    pub tls_verify: Option<String>,
    /// `DOCKER_CERT_PATH`, the folder of `ca.pem`, `cert.pem` and `key.pem`.
    pub cert_path: Option<PathBuf>,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`, where a rootless engine has its socket.
    pub runtime_dir: Option<PathBuf>,
}

/// The engine's address, and who gave it. Cheap to clone, since every error names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint(Arc<(Address, Origin)>);

impl Endpoint {
    fn new(address: Address, origin: Origin) -> Self {
        Self(Arc::new((address, origin)))
    }

    /// How to reach it.
    pub(super) fn address(&self) -> &Address {
        &self.0.0
    }

    /// Who gave the address.
    pub fn origin(&self) -> &Origin {
        &self.0.1
    }
}

/// How the engine is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Address {
    Unix(PathBuf),
    Tcp { host: String, port: u16, tls: Option<TlsFiles> },
}

/// The files that a TLS connection needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TlsFiles {
    /// Whom to trust; absent: the system's authorities.
    pub(super) ca: Option<PathBuf>,
    /// Certificate and key to show; absent: none.
    pub(super) client: Option<(PathBuf, PathBuf)>,
}

/// Who gave the engine's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `DOCKER_HOST`.
    HostVariable,
    /// A context, named by `DOCKER_CONTEXT`.
    ContextVariable {
        /// The context's name.
        context: String,
    },
    /// The context that `docker context use` chose.
    CurrentContext {
        /// The context's name.
        context: String,
        /// The `config.json` that says so.
        config: PathBuf,
    },
    /// Nobody: it is where Docker listens by default.
    Default,
    /// Nobody: a rootless engine's default, because the usual socket is not there.
    Rootless,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostVariable => f.write_str("from `DOCKER_HOST`"),
            Self::ContextVariable { context } => write!(f, "from the context `{context}`, named by `DOCKER_CONTEXT`"),
            Self::CurrentContext { context, config } => {
                write!(f, "from the context `{context}`, the current one in `{}`", config.display())
            }
            Self::Default => f.write_str("Docker's default"),
            Self::Rootless => f.write_str("rootless Docker's default"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", self.address(), self.origin())
    }
}

impl DockerSettings {
    /// Finds out where the engine is, without talking to it.
    pub fn resolve(&self) -> Result<Endpoint, DockerError> {
        if let Some(host) = filled(self.host.as_deref()) {
            return self.plain(host, Origin::HostVariable);
        }
        let config = self.config_folder();
        let chosen = match filled(self.context.as_deref()) {
            Some(context) => Some((context.to_owned(), Origin::ContextVariable { context: context.to_owned() })),
            None => current_context(config.as_deref())?,
        };
        match (chosen, config) {
            (Some((context, origin)), Some(config)) if context != "default" => from_context(&config, &context, origin),
            (Some((context, origin)), None) if context != "default" => {
                Err(DockerError::NoSuchContext { context, origin, known: Vec::new() })
            }
            _ => self.default_socket(),
        }
    }

    fn config_folder(&self) -> Option<PathBuf> {
        let given = self.config.clone().filter(|path| !path.as_os_str().is_empty());
        given.or_else(|| self.home.as_ref().map(|home| home.join(".docker")))
    }

    fn default_socket(&self) -> Result<Endpoint, DockerError> {
        let usual = Path::new(DEFAULT_SOCKET);
        if let (false, Some(folder)) = (usual.exists(), &self.runtime_dir) {
            let rootless = folder.join("docker.sock");
            if rootless.exists() {
                return Ok(Endpoint::new(Address::Unix(rootless), Origin::Rootless));
            }
        }
        self.plain(&format!("unix://{DEFAULT_SOCKET}"), Origin::Default)
    }

    /// An address as a variable gives it, with the TLS settings that the variables give.
    fn plain(&self, host: &str, origin: Origin) -> Result<Endpoint, DockerError> {
        let tls = filled(self.tls_verify.as_deref()).map(|_| {
            let folder = self.cert_path.clone().filter(|path| !path.as_os_str().is_empty());
            TlsFiles::in_folder(&folder.or_else(|| self.config_folder()).unwrap_or_default())
        });
        parse(host, tls, origin)
    }
}

impl TlsFiles {
    fn in_folder(folder: &Path) -> Self {
        let existing = |name: &str| Some(folder.join(name)).filter(|path| path.exists());
        Self { ca: existing("ca.pem"), client: existing("cert.pem").zip(existing("key.pem")) }
    }
}

fn filled(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn parse(host: &str, tls: Option<TlsFiles>, origin: Origin) -> Result<Endpoint, DockerError> {
    let unusable = |origin| DockerError::Address { address: host.to_owned(), origin };
    let (scheme, rest) = host.split_once("://").unwrap_or(("tcp", host));
    let address = match scheme {
        "unix" if rest.starts_with('/') => Address::Unix(PathBuf::from(rest)),
        "tcp" | "http" | "https" => {
            let tls = tls.or_else(|| (scheme == "https").then_some(TlsFiles { ca: None, client: None }));
            let Some((host, port)) = host_and_port(rest, tls.is_some()) else { return Err(unusable(origin)) };
            Address::Tcp { host, port, tls }
        }
        "ssh" => return Err(DockerError::Ssh { address: host.to_owned(), origin }),
        _ => return Err(unusable(origin)),
    };
    Ok(Endpoint::new(address, origin))
}

fn host_and_port(rest: &str, tls: bool) -> Option<(String, u16)> {
    let url = url::Url::parse(&format!("docker://{rest}")).ok()?;
    let port = url.port().unwrap_or(if tls { 2376 } else { 2375 });
    let host = match url.host()? {
        url::Host::Domain("") => "localhost".to_owned(),
        url::Host::Ipv6(address) => address.to_string(),
        host => host.to_string(),
    };
    Some((host, port))
}

#[derive(Deserialize)]
struct ConfigFile {
    #[serde(rename = "currentContext", default)]
    current_context: String,
}

/// The context that `config.json` names, if it names one.
fn current_context(folder: Option<&Path>) -> Result<Option<(String, Origin)>, DockerError> {
    let Some(config) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    let text = match bounded_file::read(&config, KEPT) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(DockerError::Configuration { path: config, source: source.into() }),
    };
    let file: ConfigFile = serde_json::from_slice(&text)
        .map_err(|source| DockerError::Configuration { path: config.clone(), source: source.into() })?;
    Ok(filled(Some(&file.current_context)).map(|name| {
        let context = name.to_owned();
        (context.clone(), Origin::CurrentContext { context, config })
    }))
}

#[derive(Deserialize)]
struct ContextFile {
    #[serde(rename = "Name", default)]
    name: String,
    #[serde(rename = "Endpoints", default)]
    endpoints: ContextEndpoints,
}

#[derive(Default, Deserialize)]
struct ContextEndpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// The address in a context's metadata, which is kept under the SHA-256 of the context's name.
fn from_context(config: &Path, context: &str, origin: Origin) -> Result<Endpoint, DockerError> {
    let id = Digest::of(context);
    let path = config.join("contexts/meta").join(id.hex()).join("meta.json");
    let text = match bounded_file::read(&path, KEPT) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(DockerError::NoSuchContext { context: context.to_owned(), origin, known: contexts(config) });
        }
        Err(source) => return Err(DockerError::Configuration { path, source: source.into() }),
    };
    let file: ContextFile = serde_json::from_slice(&text)
        .map_err(|source| DockerError::Configuration { path: path.clone(), source: source.into() })?;
    let Some(endpoint) = file.endpoints.docker.filter(|endpoint| !endpoint.host.is_empty()) else {
        return Err(DockerError::ContextWithoutHost { context: context.to_owned(), path });
    };
    let folder = config.join("contexts/tls").join(id.hex()).join("docker");
    let tls = folder.is_dir().then(|| TlsFiles::in_folder(&folder));
    if endpoint.skip_tls_verify && !endpoint.host.starts_with("unix:") {
        return Err(DockerError::UnverifiedTls { context: context.to_owned(), path });
    }
    parse(&endpoint.host, tls, origin)
}

/// The names of all contexts, for a hint.
fn contexts(config: &Path) -> Vec<String> {
    let Ok(folders) = std::fs::read_dir(config.join("contexts/meta")) else { return Vec::new() };
    let mut names: Vec<String> = folders
        .filter_map(|folder| bounded_file::read(&folder.ok()?.path().join("meta.json"), KEPT).ok())
        .filter_map(|text| serde_json::from_slice::<ContextFile>(&text).ok())
        .map(|file| file.name)
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    names
}

/// Tries a context's description, a configuration that names one, and a host.
pub(super) fn try_context(bytes: &[u8]) {
    let _ = serde_json::from_slice::<ConfigFile>(bytes);
    let file = serde_json::from_slice::<ContextFile>(bytes);
    let named = file.ok().and_then(|file| file.endpoints.docker).map(|endpoint| endpoint.host);
    for host in named.into_iter().chain([String::from_utf8_lossy(bytes).into_owned()]) {
        if let Ok(endpoint) = parse(&host, None, Origin::Default) {
            let again = parse(&endpoint.address().to_string(), None, Origin::Default);
            assert!(again.is_ok_and(|again| again == endpoint || host.starts_with("https:")), "{endpoint}");
        }
    }
}

/// The variables that this module understands, for messages.
pub(super) const HOST_VARIABLE: &str = env_vars::DOCKER_HOST;

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(settings: &DockerSettings) -> String {
        match settings.resolve() {
            Ok(endpoint) => endpoint.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    fn host(text: &str) -> DockerSettings {
        DockerSettings { host: Some(text.to_owned()), ..DockerSettings::default() }
    }

    /// A configuration folder with one context, and perhaps a current one.
    fn folder(context: &str, meta: &str, current: Option<&str>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let meta_folder = folder.path().join("contexts/meta").join(Digest::of(context).hex());
        std::fs::create_dir_all(&meta_folder).unwrap();
        std::fs::write(meta_folder.join("meta.json"), meta).unwrap();
        if let Some(current) = current {
            let config = format!(r#"{{"auths": {{}}, "currentContext": "{current}"}}"#);
            std::fs::write(folder.path().join("config.json"), config).unwrap();
        }
        folder
    }

    const LAB: &str =
        r#"{"Name":"lab","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://lab:2376","SkipTLSVerify":false}}}"#;

    #[test]
    fn addresses_are_understood_as_the_docker_command_does() {
        assert_eq!(shown(&host("unix:///run/d.sock")), "`unix:///run/d.sock` (from `DOCKER_HOST`)");
        assert_eq!(shown(&host("tcp://10.0.0.1:2375")), "`tcp://10.0.0.1:2375` (from `DOCKER_HOST`)");
        assert_eq!(shown(&host("tcp://[::1]:1234")), "`tcp://[::1]:1234` (from `DOCKER_HOST`)");
        assert_eq!(shown(&host("lab")), "`tcp://lab:2375` (from `DOCKER_HOST`)");
        let tls = DockerSettings { tls_verify: Some("1".into()), ..host("tcp://lab") };
        assert_eq!(shown(&tls), "`tcp://lab:2376` (from `DOCKER_HOST`)");
    }

    #[test]
    fn what_cannot_be_reached_is_refused() {
        assert!(matches!(host("ssh://me@lab").resolve(), Err(DockerError::Ssh { .. })));
        for address in ["npipe:////./pipe/docker_engine", "unix://relative", "fd://", "tcp://"] {
            assert!(matches!(host(address).resolve(), Err(DockerError::Address { .. })), "{address}");
        }
    }

    #[test]
    fn the_variable_beats_the_context_beats_the_configuration() {
        let folder = folder("lab", LAB, Some("lab"));
        let config = Some(folder.path().to_owned());
        let current = DockerSettings { config: config.clone(), ..DockerSettings::default() };
        let path = folder.path().join("config.json");
        let expected = format!("`tcp://lab:2376` (from the context `lab`, the current one in `{}`)", path.display());
        assert_eq!(shown(&current), expected);
        let named = DockerSettings { context: Some("lab".into()), ..current.clone() };
        assert_eq!(shown(&named), "`tcp://lab:2376` (from the context `lab`, named by `DOCKER_CONTEXT`)");
        let host = DockerSettings { host: Some("unix:///x".into()), ..named };
        assert_eq!(shown(&host), "`unix:///x` (from `DOCKER_HOST`)");
        let default = DockerSettings { context: Some("default".into()), ..current };
        assert!(shown(&default).ends_with("Docker's default)"), "{}", shown(&default));
    }

    #[test]
    fn tls_material_comes_from_the_contexts_folder() {
        let folder = folder("lab", LAB, Some("lab"));
        let tls = folder.path().join("contexts/tls").join(Digest::of("lab").hex()).join("docker");
        std::fs::create_dir_all(&tls).unwrap();
        for name in ["ca.pem", "cert.pem", "key.pem"] {
            std::fs::write(tls.join(name), "").unwrap();
        }
        let settings = DockerSettings { config: Some(folder.path().to_owned()), ..DockerSettings::default() };
        let endpoint = settings.resolve().unwrap();
        let Address::Tcp { tls: Some(files), .. } = endpoint.address() else { panic!("no TLS") };
        assert_eq!(files.ca, Some(tls.join("ca.pem")));
        assert_eq!(files.client, Some((tls.join("cert.pem"), tls.join("key.pem"))));
    }

    #[test]
    fn broken_configurations_name_their_file() {
        let folder = folder("lab", LAB, Some("gone"));
        let settings = DockerSettings { config: Some(folder.path().to_owned()), ..DockerSettings::default() };
        let error = settings.resolve().expect_err("no such context");
        assert!(matches!(&error, DockerError::NoSuchContext { known, .. } if known == &["lab"]), "{error}");
        std::fs::write(folder.path().join("config.json"), "{").unwrap();
        let error = settings.resolve().expect_err("no JSON");
        assert!(error.to_string().contains("config.json"), "{error}");
        let skip = LAB.replace("false", "true");
        let folder = self::folder("lab", &skip, Some("lab"));
        let settings = DockerSettings { config: Some(folder.path().to_owned()), ..DockerSettings::default() };
        assert!(matches!(settings.resolve(), Err(DockerError::UnverifiedTls { .. })));
        let folder = self::folder("lab", r#"{"Name":"lab","Endpoints":{}}"#, Some("lab"));
        let settings = DockerSettings { config: Some(folder.path().to_owned()), ..DockerSettings::default() };
        assert!(matches!(settings.resolve(), Err(DockerError::ContextWithoutHost { .. })));
    }
}
