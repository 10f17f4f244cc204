//! Any bytes as what a program writes.

use super::log_lines::LogLines;

/// A log's lines are the same in whatever pieces it comes, and hold nothing that moves a terminal: text, tabs and colours.
pub(crate) fn log_lines(bytes: &[u8]) {
    let whole = in_pieces(bytes, usize::MAX);
    for step in [1, 5, 1000] {
        assert_eq!(in_pieces(bytes, step), whole, "in pieces of {step} bytes");
    }
    for line in &whole {
        assert!(!without_colours(line).contains(|c: char| c.is_control() && c != '\t'), "{line:?}");
    }
}

fn in_pieces(bytes: &[u8], step: usize) -> Vec<String> {
    let (mut lines, mut read) = (LogLines::default(), Vec::new());
    for piece in bytes.chunks(step) {
        read.extend(lines.push(piece));
        let _ = lines.bar();
    }
    read.extend(lines.take());
    read.into_iter().map(|line| line.text).collect()
}

/// A line without its `ESC [ … m`.
fn without_colours(line: &str) -> String {
    let mut parts = line.split("\u{1b}[");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';' || c == ':');
        text.push_str(end.strip_prefix('m').unwrap_or("\u{1b}"));
    }
    text
}
