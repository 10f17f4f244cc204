//! Passwords in the files that a build reads: whoever may pull the image could read them there.

use parse_dockerfile::{Instruction, parse};

use crate::secret::{has_password, is_literal};

/// What the names of files hold that say where packages come from.
const WORDS: [&str; 2] = ["requirements", "constraints"];
/// What they begin or end with.
const NAMES: [&str; 18] = [
    "pyproject.toml",
    "uv.toml",
    "uv.lock",
    "pip.conf",
    "pip.ini",
    "Pipfile",
    "poetry.lock",
    "poetry.toml",
    "pdm.lock",
    "environment.yml",
    "environment.yaml",
    "conda-lock.yml",
    "pixi.toml",
    "pixi.lock",
    ".condarc",
    "setup.py",
    "setup.cfg",
    "nauta.toml",
];

/// Whether a path is a Dockerfile's, by its name.
pub fn is_dockerfile(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    ["Dockerfile", "Containerfile"].iter().any(|known| name.starts_with(known) || name.ends_with(known))
}

/// Whether a path is a Dockerfile's, or that of a file which says where packages come from, by its name.
pub fn may_name_indexes(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    is_dockerfile(path)
        || WORDS.iter().any(|word| name.contains(word))
        || NAMES.iter().any(|known| name.starts_with(known) || name.ends_with(known))
}

/// The line, from 1, of the first password in such a file: in a URL, or in what a Dockerfile sets by a secret's name.
pub fn find_password(path: &str, text: &str) -> Option<usize> {
    let in_url = text.lines().position(has_password).map(|at| at + 1);
    let set = if is_dockerfile(path) { set_by_dockerfile(text) } else { None };
    in_url.into_iter().chain(set).min()
}

fn set_by_dockerfile(text: &str) -> Option<usize> {
    let dockerfile = parse(text).ok()?;
    let line_of = |at: usize| text[..at].bytes().filter(|byte| *byte == b'\n').count() + 1;
    dockerfile.instructions.iter().find_map(|instruction| {
        let arguments = match instruction {
            Instruction::Arg(arg) => &arg.arguments,
            Instruction::Env(env) => &env.arguments,
            _ => return None,
        };
        let words = shlex::split(&arguments.value)?;
        let pairs: Vec<(&str, &str)> = match &words[..] {
            // The old form of `ENV`, with a blank in place of `=`.
            [name, value] if !name.contains('=') && !value.contains('=') => vec![(name, value)],
            _ => words.iter().filter_map(|word| word.split_once('=')).collect(),
        };
        pairs
            .iter()
            .any(|(name, value)| is_secret_name(name) && is_literal(value))
            .then(|| line_of(arguments.span.start))
    })
}

/// Whether a variable's value is a secret. Fewer names than [`crate::secret::names_a_secret`] knows: `GPG_KEY` is public.
fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    let ends = ["TOKEN", "PASSWORD", "PASSWD", "SECRET", "API_KEY", "APIKEY", "ACCESS_KEY", "_PAT"];
    ends.iter().any(|end| name.ends_with(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_found_where_builds_read_them() {
        let url = "numpy\n--index-url https://ada:tok-123@h/simple\n";
        assert_eq!(find_password("requirements-dev.txt", url), Some(2));
        assert_eq!(find_password("requirements.txt", "--index-url https://ada:${TOKEN}@h/simple\n"), None);
        let dockerfile =
            "FROM x\nARG API_TOKEN\nENV GPG_KEY=E3FF GITHUB_TOKEN=\"\"\nENV X=1 \\\n  DB_PASSWORD=hunter2\n";
        assert_eq!(find_password("docker/Dockerfile.gpu", dockerfile), Some(4));
        assert_eq!(find_password("Dockerfile", "FROM x\nENV HF_TOKEN hf-1234\n"), Some(2));
        assert_eq!(find_password("Dockerfile", "FROM x\nENV HF_TOKEN=$HF_TOKEN\nARG PIP_TOKEN=\n"), None);
        for path in ["requirements.txt", "a/dev-requirements.txt", "uv.toml", "gpu.Dockerfile", "Containerfile"] {
            assert!(may_name_indexes(path), "{path}");
        }
        for path in ["train.py", "README.md", "data/words.txt"] {
            assert!(!may_name_indexes(path), "{path}");
        }
    }
}
