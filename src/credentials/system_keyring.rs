//! The system's keyring, asked on a thread of its own: on Linux it is another program behind D-Bus, which may be absent,
//! hang, or wait for the user to unlock it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keyring::{Entry, Error};
use tokio::sync::oneshot;

use super::search::CredentialSources;
use crate::secret::{Credential, Secret};

/// The service that nauta's entries belong to.
const SERVICE: &str = "nauta";
/// For reading, which nobody is waiting to answer a question for.
const LIMIT: Duration = Duration::from_secs(5);
/// For keeping a password, when the user is there and may have to unlock the keyring.
const LIMIT_WITH_USER: Duration = Duration::from_mins(1);

/// Set when the keyring has not answered: the library's only connection is then stuck, and asking again would wait again.
static STUCK: AtomicBool = AtomicBool::new(false);

/// The credential in nauta's own entry for `host`. The error says why the keyring could not be asked.
pub(super) async fn read(host: &str, sources: &CredentialSources) -> Result<Option<Credential>, String> {
    let text = ask(host, sources, LIMIT, |entry| match entry.get_password() {
        Ok(text) => Ok(Some(Secret::new(text))),
        Err(Error::NoEntry) => Ok(None),
        Err(error) => Err(error),
    })
    .await?;
    match text {
        None => Ok(None),
        Some(text) => Credential::from_entry(text.expose()).map(Some).ok_or_else(|| "its entry is broken".to_owned()),
    }
}

/// Keeps a credential in nauta's own entry for `host`.
pub(super) async fn write(host: &str, credential: &Credential, sources: &CredentialSources) -> Result<(), String> {
    let text = credential.to_entry();
    ask(host, sources, LIMIT_WITH_USER, move |entry| entry.set_password(text.expose())).await
}

/// Removes nauta's own entry for `host`; whether there was one.
pub(super) async fn erase(host: &str, sources: &CredentialSources) -> Result<bool, String> {
    ask(host, sources, LIMIT_WITH_USER, |entry| match entry.delete_credential() {
        Ok(()) => Ok(true),
        Err(Error::NoEntry) => Ok(false),
        Err(error) => Err(error),
    })
    .await
}

async fn ask<T: Send + 'static>(
    host: &str,
    sources: &CredentialSources,
    limit: Duration,
    question: impl FnOnce(&Entry) -> Result<T, Error> + Send + 'static,
) -> Result<T, String> {
    if !sources.may_have_keyring() {
        return Err("there is no keyring in this session (no D-Bus session bus)".to_owned());
    }
    if STUCK.load(Ordering::Relaxed) {
        return Err("it does not answer".to_owned());
    }
    let (answer_tx, answer_rx) = oneshot::channel();
    let host = host.to_owned();
    let spawned = std::thread::Builder::new().name("keyring".to_owned()).spawn(move || {
        let answer = Entry::new(SERVICE, &host).and_then(|entry| question(&entry));
        let _ = answer_tx.send(answer.map_err(|error| reason(&error))); // nobody may be waiting any more
    });
    spawned.map_err(|error| format!("no thread can be started to ask it: {error}"))?;
    match tokio::time::timeout(limit, answer_rx).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err("asking it failed".to_owned()),
        Err(_) => {
            STUCK.store(true, Ordering::Relaxed);
            Err(format!("it did not answer within {} s (is it locked?)", limit.as_secs()))
        }
    }
}

/// The library's errors may hold an entry's bytes; only texts that cannot are shown.
fn reason(error: &Error) -> String {
    let cut = |text: String| -> String { text.chars().filter(|c| !c.is_control()).take(200).collect() };
    match error {
        Error::NoStorageAccess(cause) => format!("it is locked ({})", cut(cause.to_string())),
        Error::PlatformFailure(cause) => format!("it failed ({})", cut(cause.to_string())),
        Error::NoDefaultStore => match Entry::store_status() {
            Err(Error::PlatformFailure(cause) | Error::NoStorageAccess(cause)) => {
                format!("no keyring answers ({})", cut(cause.to_string()))
            }
            _ => "no keyring answers".to_owned(),
        },
        Error::Ambiguous(_) => "it has several entries for this registry".to_owned(),
        _ => "its entry cannot be used".to_owned(),
    }
}
