//! `nauta list`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::complete::targets;
use super::local_follow::{ranks_now, where_all_stand};
use super::record::{Record, live_local};
use crate::cluster::Scope;
use crate::context::{Context, Destination};
use crate::diagnosis::Result;
use crate::job::state::State;
use crate::output::{Output, Table, terminal_width};
use crate::project::label_value;

/// List runs: those of this project, and those of the target's namespace
///
/// Your own come first, the newest before the others. A terminal shows of each command what fits.
///
/// Example: nauta list --target lab
#[derive(Args, Debug)]
pub struct ListArgs {
    /// The target whose runs to list
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// A run, as it is listed.
struct Row {
    run: String,
    target: String,
    nodes: u32,
    state: State,
    /// Seconds since 1970.
    created: i64,
    user: String,
    command: String,
}

/// Lists.
pub async fn run(args: ListArgs, context: &Context, output: &Output) -> Result<u8> {
    let me = label_value(&context.user());
    let mut rows = rows(args, context).await?;
    rows.sort_by_key(|row| (row.user != me, std::cmp::Reverse(row.created)));
    let list: Vec<_> = rows
        .iter()
        .map(|row| {
            let started = jiff::Timestamp::from_second(row.created).ok();
            json!({
                "run": row.run, "target": row.target, "nodes": row.nodes, "state": row.state, "started": started,
                "user": row.user, "command": row.command,
            })
        })
        .collect();
    let text = if rows.is_empty() {
        "no runs yet; `nauta run` starts one\n".to_owned()
    } else {
        table(&rows, &me, jiff::Timestamp::now().as_second(), terminal_width())
    };
    output.result(&text, &json!({ "schema": 1, "runs": list }));
    Ok(0)
}

async fn rows(args: ListArgs, context: &Context) -> Result<Vec<Row>> {
    let project = context.project().ok();
    let file_target = project.as_ref().and_then(|project| project.file.run.target.clone());
    let flag = args.target.as_deref().map(|name| ("--target", name));
    let mut rows = Vec::new();
    if let Destination::Cluster(name, target) = context.destination(flag, file_target.as_deref())?.value {
        for run in context.cluster(&target).await?.list(Scope::All).await? {
            rows.push(Row {
                run: run.name,
                target: name.clone(),
                nodes: run.nodes,
                state: run.state.word(),
                created: run.created.map_or(0, jiff::Timestamp::as_second),
                user: run.user,
                command: run.command.join(" "),
            });
        }
    }
    let records = project.map(|project| Record::all(&project.root)).unwrap_or_default();
    let live = live_here(&records, context).await;
    for record in records {
        if let Some(row) = rows.iter_mut().find(|row| row.run == record.spec.name) {
            // The Job does not tell what of the outputs is missing, nor whether somebody cancelled it.
            row.state = record.state.unwrap_or(row.state);
        } else {
            let spec = &record.spec;
            rows.push(Row {
                run: spec.name.clone(),
                target: record.target.clone(),
                nodes: spec.nodes,
                state: record.state(live.get(&spec.name).copied()),
                created: record.created,
                user: label_value(&spec.user),
                command: spec.command.join(" "),
            });
        }
    }
    Ok(rows)
}

/// Where the runs stand that Docker has. Those of another nauta end with it; of one that was left to itself, only its ranks know.
async fn live_here(records: &[Record], context: &Context) -> BTreeMap<String, State> {
    let mut states = BTreeMap::new();
    for found in live_local(records, context).await {
        let (run, nodes) = (found.run.clone(), found.nodes);
        let state = if found.leased {
            State::Running
        } else {
            where_all_stand(&ranks_now(found, nodes, context).await, nodes).0
        };
        states.insert(run, state);
    }
    states
}

/// The table for people, no wider than the terminal; owners are in it where there are others.
fn table(rows: &[Row], me: &str, now: i64, width: Option<usize>) -> String {
    let has_others = rows.iter().any(|row| row.user != me);
    let heading = ["RUN", "TARGET", "RANKS", "STATE", "AGE", "USER", "COMMAND"];
    let heading: Vec<&str> = heading.into_iter().filter(|name| has_others || *name != "USER").collect();
    let mut table = Table::new(&heading);
    for row in rows {
        let user = has_others.then(|| row.user.clone());
        let known = [row.run.clone(), row.target.clone(), row.nodes.to_string(), row.state.to_string()];
        table.row(known.into_iter().chain([age(now - row.created)]).chain(user).chain([row.command.clone()]));
    }
    table.render_within(width)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(user: impl Fn(i64) -> &'static str) -> Vec<Row> {
        let row = |i: i64| Row {
            run: format!("real-nanogpt-{i:05}"),
            target: "lab".to_owned(),
            nodes: 4,
            state: State::Succeeded,
            created: 1_000_000 - i * 1000,
            user: user(i).to_owned(),
            command: "python3 train.py --device=cpu --compile=False --eval_iters=1 --block_size=64".to_owned(),
        };
        (0..30).map(row).collect()
    }

    #[test]
    fn thirty_runs_take_thirty_lines_of_a_terminal() {
        let text = table(&rows(|_| "me"), "me", 1_000_000, Some(80));
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 31, "{text}");
        assert!(lines.iter().all(|line| console::measure_text_width(line) <= 80), "{text}");
        assert!(lines[1].ends_with('…') && lines[1].contains("python3 train.py"), "{text}");
        assert!(!text.contains("USER"), "{text}");
        let whole = table(&rows(|_| "me"), "me", 1_000_000, None);
        assert!(whole.contains("--block_size=64") && !whole.contains('…'), "{whole}");
    }

    #[test]
    fn owners_are_told_where_there_are_others() {
        let text = table(&rows(|i| if i == 3 { "ada" } else { "me" }), "me", 1_000_000, Some(110));
        assert!(text.contains("USER") && text.contains("ada"), "{text}");
    }
}
