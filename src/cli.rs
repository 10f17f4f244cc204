//! The command line: global flags, the verbs, and the one match that dispatches them.

mod verbs;

use std::ffi::OsString;

use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::commands::{
    self, cancel, completions, doctor, files, init, list, lock, login, logs, pull, rebase, run, secret, status, target,
    template,
};
use crate::context::Context;
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::output::{Format, Output};

/// Take a working directory to N machines and bring the results back
///
/// `nauta run --local` on this workstation, `nauta run --nodes 4` on the cluster: the same directory, the same supervisor,
/// the same exit rules.
#[derive(Parser, Debug)]
#[command(name = "nauta", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Example: nauta init --template pytorch digits && cd digits && nauta run --local")]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(clap::Args, Debug)]
#[command(next_help_heading = "Global options")]
struct Global {
    /// Print JSON: one document, or one object per line where it goes on
    #[arg(long, global = true)]
    json: bool,
    /// Say only results, warnings and errors
    #[arg(long, short, global = true)]
    quiet: bool,
    /// Trace what nauta does, on stderr (twice for more)
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// When to use colours
    #[arg(long, global = true, value_enum, default_value_t = Colour::Auto, value_name = "WHEN")]
    color: Colour,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Colour {
    Auto,
    Always,
    Never,
}

#[derive(Subcommand, Debug)]
enum Verb {
    Init(init::InitArgs),
    Run(Box<run::RunArgs>),
    Files(files::FilesArgs),
    Lock(lock::LockArgs),
    List(list::ListArgs),
    Status(status::StatusArgs),
    Logs(logs::LogsArgs),
    Pull(pull::PullArgs),
    Cancel(cancel::CancelArgs),
    Login(login::LoginArgs),
    Logout(login::LogoutArgs),
    #[command(subcommand)]
    Secret(secret::SecretCommand),
    #[command(subcommand)]
    Target(target::TargetCommand),
    Doctor(doctor::DoctorArgs),
    #[command(subcommand)]
    Template(template::TemplateCommand),
    Completions(completions::CompletionsArgs),
    /// Say which nauta this is
    ///
    /// Example: nauta version --json
    Version,
    #[command(hide = true)]
    Rebase(rebase::RebaseArgs),
    #[command(hide = true)]
    Man(completions::ManArgs),
}

/// A command line that makes no sense, for programs.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct UsageError(String);

impl Diagnosis for UsageError {
    fn kind(&self) -> Kind {
        Kind::Usage
    }
    fn hints(&self) -> Vec<String> {
        vec!["`nauta help` shows the verbs, `nauta VERB --help` their flags".to_owned()]
    }
}

impl Cli {
    /// Reads a command line; when there is nothing to do but to print (help, the version, what is wrong), prints it and gives
    /// the exit code.
    pub fn read(arguments: &[OsString]) -> std::result::Result<Self, u8> {
        let error = match Self::try_parse_from(arguments) {
            Ok(cli) => return Ok(cli),
            Err(error) => verbs::suggest(error),
        };
        if !error.use_stderr() {
            // Help and version are results: clap knows where they go.
            let _ = error.print();
            return Err(0);
        }
        let ours = arguments.iter().take_while(|argument| *argument != "--");
        if ours.into_iter().any(|argument| argument == "--json") {
            let text = error.render().to_string();
            let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Output::new(Format::Json, true, anstream::ColorChoice::Never).failure(&UsageError(message).into());
        } else {
            // Arguments may be names of files (`nauta logs *`), and are shown as those are.
            Output::new(Format::Text, false, anstream::ColorChoice::Auto).usage(&error.render().ansi().to_string());
        }
        Err(u8::try_from(error.exit_code()).unwrap_or(Kind::Usage.exit_code()))
    }

    /// Where this command line wants its output.
    pub fn output(&self) -> Output {
        let choice = match self.global.color {
            Colour::Auto => anstream::ColorChoice::Auto,
            Colour::Always => anstream::ColorChoice::Always,
            Colour::Never => anstream::ColorChoice::Never,
        };
        Output::new(if self.global.json { Format::Json } else { Format::Text }, self.global.quiet, choice)
    }

    /// What to trace, as a filter; nothing unless asked for.
    pub fn trace_filter(&self) -> Option<&'static str> {
        match self.global.verbose {
            0 => None,
            1 => Some("nauta=debug"),
            _ => Some("debug"),
        }
    }

    /// Does what the command line says; gives the exit code. `nauta run` has exit codes of its own.
    pub async fn run(self, context: &Context, output: &Output) -> Result<u8> {
        match self.verb {
            Verb::Init(args) => init::run(args, context, output),
            Verb::Run(args) => Box::pin(run::run(*args, context, output)).await,
            Verb::Files(args) => files::run(&args, context, output),
            Verb::Lock(args) => lock::run(args, context, output).await,
            Verb::List(args) => list::run(args, context, output).await,
            Verb::Status(args) => status::run(args, context, output).await,
            Verb::Logs(args) => Box::pin(logs::run(args, context, output)).await,
            Verb::Pull(args) => pull::run(args, context, output).await,
            Verb::Cancel(args) => cancel::run(args, context, output).await,
            Verb::Login(args) => login::login(args, context, output).await,
            Verb::Logout(args) => login::logout(args, context, output).await,
            Verb::Secret(command) => secret::run(command, context, output).await,
            Verb::Target(command) => target::run(command, context, output),
            Verb::Doctor(args) => doctor::run(args, context, output).await,
            Verb::Template(command) => template::run(command, context, output),
            Verb::Completions(args) => Ok(completions::run(&args, output)),
            Verb::Version => Ok(commands::version::run(output)),
            Verb::Rebase(args) => rebase::run(args, context).await,
            Verb::Man(args) => completions::man(args, Self::command()),
        }
    }

    /// Whether failures of nauta itself are told by 125, as `docker run` does, since other codes are the program's.
    pub const fn passes_codes_through(&self) -> bool {
        matches!(self.verb, Verb::Run(_))
    }
}
