//! `nauta pull`.

use clap::Args;
use serde_json::json;

use super::budget::budget;
use super::cluster_access::open_mailbox;
use super::complete::{runs, targets};
use super::record::{Record, folder, make_runs};
use crate::context::{Context, Destination};
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::event::Events;
use crate::follow::{Collector, Listing, Mailbox, Pieces, Received, missing_of};
use crate::output::{Output, shown};
use crate::sync::Index;

/// Bring a run's outputs from the mailbox to runs/RUN/
///
/// What is here already is not sent again. Exit code 3: not everything is there (yet).
///
/// Example: nauta pull digits-7k3fq
#[derive(Args, Debug)]
pub struct PullArgs {
    /// The run; the last one that was started from here where absent
    #[arg(add = runs())]
    run: Option<String>,
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
    let run = Record::chosen(args.run, &project.root, &events)?;
    let record = Record::find(&project.root, &run);
    let name = args.target.or_else(|| record.as_ref().ok().map(|record| record.target.clone()));
    let flag = name.as_deref().map(|name| ("--target", name));
    let destination = context.destination(flag, None)?.value;
    let Destination::Cluster(_, target) = destination else {
        return Err(PullError::NoMailbox { run }.into());
    };
    let (nodes, address) = if let Ok(record) = record {
        (record.spec.nodes, record.mailbox)
    } else {
        let summary = context.cluster(&target).await?.find(&run).await?;
        (summary.nodes, Some(summary.mailbox))
    };
    let mailbox = open_mailbox(context, &target, address.as_deref(), &run, &events).await?;
    let mailbox = mailbox.ok_or_else(|| PullError::NoMailbox { run: run.clone() })?;
    make_runs(&project.root)?;
    let folder = folder(&project.root, &run);
    let budget = budget(&project.file, context.user_file())?;
    let mut collector = Collector::open(&folder)?.with_budget(budget);
    let Pulled { running, mut missing, received } = pull_all(&mailbox, nodes, &mut collector, &events).await?;
    let is_complete = running.is_empty() && missing.is_empty() && received.missing.is_empty();
    if is_complete {
        collector.tidy()?;
    }
    for missing in &missing {
        events.warn(format!("outputs are not complete: {missing}"));
    }
    missing.extend(received.sentences());
    let state = match running.as_slice() {
        _ if is_complete => "complete".to_owned(),
        [] => "incomplete".to_owned(),
        [rank] => format!("rank {rank} has not ended"),
        ranks => format!("ranks {} have not ended", ranks.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    };
    let text = format!("received {} files in {}; {state}\n", received.files, shown(&folder.display().to_string()));
    output.result(
        &text,
        &json!({
            "schema": 1, "run": run, "received": received.files, "folder": folder, "incomplete_ranks": running,
            "missing_outputs": missing,
        }),
    );
    received.whole()?;
    Ok(if is_complete { 0 } else { Kind::Unavailable.exit_code() })
}

/// What came of a pull.
#[derive(Default)]
struct Pulled {
    /// Ranks that have not ended.
    running: Vec<u32>,
    /// What ranks say is missing, a sentence each.
    missing: Vec<String>,
    received: Received,
}

async fn pull_all(mailbox: &Mailbox, nodes: u32, collector: &mut Collector, events: &Events) -> Result<Pulled> {
    let mut pulled = Pulled::default();
    for rank in 0..nodes {
        let Some(index) = mailbox.index(rank).await? else {
            pulled.running.push(rank);
            continue;
        };
        match &index.end {
            Some(_) => pulled.missing.extend(missing_of(&index)),
            None => pulled.running.push(rank),
        }
        let mut listing = Listing::new(mailbox, &index);
        while let Some(page) = listing.next().await? {
            let page = Index { rank, files: page, ..Index::default() };
            let mut pieces = Pieces::Mailbox(&mailbox.registry, &mailbox.repository);
            let received = collector.receive(&page, &mut pieces, events).await?;
            pulled.received.files += received.files;
            pulled.received.missing.extend(received.missing);
        }
        let lost = index.skipped.iter().filter(|skipped| !skipped.special);
        pulled.missing.extend(lost.map(|skipped| format!("rank {rank}: {skipped}")));
    }
    Ok(pulled)
}
