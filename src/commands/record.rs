//! What a run was, kept beside its outputs in `runs/<run>/.nauta/record.json`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use serde::{Deserialize, Serialize};

use super::end::verdict;
use crate::bounded_file::{Enclosure, KEPT};
use crate::context::Context;
use crate::diagnosis::{Diagnosis, Kind};
use crate::docker::RunSummary;
use crate::event::Events;
use crate::follow::Outcome;
use crate::job::state::State;
use crate::job::{Nodes, RunSpec};
use crate::project::is_run_name;
use crate::secret::Mask;

/// Where a record is kept, in nauta's own folder of a run.
const RECORD: &str = "record.json";

/// What a run was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) schema: u32,
    /// Without the variables' values, unless somebody asked for them.
    pub(super) spec: RunSpec,
    /// The names of the variables that the user set.
    #[serde(default)]
    pub(super) env_names: Vec<String>,
    /// The names of the program's secrets.
    #[serde(default)]
    pub(super) secrets: Vec<String>,
    /// `local`, or the target's name.
    pub(super) target: String,
    /// Seconds since 1970.
    pub(super) created: i64,
    /// The mailbox as the workstation sees it: `host/repository`.
    pub(super) mailbox: Option<String>,
    /// The run's exit code, once it has ended.
    pub(super) code: Option<u8>,
    /// Whether all programs have done their work, and some of what they left is missing: so older versions of nauta wrote it,
    /// and read it.
    #[serde(default)]
    pub(super) outputs_missing: bool,
    /// Where it stands, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) state: Option<State>,
    /// When that was known, in seconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<i64>,
    /// How it ended, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<String>,
}

/// What can go wrong with records.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },
    #[error("cannot read the log in `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("no run was started from here yet")]
    NoRun,
    #[error("there is no run `{run}` here")]
    None { run: String, nearest: Option<String> },
}

impl Diagnosis for RecordError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Write { .. } | Self::Read { .. } => vec!["check permissions and free space".to_owned()],
            Self::None { nearest: Some(near), .. } => vec![format!("did you mean `{near}`?")],
            Self::NoRun => vec!["name a run; `nauta list` shows those there are".to_owned()],
            Self::None { .. } => vec!["`nauta list` shows the runs there are".to_owned()],
        }
    }
}

/// The folder of a run's outputs.
pub(super) fn folder(root: &Path, run: &str) -> PathBuf {
    root.join("runs").join(run)
}

/// What keeps `runs` out of version control: logs and outputs are large, and may say what is not for everybody.
const IGNORE_ALL: &str = "*\n";

/// Makes the folder of all runs, where there is none yet.
pub(super) fn make_runs(root: &Path) -> Result<(), RecordError> {
    let runs = root.join("runs");
    let make = || match std::fs::create_dir(&runs) {
        Ok(()) => File::create_new(runs.join(".gitignore"))?.write_all(IGNORE_ALL.as_bytes()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    };
    make().map_err(|source| RecordError::Write { path: runs.clone(), source })
}

/// Removes the folder of all runs, where it is as it was made.
fn remove_runs(root: &Path) {
    let runs = root.join("runs");
    let ignore = runs.join(".gitignore");
    let only_ours = || {
        let mut entries = std::fs::read_dir(&runs).ok()?;
        let only = entries.next()?.ok()?.file_name() == ".gitignore" && entries.next().is_none();
        Some(only && ignore.metadata().ok()?.len() == IGNORE_ALL.len() as u64)
    };
    if only_ours() == Some(true) {
        let _ = std::fs::remove_file(&ignore);
    }
    let _ = std::fs::remove_dir(&runs);
}

impl Record {
    /// Writes it, whole or not at all.
    pub(super) fn save(&self, root: &Path) -> Result<(), RecordError> {
        self.put(root, File::sync_all).map(drop)
    }

    /// Writes that of a new run; whether it is on the disk is the caller's to see.
    pub(super) fn begin(&self, root: &Path) -> Result<File, RecordError> {
        self.put(root, |_| Ok(()))
    }

    fn put(&self, root: &Path, settle: impl Fn(&File) -> std::io::Result<()>) -> Result<File, RecordError> {
        make_runs(root)?;
        let put = || -> std::io::Result<File> {
            // `Context::project` has seen that `runs` is no link, unless the user wants one; below it, nothing leads out.
            let runs = Dir::open_ambient_dir(root.join("runs"), ambient_authority())?;
            let own = Path::new(&self.spec.name).join(".nauta");
            runs.create_dir_all(&own)?;
            let own = runs.open_dir(own)?;
            let new = format!("{RECORD}.{}", std::process::id());
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            let mut file = own.open_with(&new, &options)?.into_std();
            file.write_all(&serde_json::to_vec_pretty(self)?)?;
            settle(&file)?;
            own.rename(new, &own, RECORD)?;
            Ok(file)
        };
        put().map_err(|source| RecordError::Write {
            path: folder(root, &self.spec.name).join(".nauta").join(RECORD),
            source,
        })
    }

    /// Removes what [`Record::save`] and [`Record::begin`] make, for a run that never was. What else is in its folder stays.
    pub(super) fn discard(&self, root: &Path) {
        let folder = folder(root, &self.spec.name);
        let own = folder.join(".nauta");
        let _ = std::fs::remove_file(own.join(RECORD));
        if [&own, &folder].into_iter().all(|folder| std::fs::remove_dir(folder).is_ok()) {
            remove_runs(root);
        }
    }

    pub(super) fn find(root: &Path, run: &str) -> Result<Self, RecordError> {
        let all = Self::all(root);
        let names: Vec<String> = all.iter().map(|record| record.spec.name.clone()).collect();
        let nearest = crate::diagnosis::nearest(run, names.iter().map(String::as_str)).map(str::to_owned);
        all.into_iter()
            .find(|record| record.spec.name == run)
            .ok_or_else(|| RecordError::None { run: run.to_owned(), nearest })
    }

    /// The run that is meant: this one, else the last that was started here, which is said.
    pub(super) fn chosen(run: Option<String>, root: &Path, events: &Events) -> Result<String, RecordError> {
        let Some(run) = run else {
            let last = Self::all(root).into_iter().next().ok_or(RecordError::NoRun)?.spec.name;
            events.note(format!("{last} is the last run"));
            return Ok(last);
        };
        Ok(run)
    }

    /// All records of a project, the newest first.
    pub(super) fn all(root: &Path) -> Vec<Self> {
        let runs = root.join("runs");
        let (Ok(entries), Ok(inside)) = (std::fs::read_dir(&runs), Enclosure::open(&runs)) else { return Vec::new() };
        let read = |name: &OsStr| {
            let text = inside.read(Path::new(name).join(".nauta").join(RECORD), KEPT).ok()?;
            let record: Self = serde_json::from_slice(&text).ok()?;
            // A project may bring records: names become paths and reach terminals, ranks are counted.
            let is_sound = is_run_name(&record.spec.name) && Nodes::is_possible(record.spec.nodes);
            (is_sound && record.spec.name.as_str() == name).then_some(record)
        };
        let mut records: Vec<Self> = entries.flatten().filter_map(|entry| read(&entry.file_name())).collect();
        records.sort_by_key(|record| std::cmp::Reverse(record.created));
        records
    }

    /// Where it stands: as it was written down, else as an engine says that has it.
    pub(super) fn state(&self, live: Option<State>) -> State {
        match (self.state, self.code) {
            (Some(state), _) => state,
            (None, Some(_)) if self.outputs_missing => State::Incomplete,
            (None, Some(0)) => State::Succeeded,
            (None, Some(_)) => State::Failed,
            (None, None) => live.unwrap_or(State::Lost),
        }
    }

    /// Notes how it ended. What programs wrote is quoted, without what nothing may hold.
    pub(super) fn end(&mut self, outcome: &Outcome, mask: &Mask) {
        let nodes = self.spec.nodes;
        self.settle(outcome.state(nodes), Some(outcome.code(nodes)));
        self.verdict = Some(mask.apply(&verdict(outcome, nodes)).into_owned());
    }

    /// Notes where it stands in the end.
    pub(super) fn settle(&mut self, state: State, code: Option<u8>) {
        (self.state, self.code) = (Some(state), code);
        self.outputs_missing = state == State::Incomplete;
        self.ended = Some(jiff::Timestamp::now().as_second());
    }

    /// Notes that it could not be run.
    pub(super) fn is_failed(&mut self, code: u8, why: &str) {
        self.settle(State::Failed, Some(code));
        self.verdict = Some(format!("failed: {why}"));
    }

    /// Whether only Docker can tell where it stands.
    fn is_open_here(&self) -> bool {
        self.code.is_none() && self.target == "local"
    }
}

/// The runs that Docker has, when some record needs them; none where Docker does not answer.
pub(super) async fn live_local(records: &[Record], context: &Context) -> Vec<RunSummary> {
    if !records.iter().any(Record::is_open_here) {
        return Vec::new();
    }
    match context.docker().await {
        Ok(docker) => docker.list_local().await.unwrap_or_default(),
        Err(_) => Vec::new(),
    }
}
