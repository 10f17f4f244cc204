//! The error contract: what kind of failure it is, what the user can do about it, and which exit code says so.
//!
//! Owns: [`Kind`], [`Diagnosis`], [`Failure`]. Does not own: any concrete error; those live in the module that raises
//! them. Start reading at [`Failure`].

use std::error::Error;
use std::fmt;

/// What a failure means to the person or script that called nauta.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The user can mend it: configuration, files, a name, a value.
    Input,
    /// The command line itself is wrong.
    Usage,
    /// Docker, the registry or the cluster cannot be reached, or said no.
    Unavailable,
    /// The user's own build or program failed.
    JobFailed,
    /// nauta is wrong.
    Bug,
    /// The user pressed Ctrl-C.
    Interrupted,
}

impl Kind {
    /// The process's exit code, as published in `docs/reference/exit-codes.md`.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Input => 1,
            Self::Usage => 2,
            Self::Unavailable => 3,
            Self::JobFailed => 4,
            Self::Bug => 70,
            Self::Interrupted => 130,
        }
    }

    /// The word for this kind in `--json` documents.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Usage => "usage",
            Self::Unavailable => "unavailable",
            Self::JobFailed => "job-failed",
            Self::Bug => "bug",
            Self::Interrupted => "interrupted",
        }
    }
}

/// An error that knows its kind and what to do next.
///
/// Messages are lower-case fragments without a full stop, with literals in backticks; they name what and where.
/// Hints are actions ("run `nauta login …`").
pub trait Diagnosis: Error + Send + Sync + 'static {
    /// What this failure means to the caller.
    fn kind(&self) -> Kind;
    /// What to do about it, most likely first; may be empty.
    fn hints(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Any [`Diagnosis`], boxed, with the hints that callers added on the way up.
pub struct Failure {
    source: Box<dyn Diagnosis>,
    extra_hints: Vec<String>,
}

/// The result of everything above the adapters.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// Adds an action that only the caller can know.
    #[must_use]
    pub fn hinted(mut self, hint: impl Into<String>) -> Self {
        self.extra_hints.push(hint.into());
        self
    }

    /// What this failure means.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.source.kind()
    }

    /// All hints: the error's own first, then what callers added.
    #[must_use]
    pub fn hints(&self) -> Vec<String> {
        let mut hints = self.source.hints();
        hints.extend(self.extra_hints.iter().cloned());
        hints
    }

    /// The messages of the error's causes, outermost first, without those that only repeat the one above them.
    #[must_use]
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        let mut above = self.source.to_string();
        let mut cause = self.source.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !above.contains(&text) {
                causes.push(text.clone());
            }
            above = text;
            cause = error.source();
        }
        causes
    }
}

impl<E: Diagnosis> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { source: Box::new(error), extra_hints: Vec::new() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.source.fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?}; causes: {:?}; hints: {:?})", self.source, self.kind(), self.causes(), self.hints())
    }
}

/// The nearest of `known` to what was typed, when it is near enough to be a slip of the finger.
#[must_use]
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (strsim::jaro_winkler(typed, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read `{path}`")]
    struct Unreadable {
        path: &'static str,
        source: std::io::Error,
    }

    impl Diagnosis for Unreadable {
        fn kind(&self) -> Kind {
            Kind::Input
        }
        fn hints(&self) -> Vec<String> {
            vec!["check its permissions".into()]
        }
    }

    #[test]
    fn a_failure_keeps_kind_causes_and_hints() {
        let source = std::io::Error::other("permission denied");
        let failure = Failure::from(Unreadable { path: "a.py", source }).hinted("or leave it out");
        assert_eq!(failure.to_string(), "cannot read `a.py`");
        assert_eq!(failure.kind().exit_code(), 1);
        assert_eq!(failure.causes(), ["permission denied"]);
        assert_eq!(failure.hints(), ["check its permissions", "or leave it out"]);
    }

    #[test]
    fn nearest_finds_slips_and_nothing_else() {
        assert_eq!(nearest("pytroch", ["python", "pytorch"]), Some("pytorch"));
        assert_eq!(nearest("zzz", ["python", "pytorch"]), None);
    }
}
