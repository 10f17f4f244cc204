//! `nauta status`.

use clap::Args;
use serde_json::json;

use super::complete::{runs, targets};
use super::record::{Record, live_local};
use crate::cluster::RunStatus;
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::event::RankState;
use crate::output::{Output, Table};

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
    let target = args.target.or(from_record);
    let flag = target.as_deref().map(|name| ("--target", name));
    match context.destination(flag, None)?.value {
        Destination::Local => local(&record?, context, output).await?,
        Destination::Cluster(name, target) => {
            let RunStatus { summary, view } = context.cluster(&target).await?.status(&args.run).await?;
            let mut table = Table::new(&["RANK", "NODE", "STATE"]);
            for rank in &view.ranks {
                table.row([rank.rank.to_string(), rank.node.clone().unwrap_or_default(), words(&rank.state)]);
            }
            let mut text = format!("{} on {name}: {}\n", summary.name, view.state.as_str());
            text.extend(view.troubles.iter().flat_map(|trouble| ["why: ", &trouble.message, "\n"]));
            text.push_str(&table.render());
            let code = record.ok().and_then(|record| record.code);
            let document = json!({
                "schema": 1, "run": summary.name, "target": name, "state": view.state.as_str(), "code": code,
                "nodes": summary.nodes, "ranks": view.ranks, "troubles": view.troubles,
            });
            output.result(&text, &document);
        }
    }
    Ok(0)
}

/// What Docker knows of a run that has not ended, and the record of one that has.
async fn local(record: &Record, context: &Context, output: &Output) -> Result<()> {
    let spec = &record.spec;
    let live = live_local(std::slice::from_ref(record), context).await;
    let found = live.iter().find(|run| run.run == spec.name);
    let state = record.state(found.is_some());
    let mut text = format!("{}: {state}, {} ranks, `{}`\n", spec.name, spec.nodes, spec.command.join(" "));
    let ranks = found.map(|run| run.ranks.clone()).unwrap_or_default();
    if !ranks.is_empty() {
        let mut table = Table::new(&["RANK", "STATE"]);
        for (rank, state) in &ranks {
            table.row([rank.to_string(), words(state)]);
        }
        text.push_str(&table.render());
    }
    let list: Vec<_> = ranks.iter().map(|(rank, state)| json!({ "rank": rank, "state": state })).collect();
    let document = json!({
        "schema": 1, "run": spec.name, "target": record.target, "state": state, "code": record.code,
        "nodes": spec.nodes, "ranks": list, "troubles": [],
    });
    output.result(&text, &document);
    Ok(())
}

fn words(state: &RankState) -> String {
    match state {
        RankState::Pending { message } => format!("waits: {message}"),
        RankState::Meeting { message } => format!("meets the others: {message}"),
        RankState::Running => "runs".to_owned(),
        RankState::Ended(end) => end.to_string(),
    }
}
