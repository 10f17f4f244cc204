//! Any bytes as what fronts and ranks say to each other, and as command lines of programs that start others.

use super::protocol::{Answer, Ask, LONGEST_BODY};
use super::{options, pdsh};
use crate::control;

pub(crate) fn frames(bytes: &[u8]) {
    control::fuzz::of::<Ask, Answer>(bytes, LONGEST_BODY);
    control::fuzz::of::<Answer, Ask>(bytes, LONGEST_BODY);
    let words: Vec<String> = String::from_utf8_lossy(bytes).split([' ', '\n']).map(str::to_owned).collect();
    let _ = (options::read(&words), pdsh::read(&words));
}
