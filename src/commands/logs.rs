//! `nauta logs`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueHint};
use regex::bytes::Regex;

use super::advice::advised;
use super::budget::budget;
use super::cluster_access::{open_mailbox, take_credentials_back};
use super::cluster_follow::{Followed, follow_on_cluster};
use super::complete::{runs, targets};
use super::end::{come_back, place, tell};
use super::interrupt::interrupted;
use super::local_follow::{detached, follow_detached};
use super::log_selection::Selection;
use super::record::{Record, folder, make_runs};
use super::several::each;
use crate::cluster::{Cluster, ClusterError, RunSummary};
use crate::context::{Context, Destination};
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::event::{Event, Events, Phase};
use crate::follow::{CollectError, Collector, Engine, KeptLog, Ways, history};
use crate::job::duration;
use crate::output::{LogStyle, Output};
use crate::secret::Mask;
use crate::settings::Target;

/// Between two looks at a log that another nauta writes.
const LOOK: Duration = Duration::from_millis(200);
/// Between two tries to reach an API server.
const RETRY: Duration = Duration::from_secs(1);
/// A run of another terminal is looked for after so many quiet looks.
const QUIET_LOOKS: u32 = 10;

/// Show what the ranks of runs wrote
///
/// Example: nauta logs -f --rank 0 --since 10m digits-7k3fq
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// The runs; the last one that was started from here where absent
    #[arg(add = runs(), value_name = "RUN")]
    runs: Vec<String>,
    /// Go on until the run ends, one after the other
    #[arg(long, short = 'f')]
    follow: bool,
    /// Only this rank
    #[arg(long, value_name = "R")]
    pub(super) rank: Option<u32>,
    /// Only what is younger (30s, 10m, 2h, 1d), or was written after a time (2026-11-23T14:00:00Z)
    #[arg(long, value_name = "AGE|TIME", value_parser = parse_since)]
    pub(super) since: Option<i64>,
    /// Only what is older, or was written before a time
    #[arg(long, value_name = "AGE|TIME", value_parser = parse_since)]
    pub(super) until: Option<i64>,
    /// Only the last lines of each rank; with -f, what follows as well
    #[arg(long, value_name = "LINES")]
    pub(super) tail: Option<usize>,
    /// Only lines in which this regular expression is found; (?i) at its begin ignores case
    #[arg(long, value_name = "PATTERN")]
    pub(super) grep: Option<Regex>,
    /// Begin each line with its time, in UTC
    #[arg(long, conflicts_with = "raw")]
    timestamps: bool,
    /// What the program wrote, byte for byte: no ranks, no colours, nothing folded or made safe
    #[arg(long)]
    raw: bool,
    /// Write to a new file
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// The target it is on
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// Milliseconds since 1970 of an age or a time.
fn parse_since(text: &str) -> std::result::Result<i64, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(time.as_millisecond());
    }
    let wrong = |_| format!("`{text}` is neither an age such as 10m nor a time such as 2026-11-23T14:00:00Z");
    let age = duration(text).map_err(wrong)?;
    let then = jiff::Timestamp::now().checked_sub(age).map_err(|error| error.to_string())?;
    Ok(then.as_millisecond())
}

/// Shows it.
pub async fn run(args: LogsArgs, context: &Context, output: &Output) -> Result<u8> {
    output.style_logs(style(&args)?);
    let is_one = args.runs.len() < 2;
    each(args.runs.clone(), output, async |run| {
        if let Some(run) = run.as_ref().filter(|_| !is_one) {
            output.events().note(format!("{run}:"));
        }
        logs_of(run, &args, context, output).await
    })
    .await
}

async fn logs_of(run: Option<String>, args: &LogsArgs, context: &Context, output: &Output) -> Result<u8> {
    let project = context.project()?;
    let run = Record::chosen(run, &project.root, &output.events())?;
    let record = Record::find(&project.root, &run);
    let name = args.target.clone().or_else(|| record.as_ref().ok().map(|record| record.target.clone()));
    let flag = name.as_deref().map(|name| ("--target", name));
    let selection = Selection::new(args, output.events());
    let events = selection.events();
    let code = match context.destination(flag, None)?.value {
        Destination::Cluster(_, target) => {
            let shown = OnCluster {
                run: &run,
                args,
                context,
                target: &target,
                root: &project.root,
                last: selection.last(),
                events: &events,
                mask: output.mask(),
            };
            Box::pin(shown.show(record)).await?
        }
        Destination::Local => {
            let record = record?;
            match detached(&record, context).await? {
                Some(run) if args.follow => {
                    Box::pin(follow_detached(run, record, context, &events, output)).await?;
                    0
                }
                Some(run) => {
                    let ways = Ways::at_once(Engine::Local(Box::new(run)));
                    let ranks = 0..record.spec.nodes;
                    for rank in ranks.filter(|rank| args.rank.is_none_or(|wanted| wanted == *rank)) {
                        history(Some(&ways), None, rank, selection.last(), &events).await?;
                    }
                    0
                }
                None if args.follow => follow_here(record, context, &project.root, &events).await?,
                None => show_kept(&record, &project.root, &events).map(|()| 0)?,
            }
        }
    };
    selection.finish();
    Ok(code)
}

fn style(args: &LogsArgs) -> std::result::Result<LogStyle, LogsError> {
    let create =
        |path: &PathBuf| File::create_new(path).map_err(|source| LogsError::Output { path: path.clone(), source });
    Ok(LogStyle { raw: args.raw, timestamps: args.timestamps, file: args.output.as_ref().map(create).transpose()? })
}

#[derive(Debug, thiserror::Error)]
enum LogsError {
    #[error("cannot write the log to `{}`", path.display())]
    Output { path: PathBuf, source: std::io::Error },
}

impl Diagnosis for LogsError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        let Self::Output { source, .. } = self;
        let hint = match source.kind() {
            std::io::ErrorKind::AlreadyExists => "nothing is overwritten: choose another name, or remove the file",
            _ => "choose a name in a folder that exists and can be written",
        };
        vec![hint.to_owned()]
    }
}

/// A run on a cluster: from its mailbox, its pods, or what was kept here.
struct OnCluster<'a> {
    run: &'a str,
    args: &'a LogsArgs,
    context: &'a Context,
    target: &'a Target,
    root: &'a Path,
    /// How many bytes at the end of a rank's log are enough.
    last: Option<u64>,
    events: &'a Events,
    /// What nothing that is kept of the program's words may hold.
    mask: Mask,
}

impl OnCluster<'_> {
    async fn show(&self, record: std::result::Result<Record, super::record::RecordError>) -> Result<u8> {
        let cluster = self.context.cluster(self.target).await?;
        let found = tokio::select! {
            found = self.find(&cluster) => found,
            () = interrupted() => return Ok(Kind::Interrupted.exit_code()),
        };
        match (found, record) {
            (Ok(summary), record) if self.args.follow => self.follow(&cluster, &summary, record.ok()).await,
            (Ok(summary), _) => {
                let ways = Ways::at_once(Engine::Cluster { cluster, run: self.run.to_owned() });
                self.ranks(Some(&ways), summary.nodes, Some(&summary.mailbox)).await
            }
            // The Job is gone, by its time to live or by hand: the mailbox outlives it.
            (Err(error), Ok(record)) if record.mailbox.is_some() => {
                if error.is_temporary() {
                    self.events.warn(format!("{error}; this is what the mailbox has"));
                }
                self.ranks(None, record.spec.nodes, record.mailbox.as_deref()).await
            }
            (Err(_), Ok(record)) => show_kept(&record, self.root, self.events).map(|()| 0),
            (Err(error), Err(_)) => Err(error.into()),
        }
    }

    /// Looks for the run; whoever wants to follow it waits until the API server answers.
    async fn find(&self, cluster: &Cluster) -> std::result::Result<RunSummary, ClusterError> {
        let mut has_warned = false;
        loop {
            match cluster.find(self.run).await {
                Err(error) if self.args.follow && error.is_temporary() => {
                    if !std::mem::replace(&mut has_warned, true) {
                        self.events.warn(format!("{error}; trying again"));
                    }
                    tokio::time::sleep(RETRY).await;
                }
                answer => return answer,
            }
        }
    }

    async fn ranks(&self, ways: Option<&Ways>, nodes: u32, mailbox: Option<&str>) -> Result<u8> {
        let mailbox = open_mailbox(self.context, self.target, mailbox, self.run, self.events).await?;
        for rank in (0..nodes).filter(|rank| self.args.rank.is_none_or(|wanted| wanted == *rank)) {
            history(ways, mailbox.as_ref(), rank, self.last, self.events).await?;
        }
        Ok(0)
    }

    /// Comes back to a run: its outputs arrive as they do with `nauta run`.
    async fn follow(&self, cluster: &Arc<Cluster>, summary: &RunSummary, record: Option<Record>) -> Result<u8> {
        let address = Some(summary.mailbox.as_str());
        let mailbox = open_mailbox(self.context, self.target, address, self.run, self.events).await?;
        let project = self.context.project()?;
        let budget = budget(&project.file, self.context.user_file())?;
        make_runs(self.root)?;
        let collector = match Collector::open(&folder(self.root, self.run)) {
            Ok(collector) => Some(collector.with_budget(budget)),
            // The nauta that brings the outputs goes on doing so; this one only shows.
            Err(CollectError::Busy { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        let (name, strength) = (&summary.name, summary.strength);
        match follow_on_cluster(cluster, name, strength, None, collector, mailbox, self.events).await? {
            Followed::Ended(outcome) => {
                if summary.holds_credentials {
                    take_credentials_back(cluster, &summary.name, self.events).await;
                }
                let outcome = advised(&outcome, &project);
                tell(&outcome, summary.nodes, &place(self.root, self.run, &self.context.directory), self.events);
                if let Some(mut record) = record {
                    record.end(&outcome, &self.mask);
                    record.save(self.root)?;
                }
                Ok(0)
            }
            Followed::CannotStart(error) => Err(error.into()),
            Followed::Left => {
                come_back(name, "on the cluster", "get its outputs", self.events);
                Ok(Kind::Interrupted.exit_code())
            }
        }
    }
}

fn kept(record: &Record, root: &Path) -> Vec<KeptLog> {
    let folder = folder(root, &record.spec.name);
    (0..record.spec.nodes).filter_map(|rank| KeptLog::open(&folder, rank)).collect()
}

fn show_kept(record: &Record, root: &Path, events: &Events) -> Result<()> {
    let unreadable = |source| super::record::RecordError::Read { path: folder(root, &record.spec.name), source };
    for mut log in kept(record, root) {
        log.show(events).map_err(unreadable)?;
    }
    Ok(())
}

/// A run of another terminal: what its nauta keeps, until the run has ended.
async fn follow_here(mut record: Record, context: &Context, root: &Path, events: &Events) -> Result<u8> {
    let unreadable = |source| super::record::RecordError::Read { path: root.join("runs"), source };
    let mut logs = Vec::new();
    let (mut looks, mut absences) = (0, 0);
    let mut is_current = false;
    loop {
        // The record first: what was written before the end is then there to be read.
        record = Record::find(root, &record.spec.name)?;
        looks += 1;
        if looks % QUIET_LOOKS == 0 && context.docker().await?.find_local(&record.spec.name).await?.is_none() {
            absences += 1;
        }
        // Who has run it writes down how it ended when its containers are gone.
        let gone = record.code.is_some() || absences > 1;
        if logs.len() < record.spec.nodes as usize {
            logs = kept(&record, root);
        }
        for log in &mut logs {
            log.show(events).map_err(unreadable)?;
        }
        if !std::mem::replace(&mut is_current, true) {
            (0..record.spec.nodes).for_each(|rank| events.send(Event::LogCurrent { rank }));
        }
        if gone {
            if record.code.is_some() {
                let detail = record.verdict.clone().unwrap_or_else(|| record.state(None).words().to_owned());
                events.send(Event::Finished { phase: Phase::Run, detail });
            }
            return Ok(0);
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            () = interrupted() => return Ok(Kind::Interrupted.exit_code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_and_times_are_understood() {
        assert_eq!(parse_since("1970-01-01T00:00:01Z"), Ok(1000));
        let now = jiff::Timestamp::now().as_millisecond();
        for (age, seconds) in [("30s", 30), ("10m", 600), ("2h", 7200), ("1d", 86_400), ("1h30m", 5400)] {
            let then = parse_since(age).expect("understood");
            assert!((now - then - seconds * 1000).abs() < 60_000, "{age}");
        }
        assert!(parse_since("yesterday").is_err() && parse_since("").is_err());
    }
}
