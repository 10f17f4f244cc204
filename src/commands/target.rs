//! `nauta target`.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::cluster_access::plain_http_doubt;
use super::complete::targets;
use crate::architecture::Architecture;
use crate::bounded_file::{HAND_WRITTEN, read_text};
use crate::context::Context;
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::output::{Output, Table};
use crate::registry::Endpoint;
use crate::settings::{Target, registry_address, registry_host};

/// Add, list or choose targets: clusters to run on
///
/// Example: nauta target add lab --context lab --namespace ml --registry registry.example.com/ml
#[derive(Subcommand, Debug)]
pub enum TargetCommand {
    /// Add a target, or replace it
    Add(Box<AddArgs>),
    /// List the targets
    List,
    /// Choose the target of runs that name none (`local` for Docker)
    Use {
        /// Its name
        #[arg(add = targets())]
        name: String,
    },
}

/// A target's parts
#[derive(Args, Debug)]
pub struct AddArgs {
    /// Its name
    name: String,
    /// The registry as this workstation sees it, with an optional prefix
    #[arg(long, value_name = "HOST[/PREFIX]", value_parser = registry_address)]
    registry: String,
    /// The kubeconfig file; kubectl's where absent
    #[arg(long)]
    kubeconfig: Option<String>,
    /// The context of the kubeconfig
    #[arg(long)]
    context: Option<String>,
    /// The namespace
    #[arg(long)]
    namespace: Option<String>,
    /// The registry's host as the nodes pull from it, where it differs
    #[arg(long, value_name = "HOST", value_parser = registry_host)]
    registry_from_nodes: Option<String>,
    /// The registry's host as pods reach it, where it differs
    #[arg(long, value_name = "HOST", value_parser = registry_host)]
    registry_from_pods: Option<String>,
    /// The Service that leads to a registry which only the cluster reaches
    #[arg(long, value_name = "[NAMESPACE/]NAME:PORT")]
    registry_service: Option<String>,
    /// A host of the registry that is reached without TLS
    #[arg(long, value_name = "HOST", value_parser = registry_host)]
    plain_http: Vec<String>,
    /// The nodes' processors (amd64, arm64), where a cluster has both or does not let nodes be listed
    #[arg(long)]
    architecture: Option<Architecture>,
}

#[derive(Debug, thiserror::Error)]
enum TargetError {
    #[error("cannot write `{}`", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("cannot change `{}`", path.display())]
    Parse { path: PathBuf, source: toml_edit::TomlError },
    #[error("a target cannot be called `{0}`")]
    Name(String),
}

impl Diagnosis for TargetError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Name(_) => vec!["names are letters, digits and dashes; `local` is Docker".to_owned()],
            _ => vec!["check the file and its permissions".to_owned()],
        }
    }
}

/// Does it.
pub fn run(command: TargetCommand, context: &Context, output: &Output) -> Result<u8> {
    match command {
        TargetCommand::Add(args) => add(*args, context, output),
        TargetCommand::List => list(context, output),
        TargetCommand::Use { name } => {
            context.destination(Some(("the command line", &name)), None)?;
            change(context.user_file_path(), |file| file["target"] = toml_edit::value(&name))?;
            output.result(&format!("runs go to {name}\n"), &json!({ "schema": 1, "target": name }));
            Ok(0)
        }
    }
}

fn add(args: AddArgs, context: &Context, output: &Output) -> Result<u8> {
    let name = args.name;
    if name.is_empty() || name == "local" || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') {
        return Err(TargetError::Name(name).into());
    }
    let target = Target {
        kubeconfig: args.kubeconfig.map(|path| context.directory.join(path).display().to_string()),
        context: args.context,
        namespace: args.namespace,
        registry: args.registry,
        registry_from_nodes: args.registry_from_nodes,
        registry_from_pods: args.registry_from_pods,
        registry_service: args.registry_service,
        plain_http: args.plain_http,
        architecture: args.architecture,
        ..Target::default()
    };
    let (host, _) = target.registry_parts();
    let is_plain = Endpoint::new(host).is_ok_and(|endpoint| endpoint.is_plain_http());
    if let Some(from_pods) = target.registry_from_pods.as_ref().filter(|name| is_plain && *name != host)
        && !target.plain_http.contains(from_pods)
    {
        output.events().warn(plain_http_doubt(host, from_pods));
    }
    let section = toml::to_string(&target).unwrap_or_default();
    let path = context.user_file_path();
    let parsed: toml_edit::DocumentMut =
        section.parse().map_err(|source| TargetError::Parse { path: path.to_owned(), source })?;
    change(path, |file| {
        let targets = file.entry("targets").or_insert(toml_edit::Item::Table(toml_edit::Table::new()));
        if let Some(table) = targets.as_table_mut() {
            table.set_implicit(true);
        }
        targets[&name] = toml_edit::Item::Table(parsed.as_table().clone());
    })?;
    output.result(
        &format!("{name} is a target now; `nauta doctor --target {name}` looks at it\n"),
        &json!({ "schema": 1, "target": name }),
    );
    Ok(0)
}

fn list(context: &Context, output: &Output) -> Result<u8> {
    let file = context.user_file();
    let chosen = context.destination(None, None)?.value;
    let mut table = Table::new(&["NAME", "CONTEXT", "NAMESPACE", "REGISTRY", ""]);
    for (name, target) in &file.targets {
        let is_chosen = matches!(&chosen, crate::context::Destination::Cluster(other, _) if other == name);
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "(current)".to_owned());
        let mark = if is_chosen { "chosen" } else { "" };
        table.row([
            name.clone(),
            text(&target.context),
            text(&target.namespace),
            target.registry.clone(),
            mark.to_owned(),
        ]);
    }
    let text = if file.targets.is_empty() { "no targets; runs go to Docker here\n".to_owned() } else { table.render() };
    output.result(&text, &json!({ "schema": 1, "targets": file.targets }));
    Ok(0)
}

/// Changes the user's configuration at once; comments and order stay.
fn change(path: &Path, edit: impl FnOnce(&mut toml_edit::DocumentMut)) -> Result<()> {
    let text = match read_text(path, HAND_WRITTEN) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(TargetError::Write { path: path.to_owned(), source }.into()),
    };
    let mut file: toml_edit::DocumentMut =
        text.parse().map_err(|source| TargetError::Parse { path: path.to_owned(), source })?;
    edit(&mut file);
    let write = || -> io::Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)?;
        let mut new = tempfile::NamedTempFile::new_in(folder)?;
        io::Write::write_all(&mut new, file.to_string().as_bytes())?;
        new.as_file().sync_all()?;
        new.persist(path)?;
        Ok(())
    };
    write().map_err(|source| TargetError::Write { path: path.to_owned(), source })?;
    Ok(())
}
