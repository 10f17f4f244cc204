//! nauta takes a working directory to N machines and brings the results back.
//!
//! The registry carries data, the Kubernetes API carries control, Docker builds. Modules are layered, and a module
//! imports only from lower layers (`tests/meta` keeps it so):
//!
//! | layer | modules |
//! |---|---|
//! | L6 | [`cli`], `fuzzing` |
//! | L5 | [`commands`], [`supervisor`] |
//! | L4 | [`context`], [`delivery`], [`follow`] |
//! | L3 | [`docker`], [`registry`], [`cluster`], [`credentials`], [`output`] |
//! | L2 | [`event`] |
//! | L1 | [`project`], [`snapshot`], [`image`], [`job`], [`sync`], [`control`], [`settings`] |
//! | L0 | [`architecture`], [`diagnosis`], [`digest`], [`secret`], [`layout`], [`env_vars`], [`proxies`], [`archive`], [`bounded_file`], [`certificates`], [`programs`] |

pub mod architecture;
pub mod archive;
pub mod bounded_file;
pub mod certificates;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod context;
pub mod control;
pub mod credentials;
pub mod delivery;
pub mod diagnosis;
pub mod digest;
pub mod docker;
pub mod env_vars;
pub mod event;
pub mod follow;
#[doc(hidden)]
pub mod fuzzing;
pub mod image;
pub mod job;
pub mod layout;
pub mod output;
pub mod programs;
pub mod project;
pub mod proxies;
pub mod registry;
pub mod secret;
pub mod settings;
pub mod snapshot;
pub mod supervisor;
pub mod sync;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::CommandFactory;

use cli::Cli;
use diagnosis::Result;
use output::Output;
use tracing_subscriber::EnvFilter;

/// Runs nauta with `arguments` (the program's name first).
#[must_use]
pub fn main(mut arguments: Vec<OsString>) -> ExitCode {
    if let Some(code) = supervisor::front(&arguments) {
        return code.into();
    }
    match arguments.get(1).and_then(|verb| verb.to_str()) {
        // Before anything else: as PID 1 there is no time to lose.
        Some("supervise") => supervisor::main(arguments.split_off(2)).into(),
        Some("janitor") => docker::janitor::main(&arguments.split_off(2)).into(),
        _ if commands::completions::answer(Cli::command, &arguments) => ExitCode::SUCCESS,
        _ => workstation(&arguments),
    }
}

fn workstation(arguments: &[OsString]) -> ExitCode {
    let cli = match Cli::read(arguments) {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    let said = cli.trace_filter().map(EnvFilter::new);
    let output = cli.output();
    if let Some(filter) = said.or_else(|| EnvFilter::try_from_env(env_vars::LOG).ok()) {
        let mask = output.mask();
        let masked = move || output::MaskedStderr(mask.clone());
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(masked).init();
    }
    let passes_codes_through = cli.passes_codes_through();
    let executed = execute(cli, &output).and_then(|code| output.finish().map(|()| code).map_err(Into::into));
    let code = executed.unwrap_or_else(|failure| {
        output.failure(&failure);
        if passes_codes_through { event::NOT_RUN } else { failure.kind().exit_code() }
    });
    ExitCode::from(code)
}

fn execute(cli: Cli, output: &Output) -> Result<u8> {
    let context = context::Context::read()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(context::ContextError::Directory)?;
    let code = runtime.block_on(Box::pin(cli.run(&context, output)));
    // Nothing that still waits (a keyring that hangs, a stream that is closing) keeps the user waiting.
    runtime.shutdown_background();
    code
}
