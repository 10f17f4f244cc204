//! Names and words of others, as they reach a terminal: what cannot be seen is spelled out.
//!
//! Everything that nauta itself says goes through [`shown`]; what programs write keeps its colours and goes through
//! `log_lines`.

use std::fmt::Write as _;

/// One line of text: controls, marks of direction and characters without a width are spelled out as Rust writes them.
pub fn shown(text: &str) -> String {
    escaped(text, |_| false)
}

/// The same for text of several lines, which is ours: names in it are shown already.
pub(super) fn lines_shown(text: &str) -> String {
    escaped(text, |c| c == '\n')
}

/// The same document: JSON leaves some of these characters as they are.
pub(super) fn json_shown(document: &str) -> String {
    let mut safe = String::with_capacity(document.len());
    for c in document.chars() {
        if is_plain(c) {
            safe.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(safe, "\\u{unit:04x}");
        }
    }
    safe
}

fn escaped(text: &str, may_pass: impl Fn(char) -> bool) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if is_plain(c) || may_pass(c) => safe.push(c),
            c if c.is_ascii_control() => safe.extend(c.escape_default()),
            c => safe.extend(c.escape_unicode()),
        }
    }
    safe
}

/// Whether a character is seen where it stands, and does nothing.
pub(super) fn is_plain(c: char) -> bool {
    !c.is_control() && !is_unseen(c)
}

/// Characters without a width or with an effect on others (Unicode: general category Cf, Zl and Zp, and those that are to be
/// ignored where they are not known).
const fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}' | '\u{8e2}'
        | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}'
        | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{110bd}' | '\u{110cd}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_cannot_be_seen_is_spelled_out() {
        for (text, expected) in [
            ("plain ä 数据 😀", "plain ä 数据 😀"),
            ("a\nb\tc", "a\\nb\\tc"),
            ("\x1b]52;c;aGk=\x07", "\\u{1b}]52;c;aGk=\\u{7}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("a\u{202e}b\u{200b}\u{feff}\u{e0041}", "a\\u{202e}b\\u{200b}\\u{feff}\\u{e0041}"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(lines_shown("a\nb\x1b"), "a\nb\\u{1b}");
    }

    proptest! {
        #[test]
        fn json_is_the_same_document(text in any::<String>()) {
            let document = serde_json::to_string(&text).expect("text");
            let safe = json_shown(&document);
            prop_assert!(safe.chars().all(is_plain), "{safe:?}");
            prop_assert_eq!(serde_json::from_str::<String>(&safe).expect("JSON"), text);
        }
    }
}
