//! `nauta run`: `request` decides, `look` sees whether the target takes runs, then `local` or `cluster` does it.

mod build;
mod cluster;
mod command;
mod error;
mod files;
mod local;
mod look;
mod paths;
mod request;
mod script;
mod secrets;

use clap::Args;

pub(super) use self::local::tell_states;

use self::error::RunError;
use self::look::begin_look;
use self::request::{decide, resolve};
use crate::commands::complete::{targets, templates};
use crate::commands::template::write;
use crate::context::{Context, Destination};
use crate::delivery::pin;
use crate::diagnosis::Result;
use crate::output::{Output, timings_text};
use crate::project::template;
use crate::secret::Secret;

/// Run a program on this workstation or on a cluster
///
/// The first line says which. What the program makes in its working directory and in `$NAUTA_OUTPUTS` comes back to runs/RUN/
/// while it runs.
/// The exit code is the program's: that of the rank that failed first, 128+n for signals, and 125 when nauta itself could
/// not run it; 130 when it was cancelled.
///
/// In the command, {outputs}, {rank}, {nodes}, {master}, {run} and {shared} become what they are on each rank: `--out={outputs}/x`.
/// {{rank}} is a plain {rank}; everything else in braces stays as it is.
///
/// Ctrl-C leaves a cluster's run alone and says how to come back; with --local it cancels the run, twice kills it.
///
/// Example: nauta run --nodes 4 train.py --epochs 20
#[derive(Args, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "flags are independent of each other")]
pub struct RunArgs {
    /// How many ranks, or LEAST:MOST for a run that goes on with fewer when some are lost
    #[arg(long, short = 'n', value_name = "N")]
    nodes: Option<String>,
    /// Run with Docker on this workstation
    #[arg(long, conflicts_with = "target")]
    local: bool,
    /// Run on a target of your configuration
    #[arg(long, value_name = "NAME", add = targets())]
    target: Option<String>,
    /// What the run's name begins with; the project's name where absent
    #[arg(long)]
    name: Option<String>,
    /// A variable for the program
    #[arg(long, short = 'e', value_name = "K=V")]
    env: Vec<String>,
    /// A secret for the program, which `nauta secret set` keeps, or SECRET/KEY of the cluster's namespace; its variable is
    /// NAME, or what follows `=`
    #[arg(long, value_name = "NAME[=ENV]")]
    secret: Vec<String>,
    /// A secret for the program, from the variable of this name here
    #[arg(long, value_name = "NAME")]
    secret_env: Vec<String>,
    /// Keep the variables' values in the record of the run, and not only their names
    #[arg(long)]
    record_env: bool,
    /// Processors of each rank, such as 2 or 500m
    #[arg(long, value_name = "AMOUNT")]
    cpu: Option<String>,
    /// Main memory of each rank, such as 8Gi
    #[arg(long, value_name = "AMOUNT")]
    memory: Option<String>,
    /// Accelerators of each rank
    #[arg(long, value_name = "N")]
    gpus: Option<u32>,
    /// How often all ranks begin again after one has failed
    #[arg(long, value_name = "N")]
    restarts: Option<u32>,
    /// After which failures: failure (any), signal, memory, lost, stall, exit codes; separated by commas
    #[arg(long, value_name = "KINDS")]
    restart_on: Option<String>,
    /// How long the run may take, such as 12h or 2d; 7 days where absent
    #[arg(long, value_name = "TIME")]
    max_duration: Option<String>,
    /// How long a rank has between being asked to stop and being killed; 10s where absent
    #[arg(long, value_name = "TIME")]
    grace: Option<String>,
    /// How long nothing may move, at a rank's end, before outputs that are not delivered are given up; 60s where absent
    #[arg(long, value_name = "TIME")]
    drain: Option<String>,
    /// End the run when no rank has written anything for so long, and say where its processes were
    #[arg(long, value_name = "TIME")]
    stall_timeout: Option<String>,
    /// Which ranks run the command: all, or rank0, whose program starts the others' itself; rank0 where absent for mpirun,
    /// deepspeed and their like
    #[arg(long, value_name = "RANKS")]
    launch: Option<String>,
    /// How many processes such a program starts on each rank; one for each accelerator where absent
    #[arg(long, value_name = "N")]
    slots: Option<u32>,
    /// Which variables the program finds beside NAUTA_*: auto (what frameworks read, in runs of several ranks), none, torch
    /// (also with one rank), jax, slurm or mpi; auto where absent
    #[arg(long, value_name = "WHICH")]
    variables: Option<String>,
    /// Bring files back from the working directory though they look like a cache or a data set, by a pattern as in a .gitignore;
    /// with `!` before it, leave files there
    #[arg(long, value_name = "PATTERN")]
    outputs: Vec<String>,
    #[command(flatten)]
    build: build::BuildFlags,
    /// A folder that all ranks share, `$NAUTA_SHARED` or {shared} in the command, such as 10Gi; on a cluster it needs a storage
    /// class that allows `ReadWriteMany`
    #[arg(long, value_name = "SIZE")]
    shared: Option<String>,
    /// Put a template's files into this directory first, if it is empty
    #[arg(long, value_name = "NAME", add = templates())]
    template: Option<String>,
    /// Start the run and return; `nauta logs -f`, `status`, `pull` and `cancel` come back to it
    #[arg(long, short = 'd')]
    detach: bool,
    /// Print the cluster's manifests and submit nothing (the image is pushed: they name it)
    #[arg(long)]
    dry_run: bool,
    /// Say how long each step took, at the end
    #[arg(long)]
    timings: bool,
    /// The program and its arguments: all from the first word that is no flag, or behind `--`. A script is run by python3,
    /// or by the shell it asks for
    #[arg(trailing_var_arg = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Runs; the exit code is the program's.
pub async fn run(args: RunArgs, context: &Context, output: &Output) -> Result<u8> {
    let events = output.events();
    let from_here = args.secret_env.iter().filter_map(|name| context.variable(name));
    from_here.for_each(|value| output.mask().add(&Secret::new(value)));
    if let Some(name) = &args.template {
        let template = template::find(&context.templates(), name)?;
        for (_, typed) in write(&template, &context.directory, context)? {
            events.note(format!("wrote {typed}"));
        }
    }
    let mut decided = decide(&args, context, &events)?;
    decided.find_secrets(&args, context, output).await?;
    decided.find_build(&args, context, output).await?;
    let look = begin_look(&decided, context, &events);
    if args.dry_run && look.is_none() {
        return Err(RunError::DryRunLocal.into());
    }
    let mut request = resolve(decided, context, &events)?;
    request.environment.plan = pin(context, &request.project.root, request.environment.plan, &events).await?;
    let remembering = request.remember(context);
    let code = match (&request.destination.value, look) {
        (Destination::Cluster(name, _), Some(look)) => {
            let name = name.clone();
            Box::pin(cluster::run_on_cluster(request, look, &name, &args, context, output)).await
        }
        _ => local::run_locally(request, args.detach, context, output).await,
    };
    let _ = remembering.await;
    if args.timings {
        timings_text(&output.timings(), output.took()).lines().for_each(|line| output.narrate(line));
    }
    code
}
