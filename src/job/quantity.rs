//! Amounts of processor and memory, written as Kubernetes writes them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// What is wrong with an amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no amount of {what} (expected something like {example})")]
pub struct InvalidQuantity {
    text: String,
    what: &'static str,
    example: &'static str,
}

/// Processors, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cpu {
    /// Thousandths of a processor; at least 1.
    pub milli: u64,
}

/// Main memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Memory {
    /// Bytes; at least 1.
    pub bytes: u64,
}

impl FromStr for Cpu {
    type Err = InvalidQuantity;

    /// `2`, `0.5` or `500m`.
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let milli = match text.strip_suffix('m') {
            Some(digits) => digits.parse().ok(),
            None => thousandths(text),
        };
        milli.filter(|milli| (1..=100_000_000).contains(milli)).map(|milli| Self { milli }).ok_or_else(|| {
            InvalidQuantity { text: text.to_owned(), what: "processors", example: "`2`, `0.5` or `500m`" }
        })
    }
}

/// A decimal number with at most three places, in thousandths.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || fraction.len() > 3 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<3}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1000)?.checked_add(fraction)
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milli.is_multiple_of(1000) { write!(f, "{}", self.milli / 1000) } else { write!(f, "{}m", self.milli) }
    }
}

/// Suffixes of memory amounts, largest first, binary before decimal so that output prefers them.
const UNITS: [(&str, u64); 8] = [
    ("Ti", 1 << 40),
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("T", 1_000_000_000_000),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl FromStr for Memory {
    type Err = InvalidQuantity;

    /// `8Gi`, `512Mi`, `2G` or a number of bytes.
    fn from_str(text: &str) -> Result<Self, InvalidQuantity> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, *unit)))
            .unwrap_or((text, 1));
        thousandths(number)
            .and_then(|milli| u64::try_from(u128::from(milli) * u128::from(unit) / 1000).ok())
            .filter(|bytes| *bytes > 0 && i64::try_from(*bytes).is_ok())
            .map(|bytes| Self { bytes })
            .ok_or_else(|| InvalidQuantity { text: text.to_owned(), what: "memory", example: "`8Gi` or `512Mi`" })
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, unit)| self.bytes.is_multiple_of(*unit)) {
            Some((suffix, unit)) => write!(f, "{}{suffix}", self.bytes / unit),
            None => write!(f, "{}", self.bytes),
        }
    }
}

/// A length of time as people write it: `30s`, `10m`, `1h30m`, `2d`.
pub fn duration(text: &str) -> Result<std::time::Duration, InvalidQuantity> {
    let days = text
        .strip_suffix('d')
        .and_then(|days| days.parse::<u16>().ok())
        .map(|days| format!("{}h", u32::from(days) * 24));
    let parsed = days.as_deref().unwrap_or(text).parse::<jiff::SignedDuration>().ok();
    let positive = parsed.and_then(|span| std::time::Duration::try_from(span).ok()).filter(|span| !span.is_zero());
    positive.ok_or_else(|| InvalidQuantity { text: text.to_owned(), what: "time", example: "`30s`, `12h` or `2d`" })
}

macro_rules! text_form {
    ($($type:ty),*) => {$(
        impl TryFrom<String> for $type {
            type Error = InvalidQuantity;
            fn try_from(text: String) -> Result<Self, InvalidQuantity> {
                text.parse()
            }
        }
        impl From<$type> for String {
            fn from(amount: $type) -> Self {
                amount.to_string()
            }
        }
    )*};
}
text_form!(Cpu, Memory);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_as_kubernetes_does() {
        let cpu = |text: &str| text.parse::<Cpu>().map(|c| c.to_string());
        assert_eq!(cpu("2").as_deref(), Ok("2"));
        assert_eq!(cpu("0.5").as_deref(), Ok("500m"));
        assert_eq!(cpu("1500m").as_deref(), Ok("1500m"));
        let memory = |text: &str| text.parse::<Memory>().map(|m| m.to_string());
        assert_eq!(memory("8Gi").as_deref(), Ok("8Gi"));
        assert_eq!(memory("1.5Gi").as_deref(), Ok("1536Mi"));
        assert_eq!("1000".parse::<Memory>().map(|m| m.bytes), Ok(1000));
    }

    #[test]
    fn nonsense_is_refused_with_an_example() {
        for text in ["", "0", "-1", "2x", "1.2345", "99999999999999999999"] {
            assert!(text.parse::<Cpu>().is_err(), "{text}");
        }
        for text in ["", "0", "8GB", "Gi", "9999999Ti"] {
            assert!(text.parse::<Memory>().is_err(), "{text}");
        }
        assert!("8GB".parse::<Memory>().expect_err("refused").to_string().contains("`8Gi`"));
    }
}
