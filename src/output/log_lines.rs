//! Bytes of a program to lines for a terminal: whole lines, folded progress bars, no control sequences but colours.

/// The longest line that is held back for its end, in bytes; longer ones are shown in pieces.
const LONGEST: usize = 16 * 1024;

/// Makes lines of the bytes of one stream.
#[derive(Default)]
pub(super) struct LogLines {
    pending: Vec<u8>,
}

impl LogLines {
    /// Adds bytes; gives the lines that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.pending.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.pending.len() > LONGEST {
                lines.extend(self.take());
            }
        }
        lines
    }

    /// What was written without an end of line.
    pub(super) fn take(&mut self) -> Option<String> {
        let pending = std::mem::take(&mut self.pending);
        if pending.is_empty() {
            return None;
        }
        let line = pending.strip_suffix(b"\n").unwrap_or(&pending);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        // A progress bar draws over itself: what it last said is what it says.
        let last = line.rsplit(|byte| *byte == b'\r').find(|part| !part.is_empty()).unwrap_or(line);
        Some(printable(&String::from_utf8_lossy(last)))
    }
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

    #[test]
    fn lines_do_not_depend_on_how_they_arrive() {
        let text = b"one\ntwo \xc3\xa4\r\n10%\r20%\r30%\nrest";
        for step in 1..text.len() {
            let mut lines = LogLines::default();
            let mut all: Vec<String> = text.chunks(step).flat_map(|piece| lines.push(piece)).collect();
            all.extend(lines.take());
            assert_eq!(all, ["one", "two ä", "30%", "rest"], "cut every {step} bytes");
        }
    }

    #[test]
    fn only_colours_reach_a_terminal() {
        assert_eq!(printable("\x1b[31mred\x1b[0m"), "\x1b[31mred\x1b[0m\x1b[0m");
        assert_eq!(printable("a\x1b[2Jb"), "ab");
        assert_eq!(printable("a\x1b]0;title\x07b"), "a\\u{1b}]0;title\\u{7}b");
        assert_eq!(printable("\u{9b}6n\x08"), "\\u{9b}6n\\u{8}");
    }
}
