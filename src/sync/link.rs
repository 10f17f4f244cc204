//! Symbolic links among outputs: only such as lead from one of a rank's outputs to another are taken.

use super::File;
use super::name::is_trusted;
use crate::digest::Digest;

/// The longest target that is taken, in bytes.
const LONGEST: usize = 2048;

/// What stands for a link's content: no file's digest can be the same.
pub(super) fn digest_of_link(target: &str) -> Digest {
    Digest::of(format!("symbolic link\0{target}"))
}

impl File {
    /// A symbolic link at `path`; `target` as [`link_inside`] gives it. `modified`: seconds since 1970.
    #[must_use]
    pub fn of_link(path: String, target: String, modified: i64) -> Self {
        let digest = digest_of_link(&target);
        let (link, chunks) = (Some(target), Vec::new());
        Self { path, size: 0, mode: 0o777, modified, digest, chunks, link, origin: super::Origin::Outputs }
    }
}

/// Where a link at `path` leads, as a target relative to the link's own folder; `None` where that is not inside the outputs.
/// `path` is relative to their folder, whose own absolute path is `folder`.
#[must_use]
pub fn link_inside(folder: &str, path: &str, target: &str) -> Option<String> {
    let above: Vec<&str> = path.split('/').collect();
    let above = &above[..above.len() - 1];
    let (mut way, rest) = if target.starts_with('/') {
        (Vec::new(), target.strip_prefix(folder.trim_end_matches('/'))?.strip_prefix('/')?)
    } else {
        (above.to_vec(), target)
    };
    for part in rest.split('/').filter(|part| !matches!(*part, "" | ".")) {
        if part == ".." {
            way.pop()?;
        } else {
            way.push(part);
        }
    }
    let common = way.iter().zip(above).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..", above.len() - common);
    let relative = up.chain(way[common..].iter().copied()).collect::<Vec<_>>().join("/");
    acceptable_link(path, &relative).is_ok().then_some(relative)
}

/// Whether a link at `path` may lead to `target`: up to the outputs' folder and down again, to no place that other tools trust.
/// Every link that it may pass on its way keeps to the same rule, so that nothing leads out.
pub(super) fn acceptable_link(path: &str, target: &str) -> Result<(), &'static str> {
    if target.is_empty() || target.len() > LONGEST || target.contains('\\') || target.chars().any(char::is_control) {
        return Err("what it leads to is not a plain path");
    }
    let parts: Vec<&str> = target.split('/').collect();
    let up = parts.iter().take_while(|part| **part == "..").count();
    if parts[up..].iter().any(|part| matches!(*part, "" | "." | "..")) {
        return Err("what it leads to is not a plain path");
    }
    if up > path.matches('/').count() {
        return Err("it leads out of the folder");
    }
    if parts.iter().any(|part| is_trusted(part)) {
        return Err("it leads to a place that other tools trust");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn links_are_taken_as_long_as_they_stay_inside() {
        let inside = |path: &str, target: &str| link_inside("/workspace/p", path, target);
        for (path, target, expected) in [
            ("last.ckpt", "epoch=3.ckpt", "epoch=3.ckpt"),
            ("a/last", "../b/c", "../b/c"),
            ("a/last", "/workspace/p/a/x", "x"),
            ("a/b/last", "/workspace/p/c", "../../c"),
            ("a/last", ".././a//x", "x"),
            ("wandb/latest-run", "run-1", "run-1"),
            ("a/b/up", "..", ".."),
        ] {
            assert_eq!(inside(path, target).as_deref(), Some(expected), "{path} -> {target}");
        }
        for (path, target) in [
            ("last", "../x"),
            ("last", "/etc/passwd"),
            ("last", "/workspace/parts"),
            ("a/last", "../../x"),
            ("last", "."),
            ("last", ".git/hooks/post-checkout"),
            ("last", "/workspace/p/"),
            ("last", "a\nb"),
        ] {
            assert_eq!(inside(path, target), None, "{path} -> {target}");
        }
    }

    #[test]
    fn a_listed_link_is_what_it_says() {
        let link = File::of_link("a/last".to_owned(), "x".to_owned(), 0);
        assert_eq!(link.check(), Ok(()));
        assert!(File { link: Some("y".to_owned()), ..link.clone() }.check().is_err());
        assert!(File { size: 1, ..link.clone() }.check().is_err());
        assert!(File::of_link("a".to_owned(), "../x".to_owned(), 0).check().is_err());
        assert!(File::of_link("a".to_owned(), "/x".to_owned(), 0).check().is_err());
    }

    proptest! {
        #[test]
        fn what_is_given_leads_where_the_link_did(path in "[ab]/{0,1}[ab]/[ab]", target in "(/w/)?[./ab]{0,8}") {
            prop_assume!(!path.contains("//"));
            let Some(given) = link_inside("/w", &path, &target) else { return Ok(()) };
            let folder = std::path::Path::new("/w").join(&path);
            let folder = folder.parent().expect("a folder");
            let plain = |path: std::path::PathBuf| {
                path.components().fold(std::path::PathBuf::new(), |mut way, part| {
                    match part {
                        std::path::Component::ParentDir => drop(way.pop()),
                        std::path::Component::CurDir => {}
                        part => way.push(part),
                    }
                    way
                })
            };
            prop_assert_eq!(plain(folder.join(&given)), plain(folder.join(&target)));
            prop_assert!(plain(folder.join(&given)).starts_with("/w"));
        }
    }
}
