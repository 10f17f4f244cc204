//! What the edge reads once: directory, environment, settings. Everything below gets it as values.
//!
//! Owns: [`Context`]. Does not own: what is done with it. The only place besides the supervisor that reads variables.

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::bounded_file::{HAND_WRITTEN, read_text};
use crate::cluster::{Cluster, ClusterAddress, ClusterError};
use crate::credentials::CredentialSources;
use crate::diagnosis::{Diagnosis, Kind, Result, nearest};
use crate::docker::{Docker, DockerError, DockerSettings};
use crate::env_vars;
use crate::project::{Project, label_value};
use crate::secret::Secret;
use crate::settings::{Setting, SettingsError, Source, Target, UserFile, parse_user_file};
use crate::snapshot::GitUser;

/// What the edge reads once.
#[derive(Clone)]
pub struct Context {
    /// The working directory, absolute.
    pub directory: PathBuf,
    /// This very binary.
    pub program: PathBuf,
    variables: BTreeMap<String, String>,
    user_file: UserFile,
    user_file_path: PathBuf,
}

/// Where a run goes.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// Docker on this workstation.
    Local,
    /// A target of the user's configuration, by name.
    Cluster(String, Box<Target>),
}

/// What can be wrong with what the edge reads.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The working directory is gone or cannot be read.
    #[error("cannot tell the working directory")]
    Directory(#[source] io::Error),
    /// A target's Service is no name and port.
    #[error("`{text}` (from `registry_service` in your configuration) is no Service and port")]
    Service {
        /// What it says.
        text: String,
    },
    /// A project says where outputs go.
    #[error("`{}` is a link, and outputs stay in the project", path.display())]
    RunsLink {
        /// The link.
        path: PathBuf,
    },
    /// No target has this name.
    #[error("there is no target `{name}` (from {source_text})")]
    UnknownTarget {
        /// What was asked for.
        name: String,
        /// Who asked.
        source_text: String,
        /// The names there are.
        known: Vec<String>,
    },
}

impl Diagnosis for ContextError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Service { .. } => vec!["write it as `registry:5000`, or `namespace/registry:5000`".to_owned()],
            Self::RunsLink { .. } => vec![
                "make it a folder".to_owned(),
                "if the link is yours: `follow_runs_link = true` under `[defaults]` in your configuration".to_owned(),
            ],
            Self::Directory(_) => vec!["go to a directory that exists".to_owned()],
            Self::UnknownTarget { name, known, .. } => match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => vec![format!("did you mean `{near}`?")],
                None => {
                    vec!["add it with `nauta target add NAME --registry HOST/PREFIX`; `local` is Docker".to_owned()]
                }
            },
        }
    }
}

impl Context {
    /// Reads everything.
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the environment")]
    pub fn read() -> Result<Self> {
        let variables: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let directory = std::env::current_dir().map_err(ContextError::Directory)?;
        let program = std::env::current_exe().map_err(ContextError::Directory)?;
        let home = variables.get("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let user_file_path = variables
            .get(env_vars::CONFIG)
            .map_or_else(|| folder(&variables, "XDG_CONFIG_HOME", &home, ".config").join("config.toml"), PathBuf::from);
        let user_file = match read_text(&user_file_path, HAND_WRITTEN) {
            Ok(text) => parse_user_file(&text, &user_file_path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => UserFile::default(),
            Err(source) => return Err(SettingsError::Unreadable { path: user_file_path, source }.into()),
        };
        Ok(Self { directory, program, variables, user_file, user_file_path })
    }

    /// A variable that is set and not empty.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// All variables that are set and not empty.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The user's configuration.
    pub const fn user_file(&self) -> &UserFile {
        &self.user_file
    }

    /// Where the user's configuration is or would be.
    pub fn user_file_path(&self) -> &Path {
        &self.user_file_path
    }

    /// The user's own templates.
    pub fn templates(&self) -> PathBuf {
        self.user_file_path.with_file_name("templates")
    }

    /// Where nauta keeps its state. It is there, as far as it can be made, and closed to others.
    pub fn state_folder(&self) -> PathBuf {
        let home = self.variable("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from);
        let own = self.variable(env_vars::STATE_DIR).map(PathBuf::from);
        let state = own.clone().unwrap_or_else(|| folder(&self.variables, "XDG_STATE_HOME", &home, ".local/state"));
        // Whoever writes there says what is wrong with it.
        let _ = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&state);
        let is_open = |found: &std::fs::Metadata| found.mode() & 0o077 != 0;
        if own.is_none() && state.metadata().is_ok_and(|found| is_open(&found)) {
            // Of an earlier nauta. What the user names may be for others too.
            let _ = std::fs::set_permissions(&state, Permissions::from_mode(0o700));
        }
        state
    }

    /// The project of the working directory.
    pub fn project(&self) -> Result<Project> {
        let mut project = Project::open(&self.directory, self.variable("HOME").map(Path::new))?;
        project.git = self.git_user();
        let path = project.root.join("runs");
        if path.is_symlink() && !self.user_file.defaults.follow_runs_link {
            return Err(ContextError::RunsLink { path }.into());
        }
        Ok(project)
    }

    /// A path as somebody here would type it: relative where it is below the working directory.
    pub fn typed<'a>(&self, path: &'a Path) -> &'a Path {
        path.strip_prefix(&self.directory).ok().filter(|below| !below.as_os_str().is_empty()).unwrap_or(path)
    }

    /// Where Git looks for what the user has set, the weakest first.
    fn git_user(&self) -> GitUser {
        let home = self.variable("HOME").map(PathBuf::from);
        let of_home = home.as_ref().map(|home| folder(&self.variables, "XDG_CONFIG_HOME", home, ".config").join("git"));
        let global = self.variable(env_vars::GIT_CONFIG_GLOBAL).map(PathBuf::from);
        let usual = || {
            let own = home.as_ref().map(|home| home.join(".gitconfig"));
            of_home.iter().map(|git| git.join("config")).chain(own).collect()
        };
        let of_system = self.variable(env_vars::GIT_CONFIG_SYSTEM).unwrap_or("/etc/gitconfig").into();
        let files = [of_system].into_iter().chain(global.map_or_else(usual, |file| vec![file])).collect();
        GitUser { home, files, ignore: of_home.map(|git| git.join("ignore")) }
    }

    /// The user's name, fit for a label.
    pub fn user(&self) -> String {
        let name = ["USER", "LOGNAME"].iter().find_map(|name| self.variable(name)).unwrap_or("unknown");
        label_value(name)
    }

    /// Where a run goes: said by flag, variable, project or user; else the only target there is; else Docker.
    pub fn destination(
        &self,
        flag: Option<(&'static str, &str)>,
        project: Option<&str>,
    ) -> Result<Setting<Destination>> {
        let file = &self.user_file;
        let only = if file.targets.len() == 1 { file.targets.keys().next().map(String::as_str) } else { None };
        let layers = [
            (flag.map(|(_, name)| name), Source::Flag(flag.map_or("--target", |(flag, _)| flag))),
            (self.variable(env_vars::TARGET), Source::Variable(env_vars::TARGET)),
            (project, Source::ProjectFile("run.target")),
            (file.target.as_deref(), Source::UserFile("target")),
            (only, Source::UserFile("targets")),
        ];
        let name = Setting::first(layers, "local");
        let value = match (name.value, file.targets.get(name.value)) {
            ("local", None) => Destination::Local,
            (name, Some(target)) => Destination::Cluster(name.to_owned(), Box::new(target.clone())),
            (unknown, None) => {
                let known = file.targets.keys().cloned().chain(["local".to_owned()]).collect();
                let (name, source_text) = (unknown.to_owned(), name.source.to_string());
                return Err(ContextError::UnknownTarget { name, source_text, known }.into());
            }
        };
        Ok(Setting { value, source: name.source })
    }

    /// Opens the Docker engine that the `docker` command would use.
    pub async fn docker(&self) -> Result<Docker, DockerError> {
        let path = |name: &str| self.variable(name).map(PathBuf::from);
        let text = |name: &str| self.variable(name).map(str::to_owned);
        let settings = DockerSettings {
            host: text(env_vars::DOCKER_HOST),
            context: text(env_vars::DOCKER_CONTEXT),
            config: path(env_vars::DOCKER_CONFIG),
            tls_verify: text(env_vars::DOCKER_TLS_VERIFY),
            cert_path: path(env_vars::DOCKER_CERT_PATH),
            home: path("HOME"),
            runtime_dir: path("XDG_RUNTIME_DIR"),
        };
        Docker::connect(&settings).await
    }

    /// A target's cluster.
    pub async fn cluster(&self, target: &Target) -> Result<Arc<Cluster>, ClusterError> {
        self.cluster_in(target, target.namespace.clone()).await
    }

    /// A target's cluster, in another namespace.
    async fn cluster_in(&self, target: &Target, namespace: Option<String>) -> Result<Arc<Cluster>, ClusterError> {
        let usual = || match self.variable(env_vars::KUBECONFIG).filter(|paths| !paths.is_empty()) {
            Some(paths) => std::env::split_paths(paths).collect(),
            None => self.variable("HOME").map(|home| Path::new(home).join(".kube/config")).into_iter().collect(),
        };
        let address = ClusterAddress {
            kubeconfig: target.kubeconfig.as_ref().map_or_else(usual, |path| vec![path.into()]),
            context: target.context.clone(),
            namespace,
            path: self.variable("PATH").map(Into::into),
        };
        Ok(Arc::new(Cluster::connect(&address).await?))
    }

    /// Where a way to a target's registry begins on this machine, where the target says that it leads through a Service.
    pub async fn tunnel(&self, target: &Target) -> Result<Option<SocketAddr>> {
        let Some(text) = &target.registry_service else { return Ok(None) };
        let (namespace, rest) = match text.split_once('/') {
            Some((namespace, rest)) => (Some(namespace.to_owned()), rest),
            None => (target.namespace.clone(), text.as_str()),
        };
        let (name, port) = rest
            .split_once(':')
            .and_then(|(name, port)| Some((name, port.parse().ok()?)))
            .ok_or_else(|| ContextError::Service { text: text.clone() })?;
        Ok(Some(self.cluster_in(target, namespace).await?.tunnel(name, port).await?))
    }

    /// Where credentials are looked for.
    pub fn credential_sources(&self) -> CredentialSources {
        let home = self.variable("HOME").map(|home| Path::new(home).join(".docker"));
        CredentialSources {
            docker_config_dir: self.variable(env_vars::DOCKER_CONFIG).map(Into::into).or(home),
            path: self.variable("PATH").map(Into::into),
            dbus_session_bus_address: self.variable("DBUS_SESSION_BUS_ADDRESS").map(Into::into),
            runtime_dir: self.variable("XDG_RUNTIME_DIR").map(Into::into),
        }
    }

    /// The proxy variables that builds need as this workstation does; they may hold passwords.
    pub fn proxies(&self) -> BTreeMap<String, Secret> {
        let proxies = crate::image::build_plan::PROXY_VARIABLES.iter();
        proxies.filter_map(|name| Some(((*name).to_owned(), Secret::new(self.variable(name)?)))).collect()
    }
}

fn folder(variables: &BTreeMap<String, String>, name: &str, home: &Path, default: &str) -> PathBuf {
    variables.get(name).map_or_else(|| home.join(default), PathBuf::from).join("nauta")
}
