//! What a verb that nauta does not have may mean.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::diagnosis::nearest;

/// Words of other tools, and the verb that does what they do.
const MEANINGS: &[(&str, &[&str])] = &[
    ("cancel", &["abort", "del", "delete", "end", "kill", "remove", "rm", "stop", "terminate"]),
    ("list", &["jobs", "ls", "ps", "runs", "squeue", "top"]),
    ("run", &["create", "execute", "launch", "rerun", "restart", "sbatch", "start", "submit", "train"]),
    ("logs", &["attach", "follow", "log", "output", "tail", "watch"]),
    ("status", &["describe", "events", "get", "info", "inspect", "show", "wait", "why"]),
    ("pull", &["copy", "cp", "download", "fetch", "outputs", "results", "rsync", "scp", "sync"]),
    ("files", &["diff", "ignore", "push", "snapshot", "upload"]),
    ("init", &["new", "setup"]),
    ("lock", &["pin", "update"]),
    ("doctor", &["check", "debug", "diagnose", "health", "test"]),
    ("target", &["cluster", "clusters", "config", "context", "targets", "use"]),
    ("secret", &["secrets"]),
    ("template", &["templates"]),
    ("completions", &["completion"]),
];

/// The verbs, for those who slip.
fn verbs() -> impl Iterator<Item = &'static str> {
    MEANINGS.iter().map(|(verb, _)| *verb).chain(["help", "login", "logout", "version"])
}

/// The verb that is meant: what other tools call so, else one that is spelt nearly so.
fn meant(typed: &str) -> Option<&'static str> {
    let known = MEANINGS.iter().find(|(_, words)| words.contains(&typed)).map(|(verb, _)| *verb);
    known.or_else(|| nearest(typed, verbs()).filter(|verb| is_slip(typed, verb)))
}

/// Whether one is the other but for a letter or two: `shell` is no `help`.
fn is_slip(typed: &str, verb: &str) -> bool {
    let most = if verb.len() <= 4 { 1 } else { 2 };
    strsim::damerau_levenshtein(typed, verb) <= most
}

/// Puts what is meant into the error about a verb that does not exist.
pub(super) fn suggest(mut error: clap::Error) -> clap::Error {
    if error.kind() != ErrorKind::InvalidSubcommand {
        return error;
    }
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else { return error };
    let is_script = [".py", ".sh"].iter().any(|end| typed.ends_with(end));
    let meant = if is_script { Some(format!("run {typed}")) } else { meant(typed).map(str::to_owned) };
    let is_known = error.get(ContextKind::SuggestedSubcommand).is_some() || meant.is_some();
    if !is_known {
        return error;
    }
    error.remove(ContextKind::SuggestedSubcommand);
    if let Some(verb) = meant {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(vec![verb]));
    }
    error
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn words_of_other_tools_and_slips_lead_to_verbs() {
        let meanings = [
            ("delete", "cancel"),
            ("ps", "list"),
            ("ls", "list"),
            ("stats", "status"),
            ("rum", "run"),
            ("lgos", "logs"),
        ];
        for (typed, verb) in meanings {
            assert_eq!(meant(typed), Some(verb), "{typed}");
        }
        for nonsense in ["compare", "shell", "exec", "tensorboard", "x", ""] {
            assert_eq!(meant(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn every_verb_that_is_offered_exists() {
        let command = crate::cli::Cli::command();
        for verb in verbs().filter(|verb| *verb != "help") {
            assert!(command.find_subcommand(verb).is_some(), "{verb}");
            assert!(MEANINGS.iter().all(|(_, words)| !words.contains(&verb)), "{verb}");
        }
    }
}
