//! `nauta logs`.

use std::sync::Arc;

use clap::Args;
use tokio::sync::mpsc;

use super::cluster_access::open_cluster;
use super::record::{Record, folder};
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::event::{Event, Events, Stream};
use crate::follow::{Engine, follow};
use crate::output::Output;

/// Show what a run's ranks wrote
///
/// Example: nauta logs -f --rank 0 digits-7k3fq
#[derive(Args, Debug)]
pub struct LogsArgs {
    /// The run
    run: String,
    /// Go on until the run ends
    #[arg(long, short = 'f')]
    follow: bool,
    /// Only this rank
    #[arg(long, value_name = "R")]
    rank: Option<u32>,
    /// Only the last lines of each rank
    #[arg(long, value_name = "LINES")]
    tail: Option<usize>,
    /// The target it is on
    #[arg(long, value_name = "NAME")]
    target: Option<String>,
}

/// Shows it.
pub async fn run(args: LogsArgs, context: &Context, output: &Output) -> Result<u8> {
    let project = context.project()?;
    let record = Record::find(&project.root, &args.run);
    let name = args.target.clone().or_else(|| record.as_ref().ok().map(|record| record.target.clone()));
    let flag = name.as_deref().map(|name| ("--target", name));
    let all = output.events();
    let wanted = args.rank;
    let events = Events::new(move |event| match &event {
        Event::Log { rank, .. } if wanted.is_some_and(|wanted| wanted != *rank) => {}
        _ => all.send(event),
    });
    if let Destination::Cluster(_, target) = context.destination(flag, None)?.value
        && let Ok((run, summary)) = open_cluster(&target).await?.find(&args.run).await
    {
        if args.follow {
            let (_states_tx, states) = mpsc::unbounded_channel();
            let folder = folder(&project.root, &args.run);
            let engine = Arc::new(Engine::Cluster(Box::new(run)));
            follow(engine, summary.nodes, &folder, None, states, &events).await?;
            return Ok(0);
        }
        for rank in (0..summary.nodes).filter(|rank| args.rank.is_none_or(|wanted| wanted == *rank)) {
            let text = run.kubelet_log(rank).await?;
            show(rank, text.as_bytes(), args.tail, &events);
        }
        return Ok(0);
    }
    let nodes = record?.spec.nodes;
    for rank in (0..nodes).filter(|rank| args.rank.is_none_or(|wanted| wanted == *rank)) {
        let path = folder(&project.root, &args.run).join(".nauta").join(format!("rank-{rank}.log"));
        show(rank, &std::fs::read(path).unwrap_or_default(), args.tail, &events);
    }
    Ok(0)
}

fn show(rank: u32, bytes: &[u8], tail: Option<usize>, events: &Events) {
    let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    if let Some(tail) = tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    events.send(Event::Log { rank, stream: Stream::Stdout, bytes: lines.concat().into() });
}
