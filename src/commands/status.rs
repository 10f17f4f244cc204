//! `nauta status`.

use std::collections::BTreeMap;
use std::path::Path;

use clap::Args;
use serde_json::json;

use super::cluster_access::open_mailbox;
use super::complete::{runs, targets};
use super::record::{Record, live_local};
use crate::cluster::{Cause, RunStatus};
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::event::{End, NOT_RUN, RankState};
use crate::follow::Outcome;
use crate::job::state::{RankView, RunView, Trouble};
use crate::output::{Output, Table, shown};
use crate::settings::Target;

/// Say where a run stands, rank by rank, and why it waits
///
/// Example: nauta status digits-7k3fq
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The run
    #[arg(add = runs())]
    run: String,
    /// The target it is on
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// Says it.
pub async fn run(args: StatusArgs, context: &Context, output: &Output) -> Result<u8> {
    let record = context.project().and_then(|project| Ok(Record::find(&project.root, &args.run)?));
    let from_record = record.as_ref().ok().map(|record| record.target.clone());
    let flag = args.target.clone().or(from_record);
    let flag = flag.as_deref().map(|name| ("--target", name));
    let standing = match context.destination(flag, None)?.value {
        Destination::Local => local(&record?, context).await,
        Destination::Cluster(name, target) => {
            let standing = match (context.cluster(&target).await?.status(&args.run).await, &record) {
                (Ok(status), record) => {
                    let mut standing = on_cluster(status, name, record.as_ref().ok());
                    if let (Some(NOT_RUN), Ok(record)) = (standing.code, record) {
                        // Pods of a failed Job are deleted, with what they knew.
                        let left = ends_in_mailbox(record, &target, context, output).await.unwrap_or_default();
                        standing.code = code_of(left, record.spec.nodes).or(standing.code);
                    }
                    standing
                }
                (Err(error), Ok(record)) if matches!(error.cause(), Cause::NoSuchRun { .. }) => {
                    gone(record, ends_in_mailbox(record, &target, context, output).await?)
                }
                (Err(error), _) => return Err(error.into()),
            };
            if let (Ok(record), Ok(project)) = (record, context.project()) {
                // Nobody may be able to tell any more when somebody asks again.
                keep(record, standing.code, &project.root)?;
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
}

impl Standing {
    fn tell(&self, output: &Output) {
        let mut text = self.headline.clone();
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
            "nodes": self.nodes, "ranks": self.ranks, "troubles": self.troubles,
        });
        output.result(&text, &document);
    }
}

/// What the cluster knows of it, and of its end what was written down when it was followed.
fn on_cluster(status: RunStatus, target: String, record: Option<&Record>) -> Standing {
    let RunStatus { summary, view } = status;
    let code = record.and_then(|record| record.code).or_else(|| Outcome::code_of(&view));
    let state = view.state.as_str().to_owned();
    let headline = format!("{} on {target}: {state}\n", summary.name);
    let RunView { ranks, troubles, .. } = view;
    Standing { run: summary.name, target, state, code, nodes: summary.nodes, headline, ranks, troubles }
}

/// How ranks ended, as they left it in the mailbox.
async fn ends_in_mailbox(
    record: &Record,
    target: &Target,
    context: &Context,
    output: &Output,
) -> Result<BTreeMap<u32, End>> {
    let (run, address) = (&record.spec.name, record.mailbox.as_deref());
    let mut ends = BTreeMap::new();
    if let Some(mailbox) = open_mailbox(context, target, address, run, &output.events()).await? {
        for rank in 0..record.spec.nodes {
            ends.extend(mailbox.index(rank).await?.and_then(|index| Some((rank, index.end?))));
        }
    }
    Ok(ends)
}

/// The run's exit code by these. Without every rank's word, nobody knows that all went well; a failure is one, whoever tells
/// it.
fn code_of(ends: BTreeMap<u32, End>, nodes: u32) -> Option<u8> {
    let outcome = Outcome { ends, ..Outcome::default() };
    let is_known = outcome.ends.len() == nodes as usize || outcome.first_failure().is_some();
    is_known.then(|| outcome.code(nodes))
}

/// A run whose Job is gone.
fn gone(record: &Record, left: BTreeMap<u32, End>) -> Standing {
    let (run, nodes) = (record.spec.name.clone(), record.spec.nodes);
    let ranks = left.iter().map(|(rank, end)| RankView::ended(*rank, end.clone())).collect();
    let known = Record { code: record.code.or_else(|| code_of(left, nodes)), ..record.clone() };
    let state = known.state(false).to_owned();
    let headline = format!("{run} on {}: {state}, and no longer on the cluster\n", record.target);
    let (target, troubles) = (record.target.clone(), Vec::new());
    Standing { run, target, state, code: known.code, nodes, headline, ranks, troubles }
}

/// Writes down how a run ended that nobody followed to its end.
fn keep(mut record: Record, code: Option<u8>, root: &Path) -> Result<()> {
    if record.code.is_none() && code.is_some() {
        record.code = code;
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
    let view = |(rank, state)| RankView { rank, pod: None, node: None, state };
    let ranks = ranks.into_iter().map(view).collect();
    let (target, troubles) = (record.target.clone(), Vec::new());
    Standing { run: spec.name.clone(), target, state, code: record.code, nodes: spec.nodes, headline, ranks, troubles }
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
