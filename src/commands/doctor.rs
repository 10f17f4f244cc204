//! `nauta doctor`.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use super::cluster_access::{open_cluster, open_registry};
use super::complete::targets;
use crate::context::{Context, Destination};
use crate::diagnosis::{Failure, Kind, Result};
use crate::digest::Digest;
use crate::job::objects::{ClusterRun, RunObjects};
use crate::job::{Deadlines, Resources, RunSpec};
use crate::output::{Output, Table};
use crate::registry::Access;
use crate::secret::Secret;

/// Look at everything that a run needs, and say what is missing and how to get it
///
/// Example: nauta doctor --target lab
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The target to look at
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
}

/// Looks; exit code 3 when something is missing.
pub async fn run(args: DoctorArgs, context: &Context, output: &Output) -> Result<u8> {
    let mut findings: Vec<(&str, std::result::Result<String, Failure>)> = Vec::new();
    let docker = context.docker().await.map(|docker| format!("version {}", docker.version())).map_err(Failure::from);
    findings.push(("docker", docker));
    let flag = args.target.as_deref().map(|name| ("--target", name));
    if let Destination::Cluster(name, target) = context.destination(flag, None)?.value {
        let cluster = async {
            let cluster = open_cluster(context, &target).await?;
            let findings = cluster.check(&nothing(cluster.namespace(), &target.registry)?).await?;
            for warning in findings.warnings {
                output.events().warn(warning);
            }
            let place = cluster.place();
            Ok(format!("{name}: context {}, namespace {}", place.context, place.namespace))
        };
        findings.push(("cluster", cluster.await));
        let registry = async {
            let access = open_registry(context, &target, &output.events()).await?;
            access.check(&format!("{}nauta-doctor", access.prefix), Access::Push).await?;
            Ok(format!("{} takes pushes", target.registry))
        };
        findings.push(("registry", registry.await));
    }
    let mut table = Table::new(&["WHAT", "STATE"]);
    let mut list = Vec::new();
    for (what, finding) in &findings {
        let (good, words, hints) = match finding {
            Ok(words) => (true, format!("good: {words}"), Vec::new()),
            Err(failure) => (false, format!("missing: {failure}"), failure.hints()),
        };
        table.row([(*what).to_owned(), words.clone()]);
        for hint in &hints {
            table.row([String::new(), format!("  {hint}")]);
        }
        list.push(json!({ "what": what, "good": good, "words": words, "hints": hints }));
    }
    let all_good = findings.iter().all(|(_, finding)| finding.is_ok());
    output.result(&table.render(), &json!({ "schema": 1, "good": all_good, "findings": list }));
    Ok(if all_good { 0 } else { Kind::Unavailable.exit_code() })
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
        snapshot: Digest::of(""),
    };
    Ok(RunObjects::plan(&spec, &ClusterRun::new(namespace, image, Secret::new("")))?)
}
