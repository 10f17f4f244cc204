//! `nauta rebase`, hidden: what a run leaves to be done when nobody waits.

use std::process::{Command, Stdio};

use clap::Args;

use super::cluster_access::open_registry;
use crate::architecture::Architecture;
use crate::context::{Context, Destination};
use crate::delivery::{self, Delivery};
use crate::diagnosis::Result;
use crate::event::Events;
use crate::snapshot;

/// Make the layers of this project's code anew, as one whole
///
/// Runs begin this by themselves.
#[derive(Args, Debug)]
pub struct RebaseArgs {
    /// The target whose registry has them
    #[arg(long, value_name = "NAME")]
    target: String,
}

/// Makes them anew.
pub async fn run(args: RebaseArgs, context: &Context) -> Result<u8> {
    let Destination::Cluster(_, target) = context.destination(Some(("--target", &args.target)), None)?.value else {
        return Ok(0);
    };
    let project = context.project()?;
    let name = project.name();
    let events = Events::none();
    let access = open_registry(context, &target, &events).await?;
    let repository = access.repository(&name);
    let registry = &access.registry;
    // Code is the same for all of them.
    let architecture = Architecture::OWN;
    let (repository, project_name) = (repository.as_str(), name.as_str());
    let delivery = Delivery { context, registry, repository, project_name, architecture, events: &events };
    let snapshot = snapshot::take(project.origin(), Some(&context.state_folder()))?;
    delivery::rebase(&delivery, &snapshot).await?;
    Ok(0)
}

/// Begins it in a process of its own, which outlives this one and says nothing.
pub(super) fn begin(context: &Context, target_name: &str) {
    let mut command = Command::new(&context.program);
    command.args(["--quiet", "rebase", "--target", target_name]).current_dir(&context.directory);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    if let Err(error) = command.spawn() {
        tracing::debug!(%error, "the layers of code are not made anew");
    }
}
