//! Any bytes as the patterns of ignore files.

use std::path::Path;

use super::rules::{IGNORE_FILES, Level, Reads, Verdict};

/// A path, a byte 0, and the text of each of the files: every path has a verdict, and one that names a line names one there is.
pub(crate) fn rules(bytes: &[u8]) {
    let cut = bytes.iter().position(|byte| *byte == 0).unwrap_or(0);
    let (path, text) = bytes.split_at(cut);
    let path = if path.is_empty() || path.contains(&b'/') { &b"folder/name"[..] } else { path };
    let files = IGNORE_FILES.iter().map(|name| (name.as_bytes().to_vec(), text.to_vec())).collect();
    let Ok(level) = Level::top(Path::new("/"), Reads::All).expect("no rules there").in_folder(b"", files) else {
        return;
    };
    let lines = String::from_utf8_lossy(text).lines().count();
    for is_folder in [true, false] {
        if let Verdict::Leave(rule) | Verdict::Withhold(rule) = level.verdict(path, is_folder) {
            assert!(rule.line.is_none_or(|line| (1..=lines).contains(&line)), "{rule:?}");
        }
        let _ = level.takes(path, is_folder);
    }
}
