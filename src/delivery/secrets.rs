//! The last look before files leave the workstation: keys and tokens that are told by their own first letters, in files
//! whose names say nothing.

use std::path::Path;
use std::sync::OnceLock;

use aho_corasick::{AhoCorasick, Input, MatchKind};

use super::DeliveryError;
use crate::bounded_file::{KEPT, read_text};
use crate::diagnosis::Result;
use crate::image::{Environment, passwords};
use crate::snapshot::{self, Content, Entry, Snapshot};

/// What it is, how it begins, and how many letters and digits have to follow at least. From the issuers' own
/// descriptions of their tokens; those without a beginning of their own cannot be told from other text.
const KINDS: &[(&str, &str, usize)] = &[
    ("a private key", "-----BEGIN PRIVATE KEY-----", 0),
    ("a private key", "-----BEGIN ENCRYPTED PRIVATE KEY-----", 0),
    ("a private key", "-----BEGIN RSA PRIVATE KEY-----", 0),
    ("a private key", "-----BEGIN DSA PRIVATE KEY-----", 0),
    ("a private key", "-----BEGIN EC PRIVATE KEY-----", 0),
    ("a private key", "-----BEGIN OPENSSH PRIVATE KEY-----", 0),
    ("a private key", "-----BEGIN PGP PRIVATE KEY BLOCK-----", 0),
    ("a private key", "PuTTY-User-Key-File-", 1),
    ("an age key", "AGE-SECRET-KEY-1", 50),
    ("an AWS access key", "AKIA", 16),
    ("an AWS access key", "ASIA", 16),
    ("an Azure storage key", "AccountKey=", 80),
    ("a GitHub token", "ghp_", 36),
    ("a GitHub token", "gho_", 36),
    ("a GitHub token", "ghu_", 36),
    ("a GitHub token", "ghs_", 36),
    ("a GitHub token", "ghr_", 36),
    ("a GitHub token", "github_pat_", 40),
    ("a GitLab token", "glpat-", 20),
    ("a Hugging Face token", "hf_", 34),
    ("an Anthropic key", "sk-ant-", 40),
    ("an OpenAI key", "sk-proj-", 40),
    ("a Slack token", "xoxb-", 20),
    ("a Slack token", "xoxp-", 20),
    ("a Slack webhook", "hooks.slack.com/services/", 20),
    ("a Google API key", "AIza", 35),
    ("a Google client secret", "GOCSPX-", 20),
    ("an npm token", "npm_", 36),
    ("a PyPI token", "pypi-AgEIcHlwaS5vcmc", 40),
    ("a Docker Hub token", "dckr_pat_", 20),
    ("a DigitalOcean token", "dop_v1_", 60),
    ("a Databricks token", "dapi", 32),
    ("a Stripe key", "sk_live_", 20),
    ("a Stripe key", "rk_live_", 20),
];

/// Fails when a file that is about to be sent holds a key or a token, unless a `!pattern` in a `.nautaignore` names it.
pub(super) fn check(snapshot: &Snapshot, entry: &Entry, text: &[u8]) -> Result<()> {
    if let Some((kind, line)) = find(text)
        && !snapshot::is_allowed(snapshot.origin().clone(), &entry.display())?
    {
        return Err(DeliveryError::Secret { path: entry.display(), line, kind }.into());
    }
    Ok(())
}

/// Fails when a file holds a password that an environment is built from, or that travels with the code and says where packages
/// come from: images would have it, and are about to be pushed.
pub(super) fn check_passwords(environment: &Environment, snapshot: &Snapshot) -> Result<()> {
    let inputs = &environment.inputs;
    let project = inputs.root.join(&inputs.project);
    let read_by_build = inputs.files.iter().filter(|(_, input)| !input.hollow && is_file(&input.content));
    let read_by_build = read_by_build.map(|(path, _)| String::from_utf8_lossy(path).into_owned());
    for path in read_by_build.filter(|path| passwords::may_name_indexes(path)) {
        let named = Path::new(&path).strip_prefix(&inputs.project).ok().and_then(Path::to_str);
        check_file(&inputs.root.join(&path), named.unwrap_or(&path), &project, named.is_some())?;
    }
    for entry in snapshot.entries().filter(|entry| is_file(&entry.content)) {
        let path = entry.display();
        if passwords::may_name_indexes(&path) {
            check_file(&entry.path_below(snapshot.root()), &path, snapshot.root(), true)?;
        }
    }
    Ok(())
}

const fn is_file(content: &Content) -> bool {
    matches!(content, Content::File { .. })
}

/// Looks into one file, called `name` from the project; a rule of the project's can allow it where it `is_inside`.
fn check_file(place: &Path, name: &str, project: &Path, is_inside: bool) -> Result<()> {
    // What cannot be read is said where it is sent.
    let Ok(text) = read_text(place, KEPT) else { return Ok(()) };
    let Some(line) = passwords::find_password(name, &text) else { return Ok(()) };
    if is_inside && snapshot::is_allowed(project, name)? {
        return Ok(());
    }
    Err(DeliveryError::Password { path: name.to_owned(), line }.into())
}

/// What to say of a password in a file that an environment is built from, where no image leaves this workstation.
pub fn password_in_build(environment: &Environment, snapshot: &Snapshot) -> Option<String> {
    let failure = check_passwords(environment, snapshot).err()?;
    let remedy = failure.hints().into_iter().next().unwrap_or_default();
    Some(format!("{failure}; a run on a cluster stops here ({remedy})"))
}

/// The first key or token in a text: what it is, and its line from 1.
fn find(text: &[u8]) -> Option<(&'static str, usize)> {
    static BEGINNINGS: OnceLock<Option<AhoCorasick>> = OnceLock::new();
    // No beginning is that of another one, so the leftmost is all there is at a place; to look for it takes an eighth of the time that
    // it takes to look for all that overlap (3 GB/s and not 0.4).
    let build = || {
        let mut builder = AhoCorasick::builder();
        builder.match_kind(MatchKind::LeftmostFirst).build(KINDS.iter().map(|(_, beginning, _)| beginning)).ok()
    };
    let beginnings = BEGINNINGS.get_or_init(build).as_ref()?;
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-+/=".contains(byte);
    let mut at = 0;
    while let Some(found) = beginnings.find(Input::new(text).range(at..)) {
        let (kind, _, length) = KINDS[found.pattern().as_usize()];
        let before = found.start().checked_sub(1).map(|at| text[at]);
        let follow = text[found.end()..].iter().take(length).filter(|byte| is_letter(byte)).count();
        let is_word = before.is_none_or(|byte| !byte.is_ascii_alphanumeric() && byte != b'_');
        if is_word && follow == length {
            let line = text[..found.start()].split(|byte| *byte == b'\n').count();
            return Some((kind, line));
        }
        at = found.start() + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_and_what_is_short_is_not() {
        for (kind, beginning, length) in KINDS {
            let text = format!("x = 1\ntoken = \"{beginning}{}\"\n", "A1".repeat(length / 2 + 1));
            assert_eq!(find(text.as_bytes()), Some((*kind, 2)), "{beginning}");
            if *length > 1 {
                assert_eq!(find(format!("{beginning}{}", "A".repeat(length - 1)).as_bytes()), None, "{beginning}");
                assert_eq!(find(format!("x{beginning}{}", "A".repeat(*length)).as_bytes()), None, "{beginning}");
            }
        }
        assert_eq!(find(b"if key.startswith('sk-ant-') or 'ghp_' in key: -----BEGIN PUBLIC KEY-----"), None);
    }
}
