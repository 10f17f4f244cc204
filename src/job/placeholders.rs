//! Placeholders in a command: `{rank}` becomes this rank's number.
//!
//! Only names that are known are replaced; everything else in braces is the program's own. `${rank}` is a shell's variable and
//! stays, and `{{rank}}` is how `{rank}` itself is written.

/// What a placeholder becomes.
pub type Value<'a> = (&'a str, &'a str);

/// `text` with the placeholders in it replaced.
#[must_use]
pub fn fill(text: &str, values: &[Value<'_>]) -> String {
    let (mut filled, mut rest) = (String::new(), text);
    while let Some((before, from)) = rest.find('{').map(|at| rest.split_at(at)) {
        let found = placeholder(from, values).filter(|_| !before.ends_with('$'));
        let (new, len) = found.unwrap_or_else(|| ("{".to_owned(), 1));
        filled.extend([before, &new]);
        rest = &from[len..];
    }
    filled + rest
}

/// What a text begins with, when that is a placeholder or one written to stay: what it becomes, and its length.
fn placeholder(text: &str, values: &[Value<'_>]) -> Option<(String, usize)> {
    let end = text.find('}')? + 1;
    let name = text[..end].trim_start_matches('{').trim_end_matches('}');
    let (_, value) = values.iter().find(|(known, _)| *known == name)?;
    match end - name.len() {
        2 => Some(((*value).to_owned(), end)),
        3 if text[end..].starts_with('}') => Some((format!("{{{name}}}"), end + 1)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_names_are_replaced_and_nothing_else_is() {
        let values = [("rank", "3"), ("outputs", "/nauta/outputs"), ("run", "mnist-7k3f")];
        for (text, filled) in [
            ("{rank}", "3"),
            ("--out={outputs}/x-{rank}.pt", "--out=/nauta/outputs/x-3.pt"),
            ("{rank}{rank}", "33"),
            (r#"{"rank": 1}"#, r#"{"rank": 1}"#),
            (r#"{"a": {rank}}"#, r#"{"a": 3}"#),
            (r#"{"a":{"b":"{run}"}}"#, r#"{"a":{"b":"mnist-7k3f"}}"#),
            ("{{rank}}", "{rank}"),
            ("{{{rank}}}", "{{rank}}"),
            ("{{lr}} {lr} {} { rank } {rank", "{{lr}} {lr} {} { rank } {rank"),
            ("echo ${rank} $${run}", "echo ${rank} $${run}"),
            ("{Rank} {rank:02}", "{Rank} {rank:02}"),
            ("größe-{rank}-ß", "größe-3-ß"),
            ("plain", "plain"),
            ("", ""),
        ] {
            assert_eq!(fill(text, &values), filled, "{text}");
        }
    }

    #[test]
    fn a_value_is_not_read_again() {
        assert_eq!(fill("{a}{b}", &[("a", "{b}"), ("b", "x")]), "{b}x");
        assert_eq!(fill("{a}", &[("a", "")]), "");
    }
}
