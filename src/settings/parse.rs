//! Text to settings, with errors that say file, line and the nearest key.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use super::{ProjectFile, UserFile};
use crate::bounded_file;
use crate::diagnosis::{Diagnosis, Kind, nearest};

/// What can be wrong with a configuration file.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It exists and cannot be read.
    #[error("cannot read `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A newer nauta wrote it.
    #[error("`{}` has version {version}, which this nauta does not know", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// What it says.
        version: u32,
    },
    /// It is no TOML, or a value has the wrong form.
    #[error("`{}` line {line}, column {column}: {message}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// The parser's words.
        message: String,
        /// A known key that is near to the unknown one.
        nearest: Option<String>,
    },
}

impl Diagnosis for SettingsError {
    fn kind(&self) -> Kind {
        Kind::Input
    }

    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unreadable { source, .. } => vec![bounded_file::hint(source, "check the file's permissions")],
            Self::Version { .. } => vec!["install a newer nauta, or remove the file and run `nauta lock`".to_owned()],
            Self::Invalid { path, .. } if path.ends_with(super::LockFile::NAME) => {
                vec!["take one side of the conflict, or remove the file and run `nauta lock`".to_owned()]
            }
            Self::Invalid { nearest: Some(key), .. } => vec![format!("did you mean `{key}`?")],
            Self::Invalid { .. } => vec!["`docs/reference/configuration.md` describes every key".to_owned()],
        }
    }
}

/// Reads the text of a `nauta.toml`; `path` is for messages only.
pub fn parse_project_file(text: &str, path: &Path) -> Result<ProjectFile, SettingsError> {
    parse(text, path)
}

/// Reads the text of a user's configuration; `path` is for messages only.
pub fn parse_user_file(text: &str, path: &Path) -> Result<UserFile, SettingsError> {
    parse(text, path)
}

pub(super) fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, SettingsError> {
    toml::from_str(text).map_err(|error| {
        let (line, column) = error.span().map_or((1, 1), |span| position(text, span.start));
        let message = error.message().lines().collect::<Vec<_>>().join("; ");
        let nearest = nearest_key(&message);
        SettingsError::Invalid { path: path.to_owned(), line, column, message, nearest }
    })
}

/// Line and column of a byte offset, both from 1.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// serde says "unknown field `a`, expected one of `b`, `c`": the nearest of the expected ones, if any is near.
fn nearest_key(message: &str) -> Option<String> {
    let mut quoted = message.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let typed = quoted.next()?;
    nearest(typed, quoted).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn project(text: &str) -> Result<ProjectFile, SettingsError> {
        parse_project_file(text, Path::new("nauta.toml"))
    }

    #[test]
    fn a_whole_file_is_read() {
        let file = project(
            "[project]\nname = 'mnist'\n[environment]\nbase = 'python:3.12-slim'\npackages = ['git']\n\
             [run]\ncommand = \"python 'my train.py' --lr 0.1\"\nnodes = 4\nmemory = '8Gi'\nenv = { EPOCHS = '3' }",
        )
        .expect("valid");
        assert_eq!(file.run.command.expect("there").0, ["python", "my train.py", "--lr", "0.1"]);
        assert_eq!(file.run.nodes, Some(crate::job::Nodes::all(4)));
        assert_eq!(file.environment.packages, ["git"]);
    }

    #[test]
    fn a_list_is_a_command_too_and_an_empty_one_is_not() {
        let command = |text: &str| project(&format!("[run]\ncommand = {text}")).map(|file| file.run.command);
        assert_eq!(command("['a', 'b c']").expect("valid").expect("there").0, ["a", "b c"]);
        for wrong in ["[]", "''", "'\"'", "3"] {
            assert!(command(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_key_names_its_place_and_the_nearest_known_one() {
        let error = project("[run]\nnodse = 4").expect_err("refused");
        assert!(error.to_string().starts_with("`nauta.toml` line 2, column 1: unknown field `nodse`"), "{error}");
        assert_eq!(error.hints(), ["did you mean `nodes`?"]);
    }

    #[test]
    fn secrets_have_names_and_no_values() {
        let file = project("[secrets]\nnames = ['HF_TOKEN', 'WANDB_API_KEY']").expect("valid");
        assert_eq!(file.secrets.names, ["HF_TOKEN", "WANDB_API_KEY"]);
        for wrong in ["HF_TOKEN = 'canary'", "names = ['HF_TOKEN=canary']", "names = 'canary'", "names = ['canary-1']"]
        {
            let error = project(&format!("[secrets]\n{wrong}")).expect_err(wrong);
            let text = format!("{error} {:?}", error.hints());
            assert!(text.contains("line ") && !text.contains("canary"), "{text}");
        }
        let error = project("[secrets]\nHF_TOKEN = 'canary'").expect_err("refused").to_string();
        assert!(error.contains("`nauta secret set HF_TOKEN`"), "{error}");
    }

    #[test]
    fn a_broken_file_names_its_place() {
        let error = project("[run\nnodes = 4").expect_err("refused").to_string();
        assert!(error.contains("line 1"), "{error}");
        let error = project("[run]\nnodes = 'four'").expect_err("refused").to_string();
        assert!(error.contains("line 2, column 9"), "{error}");
    }
}
