//! What a supervisor is told: variables, the key file, the command.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::launch::Hostfile;
use super::outputs::MailboxConfig;
use crate::bounded_file::{HAND_WRITTEN, read_text};
use crate::job::restarts::{InvalidRestarts, RestartOn, Restarts};
use crate::job::{Launch, Nodes, OutputRules, Variables, placeholders};
use crate::{env_vars, layout};

/// What a supervisor is told.
pub(super) struct Config {
    pub(super) run: String,
    pub(super) project: String,
    pub(super) rank: u32,
    pub(super) nodes: Nodes,
    pub(super) coordinator: String,
    pub(super) command: Vec<OsString>,
    pub(super) outputs: PathBuf,
    /// The program's working directory, where there is a project.
    pub(super) workspace: Option<PathBuf>,
    /// What all ranks share, where there is such a folder.
    pub(super) shared: Option<PathBuf>,
    /// What of the working directory comes back.
    pub(super) rules: OutputRules,
    pub(super) state: PathBuf,
    pub(super) mailbox: Option<MailboxConfig>,
    /// Shared by the ranks of one run; only they know it.
    pub(super) key: Option<[u8; 32]>,
    pub(super) start_deadline: Duration,
    pub(super) grace: Duration,
    pub(super) drain: Duration,
    /// How long no rank may give a sign of life.
    pub(super) stall: Option<Duration>,
    /// The cluster's name of this machine.
    pub(super) node: Option<String>,
    /// How many accelerators this rank was promised.
    pub(super) gpus: u32,
    /// What follows on a failure.
    pub(super) restarts: Restarts,
    /// Whether the engine makes another container for one that is lost.
    pub(super) replaced: bool,
    /// Which ranks run the command.
    pub(super) launch: Launch,
    /// How many processes a program that starts others is to start on each rank.
    pub(super) slots: u32,
    /// Which variables the program finds.
    pub(super) variables: Variables,
    /// Stop when standard input is closed.
    pub(super) lease: bool,
    /// The variables of the container.
    pub(super) environment: BTreeMap<OsString, OsString>,
}

impl Config {
    /// Whether this rank only waits for what rank 0's program starts here.
    pub(super) fn is_host(&self) -> bool {
        self.launch.is_host(self.rank)
    }

    /// The run's hosts.
    pub(super) fn hosts(&self) -> Hostfile {
        Hostfile { run: self.run.clone(), nodes: self.nodes.most, slots: self.slots }
    }

    /// The name that programs reach rank 0 by.
    pub(super) fn master(&self) -> &str {
        if self.nodes.most == 1 { "localhost" } else { &self.coordinator }
    }

    /// Reads everything; the error is one sentence for the rank's log.
    #[expect(clippy::disallowed_methods, reason = "this is the edge that reads the environment")]
    pub(super) fn from_environment(command: Vec<OsString>) -> Result<Self, String> {
        let mut environment: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        environment.extend(take_secrets(Path::new(layout::SECRETS))?);
        Ok(Self::new(environment, command)?.with_placeholders_filled())
    }

    /// The command as this rank runs it. What is no text has no placeholders.
    fn with_placeholders_filled(mut self) -> Self {
        let (rank, nodes) = (self.rank.to_string(), self.nodes.most.to_string());
        let outputs = self.outputs.to_string_lossy();
        let mut values = vec![
            ("outputs", &*outputs),
            ("rank", &rank),
            ("nodes", &nodes),
            ("master", self.master()),
            ("run", &self.run),
        ];
        // Without one, the word is the program's own.
        let shared = self.shared.as_ref().map(|folder| folder.to_string_lossy());
        values.extend(shared.as_deref().map(|folder| ("shared", folder)));
        let fill = |word: &OsString| {
            word.to_str().map_or_else(|| word.clone(), |word| placeholders::fill(word, &values).into())
        };
        self.command = self.command.iter().map(fill).collect();
        self
    }

    fn new(environment: BTreeMap<OsString, OsString>, command: Vec<OsString>) -> Result<Self, String> {
        let text =
            |name: &str| environment.get(&OsString::from(name)).and_then(|value| value.to_str()).map(str::to_owned);
        let number = |name: &str, default: Option<u64>| match text(name) {
            Some(value) => value.parse::<u64>().map_err(|_| format!("${name} is `{value}`, which is no number")),
            None => default.ok_or_else(|| format!("${name} is not set: this program is started by nauta, not by hand")),
        };
        // Kubernetes names an indexed pod's rank itself.
        let index = number("JOB_COMPLETION_INDEX", None).ok();
        let rank = number(env_vars::RANK, index)?;
        let nodes = number(env_vars::NODES, Some(1))?;
        if rank >= nodes {
            return Err(format!("rank {rank} of {nodes} cannot be: ranks count from 0"));
        }
        if command.is_empty() {
            return Err("there is no command to run".to_owned());
        }
        let seconds = |name: &str, default: u64| number(name, Some(default)).map(Duration::from_secs);
        let optional = |name: &str| text(name).map(|_| number(name, None)).transpose();
        let key = read_key()?;
        if nodes > 1 && key.is_none() {
            return Err(format!("the run's key is missing ({})", layout::RUN_KEY));
        }
        let small = |n: u64| u32::try_from(n).map_err(|_| format!("{n} ranks are too many"));
        Ok(Self {
            run: text(env_vars::RUN).unwrap_or_else(|| "run".to_owned()),
            project: text(env_vars::PROJECT).unwrap_or_default(),
            rank: small(rank)?,
            nodes: Nodes::of(small(nodes)?, optional(env_vars::MIN_NODES)?.map(small).transpose()?),
            coordinator: text(env_vars::COORDINATOR).unwrap_or_else(|| "localhost".to_owned()),
            command,
            outputs: text(env_vars::OUTPUTS).unwrap_or_else(|| layout::OUTPUTS.to_owned()).into(),
            workspace: text(env_vars::PROJECT).and_then(|project| workspace(&project)),
            shared: text(env_vars::SHARED).map(PathBuf::from),
            rules: output_rules(text(env_vars::OUTPUT_RULES).as_deref())?,
            state: writable_state(),
            mailbox: text(env_vars::MAILBOX)
                .map(|address| {
                    MailboxConfig::parse(&address, text(env_vars::MAILBOX_PLAIN_HTTP).as_deref() == Some("1"))
                })
                .transpose()?,
            key,
            start_deadline: seconds(env_vars::START_DEADLINE, 600)?,
            grace: seconds(env_vars::GRACE, 10)?,
            drain: seconds(env_vars::DRAIN, 60)?,
            stall: optional(env_vars::STALL_TIMEOUT)?.map(Duration::from_secs),
            node: text(env_vars::NODE),
            gpus: small(number(env_vars::GPUS, Some(0))?)?,
            restarts: restarts(small(number(env_vars::RESTARTS, Some(0))?)?, text(env_vars::RESTART_ON).as_deref())
                .map_err(|error| error.to_string())?,
            replaced: text(env_vars::REPLACED).as_deref() == Some("1"),
            launch: text(env_vars::LAUNCH)
                .map_or(Ok(Launch::All), |text| text.parse())
                .map_err(|error| error.to_string())?,
            slots: small(number(env_vars::SLOTS, Some(1))?)?,
            variables: text(env_vars::VARIABLES)
                .map_or(Ok(Variables::Auto), |text| text.parse())
                .map_err(|error| error.to_string())?,
            lease: text(env_vars::LEASE).as_deref() == Some("stdin"),
            environment,
        })
    }
}

/// The project's folder, where there is one.
fn workspace(project: &str) -> Option<PathBuf> {
    Some(PathBuf::from(layout::project_folder(project))).filter(|folder| folder.is_dir())
}

fn output_rules(text: Option<&str>) -> Result<OutputRules, String> {
    let Some(text) = text else { return Ok(OutputRules::default()) };
    serde_json::from_str(text).map_err(|error| format!("${}: {error}", env_vars::OUTPUT_RULES))
}

fn restarts(most: u32, on: Option<&str>) -> Result<Restarts, InvalidRestarts> {
    Restarts::new(most, on.map_or_else(|| Ok(RestartOn::default()), str::parse)?)
}

/// The program's secrets, when there is a file with some; they are in it no longer than until they are read.
fn take_secrets(path: &Path) -> Result<BTreeMap<OsString, OsString>, String> {
    let is_none = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if is_none(&error) => return Ok(BTreeMap::new()),
        Err(error) => return Err(format!("cannot read the program's secrets ({}): {error}", path.display())),
    };
    std::fs::remove_file(path)
        .map_err(|error| format!("cannot remove the program's secrets ({}): {error}", path.display()))?;
    // The parser's words could quote one.
    let secrets: BTreeMap<String, String> =
        serde_json::from_slice(&text).map_err(|_| "the program's secrets are damaged".to_owned())?;
    Ok(secrets.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
}

/// The run's key, when there is a file with one.
fn read_key() -> Result<Option<[u8; 32]>, String> {
    let text = match read_text(Path::new(layout::RUN_KEY), HAND_WRITTEN) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read the run's key ({}): {error}", layout::RUN_KEY)),
    };
    let mut key = [0; 32];
    let text = text.trim();
    let digit = |i: usize| text.get(2 * i..2 * i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    for (i, byte) in key.iter_mut().enumerate() {
        *byte = digit(i).filter(|_| text.len() == 64).ok_or("the run's key is damaged")?;
    }
    Ok(Some(key))
}

/// Whether a rank can write to what all share, if there is such a folder: some storage gives it to root alone.
pub(super) fn check_shared(folder: &Path) -> Result<(), String> {
    let tried = tempfile::NamedTempFile::new_in(folder);
    tried.map(drop).map_err(|error| {
        let (folder, user) = (folder.display(), layout::USER_ID);
        format!("cannot write to the shared folder {folder}: {error}; its storage has to let user {user} write")
    })
}

/// The supervisor's own folder, or a temporary one where that cannot be written (read-only images).
fn writable_state() -> PathBuf {
    let own = PathBuf::from(layout::STATE);
    let probe = own.join(".probe");
    if std::fs::create_dir_all(&own).is_ok() && std::fs::write(&probe, b"").is_ok() {
        let _ = std::fs::remove_file(probe);
        return own;
    }
    tempfile::Builder::new()
        .prefix("nauta-")
        .tempdir()
        .map_or_else(|_| PathBuf::from("/dev/shm"), tempfile::TempDir::keep)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)], command: &[&str]) -> Result<Config, String> {
        let environment = vars.iter().map(|(k, v)| (OsString::from(k), OsString::from(v))).collect();
        Config::new(environment, command.iter().map(OsString::from).collect())
    }

    #[test]
    fn kubernetes_own_index_is_a_rank() {
        let config = config(&[("JOB_COMPLETION_INDEX", "0")], &["true"]).expect("valid");
        assert_eq!((config.rank, config.nodes), (0, Nodes::all(1)));
    }

    #[test]
    fn a_command_says_what_this_rank_is() {
        let vars = [("NAUTA_RANK", "0"), ("NAUTA_RUN", "r"), ("NAUTA_OUTPUTS", "/o"), ("NAUTA_SHARED", "/s")];
        assert_eq!(config(&vars[..3], &["{shared}"]).expect("valid").with_placeholders_filled().command, ["{shared}"]);
        let words = [
            "{run}.sh",
            "{shared}/x",
            "--out={outputs}/{rank}-of-{nodes}",
            "--at",
            "{master}",
            r#"{"rank": 1}"#,
            "${run}",
        ];
        let command = config(&vars, &words).expect("valid").with_placeholders_filled().command;
        assert_eq!(command, ["r.sh", "/s/x", "--out=/o/0-of-1", "--at", "localhost", r#"{"rank": 1}"#, "${run}"]);
    }

    #[test]
    fn secrets_are_taken_once_and_never_quoted() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("variables");
        assert_eq!(take_secrets(&path), Ok(BTreeMap::new()));
        std::fs::write(&path, r#"{"A": "one\ntwo"}"#).expect("written");
        assert_eq!(take_secrets(&path), Ok(BTreeMap::from([("A".into(), "one\ntwo".into())])));
        assert!(!path.exists());
        std::fs::write(&path, r#"{"A": canary}"#).expect("written");
        assert_eq!(take_secrets(&path), Err("the program's secrets are damaged".to_owned()));
    }

    #[test]
    fn nonsense_is_named() {
        let error = |vars: &[(&str, &str)]| config(vars, &["true"]).err().unwrap_or_default();
        assert!(error(&[]).contains("$NAUTA_RANK is not set"));
        assert!(error(&[("NAUTA_RANK", "x")]).contains("no number"));
        assert!(error(&[("NAUTA_RANK", "3"), ("NAUTA_NODES", "2")]).contains("cannot be"));
        assert!(error(&[("NAUTA_RANK", "0"), ("NAUTA_NODES", "2")]).contains("key is missing"));
        assert!(config(&[("NAUTA_RANK", "0")], &[]).is_err());
    }
}
