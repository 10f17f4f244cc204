//! `nauta login` and `nauta logout`.

use std::io::Read;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::cluster_access::credentials;
use crate::context::Context;
use crate::credentials::{Login, Stored};
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::output::Output;
use crate::registry::{Access, Auth, Endpoint, Registry};
use crate::secret::Secret;

/// Keep a login for a registry
///
/// The password is read from standard input. It is tried first, then kept in the system's keyring.
///
/// Example: nauta login --user ada registry.example.com < password
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// The registry's host
    registry: String,
    /// Your name there
    #[arg(long, short = 'u')]
    user: String,
    /// Where it is kept
    #[arg(long, value_enum, default_value_t = Store::Keyring)]
    store: Store,
    /// The registry is reached without TLS although it is not this machine
    #[arg(long)]
    plain_http: bool,
}

/// Where a login is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// The system's keyring
    Keyring,
    /// Docker's config.json, readable for you
    DockerConfig,
}

/// Forget a login for a registry
///
/// Example: nauta logout registry.example.com
#[derive(Args, Debug)]
pub struct LogoutArgs {
    /// The registry's host
    registry: String,
}

#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("no password came on standard input")]
    NoPassword,
}

impl Diagnosis for LoginError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        vec!["pass it by a pipe or a file: `nauta login --user NAME HOST < password-file`".to_owned()]
    }
}

/// Keeps a login.
pub async fn login(args: LoginArgs, context: &Context, output: &Output) -> Result<u8> {
    let mut password = String::new();
    let read = std::io::stdin().take(64 * 1024).read_to_string(&mut password);
    let password = password.trim_end_matches(['\n', '\r']);
    if read.is_err() || password.is_empty() {
        return Err(LoginError::NoPassword.into());
    }
    let login = Login { user: args.user.clone(), secret: Secret::new(password) };
    let endpoint = Endpoint::new(&args.registry).allow_plain_http(args.plain_http);
    let auth = Auth::Basic { user: args.user, password: login.secret.clone() };
    Registry::new(endpoint, auth)?.check("nauta/login", Access::Pull).await?;
    let credentials = credentials(context);
    let stored = match args.store {
        Store::Keyring => credentials.store_in_keyring(&args.registry, &login)?,
        Store::DockerConfig => credentials.store_in_docker_config(&args.registry, &login)?,
    };
    let place = match &stored {
        Stored::Keyring => "the keyring".to_owned(),
        Stored::DockerConfig(path) => {
            output.events().warn(format!("the password is readable (base64) in {}", path.display()));
            path.display().to_string()
        }
    };
    let text = format!("the login for {} is kept in {place}\n", args.registry);
    output.result(&text, &json!({ "schema": 1, "registry": args.registry, "kept_in": place }));
    Ok(0)
}

/// Forgets a login.
pub fn logout(args: &LogoutArgs, context: &Context, output: &Output) -> Result<u8> {
    let erased = credentials(context).erase(&args.registry)?;
    let text = if erased { "is forgotten" } else { "was not there" };
    let document = json!({ "schema": 1, "registry": args.registry, "erased": erased });
    output.result(&format!("the login for {} {text}\n", args.registry), &document);
    Ok(0)
}
