//! `nauta cancel`.

use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::complete::{runs, targets};
use super::record::Record;
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::output::Output;

/// End a run and remove what it has on the cluster or in Docker; outputs that arrived stay
///
/// Example: nauta cancel digits-7k3fq
#[derive(Args, Debug)]
pub struct CancelArgs {
    /// The run
    #[arg(add = runs())]
    run: String,
    /// The target it is on
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// Ends it.
pub async fn run(args: CancelArgs, context: &Context, output: &Output) -> Result<u8> {
    let record = context.project().and_then(|project| Ok(Record::find(&project.root, &args.run)?));
    let target = args.target.or_else(|| record.as_ref().ok().map(|record| record.target.clone()));
    let flag = target.as_deref().map(|name| ("--target", name));
    match context.destination(flag, None)?.value {
        Destination::Local => match context.docker().await?.find_local(&args.run).await? {
            Some(run) => {
                run.stop(Duration::from_secs(10)).await?;
                run.remove().await?;
            }
            None => drop(record?),
        },
        Destination::Cluster(_, target) => {
            context.cluster(&target).await?.cancel(&args.run).await?;
        }
    }
    output.result(&format!("{} is ended\n", args.run), &json!({ "schema": 1, "run": args.run, "ended": true }));
    Ok(0)
}
