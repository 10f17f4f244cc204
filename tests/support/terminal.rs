//! A terminal's own parser as the judge of what may reach one: text and ends of lines, and colours where they are expected.

use vte::{Params, Parser, Perform};

/// What a terminal would have done that no text of ours may make it do.
#[derive(Default)]
struct Judge {
    has_colours: bool,
    wrong: Vec<String>,
}

impl Perform for Judge {
    fn print(&mut self, c: char) {
        let code = u32::from(c);
        // Marks of direction, characters without a width, tags.
        let is_unseen = matches!(code, 0xad | 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x206f | 0xfe00..=0xfe0f
            | 0xfeff | 0xe0000..=0xe0fff);
        if c.is_control() || is_unseen {
            self.wrong.push(format!("{c:?}"));
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte != b'\n' && byte != b'\t' {
            self.wrong.push(format!("control {byte:#x}"));
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if !(self.has_colours && action == 'm' && intermediates.is_empty() && !ignore) {
            self.wrong.push(format!("CSI {action} {params:?}"));
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

/// What is wrong with bytes that a terminal gets.
pub(crate) fn wrong(bytes: &[u8], has_colours: bool) -> Vec<String> {
    let mut judge = Judge { has_colours, ..Judge::default() };
    Parser::new().advance(&mut judge, bytes);
    judge.wrong
}

#[test]
fn the_judge_sees_what_must_not_be() {
    for bad in
        ["\x1b[2J", "\x1b]52;c;aGk=\x07", "\x1bc", "\x07", "\r", "a\u{202e}", "\u{feff}", "\u{e0041}", "\u{9b}2J"]
    {
        assert!(!wrong(bad.as_bytes(), true).is_empty(), "{bad:?}");
    }
    assert!(!wrong(b"\x1b[31m", false).is_empty());
    assert_eq!(wrong("\x1b[31mred ä\x1b[0m\n".as_bytes(), true), Vec::<String>::new());
}
