//! `nauta list`.

use clap::Args;
use serde_json::json;

use super::complete::targets;
use super::record::{Record, live_local};
use crate::cluster::Scope;
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::output::{Output, Table};

/// List runs: those of this project, and those of the target's namespace
///
/// Example: nauta list --target lab
#[derive(Args, Debug)]
pub struct ListArgs {
    /// The target whose runs to list
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// Lists.
pub async fn run(args: ListArgs, context: &Context, output: &Output) -> Result<u8> {
    let project = context.project().ok();
    let file_target = project.as_ref().and_then(|project| project.file.run.target.clone());
    let flag = args.target.as_deref().map(|name| ("--target", name));
    let mut rows = Vec::new();
    if let Destination::Cluster(name, target) = context.destination(flag, file_target.as_deref())?.value {
        for run in context.cluster(&target).await?.list(Scope::All).await? {
            let created = run.created.map_or(0, jiff::Timestamp::as_second);
            let state = run.state.word();
            rows.push((run.name, name.clone(), run.nodes, state, created, run.command.join(" ")));
        }
    }
    let records = project.map(|project| Record::all(&project.root)).unwrap_or_default();
    let live = live_local(&records, context).await;
    for record in records {
        if let Some(row) = rows.iter_mut().find(|row| row.0 == record.spec.name) {
            // The Job does not tell what of the outputs is missing, nor whether somebody cancelled it.
            row.3 = record.state.unwrap_or(row.3);
        } else {
            let (name, spec) = (record.target.clone(), &record.spec);
            rows.push((
                spec.name.clone(),
                name,
                spec.nodes,
                record.state(live.iter().any(|run| run.run == spec.name)),
                record.created,
                spec.command.join(" "),
            ));
        }
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.4));
    let mut table = Table::new(&["RUN", "TARGET", "RANKS", "STATE", "AGE", "COMMAND"]);
    let now = jiff::Timestamp::now().as_second();
    for (run, target, nodes, state, created, command) in &rows {
        table.row([
            run.clone(),
            target.clone(),
            nodes.to_string(),
            state.to_string(),
            age(now - created),
            command.clone(),
        ]);
    }
    let list: Vec<_> = rows
        .iter()
        .map(|(run, target, nodes, state, created, command)| {
            let started = jiff::Timestamp::from_second(*created).ok();
            json!({ "run": run, "target": target, "nodes": nodes, "state": state, "started": started, "command": command })
        })
        .collect();
    let text = if rows.is_empty() { "no runs yet; `nauta run` starts one\n".to_owned() } else { table.render() };
    output.result(&text, &json!({ "schema": 1, "runs": list }));
    Ok(0)
}

/// Seconds as `kubectl` shows ages: in one unit that says enough.
pub(super) fn age(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{}s", seconds.max(0)),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
