//! Which files of a program's working directory come back, as the user has it.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde::{Deserialize, Serialize};

/// What of the working directory comes back, beside `$NAUTA_OUTPUTS`. By default what the program has made or changed there,
/// without caches and what looks like something downloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OutputRules {
    /// Whether anything does.
    pub workspace: bool,
    /// Patterns as in a `.gitignore`, of what comes back whatever else says that it does not.
    pub include: Vec<String>,
    /// Such patterns of what does not.
    pub exclude: Vec<String>,
    /// The ranks whose files come back; empty: all.
    pub ranks: Vec<u32>,
    /// Larger files stay there; bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_file_size: Option<u64>,
    /// So many files of a rank come back, those that are there first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_rank_files: Option<u64>,
}

impl Default for OutputRules {
    fn default() -> Self {
        Self {
            workspace: true,
            include: Vec::new(),
            exclude: Vec::new(),
            ranks: Vec::new(),
            max_file_size: None,
            max_rank_files: None,
        }
    }
}

/// A pattern that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern `{pattern}`: {reason}")]
pub struct InvalidPattern {
    /// As it was written.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl OutputRules {
    /// Whether files of the working directory of `rank` come back at all.
    #[must_use]
    pub fn covers(&self, rank: u32) -> bool {
        self.workspace && (self.ranks.is_empty() || self.ranks.contains(&rank))
    }

    /// Takes the patterns of a command line: what begins with `!` is left out.
    pub fn add(&mut self, patterns: &[String]) {
        for pattern in patterns {
            match pattern.strip_prefix('!') {
                Some(pattern) => self.exclude.push(pattern.to_owned()),
                None => self.include.push(pattern.clone()),
            }
        }
    }

    /// The patterns, understood.
    ///
    /// # Errors
    /// The first pattern that is none.
    pub fn patterns(&self) -> Result<OutputPatterns, InvalidPattern> {
        Ok(OutputPatterns {
            include: understood(&self.include)?,
            exclude: understood(&self.exclude)?,
            leads: leads(&self.include),
            file_size: self.max_file_size.unwrap_or(u64::MAX),
            files: self.max_rank_files.unwrap_or(u64::MAX),
        })
    }
}

fn understood(patterns: &[String]) -> Result<Gitignore, InvalidPattern> {
    let invalid = |pattern: &str, reason: String| InvalidPattern { pattern: pattern.to_owned(), reason };
    if let Some(other) = patterns.iter().find(|text| text.trim().is_empty() || text.starts_with(['!', '#'])) {
        return Err(invalid(other, "expected one as in a .gitignore, without `!` or `#`".to_owned()));
    }
    matcher(patterns).map_err(|(pattern, error)| invalid(&pattern, error.to_string()))
}

/// A matcher of paths by patterns as in a `.gitignore`.
///
/// # Errors
/// The first pattern that is none, and why.
pub fn matcher(patterns: &[String]) -> Result<Gitignore, (String, ignore::Error)> {
    let mut builder = GitignoreBuilder::new("");
    for pattern in patterns {
        builder.add_line(None, pattern).map_err(|error| (pattern.clone(), error))?;
    }
    builder.build().map_err(|error| (patterns.join(" "), error))
}

/// The folders that patterns name in so many words, which are looked into for their sake.
fn leads(patterns: &[String]) -> Vec<String> {
    let literal = |pattern: &String| {
        let parts = pattern.trim_matches('/').split('/').take_while(|part| !part.contains(['*', '?', '[', '\\']));
        let lead = parts.collect::<Vec<_>>().join("/");
        (!lead.is_empty()).then_some(lead)
    };
    patterns.iter().filter_map(literal).collect()
}

/// What a user's patterns and limits say of files.
pub struct OutputPatterns {
    include: Gitignore,
    exclude: Gitignore,
    leads: Vec<String>,
    /// Larger files stay there, unless they are included; bytes.
    pub file_size: u64,
    /// So many that are not included come back.
    pub files: u64,
}

impl OutputPatterns {
    /// Whether a file comes back in any case.
    #[must_use]
    pub fn includes(&self, path: &str) -> bool {
        self.include.matched_path_or_any_parents(path, false).is_ignore()
    }

    /// Whether a file, or a folder with all that is in it, stays there.
    #[must_use]
    pub fn excludes(&self, path: &str, is_folder: bool) -> bool {
        self.exclude.matched_path_or_any_parents(path, is_folder).is_ignore()
    }

    /// Whether a pattern names a folder, or something in it, in so many words.
    #[must_use]
    pub fn leads_into(&self, folder: &str) -> bool {
        let name = folder.rsplit('/').next().unwrap_or(folder);
        let is_in = |inner: &str, outer: &str| {
            inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.leads.iter().any(|lead| is_in(lead, folder) || is_in(folder, lead) || lead == name)
    }

    /// Whether there is anything that comes back in any case.
    #[must_use]
    pub fn has_includes(&self) -> bool {
        !self.include.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(include: &[&str], exclude: &[&str]) -> OutputPatterns {
        let own = |patterns: &[&str]| patterns.iter().map(ToString::to_string).collect();
        OutputRules { include: own(include), exclude: own(exclude), ..OutputRules::default() }
            .patterns()
            .expect("valid")
    }

    #[test]
    fn patterns_are_those_of_a_gitignore() {
        let patterns = rules(&["data/", "*.ckpt"], &["*", "/logs"]);
        for path in ["data/a/b", "x/data/c", "a.ckpt", "x/y.ckpt"] {
            assert!(patterns.includes(path), "{path}");
        }
        assert!(!patterns.includes("data") && !patterns.includes("a.pt"));
        assert!(patterns.excludes("anything", false) && patterns.excludes("logs/a", false));
        assert!(patterns.leads_into("data") && patterns.leads_into("data/x") && !patterns.leads_into("logs"));
        let deep = rules(&["cache/models/*.bin"], &[]);
        assert!(deep.leads_into("cache") && deep.leads_into("cache/models") && !deep.leads_into("models"));
    }

    #[test]
    fn what_is_no_pattern_is_named() {
        let mut rules = OutputRules::default();
        rules.add(&["!logs/".to_owned(), "data".to_owned()]);
        assert_eq!((&rules.exclude[..], &rules.include[..]), (&["logs/".to_owned()][..], &["data".to_owned()][..]));
        assert!(rules.patterns().is_ok());
        rules.add(&["[z-a]".to_owned()]);
        assert_eq!(rules.patterns().err().map(|error| error.pattern), Some("[z-a]".to_owned()));
        rules.include = vec![" ".to_owned()];
        assert!(rules.patterns().is_err());
    }
}
