//! A value and where it came from.

use std::fmt;

/// Where a value came from; the order is the order of precedence, strongest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A flag of the command line.
    Flag(&'static str),
    /// An environment variable.
    Variable(&'static str),
    /// A key of the project's `nauta.toml`.
    ProjectFile(&'static str),
    /// A key of the user's configuration file.
    UserFile(&'static str),
    /// Found in the project's directory.
    Found(String),
    /// nauta's own choice.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "{flag}"),
            Self::Variable(name) => write!(f, "${name}"),
            Self::ProjectFile(key) => write!(f, "`{key}` in nauta.toml"),
            Self::UserFile(key) => write!(f, "`{key}` in your configuration"),
            Self::Found(what) => f.write_str(what),
            Self::Default => write!(f, "the default"),
        }
    }
}

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it came from.
    pub source: Source,
}

impl<T> Setting<T> {
    /// The first of `layers` that says anything, strongest first; else the default.
    pub fn first(layers: impl IntoIterator<Item = (Option<T>, Source)>, default: T) -> Self {
        Self::any(layers).unwrap_or(Self { value: default, source: Source::Default })
    }

    /// The first of `layers` that says anything, strongest first.
    pub fn any(layers: impl IntoIterator<Item = (Option<T>, Source)>) -> Option<Self> {
        layers.into_iter().find_map(|(value, source)| value.map(|value| Self { value, source }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_layer_that_speaks_wins() {
        let flag = Source::Flag("--nodes");
        let file = Source::ProjectFile("run.nodes");
        assert_eq!(
            Setting::first([(None, flag.clone()), (Some(4), file.clone())], 1),
            Setting { value: 4, source: file }
        );
        assert_eq!(Setting::first([(None, flag)], 1).source, Source::Default);
    }
}
