//! `nauta status`.

use clap::Args;
use serde_json::json;

use super::cluster_access::open_cluster;
use super::record::Record;
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::event::RankState;
use crate::job::state::rank_state;
use crate::output::{Output, Table};

/// Say where a run stands, rank by rank, and why it waits
///
/// Example: nauta status digits-7k3fq
#[derive(Args, Debug)]
pub struct StatusArgs {
    /// The run
    run: String,
    /// The target it is on
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

/// Says it.
pub async fn run(args: StatusArgs, context: &Context, output: &Output) -> Result<u8> {
    let record = context.project().and_then(|project| Ok(Record::find(&project.root, &args.run)?));
    let from_record = record.as_ref().ok().map(|record| record.target.clone());
    let target = args.target.or(from_record);
    let flag = target.as_deref().map(|name| ("--target", name));
    match context.destination(flag, None)?.value {
        Destination::Local => {
            let record = record?;
            let spec = &record.spec;
            let text =
                format!("{}: {}, {} ranks, `{}`\n", spec.name, record.state(), spec.nodes, spec.command.join(" "));
            output
                .result(&text, &json!({ "schema": 1, "run": spec.name, "state": record.state(), "code": record.code }));
        }
        Destination::Cluster(name, target) => {
            let (run, summary) = open_cluster(&target).await?.find(&args.run).await?;
            let pods = run.pods().await?;
            let mut table = Table::new(&["RANK", "NODE", "STATE"]);
            let mut ranks = Vec::new();
            for (rank, pod) in &pods {
                let node = pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
                let state = rank_state(pod);
                let words = match &state {
                    RankState::Pending { message } => format!("waits: {message}"),
                    RankState::Meeting { message } => format!("meets the others: {message}"),
                    RankState::Running => "runs".to_owned(),
                    RankState::Ended(end) => end.to_string(),
                };
                ranks.push(json!({ "rank": rank, "node": node, "state": state }));
                table.row([rank.to_string(), node, words]);
            }
            let text = format!("{} on {name}: {}\n{}", summary.name, summary.state, table.render());
            output.result(&text, &json!({ "schema": 1, "run": summary, "ranks": ranks }));
        }
    }
    Ok(0)
}
