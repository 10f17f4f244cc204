//! `nauta status`.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::cluster_access::{open_mailbox, take_credentials_back};
use super::complete::{runs, targets};
use super::end::{place, verdict};
use super::list::age;
use super::local_follow::{ranks_now, where_all_stand};
use super::record::{Record, folder, live_local};
use super::several::each;
use crate::cluster::{Cause, RunStatus};
use crate::context::{Context, Destination};
use crate::diagnosis::{Failure, Result};
use crate::event::{NOT_RUN, RankState};
use crate::follow::{Outcome, missing_of};
use crate::job::state::{RankView, RunState, RunView, State, Trouble};
use crate::output::{Output, Table, counted, shown};
use crate::settings::Target;

/// Say where runs stand, rank by rank, and why they wait
///
/// Example: nauta status digits-7k3fq
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The runs; the last one that was started from here where absent
    #[arg(add = runs(), value_name = "RUN")]
    runs: Vec<String>,
    /// The target they are on
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// Says it.
pub async fn run(args: StatusArgs, context: &Context, output: &Output) -> Result<u8> {
    let StatusArgs { runs, target } = args;
    each(runs, output, async |run| status_of(run, target.as_deref(), context, output).await).await
}

async fn status_of(run: Option<String>, target: Option<&str>, context: &Context, output: &Output) -> Result<u8> {
    let (run, root, record) = meant(run, context, output)?;
    let from_record = record.as_ref().ok().map(|record| record.target.clone());
    let flag = target.map(str::to_owned).or(from_record);
    let flag = flag.as_deref().map(|name| ("--target", name));
    let mut standing = match context.destination(flag, None)?.value {
        Destination::Local => match &record {
            Ok(record) => local(record, context).await,
            Err(_) => return record.map(|_| 0),
        },
        Destination::Cluster(name, target) => {
            let cluster = context.cluster(&target).await?;
            let standing = match (cluster.status(&run).await, &record) {
                (Ok(status), record) => {
                    if status.summary.holds_credentials && status.view.state.is_final() {
                        take_credentials_back(&cluster, &run, &output.events()).await;
                    }
                    let mut standing = on_cluster(status, name, record.as_ref().ok());
                    if let (Some(NOT_RUN), Ok(record)) = (standing.code, record) {
                        // Pods of a failed Job are deleted, with what they knew.
                        let left = left_in_mailbox(record, &target, context, output).await.unwrap_or_default();
                        standing.add(left, record);
                    }
                    standing
                }
                (Err(error), Ok(record)) if matches!(error.cause(), Cause::NoSuchRun { .. }) => {
                    gone(record, left_in_mailbox(record, &target, context, output).await?)
                }
                (Err(error), _) => return Err(error.into()),
            };
            if let Ok(record) = &record {
                // Nobody may be able to tell any more when somebody asks again.
                keep(record.clone(), &standing, &root)?;
            }
            standing
        }
    };
    if let Ok(record) = &record {
        let run = &record.spec.name;
        standing.outputs = Some((folder(&root, run), place(&root, run, &context.directory)));
    }
    standing.tell(output);
    Ok(0)
}

/// The run that is meant, the project's folder, and what is kept of the run there.
fn meant(run: Option<String>, context: &Context, output: &Output) -> Result<(String, PathBuf, Result<Record>)> {
    let project = match (context.project(), &run) {
        (Ok(project), _) => project,
        (Err(error), None) => return Err(error),
        (Err(error), Some(run)) => return Ok((run.clone(), PathBuf::new(), Err(error))),
    };
    let run = Record::chosen(run, &project.root, &output.events())?;
    let record = Record::find(&project.root, &run).map_err(Failure::from);
    Ok((run, project.root, record))
}

/// Where a run stands.
struct Standing {
    run: String,
    target: String,
    state: State,
    /// The run's exit code, once it is over.
    code: Option<u8>,
    nodes: u32,
    command: Vec<String>,
    /// Seconds since 1970.
    started: Option<i64>,
    ended: Option<i64>,
    /// How it ended, in a sentence.
    verdict: Option<String>,
    /// The folder of its outputs, where it was started from here: whole, and as somebody here would type it.
    outputs: Option<(PathBuf, PathBuf)>,
    /// Whether its engine has it no longer.
    is_gone: bool,
    ranks: Vec<RankView>,
    troubles: Vec<Trouble>,
    /// What of its outputs is lost or was left behind.
    missing_outputs: Vec<String>,
}

impl Standing {
    /// What the record of a run tells.
    fn of(record: &Record, state: State) -> Self {
        Self {
            run: record.spec.name.clone(),
            target: record.target.clone(),
            state,
            code: record.code,
            nodes: record.spec.nodes,
            command: record.spec.command.clone(),
            started: Some(record.created),
            ended: record.ended,
            verdict: record.verdict.clone(),
            outputs: None,
            is_gone: false,
            ranks: Vec::new(),
            troubles: Vec::new(),
            missing_outputs: Vec::new(),
        }
    }

    /// What the cluster does not know, as the mailbox tells it.
    fn add(&mut self, left: Outcome, record: &Record) {
        let nodes = record.spec.nodes;
        if code_of(&left, nodes).is_some() {
            (self.code, self.state) = (code_of(&left, nodes), left.state(nodes));
            self.missing_outputs = if self.state == State::Incomplete { left.missing_outputs } else { Vec::new() };
        }
    }

    /// The first line: its name, and how it is.
    fn headline(&self) -> String {
        let words = match &self.verdict {
            Some(verdict) if verdict.starts_with(self.state.as_str()) => verdict.clone(),
            _ => self.state.words().to_owned(),
        };
        let code = self.code.filter(|code| *code != 0 && !words.contains(&format!("code {code}")));
        let code = code.map_or_else(String::new, |code| format!(" (code {code})"));
        let gone = if self.is_gone { ", and no longer on the cluster" } else { "" };
        format!("{}: {}{code}{gone}\n", self.run, shown(&words))
    }

    /// What it is, a line each.
    fn facts(&self) -> Vec<(&'static str, String)> {
        let now = jiff::Timestamp::now().as_second();
        let time = |at: i64| jiff::Timestamp::from_second(at).map_or_else(|_| at.to_string(), |at| at.to_string());
        let took = |from: i64, to: i64| age(to - from);
        let ranks = counted(self.nodes.into(), "rank");
        let place = if self.target == "local" { "Docker here".to_owned() } else { self.target.clone() };
        let mut facts = vec![("on", format!("{place}, {ranks}"))];
        facts.extend(self.started.map(|at| match self.ended {
            Some(end) => ("started", format!("{} ({} ago), took {}", time(at), took(at, now), took(at, end))),
            None => ("started", format!("{} ({} ago)", time(at), took(at, now))),
        }));
        facts.push(("command", self.command.join(" ")));
        facts.extend(self.outputs.as_ref().map(|(_, typed)| ("outputs", typed.display().to_string())));
        facts
    }

    fn tell(&self, output: &Output) {
        let mut text = self.headline();
        text.extend(self.facts().into_iter().map(|(what, words)| format!("  {what:<9}{}\n", shown(&words))));
        text.extend(self.missing_outputs.iter().map(|missing| format!("missing: {}\n", shown(missing))));
        text.extend(
            self.troubles.iter().flat_map(|trouble| ["why: ".to_owned(), shown(&trouble.message), "\n".to_owned()]),
        );
        if !self.ranks.is_empty() {
            let has_nodes = self.ranks.iter().any(|rank| rank.node.is_some());
            let mut table = Table::new(if has_nodes { &["RANK", "NODE", "STATE"] } else { &["RANK", "STATE"] });
            for rank in &self.ranks {
                let node = has_nodes.then(|| rank.node.clone().unwrap_or_default());
                table.row([rank.rank.to_string()].into_iter().chain(node).chain([words(&rank.state)]));
            }
            text.push_str(&table.render());
        }
        let time = |at: Option<i64>| at.and_then(|at| jiff::Timestamp::from_second(at).ok());
        let document = json!({
            "schema": 1, "run": self.run, "target": self.target, "state": self.state, "code": self.code,
            "nodes": self.nodes, "command": self.command, "started": time(self.started), "ended": time(self.ended),
            "verdict": self.verdict, "outputs": self.outputs.as_ref().map(|(whole, _)| whole),
            "ranks": self.ranks, "troubles": self.troubles, "missing_outputs": self.missing_outputs,
        });
        output.result(&text, &document);
    }
}

/// What the cluster knows of it, and of its end what was written down when it was followed.
fn on_cluster(status: RunStatus, target: String, record: Option<&Record>) -> Standing {
    let RunStatus { summary, view } = status;
    let outcome = Outcome::of(&view);
    let known = record.and_then(|record| record.state);
    let state = known.or_else(|| outcome.as_ref().map(|outcome| outcome.state(summary.nodes)));
    let state = if view.state == RunState::Succeeded && known.is_none() {
        State::Succeeded
    } else {
        state.unwrap_or(view.word())
    };
    let missing = outcome.filter(|outcome| outcome.lacks_only_outputs(summary.nodes));
    let state = if missing.is_some() { State::Incomplete } else { state };
    let verdict = record.and_then(|record| record.verdict.clone());
    let RunView { ranks, troubles, .. } = &view;
    Standing {
        run: summary.name,
        target,
        state,
        code: record.and_then(|record| record.code).or_else(|| Outcome::code_of(&view)),
        nodes: summary.nodes,
        command: summary.command,
        started: summary.created.map(jiff::Timestamp::as_second),
        ended: summary.ended.map(jiff::Timestamp::as_second).or_else(|| record.and_then(|record| record.ended)),
        verdict,
        outputs: None,
        is_gone: false,
        ranks: ranks.clone(),
        troubles: if state == State::Cancelled { Vec::new() } else { troubles.clone() },
        missing_outputs: missing.map(|outcome| outcome.missing_outputs).unwrap_or_default(),
    }
}

/// How ranks ended, and what of their outputs is missing, as they left it in the mailbox.
async fn left_in_mailbox(record: &Record, target: &Target, context: &Context, output: &Output) -> Result<Outcome> {
    let (run, address) = (&record.spec.name, record.mailbox.as_deref());
    let mut outcome = Outcome::default();
    if let Some(mailbox) = open_mailbox(context, target, address, run, &output.events()).await? {
        for rank in 0..record.spec.nodes {
            if let Some(index) = mailbox.index(rank).await? {
                outcome.missing_outputs.extend(index.end.as_ref().and_then(|_| missing_of(&index)));
                outcome.ends.extend(index.end.map(|end| (rank, end)));
            }
        }
    }
    Ok(outcome)
}

/// The run's exit code by these. Without every rank's word, nobody knows that all went well; a failure is one, whoever tells
/// it.
fn code_of(left: &Outcome, nodes: u32) -> Option<u8> {
    let is_known = left.ends.len() == nodes as usize || left.first_failure().is_some();
    is_known.then(|| left.code(nodes))
}

/// A run whose Job is gone. Who has followed it to its end knows more than the mailbox.
fn gone(record: &Record, left: Outcome) -> Standing {
    let nodes = record.spec.nodes;
    let mut standing = Standing::of(record, record.state(None));
    standing.is_gone = true;
    if record.code.is_none() {
        standing.add(left.clone(), record);
    } else if standing.state == State::Incomplete {
        standing.missing_outputs.clone_from(&left.missing_outputs);
    }
    standing.verdict = standing.verdict.or_else(|| standing.code.map(|_| verdict(&left, nodes)));
    standing.ranks = left.ends.into_iter().map(|(rank, end)| RankView::ended(rank, end)).collect();
    standing
}

/// Writes down how a run ended that nobody followed to its end.
fn keep(mut record: Record, standing: &Standing, root: &Path) -> Result<()> {
    if record.code.is_none() && standing.code.is_some() {
        record.settle(standing.state, standing.code);
        record.ended = standing.ended.or(record.ended);
        record.verdict.clone_from(&standing.verdict);
        record.save(root)?;
    }
    Ok(())
}

/// What Docker and the supervisors know of a run that has not ended, and the record of one that has.
async fn local(record: &Record, context: &Context) -> Standing {
    let spec = &record.spec;
    let live = live_local(std::slice::from_ref(record), context).await;
    let found = live.into_iter().find(|run| run.run == spec.name);
    let mut standing = Standing::of(record, record.state(found.as_ref().map(|_| State::Running)));
    let Some(found) = found else { return standing };
    let ranks = ranks_now(found, spec.nodes, context).await;
    if record.state.is_none() {
        (standing.state, standing.code) = where_all_stand(&ranks, spec.nodes);
    }
    let view = |(rank, state)| RankView { rank, pod: None, node: None, state, outputs: None };
    standing.ranks = ranks.into_iter().map(view).collect();
    standing
}

fn words(state: &RankState) -> String {
    match state {
        RankState::Pending { message } => format!("waits: {message}"),
        RankState::Meeting { message } if message.is_empty() => "meets the others".to_owned(),
        RankState::Meeting { message } => format!("meets the others: {message}"),
        RankState::Running => "runs".to_owned(),
        RankState::Hosting => "waits for what rank 0 starts there".to_owned(),
        RankState::Ended(end) => end.to_string(),
    }
}
