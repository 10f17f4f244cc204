//! `nauta pull`.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use ignore::gitignore::Gitignore;
use serde_json::json;

use super::budget::budget;
use super::cluster_access::open_mailbox;
use super::complete::{runs, targets};
use super::end::place;
use super::local_follow::{detached, follow_detached};
use super::record::{Record, folder, make_runs};
use crate::context::{Context, Destination};
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::event::{Event, Events};
use crate::follow::{Collector, Listing, Mailbox, Pieces, Received, missing_of, path_of};
use crate::job::matcher;
use crate::output::{Output, counted, shown};
use crate::sync::{Index, LeftOut};

/// Bring a run's outputs from the mailbox to runs/RUN/
///
/// What is here already is not sent again. A run that was left to itself in Docker is waited for. Exit code 3: not everything is
/// there (yet).
///
/// Example: nauta pull digits-7k3fq 'ckpt*.pt' --to best
#[derive(Args, Debug)]
pub struct PullArgs {
    /// The run; the last one that was started from here where absent
    #[arg(add = runs())]
    run: Option<String>,
    /// Only these files, folders or patterns (`*.pt`, `logs/`), as they are named in the run's folder
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// Into this folder; what is not nauta's there is not replaced
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    to: Option<PathBuf>,
    /// The target it is on
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum PullError {
    #[error("the outputs of `{run}` are not in a mailbox")]
    NoMailbox { run: String },
    #[error("nothing that `{run}` has left is called {}", paths.join(", "))]
    NoSuchFile { run: String, paths: Vec<String> },
    #[error("`{pattern}` is no pattern")]
    Pattern { pattern: String, source: ignore::Error },
    #[error("`{run}` runs in Docker here, and `--to` and paths are for what is in a mailbox")]
    Local { run: String },
}

impl Diagnosis for PullError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NoMailbox { .. } => {
                "they came while the run was followed; only runs whose pods may push to the registry have a mailbox"
                    .to_owned()
            }
            Self::NoSuchFile { run, .. } => format!("`nauta pull {run}` brings all that there is"),
            Self::Pattern { .. } => "patterns are those of .gitignore: `*.pt`, `logs/`, `/config.json`".to_owned(),
            Self::Local { run } => format!("`nauta pull {run}` brings all to runs/{run}"),
        };
        vec![hint]
    }
}

/// Brings them.
pub async fn run(args: PullArgs, context: &Context, output: &Output) -> Result<u8> {
    let events = output.events();
    let project = context.project()?;
    let run = Record::chosen(args.run, &project.root, &events)?;
    let wanted = Wanted::new(&args.paths)?;
    let record = Record::find(&project.root, &run);
    let name = args.target.or_else(|| record.as_ref().ok().map(|record| record.target.clone()));
    let flag = name.as_deref().map(|name| ("--target", name));
    let destination = context.destination(flag, None)?.value;
    let Destination::Cluster(_, target) = destination else {
        let is_whole = args.to.is_none() && args.paths.is_empty();
        return from_docker(record?, is_whole, context, output).await;
    };
    let (nodes, address) = if let Ok(record) = record {
        (record.spec.nodes, record.mailbox)
    } else {
        let summary = context.cluster(&target).await?.find(&run).await?;
        (summary.nodes, Some(summary.mailbox))
    };
    let mailbox = open_mailbox(context, &target, address.as_deref(), &run, &events).await?;
    let mailbox = mailbox.ok_or_else(|| PullError::NoMailbox { run: run.clone() })?;
    let (folder, typed) = if let Some(to) = &args.to {
        (context.directory.join(to), to.clone())
    } else {
        make_runs(&project.root)?;
        (folder(&project.root, &run), place(&project.root, &run, &context.directory))
    };
    let budget = budget(&project.file, context.user_file())?;
    let mut collector = Collector::open(&folder)?.with_budget(budget);
    let Pulled { running, mut missing, received, left_out, matched } =
        pull_all(&mailbox, nodes, &wanted, &mut collector, &events).await?;
    if !matched && !args.paths.is_empty() {
        return Err(PullError::NoSuchFile { run, paths: args.paths }.into());
    }
    let is_complete = running.is_empty() && missing.is_empty() && received.missing.is_empty();
    if is_complete {
        collector.tidy()?;
    }
    for missing in &missing {
        events.warn(format!("outputs are not complete: {missing}"));
    }
    missing.extend(received.sentences());
    let state = state(&running, is_complete);
    let place = shown(&typed.display().to_string());
    let text = format!("received {} in {place}; {state}\n", counted(received.files, "file"));
    output.result(
        &text,
        &json!({
            "schema": 1, "run": run, "received": received.files, "folder": folder, "incomplete_ranks": running,
            "missing_outputs": missing, "left_out": left_out,
        }),
    );
    received.whole()?;
    Ok(if is_complete { 0 } else { Kind::Unavailable.exit_code() })
}

/// How far a run's outputs are here, in words.
fn state(running: &[u32], is_complete: bool) -> String {
    match running {
        _ if is_complete => "complete".to_owned(),
        [] => "incomplete".to_owned(),
        [rank] => format!("rank {rank} has not ended"),
        ranks => format!("ranks {} have not ended", ranks.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// Waits for a run that was left to itself in Docker, and brings all that it leaves.
async fn from_docker(record: Record, is_whole: bool, context: &Context, output: &Output) -> Result<u8> {
    let run = record.spec.name.clone();
    let Some(found) = detached(&record, context).await? else { return Err(PullError::NoMailbox { run }.into()) };
    if !is_whole {
        return Err(PullError::Local { run }.into());
    }
    let events = without_log(&output.events());
    let code = Box::pin(follow_detached(found, record, context, &events, output)).await?;
    Ok(if code == Kind::Interrupted.exit_code() { code } else { 0 })
}

/// What came of a pull.
#[derive(Default)]
struct Pulled {
    /// Ranks that have not ended.
    running: Vec<u32>,
    /// What ranks say is missing, a sentence each.
    missing: Vec<String>,
    received: Received,
    /// What of working directories has stayed behind, with the rank.
    left_out: Vec<serde_json::Value>,
    /// Whether some file is one that is wanted.
    matched: bool,
}

/// Which files are wanted; all where no pattern is given.
struct Wanted(Option<Gitignore>);

impl Wanted {
    fn new(patterns: &[String]) -> Result<Self, PullError> {
        if patterns.is_empty() {
            return Ok(Self(None));
        }
        let plain: Vec<String> = patterns.iter().map(|pattern| pattern.trim_start_matches("./").to_owned()).collect();
        let all = matcher(&plain).map_err(|(pattern, source)| PullError::Pattern { pattern, source })?;
        Ok(Self(Some(all)))
    }

    const fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a rank's file is wanted, by its place in the run's folder.
    fn takes(&self, rank: u32, path: &str) -> bool {
        let Some(patterns) = &self.0 else { return true };
        patterns.matched_path_or_any_parents(path_of(rank, path), false).is_ignore()
    }
}

/// The same events without what the program writes.
fn without_log(events: &Events) -> Events {
    let events = events.clone();
    Events::new(move |event| {
        if !matches!(event, Event::Log { .. }) {
            events.send(event);
        }
    })
}

async fn pull_all(
    mailbox: &Mailbox,
    nodes: u32,
    wanted: &Wanted,
    collector: &mut Collector,
    events: &Events,
) -> Result<Pulled> {
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
        while let Some(mut page) = listing.next().await? {
            page.retain(|file| wanted.takes(rank, &file.path));
            pulled.matched |= !page.is_empty();
            let page = Index { rank, files: page, ..Index::default() };
            let mut pieces = Pieces::Mailbox(&mailbox.registry, &mailbox.repository);
            let received = collector.receive(&page, &mut pieces, events).await?;
            pulled.received.files += received.files;
            pulled.received.missing.extend(received.missing);
        }
        let lost = index.skipped.iter().filter(|skipped| !skipped.special);
        pulled.missing.extend(lost.map(|skipped| format!("rank {rank}: {skipped}")));
        for LeftOut { path, files, bytes, by } in &index.left_out {
            pulled.left_out.push(json!({ "rank": rank, "path": path, "files": files, "bytes": bytes, "by": by }));
        }
        // Who asks for some files has not asked what became of the others.
        for left in index.left_out.iter().filter(|_| wanted.is_all()) {
            collector.say_left_out(left, events);
        }
    }
    Ok(pulled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_wanted_by_their_place_in_the_run_s_folder() {
        let wanted = |patterns: &[&str], rank, path| {
            let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            Wanted::new(&patterns).expect("patterns").takes(rank, path)
        };
        assert!(wanted(&[], 3, "a/b"));
        assert!(wanted(&["ckpt.pt"], 0, "ckpt.pt") && wanted(&["*.pt"], 0, "out/ckpt.pt"));
        assert!(
            wanted(&["logs"], 0, "logs/a/b") && wanted(&["logs/"], 0, "logs/a") && wanted(&["./logs/a"], 0, "logs/a")
        );
        assert!(!wanted(&["logs/"], 0, "catalogs/a") && !wanted(&["/ckpt.pt"], 1, "ckpt.pt"));
        assert!(wanted(&["rank-1/"], 1, "ckpt.pt") && !wanted(&["rank-1/"], 11, "ckpt.pt"));
    }
}
