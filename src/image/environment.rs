//! The environment: base and dependencies, and the key that says whether it was made before.

use crate::digest::{Digest, Hasher};
use crate::project::Dependencies;
use crate::settings::Setting;
use crate::snapshot::{Content, Entry, Snapshot};

use super::dockerfile::Recipe;

/// Raised when the generated Dockerfile changes in a way that makes old environments wrong.
const RECIPE_VERSION: &str = "1";

/// Which builder reads the Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builder {
    /// With mounts for caches and secrets.
    BuildKit,
    /// The engine's classic builder.
    Classic,
}

/// How an environment is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EnvironmentPlan {
    /// The base is all that is needed.
    Base {
        /// The image.
        base: Setting<String>,
    },
    /// A Dockerfile of the user's own.
    Dockerfile {
        /// Relative to the project.
        path: String,
        /// Its text.
        text: String,
    },
    /// A Dockerfile that nauta writes.
    Generated {
        /// The image to build on.
        base: Setting<String>,
        /// What goes on top of it.
        recipe: Recipe,
    },
}

impl EnvironmentPlan {
    /// What it is made of, for people.
    pub fn describe(&self) -> String {
        match self {
            Self::Base { base } => base.value.clone(),
            Self::Dockerfile { path, .. } => format!("{path} of the project"),
            Self::Generated { base, recipe } => {
                let mut parts = vec![base.value.clone()];
                if !recipe.packages.is_empty() {
                    parts.push(recipe.packages.join(", "));
                }
                parts.extend(recipe.dependencies.as_ref().map(|dependencies| dependency_file(dependencies).to_owned()));
                parts.join(" + ")
            }
        }
    }

    /// Paths of the project's files that the build reads, relative to the project, as far as they exist.
    pub fn inputs(&self, snapshot: &Snapshot) -> Vec<Entry> {
        let named: Vec<String> = match self {
            Self::Base { .. } => Vec::new(),
            Self::Generated { recipe, .. } => recipe.dependencies.as_ref().map(dependency_files).unwrap_or_default(),
            Self::Dockerfile { text, .. } => copied_sources(text),
        };
        let taken = |path: &str| {
            named.iter().any(|name| {
                let name = name.trim_matches('/');
                name.is_empty() || path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with('/'))
            })
        };
        snapshot.entries().filter(|entry| taken(&entry.display())).collect()
    }
}

/// Names the file for messages.
fn dependency_file(dependencies: &Dependencies) -> &str {
    match dependencies {
        Dependencies::Uv => "uv.lock",
        Dependencies::Requirements(path) | Dependencies::Conda(path) => path,
    }
}

/// All files that the build of these dependencies reads.
pub(crate) fn dependency_files(dependencies: &Dependencies) -> Vec<String> {
    match dependencies {
        Dependencies::Uv => vec!["pyproject.toml".to_owned(), "uv.lock".to_owned()],
        Dependencies::Requirements(path) | Dependencies::Conda(path) => vec![path.clone()],
    }
}

/// The sources of a Dockerfile's `COPY` and `ADD` lines that come from the project; a wildcard counts as the folder it
/// is in, and what cannot be understood (variables, the list form) as the whole project: building once too often is right,
/// once too rarely is not.
pub fn copied_sources(text: &str) -> Vec<String> {
    let whole = vec![String::new()];
    let joined = text.replace("\\\r\n", " ").replace("\\\n", " ");
    let mut sources = Vec::new();
    for line in joined.lines() {
        let mut words = line.split_whitespace();
        let instruction = words.next().unwrap_or_default().to_ascii_uppercase();
        if instruction == "RUN" && line.contains("--mount=type=bind") && !line.contains("from=") {
            return whole;
        }
        if instruction != "COPY" && instruction != "ADD" {
            continue;
        }
        let (flags, paths): (Vec<&str>, Vec<&str>) = words.partition(|word| word.starts_with("--"));
        if flags.iter().any(|flag| flag.starts_with("--from=")) {
            continue;
        }
        let Some((_, from)) = paths.split_last() else { return whole };
        for path in from {
            if path.contains(['$', '[', '"', '<']) {
                return whole;
            }
            if !path.contains("://") {
                sources.push(source_folder(path));
            }
        }
    }
    sources
}

/// `a/b*/c` is in `a`; `./a/` is `a`; `.` is the whole project, which is the empty path.
fn source_folder(path: &str) -> String {
    let fixed = path.find(['*', '?']).map_or(path, |wildcard| path[..wildcard].rsplit_once('/').map_or("", |(f, _)| f));
    fixed.trim_start_matches("./").trim_matches('/').trim_end_matches("/.").trim_matches('.').to_owned()
}

/// The environment's key: the digest of all that it is made from. The base counts by its name; which image that was is
/// recorded when the environment is built, and stays until the inputs change.
pub fn environment_key(plan: &EnvironmentPlan, snapshot: &Snapshot, platform: &str) -> Digest {
    let mut hasher = Hasher::default();
    let mut field = |text: &[u8]| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text);
    };
    field(format!("nauta environment {RECIPE_VERSION} {platform}").as_bytes());
    match plan {
        EnvironmentPlan::Base { base } => field(base.value.as_bytes()),
        EnvironmentPlan::Dockerfile { text, .. } => field(text.as_bytes()),
        EnvironmentPlan::Generated { base, recipe } => {
            field(base.value.as_bytes());
            for package in &recipe.packages {
                field(package.as_bytes());
            }
        }
    }
    for entry in plan.inputs(snapshot) {
        field(&entry.path);
        if let Content::File { digest, executable, .. } = &entry.content {
            field(digest.as_str().as_bytes());
            field(&[u8::from(*executable)]);
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_sources_are_found_and_doubt_means_everything() {
        let sources = |text: &str| copied_sources(text).join(",");
        assert_eq!(sources("FROM a\nCOPY requirements.txt ./\nRUN x"), "requirements.txt");
        assert_eq!(sources("COPY --chown=1:1 a b/*.txt /x\nADD https://e.com/x /y"), "a,b");
        assert_eq!(sources("COPY --from=build /a /b"), "");
        assert_eq!(sources("COPY a \\\n  c /x"), "a,c");
        for everything in ["COPY . /app", "COPY ./ /app", "COPY $X /app", "COPY [\"a\", \"b\"]", "COPY *.py /app/"] {
            assert_eq!(copied_sources(everything), [""], "{everything}");
        }
    }
}
