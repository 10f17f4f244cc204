//! Inputs as a value.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use serde::Serialize;

use crate::snapshot::rules::Rule;
use crate::snapshot::{Content, Left};

/// What a build reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inputs {
    /// The folder that stands for the build's context (absolute): the project's, or that of the repository it is in, where the build
    /// reads something above the project.
    pub root: PathBuf,
    /// Where the project is in it, with `/`; empty where they are the same.
    pub project: String,
    /// Files, links and folders by their path in the context (bytes, with `/`).
    pub files: BTreeMap<Vec<u8>, Input>,
    /// What is named, and not there to be read.
    pub problems: Vec<Problem>,
    /// Requirements by name, as pip takes them.
    pub requirements: Vec<String>,
    /// Whether files of requirements say where packages come from, or which bytes they have.
    pub has_own_index: bool,
    /// Whether something of the project is installed such that its code is that of the working directory.
    pub is_located: bool,
}

/// One thing that a build reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// What it is.
    pub content: Content,
    /// Whether only its name counts: installers look for it, and nobody reads it.
    pub hollow: bool,
    /// Who reads it.
    pub reason: Reason,
}

/// What says that something is read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The file that says so, as it is called from the project.
    pub file: String,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// What is written there.
    pub text: String,
}

/// Something that is named, and not there to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// As it is called from the project.
    pub path: String,
    /// Who names it.
    pub reason: Reason,
    /// What is wrong with it.
    pub trouble: Trouble,
}

/// Why something cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// It does not exist.
    Missing,
    /// A rule leaves it out.
    Left(Rule),
    /// Its name is one that secrets have.
    Withheld(Rule),
    /// It is neither in the project nor in the repository that the project is in.
    Outside,
    /// A link on the way leads there.
    Link(String),
    /// It cannot be understood.
    Malformed(String),
}

impl Inputs {
    /// Where an input is on this machine.
    pub fn place(&self, path: &[u8]) -> PathBuf {
        self.root.join(OsStr::from_bytes(path))
    }

    /// Bytes of all of them together.
    pub fn size(&self) -> u64 {
        self.files.values().map(Input::size).sum()
    }
}

impl Input {
    /// Bytes; 0 for links, folders, and where only the name counts.
    pub const fn size(&self) -> u64 {
        match &self.content {
            Content::File { size, .. } if !self.hollow => *size,
            _ => 0,
        }
    }
}

impl Reason {
    pub(super) fn new(file: &str, line: Option<usize>, text: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, text: text.into() }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, text } = self;
        if !text.is_empty() {
            write!(f, "`{text}` in ")?;
        }
        match line {
            Some(line) => write!(f, "{file}:{line}"),
            None => write!(f, "{file}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, reason, trouble } = self;
        let rule = |rule: &Rule| match (&rule.file, rule.line) {
            (Some(file), Some(line)) => format!("{file}:{line} `{}`", rule.pattern),
            (Some(file), None) => format!("{file} `{}`", rule.pattern),
            _ => format!("`{}`, which nauta leaves out by itself", rule.pattern),
        };
        match trouble {
            Trouble::Missing => write!(f, "`{path}` does not exist ({reason})"),
            Trouble::Left(by) => write!(f, "`{path}` is left out by {} ({reason})", rule(by)),
            Trouble::Withheld(by) => {
                write!(f, "`{path}` stays here, it may hold a secret: `{}` ({reason})", by.pattern)
            }
            Trouble::Outside => {
                write!(f, "`{path}` is neither in the project nor in a Git repository that it is in ({reason})")
            }
            Trouble::Link(target) => write!(f, "`{path}` is a link to `{target}`, which is not sent ({reason})"),
            Trouble::Malformed(why) => write!(f, "cannot understand `{path}`: {why} ({reason})"),
        }
    }
}

impl Problem {
    /// What to do about it.
    pub fn hint(&self) -> String {
        let path = &self.path;
        match &self.trouble {
            Trouble::Left(rule) => Left::one(rule.clone(), path.clone(), 0).remedy(),
            Trouble::Withheld(_) => format!("`!{path}` in .nautaignore sends it"),
            Trouble::Outside => format!("put `{path}` into the project; what a build reads is below one folder"),
            Trouble::Link(_) => "make it a copy, or a relative link inside the project".to_owned(),
            Trouble::Missing | Trouble::Malformed(_) => format!("check {}", self.reason),
        }
    }
}
