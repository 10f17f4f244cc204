//! One pattern of an ignore file, and the paths that it means.
//!
//! Git and Docker write patterns alike and mean other things by them: both are read into the same pieces here, each by its own
//! reader, and so are names as tools expand them. No crate reads both: that of Git's rules (`globset`) knows braces, which neither
//! of them does.

use std::collections::HashSet;

/// More wildcards than this in one pattern are no pattern: nobody wrote that by hand.
const MOST_WILD: usize = 64;

/// Whose patterns they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `**` means folders only as a whole part of a path, and a character is a byte.
    Git,
    /// `**` means folders wherever it stands, and a character is one of UTF-8.
    Docker,
    /// One part of a path, as Go's `filepath.Match` and Python's `glob` have it: `**` is `*`, and a character is one of UTF-8.
    Name,
}

/// A piece of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    /// This byte.
    Byte(u8),
    /// One character but `/`.
    One,
    /// Any characters but `/`, or none.
    Some,
    /// Any folders with the `/` behind each, or none.
    Folders,
    /// Whatever follows.
    Rest,
    /// One character of a set, and never `/`.
    Set { without: bool, ranges: Vec<(u32, u32)> },
}

/// A pattern without what its file says around it (`!`, `/` at its ends).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob {
    pieces: Vec<Piece>,
    dialect: Dialect,
    plain: Plain,
}

/// Most patterns are told without a search.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Plain {
    /// This very text.
    Text(Vec<u8>),
    /// `*` and this text.
    End(Vec<u8>),
    No,
}

impl Glob {
    /// Understands a pattern; the error says why it is none.
    pub(crate) fn new(pattern: &[u8], dialect: Dialect) -> Result<Self, &'static str> {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some((first, behind)) = rest.split_first() {
            rest = behind;
            let piece = match first {
                b'?' => Piece::One,
                b'*' => {
                    let starts = pieces.last().is_none_or(|piece| matches!(piece, Piece::Byte(b'/') | Piece::Folders));
                    let (piece, behind) = stars(rest, starts, dialect);
                    rest = behind;
                    piece
                }
                b'[' => {
                    let (set, behind) = set(rest, dialect).ok_or("it has a `[` without an end")?;
                    rest = behind;
                    set
                }
                b'\\' => {
                    let (next, behind) = rest.split_first().ok_or("it ends with a `\\`")?;
                    rest = behind;
                    Piece::Byte(*next)
                }
                byte => Piece::Byte(*byte),
            };
            let is_again = matches!(piece, Piece::Some | Piece::Folders) && pieces.last() == Some(&piece);
            if !is_again {
                pieces.push(piece);
            }
        }
        if pieces.iter().filter(|piece| is_wild(piece)).count() > MOST_WILD {
            return Err("it has too many wildcards");
        }
        let plain = Plain::of(&pieces);
        Ok(Self { pieces, dialect, plain })
    }

    /// Whether a path is meant.
    pub(crate) fn matches(&self, path: &[u8]) -> bool {
        match &self.plain {
            Plain::Text(text) => text == path,
            Plain::End(end) => path.ends_with(end) && !path[..path.len() - end.len()].contains(&b'/'),
            Plain::No => Search { glob: self, text: path, is_start: false, failed: HashSet::new() }.run(0, 0),
        }
    }

    /// Whether a path below this folder may be meant.
    pub(super) fn leads_below(&self, folder: &[u8]) -> bool {
        let text = [folder, b"/"].concat();
        Search { glob: self, text: &text, is_start: true, failed: HashSet::new() }.run(0, 0)
    }

    /// The only path that is meant, where it is one.
    pub(super) fn literal(&self) -> Option<&[u8]> {
        match &self.plain {
            Plain::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether it begins with any folders.
    pub(super) fn is_anywhere(&self) -> bool {
        self.pieces.first() == Some(&Piece::Folders)
    }
}

const fn is_wild(piece: &Piece) -> bool {
    matches!(piece, Piece::Some | Piece::Folders | Piece::Rest)
}

impl Plain {
    fn of(pieces: &[Piece]) -> Self {
        let text = |pieces: &[Piece]| {
            let byte = |piece: &Piece| if let Piece::Byte(byte) = piece { Some(*byte) } else { None };
            pieces.iter().map(byte).collect::<Option<Vec<u8>>>()
        };
        match pieces {
            [Piece::Some, end @ ..] => text(end).map_or(Self::No, Self::End),
            all => text(all).map_or(Self::No, Self::Text),
        }
    }
}

/// What a `*` means with those behind it, and what follows.
fn stars(rest: &[u8], starts: bool, dialect: Dialect) -> (Piece, &[u8]) {
    match dialect {
        Dialect::Git => {
            let more = rest.iter().take_while(|byte| **byte == b'*').count();
            let behind = &rest[more..];
            match behind.first() {
                Some(b'/') if more > 0 && starts => (Piece::Folders, &behind[1..]),
                None if more > 0 && starts => (Piece::Rest, behind),
                _ => (Piece::Some, behind),
            }
        }
        Dialect::Docker => match rest {
            [b'*'] | [b'*', b'/'] => (Piece::Rest, &[]),
            [b'*', b'/', behind @ ..] | [b'*', behind @ ..] => (Piece::Folders, behind),
            _ => (Piece::Some, rest),
        },
        Dialect::Name => (Piece::Some, rest),
    }
}

/// A set of characters behind its `[`, and what follows its `]`.
fn set(text: &[u8], dialect: Dialect) -> Option<(Piece, &[u8])> {
    let without = match text.first() {
        Some(b'^') => true,
        Some(b'!') => dialect != Dialect::Docker,
        _ => false,
    };
    let mut rest = if without { &text[1..] } else { text };
    let (mut ranges, mut is_first) = (Vec::new(), true);
    loop {
        if rest.first() == Some(&b']') && !(is_first && dialect != Dialect::Docker) {
            return Some((Piece::Set { without, ranges }, &rest[1..]));
        }
        is_first = false;
        if let (Dialect::Git, Some((named, behind))) = (dialect, named_set(rest)) {
            ranges.extend(named?);
            rest = behind;
            continue;
        }
        let (from, behind) = set_character(rest, dialect)?;
        rest = behind;
        let mut to = from;
        if rest.first() == Some(&b'-') && rest.get(1).is_some_and(|byte| *byte != b']') {
            (to, rest) = set_character(&rest[1..], dialect)?;
        }
        ranges.push((from, to));
    }
}

/// One character in a set, which may stand behind a `\`.
fn set_character(text: &[u8], dialect: Dialect) -> Option<(u32, &[u8])> {
    let text = text.strip_prefix(b"\\").unwrap_or(text);
    let (code, length) = character(text, dialect)?;
    Some((code, &text[length..]))
}

/// A set like `[:alpha:]` in a set, where there is one; none in it where no such set exists.
#[expect(clippy::type_complexity, reason = "ranges, and the rest of the text")]
fn named_set(text: &[u8]) -> Option<(Option<Vec<(u32, u32)>>, &[u8])> {
    let inside = text.strip_prefix(b"[:")?;
    let end = inside.iter().position(|byte| *byte == b']')?;
    let name = inside[..end].strip_suffix(b":")?;
    let is_in: fn(&u8) -> bool = match name {
        b"alnum" => u8::is_ascii_alphanumeric,
        b"alpha" => u8::is_ascii_alphabetic,
        b"blank" => |byte| matches!(byte, b' ' | b'\t'),
        b"cntrl" => u8::is_ascii_control,
        b"digit" => u8::is_ascii_digit,
        b"graph" => u8::is_ascii_graphic,
        b"lower" => u8::is_ascii_lowercase,
        b"print" => |byte| matches!(byte, b' '..=b'~'),
        b"punct" => u8::is_ascii_punctuation,
        b"space" => |byte| matches!(byte, b' ' | b'\t'..=b'\r'),
        b"upper" => u8::is_ascii_uppercase,
        b"xdigit" => u8::is_ascii_hexdigit,
        _ => return Some((None, inside)),
    };
    let ranges = (0..=u8::MAX).filter(is_in).map(|byte| (byte.into(), byte.into())).collect();
    Some((Some(ranges), &inside[end + 1..]))
}

/// The first character of a text, and how many bytes it takes.
fn character(text: &[u8], dialect: Dialect) -> Option<(u32, usize)> {
    let first = *text.first()?;
    let byte = Some((u32::from(first), 1));
    if dialect == Dialect::Git || first.is_ascii() {
        return byte;
    }
    let length = (2..=4).find(|length| text.get(..*length).is_some_and(|part| std::str::from_utf8(part).is_ok()));
    let Some(length) = length else { return byte };
    let code = std::str::from_utf8(&text[..length]).ok()?.chars().next()?;
    Some((code.into(), length))
}

/// A search for a way to read a text by a pattern.
struct Search<'g> {
    glob: &'g Glob,
    text: &'g [u8],
    /// Whether it is enough that the text begins what is meant.
    is_start: bool,
    /// Wildcards and places from which no way leads on.
    failed: HashSet<(usize, usize)>,
}

impl Search<'_> {
    fn run(&mut self, mut piece: usize, mut at: usize) -> bool {
        loop {
            let Some(next) = self.glob.pieces.get(piece) else { return at == self.text.len() };
            if self.is_start && at == self.text.len() {
                return true;
            }
            let Some((code, length)) = character(&self.text[at..], self.glob.dialect) else {
                // Only what may be nothing is left to be read.
                return self.glob.pieces[piece..].iter().all(is_wild);
            };
            let is_it = match next {
                Piece::Rest => return true,
                Piece::Some | Piece::Folders => return self.wild(piece, at),
                Piece::Byte(byte) => {
                    if *byte != self.text[at] {
                        return false;
                    }
                    (piece, at) = (piece + 1, at + 1);
                    continue;
                }
                Piece::One => self.text[at] != b'/',
                Piece::Set { without, ranges } => {
                    let is_in = ranges.iter().any(|(from, to)| (*from..=*to).contains(&code));
                    self.text[at] != b'/' && is_in != *without
                }
            };
            if !is_it {
                return false;
            }
            (piece, at) = (piece + 1, at + length);
        }
    }

    /// Tries a wildcard with nothing, and then with more and more.
    fn wild(&mut self, piece: usize, at: usize) -> bool {
        if !self.failed.insert((piece, at)) {
            return false;
        }
        let is_folders = self.glob.pieces[piece] == Piece::Folders;
        let mut end = at;
        loop {
            if self.run(piece + 1, end) {
                return true;
            }
            let rest = &self.text[end..];
            let more = match (is_folders, rest.first()) {
                (true, _) => rest.iter().position(|byte| *byte == b'/').map(|slash| slash + 1),
                (false, Some(b'/')) => None,
                (false, _) => character(rest, self.glob.dialect).map(|(_, length)| length),
            };
            let Some(more) = more else { return false };
            end += more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, path: &str, dialect: Dialect) -> bool {
        Glob::new(pattern.as_bytes(), dialect).expect(pattern).matches(path.as_bytes())
    }

    #[test]
    fn both_read_what_they_share_and_each_its_own() {
        for (pattern, path, git, docker) in [
            ("*.py", "a.py", true, true),
            ("*.py", "a/b.py", false, false),
            ("a?c", "abc", true, true),
            ("a?c", "a/c", false, false),
            ("a?c", "aéc", false, true),
            ("**/x", "x", true, true),
            ("**/x", "a/b/x", true, true),
            ("a/**", "a/b/c", true, true),
            ("a/**", "a", false, false),
            ("a/**/b", "a/b", true, true),
            ("a/**/b", "a/x/y/b", true, true),
            ("a**b", "axb", true, false),
            ("a**b", "ax/b", false, true),
            ("*x**b", "xaxb", true, true),
            ("a**", "a/b", false, true),
            ("[!a]", "b", true, false),
            ("[^a]", "b", true, true),
            ("[a-c]x", "bx", true, true),
            ("[]]", "]", true, false),
            ("[[:digit:]]", "7", true, false),
            ("x[^a]y", "x/y", false, false),
            ("{a,b}", "a", false, false),
            ("{a,b}", "{a,b}", true, true),
            ("a\\*", "a*", true, true),
            ("a\\*", "ab", false, false),
        ] {
            assert_eq!(matches(pattern, path, Dialect::Git), git, "git: {pattern} {path}");
            // Docker refuses a set that is empty.
            let of_docker = Glob::new(pattern.as_bytes(), Dialect::Docker);
            assert_eq!(of_docker.is_ok_and(|glob| glob.matches(path.as_bytes())), docker, "docker: {pattern} {path}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told_and_what_is_long_ends() {
        for bad in ["[a", "a\\", "[[:nix:]]"] {
            assert!(Glob::new(bad.as_bytes(), Dialect::Git).is_err(), "{bad}");
        }
        assert!(Glob::new(&b"*a".repeat(1000), Dialect::Git).is_err());
        let slow = Glob::new(&[b"*a".repeat(MOST_WILD - 1), b"b".to_vec()].concat(), Dialect::Git).expect("a pattern");
        assert!(!slow.matches(&b"a".repeat(4000)));
    }

    #[test]
    fn patterns_lead_below_the_folders_on_their_way() {
        for (pattern, folder, leads) in [
            ("src/*.py", "src", true),
            ("src/*.py", "source", false),
            ("src/*.py", "src/deep", false),
            ("a/*/c", "a/b", true),
            ("**/x", "any/where", true),
            ("src", "src", false),
            ("a/b/c", "a", true),
        ] {
            let glob = Glob::new(pattern.as_bytes(), Dialect::Docker).expect(pattern);
            assert_eq!(glob.leads_below(folder.as_bytes()), leads, "{pattern} {folder}");
        }
    }
}
