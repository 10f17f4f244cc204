//! `nauta cancel`.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::complete::{runs, targets};
use super::record::Record;
use super::several::each;
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::docker::{LocalRun, RunSummary};
use crate::event::{CANCELLED, RankState};
use crate::follow::{Engine, Ways, cancel};
use crate::job::state::{RunState, State};
use crate::output::Output;

/// End runs and remove what they have on the cluster or in Docker; outputs that arrived stay
///
/// Example: nauta cancel digits-7k3fq
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// The runs
    #[arg(add = runs(), value_name = "RUN", required = true)]
    runs: Vec<String>,
    /// The target they are on
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// Ends them.
pub async fn run(args: CancelArgs, context: &Context, output: &Output) -> Result<u8> {
    let CancelArgs { runs, target } = args;
    let one = async |run: Option<String>| cancel_one(run.unwrap_or_default(), target.clone(), context, output).await;
    each(runs, output, one).await
}

async fn cancel_one(run: String, target: Option<String>, context: &Context, output: &Output) -> Result<u8> {
    let record = context.project().and_then(|project| Ok(Record::find(&project.root, &run)?));
    let target = target.or_else(|| record.as_ref().ok().map(|record| record.target.clone()));
    let flag = target.as_deref().map(|name| ("--target", name));
    let by = context.user();
    let was_over;
    match context.destination(flag, None)?.value {
        Destination::Local => {
            let grace = record.as_ref().map_or(Duration::from_secs(10), |record| record.spec.deadlines.grace);
            let docker = context.docker().await?;
            let has_ended = |run: &RunSummary| run.ranks.values().all(RankState::is_end);
            let known = docker.list_local().await?.into_iter().find(|known| known.run == run);
            was_over = known.is_none_or(|run| has_ended(&run));
            match docker.find_local(&run).await? {
                Some(found) => end_local(found, grace, &by).await?,
                None => drop(record?),
            }
        }
        Destination::Cluster(_, target) => {
            let cluster = context.cluster(&target).await?;
            let summary = cluster.find(&run).await?;
            if !summary.state.is_final() {
                let engine = Engine::Cluster { cluster: Arc::clone(&cluster), run: run.clone() };
                cancel(&Ways::at_once(engine), summary.nodes, &by).await;
            }
            let was = cluster.cancel(&run).await?.was;
            was_over = was.is_final() || was == RunState::Ending;
        }
    }
    keep(context, &run, was_over)?;
    output.result(&format!("{run} is cancelled\n"), &json!({ "schema": 1, "run": run, "ended": true }));
    Ok(0)
}

/// Ends a run of Docker's: its supervisors hear why, and who follows it elsewhere from them.
async fn end_local(run: LocalRun, grace: Duration, by: &str) -> Result<()> {
    let nodes = run.ranks().map(|rank| rank + 1).max().unwrap_or(0);
    let engine = Arc::new(Engine::Local(Box::new(run)));
    cancel(&Ways::at_once(Arc::clone(&engine)), nodes, by).await;
    if let Some(Engine::Local(run)) = Arc::into_inner(engine) {
        run.stop(grace + Duration::from_secs(2)).await?;
        run.remove().await?;
    }
    Ok(())
}

/// Writes down that it was cancelled, where nobody has written down another end.
fn keep(context: &Context, run: &str, was_over: bool) -> Result<()> {
    let Ok(project) = context.project() else { return Ok(()) };
    match Record::find(&project.root, run) {
        Ok(mut record) if record.code.is_none() && !was_over => {
            record.settle(State::Cancelled, Some(CANCELLED));
            record.verdict = Some(State::Cancelled.as_str().to_owned());
            Ok(record.save(&project.root)?)
        }
        _ => Ok(()),
    }
}
