//! How much of the working directory, and of what ranks share, comes back: files up to a size, and so many of them, as the user has it.

use std::collections::BTreeMap;

use super::files::{Found, Version};
use crate::job::OutputPatterns;
use crate::sync::{LeftBy, LeftOut, Origin};

/// So many files that stay are named; of more, the folders.
const NAMED: usize = 10;

/// Leaves out what is too large or too much. Files that were `known` before come first, then the others by their names: what came
/// once does not stay behind at the next look.
pub(super) fn keep(found: &mut Found, patterns: &OutputPatterns, known: impl Fn(&str) -> bool) {
    let is_bound = |(path, version): &(String, Version)| version.origin != Origin::Outputs && !patterns.includes(path);
    if patterns.file_size < u64::MAX {
        let is_too_large =
            |file: &(String, Version)| file.1.size() > patterns.file_size && !file.1.is_link && is_bound(file);
        let large: Vec<_> = found.files.extract_if(.., |file| is_too_large(file)).collect();
        found.left_out.extend(told(&large, LeftBy::MaxFileSize));
    }
    let count = || found.files.iter().filter(|file| is_bound(file)).count() as u64;
    if patterns.files < u64::MAX && count() > patterns.files {
        let mut bound: Vec<_> = found.files.extract_if(.., |file| is_bound(file)).collect();
        bound.sort_by_cached_key(|(path, _)| (!known(path), path.clone()));
        let rest = bound.split_off(usize::try_from(patterns.files).unwrap_or(usize::MAX));
        found.files.extend(bound);
        found.left_out.extend(told(&rest, LeftBy::MaxRankFiles));
    }
}

/// Files by name where they are few, else by the folders at the top that they are in.
fn told(files: &[(String, Version)], by: LeftBy) -> Vec<LeftOut> {
    let mut groups: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (path, version) in files {
        let folder = path.find('/').map_or("*", |end| &path[..=end]);
        let name = if files.len() > NAMED { folder } else { path };
        let (count, bytes) = groups.entry(name.to_owned()).or_default();
        (*count, *bytes) = (*count + 1, *bytes + version.size());
    }
    groups.into_iter().map(|(path, (files, bytes))| LeftOut { path, files, bytes, by }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::OutputRules;

    /// What of files of these sizes comes, and what is said of the others.
    fn kept(rules: &OutputRules, files: &[(&str, u64)], known: &[&str]) -> (String, Vec<(String, u64, u64)>) {
        let folder = tempfile::tempdir().expect("a folder");
        let version = |origin, size| {
            let file = std::fs::File::create(folder.path().join("x")).expect("made");
            file.set_len(size).expect("grown");
            Version::of(origin, &file.metadata().expect("there"))
        };
        let mut found = Found::default();
        found.files.push(("own".to_owned(), version(Origin::Outputs, 1000)));
        let files = files.iter().map(|(path, size)| ((*path).to_owned(), version(Origin::Workspace, *size)));
        found.files.extend(files);
        keep(&mut found, &rules.patterns().expect("valid"), |path| known.contains(&path));
        let mut names: Vec<String> = found.files.into_iter().map(|(path, _)| path).collect();
        names.sort();
        (names.join(" "), found.left_out.into_iter().map(|left| (left.path, left.files, left.bytes)).collect())
    }

    #[test]
    fn files_come_up_to_a_size_unless_the_user_names_them() {
        let mut rules = OutputRules { max_file_size: Some(10), ..OutputRules::default() };
        let files = [("a", 10), ("b", 11), ("out/c", 12)];
        let left = vec![("b".to_owned(), 1, 11), ("out/c".to_owned(), 1, 12)];
        assert_eq!(kept(&rules, &files, &[]), ("a own".to_owned(), left));
        rules.add(&["out/".to_owned()]);
        assert_eq!(kept(&rules, &files, &[]), ("a out/c own".to_owned(), vec![("b".to_owned(), 1, 11)]));
    }

    #[test]
    fn so_many_come_and_those_that_came_stay() {
        let mut rules = OutputRules { max_rank_files: Some(2), ..OutputRules::default() };
        let files = [("d", 1), ("c", 1), ("b/x", 1), ("a", 1)];
        assert_eq!(kept(&rules, &files[..2], &[]).0, "c d own");
        let left = vec![("b/x".to_owned(), 1, 1), ("d".to_owned(), 1, 1)];
        assert_eq!(kept(&rules, &files, &["c"]), ("a c own".to_owned(), left));
        rules.add(&["b/".to_owned()]);
        assert_eq!(kept(&rules, &files, &["c"]).0, "a b/x c own");
    }

    #[test]
    fn very_many_are_told_by_their_folders() {
        let rules = OutputRules { max_rank_files: Some(0), ..OutputRules::default() };
        let names: Vec<String> = (0..20).map(|n| format!("samples/{n}/x")).chain(["y".to_owned()]).collect();
        let files: Vec<(&str, u64)> = names.iter().map(|name| (&**name, 2)).collect();
        let left = vec![("*".to_owned(), 1, 2), ("samples/".to_owned(), 20, 40)];
        assert_eq!(kept(&rules, &files, &[]), ("own".to_owned(), left));
    }
}
