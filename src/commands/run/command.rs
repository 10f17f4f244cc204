//! What a run starts.

use super::error::RunError;
use super::{RunArgs, paths, script};
use crate::diagnosis::Result;
use crate::event::Events;
use crate::project::{Project, programs};

/// The command: what is typed, what `nauta.toml` has, or the program that is found.
pub(super) fn command(args: &RunArgs, project: &Project) -> Result<Vec<String>> {
    let root = &project.root;
    if !args.command.is_empty() {
        return Ok(paths::in_ranks(script::interpreted(args.command.clone(), root), root, &project.name()));
    }
    if let Some(command) = &project.file.run.command {
        return Ok(script::interpreted(command.0.clone(), root));
    }
    if let Some(program) = &project.found.program {
        return Ok(vec!["python3".to_owned(), program.clone()]);
    }
    match only_program(project) {
        Some(command) => Ok(command),
        None => Err(RunError::NoCommand { directory: root.display().to_string(), programs: programs(root) }.into()),
    }
}

/// The one program that there is, where its name is none of the usual ones.
fn only_program(project: &Project) -> Option<Vec<String>> {
    match programs(&project.root).as_slice() {
        [only] => Some(only.split(' ').map(str::to_owned).collect()),
        _ => None,
    }
}

/// Says which program is meant where nobody has named it, and its name is none of the usual ones.
pub(super) fn announce(args: &RunArgs, project: &Project, command: &[String], events: &Events) {
    if args.command.is_empty() && project.file.run.command.is_none() && project.found.program.is_none() {
        let command = command.join(" ");
        events.note(format!(
            "it runs `{command}`, the only program here (`run.command` in nauta.toml keeps it, or names another)"
        ));
    }
}
