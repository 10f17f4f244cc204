//! `nauta files --build`: what the environment's build reads, and who says so.

use serde_json::json;

use crate::context::Context;
use crate::delivery::{environment, plan_environment};
use crate::diagnosis::Result;
use crate::image::BuildOptions;
use crate::image::inputs::{Input, Inputs, Problem};
use crate::output::{Output, Table, bytes, counted, shown};
use crate::snapshot::{self, Content};

/// Lists it.
pub(super) fn run(context: &Context, output: &Output) -> Result<u8> {
    let project = context.project()?;
    let state = context.state_folder();
    let snapshot = snapshot::take(project.origin(), Some(&state))?;
    let section = &project.file.environment;
    let options =
        BuildOptions { args: section.args.clone(), target: section.target.clone(), ..BuildOptions::default() };
    let plan = plan_environment(&project, context.user_file(), options)?;
    let gpus = project.file.run.gpus.unwrap_or(0);
    let environment = environment(&project, plan, &snapshot, &state, gpus)?;
    let (inputs, what) = (&environment.inputs, environment.plan.describe());
    let files = inputs.files.values().filter(|input| kind(input) == "file").count() as u64;
    let mut text =
        format!("{}, {} are read by the build of {}\n", counted(files, "file"), bytes(inputs.size()), shown(&what));
    text.push_str(&table(inputs));
    for problem in &inputs.problems {
        text.extend(["cannot be sent: ", &shown(&problem.to_string()), "; ", &shown(&problem.hint()), "\n"]);
    }
    let list: Vec<_> = inputs.files.iter().map(|(path, input)| entry(path, input)).collect();
    let problems: Vec<_> = inputs.problems.iter().map(trouble).collect();
    let document = json!({
        "schema": 1, "environment": what, "root": inputs.root, "project": inputs.project, "files": files, "size": inputs.size(),
        "inputs": list, "problems": problems,
    });
    output.result(&text, &document);
    Ok(0)
}

fn table(inputs: &Inputs) -> String {
    let mut table = Table::new(&["PATH", "SIZE", "READ BY"]);
    for (path, input) in &inputs.files {
        let name = String::from_utf8_lossy(path).into_owned();
        let (name, size) = match &input.content {
            Content::Directory => (name + "/", "-".to_owned()),
            Content::Link { target } => (format!("{name} -> {}", String::from_utf8_lossy(target)), "-".to_owned()),
            Content::File { .. } if input.hollow => (name, "name only".to_owned()),
            Content::File { size, .. } => (name, bytes(*size)),
        };
        table.row([name, size, input.reason.to_string()]);
    }
    if inputs.files.is_empty() { String::new() } else { table.render() }
}

const fn kind(input: &Input) -> &'static str {
    match &input.content {
        Content::Directory => "folder",
        Content::Link { .. } => "link",
        Content::File { .. } if input.hollow => "name",
        Content::File { .. } => "file",
    }
}

fn entry(path: &[u8], input: &Input) -> serde_json::Value {
    let path = String::from_utf8_lossy(path);
    json!({ "path": path, "kind": kind(input), "size": input.size(), "reason": input.reason })
}

fn trouble(problem: &Problem) -> serde_json::Value {
    let (text, hint) = (problem.to_string(), problem.hint());
    json!({ "path": problem.path, "reason": problem.reason, "text": text, "hint": hint })
}
