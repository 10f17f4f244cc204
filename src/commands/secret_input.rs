//! Reading a password or a secret: never from the command line, which every process can read.

use std::io::{IsTerminal, Read};

use crate::diagnosis::{Diagnosis, Kind};
use crate::secret::Secret;

/// Passwords and secrets are no longer than this, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Why there is none; `what` is a password or a secret.
#[derive(Debug, thiserror::Error)]
pub(super) enum NoSecret {
    #[error("no {what} came on standard input")]
    Nothing { what: &'static str },
    #[error("the {what} on standard input is no UTF-8 text")]
    NotText { what: &'static str },
    #[error("what comes on standard input is longer than a {what} can be ({} KiB)", LONGEST / 1024)]
    TooLong { what: &'static str },
    #[error("the {what} cannot be read from the terminal")]
    Terminal { what: &'static str, source: std::io::Error },
}

impl Diagnosis for NoSecret {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        let hint = match self {
            Self::NotText { what } => format!("write the {what} file as UTF-8; is it the file that is meant?"),
            Self::Nothing { what } | Self::TooLong { what } | Self::Terminal { what, .. } => {
                let verb = if *what == "password" { "login --user NAME HOST" } else { "secret set NAME" };
                format!("pass it by a pipe or a file: `nauta {verb} < {what}-file`")
            }
        };
        vec![hint]
    }
}

/// Asks for it without showing it, or reads it from standard input where that is no terminal.
pub(super) fn read_secret(what: &'static str, prompt: &str, from_stdin: bool) -> Result<Secret, NoSecret> {
    if std::io::stdin().is_terminal() && !from_stdin {
        let answer = rpassword::prompt_password(format!("{prompt}: "));
        return answer.map(Secret::new).map_err(|source| NoSecret::Terminal { what, source });
    }
    let mut bytes = Vec::new();
    let read = std::io::stdin().take(LONGEST + 1).read_to_end(&mut bytes);
    if bytes.len() as u64 > LONGEST {
        return Err(NoSecret::TooLong { what });
    }
    let text = String::from_utf8(bytes).map_err(|_| NoSecret::NotText { what })?;
    let text = text.trim_end_matches(['\n', '\r']);
    if read.is_err() || text.is_empty() { Err(NoSecret::Nothing { what }) } else { Ok(Secret::new(text)) }
}
