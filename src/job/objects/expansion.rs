//! Kubernetes expands `$(NAME)` in commands and variables; a user's `$(date)` is for the user's shell.

/// `text` written so that Kubernetes' expansion gives exactly `text` back.
///
/// Only a `$` before `$` or `(` means anything to it, and `$$` stands for one `$`. All others stay as they are, so that
/// manifests remain readable.
#[must_use]
pub fn escape_expansion(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        escaped.push(character);
        if character == '$' && matches!(characters.peek(), Some('$' | '(')) {
            escaped.push('$');
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::escape_expansion;
    use proptest::prelude::*;

    /// What a kubelet does to a text when every variable is known (`third_party/forked/golang/expansion`, as documented
    /// for `command` in the Container API).
    fn expand(text: &str) -> String {
        let text: Vec<char> = text.chars().collect();
        let mut expanded = String::new();
        let mut at = 0;
        while at < text.len() {
            match (text[at], text.get(at + 1)) {
                ('$', Some('$')) => {
                    expanded.push('$');
                    at += 2;
                }
                ('$', Some('(')) => {
                    let end = text[at..].iter().position(|c| *c == ')');
                    expanded.push_str(if end.is_some() { "EXPANDED" } else { "$(" });
                    at += end.map_or(2, |end| end + 1);
                }
                (other, _) => {
                    expanded.push(other);
                    at += 1;
                }
            }
        }
        expanded
    }

    #[test]
    fn what_a_shell_expands_is_left_to_the_shell() {
        assert_eq!(escape_expansion("echo $(date) $HOME $$"), "echo $$(date) $HOME $$$");
        assert_eq!(expand("echo $$(date) $HOME $$$"), "echo $(date) $HOME $$");
    }

    proptest! {
        #[test]
        fn expansion_gives_the_text_back(text in "[$()a]{0,12}") {
            prop_assert_eq!(expand(&escape_expansion(&text)), text);
        }
    }
}
