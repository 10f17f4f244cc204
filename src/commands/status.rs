//! `nauta status`.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::cluster_access::{open_mailbox, take_credentials_back};
use super::complete::{runs, targets};
use super::record::{OUTPUTS_INCOMPLETE, Record, live_local};
use crate::cluster::{Cause, RunStatus};
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::event::{NOT_RUN, RankState};
use crate::follow::{Outcome, missing_of};
use crate::job::state::{RankView, RunView, Trouble};
use crate::output::{Output, Table, shown};
use crate::settings::Target;

/// Say where a run stands, rank by rank, and why it waits
///
/// Example: nauta status digits-7k3fq
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The run; the last one that was started from here where absent
    #[arg(add = runs())]
    run: Option<String>,
    /// The target it is on
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// Says it.
pub async fn run(args: StatusArgs, context: &Context, output: &Output) -> Result<u8> {
    let run = match args.run {
        Some(run) => run,
        None => Record::chosen(None, &context.project()?.root, &output.events())?,
    };
    let record = context.project().and_then(|project| Ok(Record::find(&project.root, &run)?));
    let from_record = record.as_ref().ok().map(|record| record.target.clone());
    let flag = args.target.clone().or(from_record);
    let flag = flag.as_deref().map(|name| ("--target", name));
    let standing = match context.destination(flag, None)?.value {
        Destination::Local => local(&record?, context).await,
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
            if let (Ok(record), Ok(project)) = (record, context.project()) {
                // Nobody may be able to tell any more when somebody asks again.
                keep(record, &standing, &project.root)?;
            }
            standing
        }
    };
    standing.tell(output);
    Ok(0)
}

/// Where a run stands.
struct Standing {
    run: String,
    target: String,
    state: String,
    /// The run's exit code, once it is over.
    code: Option<u8>,
    nodes: u32,
    headline: String,
    ranks: Vec<RankView>,
    troubles: Vec<Trouble>,
    /// What of its outputs is lost or was left behind.
    missing_outputs: Vec<String>,
}

impl Standing {
    /// What the cluster does not know, as the mailbox tells it.
    fn add(&mut self, left: Outcome, record: &Record) {
        let nodes = record.spec.nodes;
        self.code = code_of(&left, nodes).or(self.code);
        if left.lacks_only_outputs(nodes) {
            OUTPUTS_INCOMPLETE.clone_into(&mut self.state);
            self.missing_outputs = left.missing_outputs;
        }
    }

    fn tell(&self, output: &Output) {
        let mut text = self.headline.clone();
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
        let document = json!({
            "schema": 1, "run": self.run, "target": self.target, "state": self.state, "code": self.code,
            "nodes": self.nodes, "ranks": self.ranks, "troubles": self.troubles, "missing_outputs": self.missing_outputs,
        });
        output.result(&text, &document);
    }
}

/// What the cluster knows of it, and of its end what was written down when it was followed.
fn on_cluster(status: RunStatus, target: String, record: Option<&Record>) -> Standing {
    let RunStatus { summary, view } = status;
    let code = record.and_then(|record| record.code).or_else(|| Outcome::code_of(&view));
    let outcome = Outcome::of(&view).filter(|outcome| outcome.lacks_only_outputs(summary.nodes));
    let state = outcome.as_ref().map_or(view.state.as_str(), |_| OUTPUTS_INCOMPLETE).to_owned();
    let missing_outputs = outcome.map(|outcome| outcome.missing_outputs).unwrap_or_default();
    let headline = format!("{} on {target}: {state}\n", summary.name);
    let RunView { ranks, troubles, .. } = view;
    Standing {
        run: summary.name,
        target,
        state,
        code,
        nodes: summary.nodes,
        headline,
        ranks,
        troubles,
        missing_outputs,
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
    let (run, nodes) = (record.spec.name.clone(), record.spec.nodes);
    let mut known = record.clone();
    if known.code.is_none() {
        (known.code, known.outputs_missing) = (code_of(&left, nodes), left.lacks_only_outputs(nodes));
    }
    let state = known.state(false).to_owned();
    let headline = format!("{run} on {}: {state}, and no longer on the cluster\n", record.target);
    let (target, troubles) = (record.target.clone(), Vec::new());
    let missing_outputs = if known.outputs_missing { left.missing_outputs } else { Vec::new() };
    let ranks = left.ends.into_iter().map(|(rank, end)| RankView::ended(rank, end)).collect();
    Standing { run, target, state, code: known.code, nodes, headline, ranks, troubles, missing_outputs }
}

/// Writes down how a run ended that nobody followed to its end.
fn keep(mut record: Record, standing: &Standing, root: &Path) -> Result<()> {
    if record.code.is_none() && standing.code.is_some() {
        record.code = standing.code;
        record.outputs_missing = standing.state == OUTPUTS_INCOMPLETE;
        record.save(root)?;
    }
    Ok(())
}

/// What Docker knows of a run that has not ended, and the record of one that has.
async fn local(record: &Record, context: &Context) -> Standing {
    let spec = &record.spec;
    let live = live_local(std::slice::from_ref(record), context).await;
    let found = live.iter().find(|run| run.run == spec.name);
    let state = record.state(found.is_some()).to_owned();
    let headline = format!("{}: {state}, {} ranks, `{}`\n", spec.name, spec.nodes, shown(&spec.command.join(" ")));
    let ranks = found.map(|run| run.ranks.clone()).unwrap_or_default();
    let view = |(rank, state)| RankView { rank, pod: None, node: None, state, outputs: None };
    let ranks = ranks.into_iter().map(view).collect();
    Standing {
        run: spec.name.clone(),
        target: record.target.clone(),
        state,
        code: record.code,
        nodes: spec.nodes,
        headline,
        ranks,
        troubles: Vec::new(),
        missing_outputs: Vec::new(),
    }
}

fn words(state: &RankState) -> String {
    match state {
        RankState::Pending { message } => format!("waits: {message}"),
        RankState::Meeting { message } => format!("meets the others: {message}"),
        RankState::Running => "runs".to_owned(),
        RankState::Hosting => "waits for what rank 0 starts there".to_owned(),
        RankState::Ended(end) => end.to_string(),
    }
}
