//! Names of projects and runs, made to fit where they must.

/// Longest run name: room for `-<index>-<random>` behind it within a DNS label's 63 characters.
const LONGEST_RUN: usize = 52;
/// Digits and letters of a run's own part; without those that look alike.
const LETTERS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
/// Length of a run's own part.
const OWN: usize = 5;

/// A name made fit for image repositories, labels and DNS: lower-case letters, digits and single dashes, starting with
/// a letter, at most 40 characters. `project` where nothing of it is left.
pub fn project_name(text: &str) -> String {
    let mut name = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() && !name.is_empty() {
            name.push(c);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(40);
    let name = name.trim_end_matches('-');
    if name.is_empty() { "project".to_owned() } else { name.to_owned() }
}

/// A run's name: `<base>-<five random letters or digits>`; `random` is any number, its five low bytes are used.
pub fn run_name(base: &str, random: u64) -> String {
    let own: String =
        random.to_le_bytes()[..OWN].iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect();
    let mut base = project_name(base);
    base.truncate(LONGEST_RUN - OWN - 1);
    format!("{}-{own}", base.trim_end_matches('-'))
}

/// Whether a text may be a run's name: one that nauta makes, or somebody wrote down.
pub fn is_run_name(text: &str) -> bool {
    let is_inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.len() <= LONGEST_RUN
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.ends_with(is_inner)
        && text.chars().all(|c| is_inner(c) || c == '-')
}

/// A text made fit for a Kubernetes label's value: at most 63 of `[A-Za-z0-9._-]`, ending in letters or digits.
pub fn label_value(text: &str) -> String {
    let value: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' }).take(63).collect();
    value.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_dns_label(name: &str) -> bool {
        name.len() <= 63
            && name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
    }

    #[test]
    fn names_keep_what_can_be_kept() {
        assert_eq!(project_name("My Project (2)"), "my-project-2");
        assert_eq!(project_name("42nd_try"), "nd-try");
        assert_eq!(project_name("数据"), "project");
        assert_eq!(run_name("mnist", 0), "mnist-22222");
        for wrong in ["", "..", "a/b", "../a-22222", "A-22222", "a-", "a\n22222", "a\u{1b}", &"a".repeat(60)] {
            assert!(!is_run_name(wrong), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_gives_a_fitting_name(text in ".*", random: u64) {
            prop_assert!(is_dns_label(&project_name(&text)));
            let run = run_name(&text, random);
            prop_assert!(is_dns_label(&run) && is_run_name(&run), "{run}");
            let value = label_value(&text);
            prop_assert!(value.len() <= 63);
        }
    }
}
