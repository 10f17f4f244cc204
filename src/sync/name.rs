//! Which names of outputs may come to the workstation: a rank may be hostile, or merely surprising.

/// The longest name of a file or folder, in bytes, as usual file systems have it.
const LONGEST_PART: usize = 255;
/// The longest path that is taken, in bytes.
const LONGEST: usize = 2048;
/// Folders whose content other tools trust, and our own.
const TRUSTED: [&str; 3] = [".git", ".ssh", ".nauta"];

/// Whether other tools trust what has this name.
pub(super) fn is_trusted(part: &str) -> bool {
    TRUSTED.contains(&part.to_lowercase().as_str())
}

/// Whether a path (with `/`, relative to a rank's outputs) may come: inside the run's folder, and no place that other
/// tools trust. The error says why not.
pub fn acceptable(path: &str, rank: u32) -> Result<(), &'static str> {
    if path.len() > LONGEST || path.split('/').any(|part| part.len() > LONGEST_PART) {
        return Err("its name is too long");
    }
    if path.contains('\\') || path.chars().any(char::is_control) || path.split('/').any(|p| p.is_empty() || p == ".") {
        return Err("its name is not a plain path");
    }
    if path.split('/').any(|part| part == "..") {
        return Err("it leads out of the folder");
    }
    if path.split('/').any(is_trusted) {
        return Err("other tools trust what is in a folder of that name");
    }
    let first = path.split('/').next().unwrap_or_default();
    let is_rank =
        first.strip_prefix("rank-").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
    if rank == 0 && is_rank && first != "rank-0" {
        return Err("folders of that name belong to the other ranks");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_plain_paths_come_in() {
        for path in
            ["a", "a/b.pt", "\u{e4} \u{f6}", ".hidden", "rank-", "rank-0/a", "rank-x/a", "a/rank-1", "...", "a b/c"]
        {
            assert!(acceptable(path, 0).is_ok(), "{path}");
        }
        let long = "x".repeat(256);
        for path in [
            "",
            "/a",
            "../a",
            "a/../b",
            "a//b",
            "./a",
            "a\\b",
            "a\0",
            ".git/config",
            "x/.SSH/k",
            "rank-1/a",
            "a\nb",
            "a/",
            "a\u{1b}[2J",
            ".nauta/ledger.json",
            &long,
        ] {
            assert!(acceptable(path, 0).is_err(), "{path}");
        }
        assert!(acceptable("rank-1/a", 2).is_ok(), "only rank 0 has no folder of its own");
    }

    proptest! {
        #[test]
        fn what_is_taken_stays_inside(path in "[./a\\\\\u{0}\u{e9}]{0,12}", rank in 0_u32..2) {
            if acceptable(&path, rank).is_ok() {
                let components: Vec<_> = Path::new(&path).components().collect();
                prop_assert!(!components.is_empty());
                prop_assert!(components.iter().all(|component| matches!(component, Component::Normal(_))));
            }
        }
    }
}
