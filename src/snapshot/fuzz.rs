//! Any bytes as the patterns of ignore files, and as what Git keeps of a repository.

use std::path::Path;

use super::docker_ignore::DockerIgnore;
use super::git_index::Tracked;
use super::level::{IGNORE_FILES, Sources};
use super::rules::{Origin, Rules, Verdict};

/// A path, a byte 0, and the text of each of the files: every path has a verdict, and one that names a line names one there is.
pub(crate) fn rules(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
    let (path, text) = bytes.split_at(cut);
    let path = if path.is_empty() || path.contains(&b'/') { &b"folder/name"[..] } else { path };
    let lines = text.split(|byte| *byte == b'\n').count();
    let is_line = |line: usize| assert!((1..=lines).contains(&line), "{line}");
    if let Ok(docker) = DockerIgnore::new("", text) {
        docker.find(path, &docker.about(path, &[])).into_iter().for_each(|pattern| is_line(pattern.line));
        let _ = docker.exceptions().any(|pattern| pattern.leads_below(path));
    }
    for name in IGNORE_FILES {
        let sources = Sources { files: vec![(name.as_bytes().to_vec(), text.to_vec())], is_repository: false };
        let top = Rules::top(&Origin::from(Path::new("/"))).expect("no rules there");
        let Ok(rules) = top.in_folder(b"", sources, None) else { continue };
        for is_folder in [true, false] {
            let judgement = rules.judge(path, is_folder);
            if let Verdict::Leave(rule) | Verdict::Withhold(rule) = &judgement.verdict {
                rule.line.into_iter().for_each(is_line);
            }
            let _ = (rules.takes(path, is_folder), rules.enters(path, &judgement));
        }
    }
    if let Some(tracked) = Tracked::read(bytes, 20) {
        let _ = (tracked.has(path), tracked.has_below(path));
    }
}
