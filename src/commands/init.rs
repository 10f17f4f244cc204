//! `nauta init`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::complete::templates;
use super::template::write;
use crate::context::Context;
use crate::diagnosis::Result;
use crate::output::{Output, shown};
use crate::project::template::{self, Template};
use crate::project::{Found, programs, project_name};

/// Begin a project: from a template, or with what is in the directory
///
/// Without a template, writes a nauta.toml that says what was found. Nothing that is there is overwritten.
///
/// Example: nauta init --template pytorch digits
#[derive(Args, Debug)]
pub struct InitArgs {
    /// The template's name (`nauta template list`)
    #[arg(long, short = 't', value_name = "NAME", add = templates())]
    template: Option<String>,
    /// The directory, made if need be; the working directory where absent
    directory: Option<PathBuf>,
}

/// Of other programs, so many are named.
const SHOWN: usize = 4;

/// Writes the files.
pub fn run(args: InitArgs, context: &Context, output: &Output) -> Result<u8> {
    let directory = args.directory.map_or_else(|| context.directory.clone(), |path| context.directory.join(path));
    let (template, programs) = if let Some(name) = &args.template {
        (template::find(&context.templates(), name)?, Vec::new())
    } else {
        let programs = programs(&directory);
        (from_what_is_there(&directory, &programs), programs)
    };
    let (paths, typed): (Vec<_>, Vec<_>) = write(&template, &directory, context)?.into_iter().unzip();
    let next = next(&programs, args.template.is_some());
    let document = json!({ "schema": 1, "written": paths, "programs": programs });
    output.result(&format!("wrote {}\n{next}\n", shown(&typed.join(", "))), &document);
    Ok(0)
}

/// What to do next.
fn next(programs: &[String], is_template: bool) -> String {
    match programs {
        [] if !is_template => {
            "no program was found here: `nauta run --local PROGRAM` runs one, `run.command` in nauta.toml keeps it"
                .to_owned()
        }
        [first, others @ ..] if !others.is_empty() => {
            let others: Vec<_> = others.iter().take(SHOWN).map(|other| format!("`{other}`")).collect();
            format!(
                "its command is `{first}`; there is {} as well (`run.command` in nauta.toml)\ntry it with `nauta run --local`",
                others.join(", ")
            )
        }
        _ => "try it with `nauta run --local`".to_owned(),
    }
}

fn from_what_is_there(directory: &Path, programs: &[String]) -> Template {
    let found = Found::in_directory(directory).unwrap_or_default();
    let own = directory.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let mut text = format!("[project]\nname = \"{}\"\n\n[environment]\n", project_name(&own));
    if let Some(name) = &found.dockerfile {
        text.extend(["dockerfile = \"", name, "\"\n"]);
    } else {
        let base = found.usual_base(found.dependencies.as_ref()).unwrap_or_else(|| "python:3.12-slim".to_owned());
        let _ = writeln!(text, "base = \"{base}\"");
    }
    text.push_str("\n[run]\n");
    match programs.first() {
        Some(program) => drop(writeln!(text, "command = \"{program}\"")),
        None => text.push_str("# command = \"python3 train.py\"\n"),
    }
    text.push_str("nodes = 1\n");
    let files = vec![("nauta.toml".to_owned(), text.into_bytes())];
    Template { name: "found".to_owned(), summary: String::new(), files, folder: None }
}
