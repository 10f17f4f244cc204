//! Whatever a program writes, a terminal only ever gets text, colours, and our own moves of the cursor. The oracle is a
//! terminal's own parser.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use vte::{Params, Parser, Perform};

use super::live::Live;
use super::logs::{Line, Logs};
use super::shown::{lines_shown, shown};
use crate::event::Stream;

/// What programs that mean no good, or only draw, are made of.
const TOKENS: [&[u8]; 40] = [
    b"loss 0.5",
    b"a",
    b" ",
    b"\t",
    b"\n",
    b"\r",
    b"\r\n",
    b"\x1b",
    b"[",
    b"]",
    b"P",
    b"_",
    b"^",
    b"X",
    b"\\",
    b"\x07",
    b"\x1b[31m",
    b"\x1b[38;2;1;2;3m",
    b"\x1b[1;4:3m",
    b"\x1b[2J",
    b"\x1b[?25l",
    b"\x1b[?1049h",
    b"\x1b]0;title\x07",
    b"\x1b]52;c;aGk=\x1b\\",
    b"\x1bPq",
    b"\x1bc",
    b"\x1b[6n",
    b"\xc2\x9b",
    b"\x9b",
    b"\xc2\x9d",
    b"\xe2\x96\x88",
    b"\xe2",
    b"\x18",
    b"\x1a",
    b"\x0e",
    b"\x7f",
    b"\x00",
    b";",
    b"1",
    b"m",
];

/// What a reader does not see: without a width, or of an effect on the order of others.
const UNSEEN: [char; 10] = [
    '\u{ad}',
    '\u{200b}',
    '\u{200d}',
    '\u{202e}',
    '\u{2066}',
    '\u{2060}',
    '\u{feff}',
    '\u{fe0f}',
    '\u{e0041}',
    '\u{e0100}',
];

/// A terminal of so many columns that notes what should never reach one.
struct Terminal {
    columns: usize,
    /// Whether our own moves of the cursor are expected.
    draws: bool,
    rows: Vec<Vec<char>>,
    at: (usize, usize),
    coloured: bool,
    wrong: Vec<String>,
}

impl Terminal {
    fn new(columns: usize, draws: bool) -> Self {
        Self { columns, draws, rows: vec![Vec::new()], at: (0, 0), coloured: false, wrong: Vec::new() }
    }

    fn shows(text: &[u8], draws: bool) -> Self {
        let mut terminal = Self::new(usize::MAX, draws);
        Parser::new().advance(&mut terminal, text);
        terminal
    }
}

impl Perform for Terminal {
    fn print(&mut self, c: char) {
        let (row, column) = self.at;
        if c.is_control() || column >= self.columns {
            self.wrong.push(format!("{c:?} in column {column}"));
        }
        let row = &mut self.rows[row];
        row.resize(row.len().max(column + 1), ' ');
        row[column] = c;
        self.at.1 += 1;
    }

    fn execute(&mut self, byte: u8) {
        match byte {
            b'\r' => self.at.1 = 0,
            b'\n' if !self.coloured => {
                self.at = (self.at.0 + 1, 0);
                self.rows.resize(self.rows.len().max(self.at.0 + 1), Vec::new());
            }
            b'\t' => {}
            _ => self.wrong.push(format!("control {byte:#x}, coloured: {}", self.coloured)),
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        let first = params.iter().next().and_then(|first| first.first()).copied().unwrap_or(0);
        match action {
            'm' if intermediates.is_empty() && !ignore => self.coloured = params.len() > 1 || first != 0,
            'K' if self.draws && first == 0 => self.rows[self.at.0].truncate(self.at.1),
            'A' if self.draws && self.at.0 > 0 => self.at.0 -= 1,
            _ => self.wrong.push(format!("CSI {action} {params:?} {intermediates:?}")),
        }
    }

    fn esc_dispatch(&mut self, _: &[u8], _: bool, byte: u8) {
        self.wrong.push(format!("ESC {byte:#x}"));
    }

    fn osc_dispatch(&mut self, params: &[&[u8]], _: bool) {
        self.wrong.push(format!("OSC {params:?}"));
    }

    fn hook(&mut self, _: &Params, _: &[u8], _: bool, action: char) {
        self.wrong.push(format!("DCS {action}"));
    }
}

fn text(lines: &[Line]) -> String {
    lines.iter().flat_map(|line| [line.prefix(), line.text.clone(), "\n".to_owned()]).collect()
}

/// What a terminal is sent when a rank writes this in such pieces.
fn sent(bytes: &[u8], piece: usize) -> String {
    let mut logs = Logs::new(true);
    let now = Instant::now();
    let mut sent = String::new();
    for piece in bytes.chunks(piece) {
        sent += &text(&logs.push(now, 0, Stream::Stdout, 0, piece));
        // What bars show is drawn, and must be as harmless.
        sent += &text(&logs.bars());
    }
    sent + &text(&logs.due(now + Duration::from_secs(9))) + &text(&logs.rest())
}

fn check(bytes: &[u8], piece: usize) -> Result<(), String> {
    let terminal = Terminal::shows(sent(bytes, piece).as_bytes(), false);
    if terminal.wrong.is_empty() { Ok(()) } else { Err(format!("{bytes:?} by {piece}: {:?}", terminal.wrong)) }
}

proptest! {
    #[test]
    fn only_text_and_colours_reach_a_terminal(
        tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..40),
        noise in prop::collection::vec(any::<u8>(), 0..20),
        piece in 1_usize..12,
    ) {
        prop_assert_eq!(check(&[&tokens.concat(), &noise[..]].concat(), piece), Ok(()));
        prop_assert_eq!(check(&[&noise[..], &tokens.concat()].concat(), piece), Ok(()));
    }

    /// Names, reasons and hints are one line of text each, whatever is in them, and nothing of it is unseen.
    #[test]
    fn words_of_others_are_one_line_of_text(
        tokens in prop::collection::vec(prop::sample::select(&TOKENS[..]), 0..40),
        unseen in prop::collection::vec(prop::sample::select(&UNSEEN[..]), 0..8),
        noise in prop::collection::vec(any::<u8>(), 0..20),
        text in any::<String>(),
    ) {
        let unseen: String = unseen.into_iter().collect();
        let name = String::from_utf8_lossy(&[&tokens.concat(), &noise[..], unseen.as_bytes()].concat()).into_owned();
        for words in [shown(&name), shown(&text), shown(&format!("{text}{name}"))] {
            let terminal = Terminal::shows(words.as_bytes(), false);
            prop_assert_eq!(&terminal.wrong, &Vec::<String>::new());
            prop_assert_eq!(terminal.rows.len(), 1);
            prop_assert!(!words.contains(&UNSEEN[..]), "{:?}", words);
        }
        let result = lines_shown(&format!("{name}\n{text}\n"));
        prop_assert_eq!(&Terminal::shows(result.as_bytes(), false).wrong, &Vec::<String>::new());
    }

    /// Rows that are drawn below lines leave no trace, and never wrap.
    #[test]
    fn bars_are_drawn_in_place(
        steps in prop::collection::vec((prop::collection::vec("[a-z\t]{0,30}", 0..7), any::<bool>()), 0..20),
        columns in 2_usize..20,
        has_colours in any::<bool>(),
    ) {
        let mut live = Live::new(has_colours);
        let mut terminal = Terminal::new(columns, true);
        let mut parser = Parser::new();
        let mut lines = Vec::new();
        for (at, (rows, says)) in steps.into_iter().enumerate() {
            live.set(rows.iter().map(|row| format!("\x1b[36m[0]\x1b[0m {row}")).collect());
            parser.advance(&mut terminal, live.draw(columns).as_bytes());
            if says {
                let line = at.to_string();
                parser.advance(&mut terminal, format!("{}{line}\n", live.erase()).as_bytes());
                lines.push(line);
            }
        }
        parser.advance(&mut terminal, live.erase().as_bytes());
        prop_assert_eq!(&terminal.wrong, &Vec::<String>::new());
        let shown: Vec<String> = terminal.rows.iter().map(|row| row.iter().collect()).filter(|row: &String| !row.is_empty()).collect();
        prop_assert_eq!(shown, lines);
    }
}

/// The same with as many inputs as `NAUTA_TEST_TERMINAL_INPUTS` says.
#[test]
#[expect(clippy::disallowed_methods, reason = "the long form of a test is asked for by a variable")]
fn a_large_corpus_leaves_the_terminal_as_it_was() {
    let inputs = std::env::var("NAUTA_TEST_TERMINAL_INPUTS").map_or(20_000, |text| text.parse().expect("a number"));
    // xorshift64: the same inputs each time.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).expect("31 bits") % below
    };
    let mut bytes = Vec::new();
    for _ in 0..inputs {
        bytes.clear();
        for _ in 0..random(24) {
            match random(8) {
                0 => bytes.push(u8::try_from(random(256)).expect("a byte")),
                _ => bytes.extend_from_slice(TOKENS[random(TOKENS.len())]),
            }
        }
        let outcome = check(&bytes, 1 + random(16));
        assert_eq!(outcome, Ok(()));
    }
}

/// The oracle itself sees what it is there for.
#[test]
fn the_oracle_sees_what_must_not_be() {
    for bad in ["\x1b[2J", "\x1b]0;x\x07", "\x1b[31mred\n", "\x1bc", "\x07", "\x1b[?25l", "\x1bPq\x1b\\", "\x1b[A"] {
        assert!(!Terminal::shows(bad.as_bytes(), false).wrong.is_empty(), "{bad:?}");
    }
    assert!(Terminal::shows(b"\x1b[31mred\x1b[0m\n", false).wrong.is_empty());
}
