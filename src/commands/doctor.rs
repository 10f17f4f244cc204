//! `nauta doctor`.

use clap::Args;
use serde_json::json;

use super::cluster_access::{open_cluster, open_registry};
use crate::context::{Context, Destination};
use crate::diagnosis::{Failure, Kind, Result};
use crate::output::{Output, Table};
use crate::registry::Access;

/// Look at everything that a run needs, and say what is missing and how to get it
///
/// Example: nauta doctor --target lab
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// The target to look at
    #[arg(long, value_name = "NAME")]
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
            let cluster = open_cluster(&target).await?;
            cluster.check(None).await?;
            Ok(format!("{name}: context {}, namespace {}", cluster.context, cluster.namespace))
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
