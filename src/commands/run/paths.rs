//! Paths of this workstation in a command: what is in the project has another place in the ranks.

use std::path::Path;

use crate::layout;

/// A command whose paths below the project's root lead to the same files in a rank: as whole words, and behind `=` or `:`.
pub(super) fn in_ranks(command: Vec<String>, root: &Path, project: &str) -> Vec<String> {
    let Some(root) = root.to_str().filter(|root| root.len() > 1) else { return command };
    let there = layout::project_folder(project);
    command.into_iter().map(|word| replace(&word, root, &there)).collect()
}

fn replace(word: &str, root: &str, there: &str) -> String {
    let (mut done, mut rest) = (String::with_capacity(word.len()), word);
    while let Some(at) = rest.find(root) {
        let (before, found) = rest.split_at(at);
        let after = &found[root.len()..];
        done.push_str(before);
        let begins = done.is_empty() || done.ends_with(['=', ':', ',', '"', '\'', ' ', '(']);
        let ends = after.is_empty() || after.starts_with(['/', ':', ',', '"', '\'', ' ', ')']);
        done.push_str(if begins && ends { there } else { root });
        rest = after;
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_the_project_lead_to_the_same_files_there() {
        let of = |word: &str| in_ranks(vec![word.to_owned()], Path::new("/home/ada/mnist"), "digits").remove(0);
        for (here, there) in [
            ("/home/ada/mnist/conf/a.yaml", "/workspace/digits/conf/a.yaml"),
            ("--config=/home/ada/mnist/a.yaml", "--config=/workspace/digits/a.yaml"),
            ("/home/ada/mnist", "/workspace/digits"),
            ("/home/ada/mnist/a:/home/ada/mnist/b", "/workspace/digits/a:/workspace/digits/b"),
            ("/home/ada/mnist-2/a", "/home/ada/mnist-2/a"),
            ("/mnt/home/ada/mnist/a", "/mnt/home/ada/mnist/a"),
            ("conf/a.yaml", "conf/a.yaml"),
        ] {
            assert_eq!(of(here), there);
        }
    }
}
