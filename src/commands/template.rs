//! `nauta template`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::json;

use super::complete::templates;
use crate::context::Context;
use crate::diagnosis::Result;
use crate::output::{Output, Table};
use crate::project::template::{self, Template, TemplateError};

/// List, show or copy templates
///
/// Example: nauta template show pytorch
#[derive(Subcommand, Debug)]
pub enum TemplateCommand {
    /// List the templates
    List,
    /// Print a template's files
    Show {
        /// Its name
        #[arg(add = templates())]
        name: String,
    },
    /// Copy a template to your own, to change it
    Copy {
        /// Its name
        #[arg(add = templates())]
        name: String,
        /// The name of your own; the same where absent
        to: Option<PathBuf>,
    },
}

/// Does it.
pub fn run(command: TemplateCommand, context: &Context, output: &Output) -> Result<u8> {
    let own = context.templates();
    match command {
        TemplateCommand::List => {
            let templates = template::all(&own)?;
            let mut table = Table::new(&["NAME", "WHAT"]);
            for template in &templates {
                table.row([template.name.clone(), template.summary.clone()]);
            }
            let list: Vec<_> = templates.iter().map(|t| json!({ "name": t.name, "summary": t.summary })).collect();
            output.result(&table.render(), &json!({ "schema": 1, "templates": list }));
        }
        TemplateCommand::Show { name } => {
            let template = template::find(&own, &name)?;
            let files: Vec<(String, String)> = template
                .files
                .iter()
                .map(|(path, bytes)| (path.clone(), String::from_utf8_lossy(bytes).into_owned()))
                .collect();
            let text: Vec<String> = files.iter().map(|(path, text)| format!("==> {path}\n{text}\n")).collect();
            let text = text.concat();
            output.data(&text, &json!({ "schema": 1, "name": name, "files": files }));
        }
        TemplateCommand::Copy { name, to } => {
            let target = own.join(to.unwrap_or_else(|| PathBuf::from(&name)));
            template::find(&own, &name)?.write_to(&target)?;
            output.result(&format!("{}\n", target.display()), &json!({ "schema": 1, "folder": target }));
        }
    }
    Ok(0)
}

/// Writes a template's files; gives their paths, whole and as one would type them here.
pub(super) fn write(template: &Template, directory: &Path, context: &Context) -> Result<Vec<(PathBuf, String)>> {
    let typed = |path: &Path| context.typed(path).display().to_string();
    let paths = template.write_to(directory).map_err(|error| match error {
        TemplateError::Exists { path } => TemplateError::Exists { path: context.typed(&path).to_owned() },
        other => other,
    })?;
    Ok(paths.into_iter().map(|path| (path.clone(), typed(&path))).collect())
}
