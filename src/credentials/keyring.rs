//! The system's keyring, which may hang: it is asked on a thread that nobody has to wait for.

use std::sync::mpsc;
use std::time::Duration;

use keyring::{Entry, Error};

use super::{CredentialError, Login};
use crate::secret::Secret;

/// The name of nauta's entries.
const SERVICE: &str = "nauta";
/// A keyring that does not answer in this time is none.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn find(host: &str) -> Result<Option<Login>, CredentialError> {
    let host = host.to_owned();
    ask(move || match entry(&host)?.get_password() {
        Ok(text) => {
            Ok(text.split_once('\n').map(|(user, secret)| Login { user: user.to_owned(), secret: Secret::new(secret) }))
        }
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(error),
    })
}

pub(super) fn store(host: &str, login: &Login) -> Result<(), CredentialError> {
    let (host, text) = (host.to_owned(), format!("{}\n{}", login.user, login.secret.expose()));
    ask(move || entry(&host)?.set_password(&text))
}

pub(super) fn erase(host: &str) -> Result<bool, CredentialError> {
    let host = host.to_owned();
    ask(move || match entry(&host)?.delete_credential() {
        Ok(()) => Ok(true),
        Err(Error::NoEntry) => Ok(false),
        Err(error) => Err(error),
    })
}

/// One entry a registry: name and password together, since the name is not known when it is looked for.
fn entry(host: &str) -> Result<Entry, Error> {
    Entry::new(SERVICE, host)
}

fn ask<T: Send + 'static>(question: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, CredentialError> {
    let (answer_tx, answer) = mpsc::channel();
    std::thread::spawn(move || drop(answer_tx.send(question())));
    match answer.recv_timeout(PATIENCE) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(CredentialError::NoKeyring { reason: error.to_string() }),
        Err(_) => {
            Err(CredentialError::NoKeyring { reason: format!("it does not answer within {} s", PATIENCE.as_secs()) })
        }
    }
}
