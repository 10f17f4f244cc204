//! `nauta doctor`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::cluster_access::{Names, open_registry};
use super::complete::targets;
use crate::context::{Context, Destination};
use crate::diagnosis::{Kind, Result};
use crate::digest::Digest;
use crate::image::Builder;
use crate::job::objects::{ClusterRun, RunObjects};
use crate::job::{Deadlines, Launch, OutputRules, Resources, Restarts, RunSpec, Variables};
use crate::output::{Output, Table};
use crate::registry::Access;
use crate::secret::Secret;
use crate::settings::Target;

/// Look at everything that a run needs, and say what is missing and how to get it
///
/// Example: nauta doctor --target lab
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The target to look at
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// One thing that was looked at.
type Finding = (&'static str, Result<String>);

/// Looks; exit code 3 when something is missing.
pub async fn run(args: DoctorArgs, context: &Context, output: &Output) -> Result<u8> {
    let flag = args.target.as_deref().map(|name| ("--target", name));
    let destination = context.destination(flag, None)?;
    let place = match &destination.value {
        Destination::Local => "Docker on this workstation".to_owned(),
        Destination::Cluster(name, _) => format!("target {name}"),
    };
    let mut findings: Vec<Finding> = vec![
        ("nauta", Ok(format!("{} at {}", env!("CARGO_PKG_VERSION"), context.program.display()))),
        ("configuration", Ok(configuration(context))),
        ("runs go to", Ok(format!("{place} (from {})", destination.source))),
        ("docker", docker(context).await),
    ];
    if let Destination::Cluster(_, target) = &destination.value {
        findings.push(("cluster", cluster(context, target, output).await));
        findings.push(("registry", registry(context, target, output).await));
        if findings.iter().rev().take(2).all(|(_, finding)| finding.is_ok()) {
            findings.push(("for pods", for_pods(context, target, output).await));
        }
    }
    Ok(report(&findings, output))
}

fn configuration(context: &Context) -> String {
    let path = context.user_file_path().display();
    match context.user_file().targets.len() {
        _ if !context.user_file_path().exists() => format!("none yet, it would be {path}"),
        1 => format!("{path} with 1 target"),
        targets => format!("{path} with {targets} targets"),
    }
}

async fn docker(context: &Context) -> Result<String> {
    let docker = context.docker().await?;
    let builder = match docker.builder().await? {
        Builder::BuildKit => "builds with BuildKit",
        Builder::Classic => "builds with the classic builder",
    };
    Ok(format!("version {}, {builder} ({})", docker.version(), docker.endpoint()))
}

async fn cluster(context: &Context, target: &Target, output: &Output) -> Result<String> {
    let cluster = context.cluster(target).await?;
    let findings = cluster.check(&nothing(cluster.namespace(), &target.registry)?).await?;
    for warning in findings.warnings {
        output.events().warn(warning);
    }
    let place = cluster.place();
    Ok(format!("namespace {} takes runs (context {})", place.namespace, place.context))
}

async fn registry(context: &Context, target: &Target, output: &Output) -> Result<String> {
    let access = open_registry(context, target, &output.events()).await?;
    access.check(&format!("{}nauta-doctor", access.prefix), Access::Push).await?;
    let login = if access.login.is_some() { "with your login" } else { "without a login" };
    Ok(format!("{} takes pushes {login}", target.registry))
}

/// How nodes and pods reach the registry.
async fn for_pods(context: &Context, target: &Target, output: &Output) -> Result<String> {
    let access = open_registry(context, target, &output.events()).await?;
    let announced = context.cluster(target).await?.registry_hosting().await?;
    let names = Names::new(target, &access.host, announced);
    if let Some(doubt) = names.doubt(target, &access) {
        output.events().warn(doubt);
    }
    Ok(format!("nodes pull from {}, pods push to {}", names.from_nodes, names.from_pods))
}

/// Shows the findings; gives the exit code.
fn report(findings: &[Finding], output: &Output) -> u8 {
    let mut table = Table::new(&["WHAT", "STATE"]);
    let mut list = Vec::new();
    for (what, finding) in findings {
        let (good, words, hints) = match finding {
            Ok(words) => (true, words.clone(), Vec::new()),
            Err(failure) => (false, format!("missing: {failure}"), failure.hints()),
        };
        table.row([(*what).to_owned(), words.clone()]);
        for hint in &hints {
            table.row([String::new(), format!("  hint: {hint}")]);
        }
        list.push(json!({ "what": what, "good": good, "words": words, "hints": hints }));
    }
    let all_good = findings.iter().all(|(_, finding)| finding.is_ok());
    output.result(&table.render(), &json!({ "schema": 1, "good": all_good, "findings": list }));
    if all_good { 0 } else { Kind::Unavailable.exit_code() }
}

/// The objects of a run that does nothing, for asking the cluster about.
fn nothing(namespace: &str, registry: &str) -> Result<RunObjects> {
    let image = format!("{registry}/nauta-doctor@{}", Digest::of(""));
    let spec = RunSpec {
        name: "nauta-doctor".to_owned(),
        project: "nauta-doctor".to_owned(),
        user: String::new(),
        nodes: 1,
        command: vec!["true".to_owned()],
        env: BTreeMap::new(),
        resources: Resources::default(),
        deadlines: Deadlines::default(),
        min_nodes: None,
        restarts: Restarts::default(),
        launch: Launch::default(),
        slots: None,
        variables: Variables::Auto,
        outputs: OutputRules::default(),
        shared: None,
        snapshot: Digest::of(""),
    };
    Ok(RunObjects::plan(&spec, &ClusterRun::new(namespace, image, Secret::new("")))?)
}
