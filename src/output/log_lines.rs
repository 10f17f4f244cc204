//! Bytes of a program to lines for a terminal: whole lines, folded progress bars, no control sequences but colours.

/// The longest line that is held back for its end, in bytes; longer ones are shown in pieces.
const LONGEST: usize = 16 * 1024;

/// Makes lines of the bytes of one stream.
#[derive(Default)]
pub(super) struct LogLines {
    pending: Vec<u8>,
    /// Whether the line is written anew from its begin when more comes.
    returned: bool,
    /// Whether it was.
    redrawn: bool,
}

/// A line, safe to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) text: String,
    /// Whether it has drawn over itself, as progress bars do.
    pub(super) redrawn: bool,
}

impl LogLines {
    /// Adds bytes; gives the lines that they complete.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> Vec<Text> {
        let mut lines = Vec::new();
        while let Some(first) = bytes.first() {
            match first {
                b'\n' => lines.push(self.end()),
                b'\r' => self.returned = true,
                _ => {
                    let len = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
                    self.write(&bytes[..len], &mut lines);
                    bytes = &bytes[len..];
                    continue;
                }
            }
            bytes = &bytes[1..];
        }
        lines
    }

    fn write(&mut self, mut bytes: &[u8], lines: &mut Vec<Text>) {
        if std::mem::take(&mut self.returned) {
            // A progress bar draws over itself: what it last said is what it says.
            self.redrawn |= !self.pending.is_empty();
            self.pending.clear();
        }
        while self.pending.len() + bytes.len() > LONGEST {
            let room = LONGEST.saturating_sub(self.pending.len());
            self.pending.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            let rest = self.pending.split_off(whole_characters(&self.pending));
            lines.push(self.text());
            self.pending = rest;
        }
        self.pending.extend_from_slice(bytes);
    }

    fn text(&self) -> Text {
        Text { text: printable(&String::from_utf8_lossy(&self.pending)), redrawn: self.redrawn }
    }

    fn end(&mut self) -> Text {
        let text = self.text();
        *self = Self::default();
        text
    }

    /// What was written without an end of line.
    pub(super) fn take(&mut self) -> Option<Text> {
        // A lone NUL is how some launchers take their leave.
        let has_text = self.pending.iter().any(|byte| *byte != 0);
        let text = self.end();
        has_text.then_some(text)
    }

    /// Whether a progress bar has not come to its end.
    pub(super) const fn is_bar(&self) -> bool {
        self.returned || self.redrawn
    }

    /// What a progress bar shows that has not come to its end.
    pub(super) fn bar(&self) -> Option<String> {
        self.is_bar().then(|| self.text().text).filter(|text| !text.trim().is_empty())
    }
}

/// The length without a character at the end that may not be whole yet; never 0.
fn whole_characters(bytes: &[u8]) -> usize {
    let near = bytes.len().saturating_sub(3).max(1);
    let start = (near..bytes.len()).rev().find(|at| bytes[*at] & 0xc0 != 0x80);
    match start {
        Some(at) if bytes[at] >= 0xc0 => at,
        _ => bytes.len(),
    }
}

/// What a progress bar says without its numbers and without how far it is drawn: bars of the same kind have it in common.
pub(super) fn gist(bar: &str) -> String {
    let mut gist = String::new();
    for c in anstream::adapter::strip_str(bar).to_string().chars() {
        match c {
            '0'..='9' if !gist.ends_with('0') => gist.push('0'),
            // Digits, blanks, and what bars are drawn with.
            c if c.is_ascii_digit() || c.is_whitespace() || "#=>-_.,:?".contains(c) => {}
            '\u{2500}'..='\u{25ff}' => {}
            c => gist.push(c),
        }
    }
    gist
}

/// The first number in a text.
pub(super) fn first_number(text: &str) -> &str {
    let digits = |c: char| c.is_ascii_digit();
    let start = text.find(digits).unwrap_or(text.len());
    let rest = &text[start..];
    &rest[..rest.find(|c| !digits(c)).unwrap_or(rest.len())]
}

/// Keeps text, tabs and colours (SGR sequences); all other controls become visible or go.
pub(super) fn printable(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            '\x1b' if rest.peek() == Some(&'[') => {
                rest.next();
                let mut sequence = String::from("\x1b[");
                while let Some(c) = rest.next_if(|c| c.is_ascii_digit() || ";:".contains(*c)) {
                    sequence.push(c);
                }
                if rest.next_if_eq(&'m').is_some() && sequence.len() < 40 {
                    safe.push_str(&sequence);
                    safe.push('m');
                } else {
                    rest.next_if(|c| ('@'..='~').contains(c));
                }
            }
            '\t' => safe.push(c),
            // Marks of direction would show a line in another order than it was written.
            '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
                safe.extend(c.escape_unicode());
            }
            c if c.is_control() => safe.extend(c.escape_debug()),
            c => safe.push(c),
        }
    }
    if safe.contains('\x1b') {
        safe.push_str("\x1b[0m");
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(lines: Vec<Text>) -> Vec<String> {
        lines.into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn lines_do_not_depend_on_how_they_arrive() {
        let long = "\u{e4}".repeat(LONGEST);
        let text = format!("one\ntwo \u{e4}\r\n10%\r20%\r30%\n\n{long}\nrest\r");
        for step in [1, 2, 3, 5, 7, 64, LONGEST - 1, LONGEST, LONGEST + 1, text.len()] {
            let mut lines = LogLines::default();
            let mut all: Vec<String> =
                text.as_bytes().chunks(step).flat_map(|piece| texts(lines.push(piece))).collect();
            all.extend(lines.take().map(|line| line.text));
            assert_eq!(all[..4], ["one", "two \u{e4}", "30%", ""], "cut every {step} bytes");
            assert!(all[4..all.len() - 1].concat() == long && all.last().is_some_and(|last| last == "rest"), "{step}");
        }
    }

    #[test]
    fn what_has_no_end_of_line_is_shown_unless_there_is_nothing_to_see() {
        let rest = |bytes: &[u8]| {
            let mut lines = LogLines::default();
            assert_eq!(lines.push(bytes), []);
            lines.take().map(|line| line.text)
        };
        assert_eq!(rest(b"fatal: last words").as_deref(), Some("fatal: last words"));
        assert_eq!((rest(b""), rest(b"\0"), rest(b"\0\0")), (None, None, None));
    }

    #[test]
    fn a_bar_is_what_it_last_said_however_often_it_is_redrawn() {
        let mut lines = LogLines::default();
        for percent in 0..10_000 {
            let shown = lines.push(format!("\r{percent} of 10000 {}", "#".repeat(100)).as_bytes());
            assert!(shown.is_empty(), "{shown:?}");
        }
        assert!(lines.bar().is_some_and(|bar| bar.starts_with("9999 of")));
        assert_eq!(
            lines.push(b"\rdone\nplain\n"),
            [Text { text: "done".to_owned(), redrawn: true }, Text { text: "plain".to_owned(), redrawn: false }]
        );
        assert_eq!(lines.bar(), None);
    }

    #[test]
    fn bars_of_one_kind_have_their_gist_in_common() {
        let (one, other) =
            (" 45%|\u{2588}\u{258c} | 450/1000 [00:10<00:12, 44.1it/s]", "100%|\u{2588}| 1000/1000 [01:10<?, 7it/s]");
        assert_eq!(gist(one), gist(other));
        assert_ne!(gist("train [==>  ] 3/9"), gist("test  [=>   ] 3/9"));
        assert_eq!((first_number("Epoch 12: 45%"), first_number("none")), ("12", ""));
    }

    #[test]
    fn only_colours_reach_a_terminal() {
        assert_eq!(printable("\x1b[31mred\x1b[0m"), "\x1b[31mred\x1b[0m\x1b[0m");
        assert_eq!(printable("a\x1b[2Jb"), "ab");
        assert_eq!(printable("a\x1b]0;title\x07b"), "a\\u{1b}]0;title\\u{7}b");
        assert_eq!(printable("\u{9b}6n\x08"), "\\u{9b}6n\\u{8}");
        assert_eq!(printable("a\u{202e}b"), "a\\u{202e}b");
    }
}
