//! `nauta pull`.

use clap::Args;
use serde_json::json;

use super::budget::budget;
use super::cluster_access::open_mailbox;
use super::complete::{runs, targets};
use super::record::{Record, folder};
use crate::context::{Context, Destination};
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::follow::{Collector, Pieces, Received};
use crate::output::{Output, shown};

/// Bring a run's outputs from the mailbox to runs/RUN/
///
/// What is here already is not sent again. Exit code 3: not everything is there (yet).
///
/// Example: nauta pull digits-7k3fq
#[derive(Args, Debug)]
pub struct PullArgs {
    /// The run
    #[arg(add = runs())]
    run: String,
    /// The target it is on
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error("the outputs of `{run}` are not in a mailbox")]
    NoMailbox { run: String },
}

impl Diagnosis for PullError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        vec![
            "they came while the run was followed; only runs whose pods may push to the registry have a mailbox"
                .to_owned(),
        ]
    }
}

/// Brings them.
pub async fn run(args: PullArgs, context: &Context, output: &Output) -> Result<u8> {
    let events = output.events();
    let project = context.project()?;
    let record = Record::find(&project.root, &args.run);
    let name = args.target.or_else(|| record.as_ref().ok().map(|record| record.target.clone()));
    let flag = name.as_deref().map(|name| ("--target", name));
    let destination = context.destination(flag, None)?.value;
    let Destination::Cluster(_, target) = destination else {
        return Err(PullError::NoMailbox { run: args.run }.into());
    };
    let (nodes, address) = if let Ok(record) = record {
        (record.spec.nodes, record.mailbox)
    } else {
        let summary = context.cluster(&target).await?.find(&args.run).await?;
        (summary.nodes, Some(summary.mailbox))
    };
    let mailbox = open_mailbox(context, &target, address.as_deref(), &args.run, &events).await?;
    let mailbox = mailbox.ok_or_else(|| PullError::NoMailbox { run: args.run.clone() })?;
    let folder = folder(&project.root, &args.run);
    let budget = budget(&project.file, context.user_file())?;
    let mut collector = Collector::open(&folder)?.with_budget(budget);
    let (mut files, mut missing, mut left) = (0, Vec::new(), Received::default());
    for rank in 0..nodes {
        let index = mailbox.index(rank).await?;
        if !index.as_ref().is_some_and(|index| index.complete) {
            missing.push(rank);
        }
        if let Some(index) = index {
            let mut pieces = Pieces::Mailbox(&mailbox.registry, &mailbox.repository);
            let received = collector.receive(&index, &mut pieces, &events).await?;
            files += received.files;
            left.missing.extend(received.missing);
        }
    }
    let state = if missing.is_empty() { "complete".to_owned() } else { format!("ranks {missing:?} have not ended") };
    if missing.is_empty() && left.missing.is_empty() {
        collector.tidy()?;
    }
    let text = format!("received {files} files in {}; {state}\n", shown(&folder.display().to_string()));
    output.result(
        &text,
        &json!({ "schema": 1, "run": args.run, "received": files, "folder": folder, "incomplete_ranks": missing }),
    );
    left.whole()?;
    Ok(if missing.is_empty() { 0 } else { Kind::Unavailable.exit_code() })
}
