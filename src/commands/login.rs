//! `nauta login` and `nauta logout`.

use clap::{Args, ValueEnum};
use serde_json::json;

use super::complete::registries;
use super::secret_input::{NoSecret, read_secret};
use crate::bounded_file::{self, HAND_WRITTEN};
use crate::context::Context;
use crate::credentials::{self, Credential, Destination, Place};
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::output::Output;
use crate::registry::{Access, Auth, Endpoint, Registry, RegistryError};
use crate::settings::SettingsError;

/// Keep a login for a registry
///
/// The password is asked for without showing it, or read from standard input where that is no terminal. It is tried
/// first, then kept in the system's keyring.
///
/// Example: nauta login --user ada registry.example.com < password-file
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// The registry's host
    #[arg(add = registries())]
    registry: String,
    /// Your name there
    #[arg(long, short = 'u')]
    user: String,
    /// Read the password from standard input, though it is a terminal
    #[arg(long)]
    password_stdin: bool,
    /// Where it is kept
    #[arg(long, value_enum, default_value_t = Store::Keyring)]
    store: Store,
    /// The registry is reached without TLS although it is not this machine
    #[arg(long)]
    plain_http: bool,
    /// Certificates (PEM) to trust for it
    #[arg(long, value_name = "FILE")]
    ca: Option<std::path::PathBuf>,
}

/// Where a login is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Store {
    /// The system's keyring, else Docker's credential helper
    Keyring,
    /// Docker's config.json, readable for you
    DockerConfig,
}

impl From<Store> for Destination {
    fn from(store: Store) -> Self {
        match store {
            Store::Keyring => Self::Safe,
            Store::DockerConfig => Self::DockerConfig,
        }
    }
}

/// Forget a login for a registry
///
/// Example: nauta logout registry.example.com
#[derive(Args, Debug)]
pub struct LogoutArgs {
    /// The registry's host
    #[arg(add = registries())]
    registry: String,
    /// Where it is kept
    #[arg(long, value_enum, default_value_t = Store::Keyring)]
    store: Store,
}

#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error(transparent)]
    Input(#[from] NoSecret),
    #[error("registry `{registry}` does not take this name and password of `{user}`; nothing was kept")]
    Refused { registry: String, user: String },
}

impl Diagnosis for LoginError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::Refused { .. } => {
                "try again; some registries want an access token in place of the password".to_owned()
            }
            Self::Input(input) => return input.hints(),
        };
        vec![hint]
    }
}

fn endpoint(args: &LoginArgs) -> Result<Endpoint> {
    let endpoint = Endpoint::new(&args.registry)?;
    if let Some(path) = &args.ca {
        let read = bounded_file::read(path, HAND_WRITTEN)
            .map_err(|source| SettingsError::Unreadable { path: path.clone(), source });
        return Ok(endpoint.trusting(&read?)?);
    }
    Ok(if args.plain_http { endpoint.plain_http() } else { endpoint })
}

/// Keeps a login.
pub async fn login(args: LoginArgs, context: &Context, output: &Output) -> Result<u8> {
    let endpoint = endpoint(&args)?;
    let prompt = format!("password of {} at {}", args.user, args.registry);
    let password = read_secret("password", &prompt, args.password_stdin).map_err(LoginError::Input)?;
    let credential = Credential::Password { user: args.user.clone(), password };
    let registry = Registry::new(endpoint, Auth::from(credential.clone()));
    match registry.check("nauta/login", Access::Pull).await {
        Err(RegistryError::Unauthorised { .. }) => {
            return Err(LoginError::Refused { registry: args.registry, user: args.user }.into());
        }
        checked => checked?,
    }
    let sources = context.credential_sources();
    let place = credentials::store(&args.registry, &credential, args.store.into(), &sources).await?;
    if let Some(warning) = place.warning() {
        output.events().warn(warning);
    }
    let text = format!("the login for {} is kept in {place}\n", args.registry);
    output.result(&text, &json!({ "schema": 1, "registry": args.registry, "kept_in": place.to_string() }));
    Ok(0)
}

/// Forgets a login.
pub async fn logout(args: LogoutArgs, context: &Context, output: &Output) -> Result<u8> {
    let sources = context.credential_sources();
    let erased = credentials::erase(&args.registry, args.store.into(), &sources).await?;
    let places: Vec<String> = erased.removed.iter().map(Place::to_string).collect();
    let text =
        if places.is_empty() { "was not there".to_owned() } else { format!("is gone from {}", places.join(", ")) };
    if let Some(left) = &erased.left {
        output.events().warn(format!("another login for {} is in {left}, and goes on being used", args.registry));
    }
    let left = erased.left.map(|place| place.to_string());
    let document = json!({ "schema": 1, "registry": args.registry, "removed_from": places, "left_in": left });
    output.result(&format!("the login for {} {text}\n", args.registry), &document);
    Ok(0)
}
