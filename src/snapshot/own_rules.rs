//! nauta's own lists of what stays here, and how environments are told.

use std::sync::LazyLock;

use super::git_patterns::GitPatterns;

/// Folders that tools make again by themselves, at any depth: no part of a project, and no output of a run.
pub const CACHE_FOLDERS: [&str; 11] = [
    ".hg",
    ".svn",
    ".tox",
    ".nox",
    "__pycache__",
    ".mypy_cache",
    ".pytest_cache",
    ".ruff_cache",
    ".ipynb_checkpoints",
    "node_modules",
    ".nauta",
];

/// Left out by default as well: what can be made again, and nauta's own output. A `!pattern` in `.nautaignore` takes one of
/// these, or of [`CACHE_FOLDERS`], back in.
const DEFAULT_IGNORES: &[&str] = &[".git", "*.pyc", "/runs/", "/nauta.lock", ".DS_Store"];

/// Withheld by default, at any depth: names that hold secrets more often than anything else. A `!pattern` in
/// `.nautaignore` lets one through.
const SECRETS: &[&str] = &[
    ".env",
    ".env.*",
    "!.env.example",
    "!.env.sample",
    "!.env.template",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    "_netrc",
    ".pypirc",
    ".npmrc",
    ".pgpass",
    ".htpasswd",
    ".git-credentials",
    ".dockercfg",
    "**/.docker/config.json",
    ".aws/",
    ".azure/",
    ".gcloud/",
    "**/.config/gcloud/",
    ".kube/",
    ".ssh/",
    ".gnupg/",
    "**/.huggingface/token",
    "kubeconfig",
    "*.kubeconfig",
    "credentials.json",
    "service-account*.json",
    "application_default_credentials.json",
    "*.tfstate",
    "*.tfvars",
    "secrets.yaml",
    "secrets.yml",
    "secrets.toml",
    "secrets.json",
];

/// What only a virtual environment of Python's or of conda's has: it can be made again, and its programs name this workstation.
pub const ENVIRONMENT_MARKS: &[&str] = &["pyvenv.cfg", "conda-meta"];

static UNDERSTOOD: LazyLock<[GitPatterns; 2]> = LazyLock::new(|| {
    let caches = CACHE_FOLDERS.map(|name| format!("{name}/")).join("\n");
    [format!("{caches}\n{}", DEFAULT_IGNORES.join("\n")), SECRETS.join("\n")]
        .map(|list| GitPatterns::new(list.as_bytes()))
});

/// All patterns, for what depends on them.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    CACHE_FOLDERS.iter().chain(DEFAULT_IGNORES).chain(SECRETS).chain(ENVIRONMENT_MARKS).copied()
}

/// The default pattern that leaves a path out.
pub(super) fn default_pattern(path: &[u8], is_folder: bool) -> Option<&'static str> {
    pattern(&UNDERSTOOD[0], path, is_folder)
}

/// The pattern of [`SECRETS`] that withholds a path.
pub(super) fn secret_pattern(path: &[u8], is_folder: bool) -> Option<&'static str> {
    pattern(&UNDERSTOOD[1], path, is_folder)
}

fn pattern<'p>(list: &'p GitPatterns, path: &[u8], is_folder: bool) -> Option<&'p str> {
    let found = list.find(path, is_folder).filter(|pattern| !pattern.is_exception);
    found.map(|pattern| pattern.text.as_str())
}

/// What tells that a folder with these names is an environment.
pub(super) fn environment_mark<'n>(mut names: impl Iterator<Item = &'n [u8]>) -> Option<&'static str> {
    names.find_map(|name| ENVIRONMENT_MARKS.iter().find(|mark| mark.as_bytes() == name).copied())
}
