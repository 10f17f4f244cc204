//! How many ranks a run has, and with how few of them it goes on.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer};

/// More ranks than this are a slip of the finger.
const MOST: u32 = 4096;

/// How many ranks a run has: `4`, or `3:4` for an elastic one, which goes on while at least three of four are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nodes {
    /// Fewer ranks than this end the run.
    pub least: u32,
    /// So many ranks are started.
    pub most: u32,
}

/// No number of ranks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of ranks: 1 to {MOST}, or `LEAST:MOST` such as `3:4` for a run that goes on with fewer")]
pub struct InvalidNodes(pub String);

impl Nodes {
    /// All of so many.
    #[must_use]
    pub const fn all(nodes: u32) -> Self {
        Self { least: nodes, most: nodes }
    }

    /// Of so many at least these, where it is said.
    #[must_use]
    pub fn of(nodes: u32, least: Option<u32>) -> Self {
        Self { least: least.unwrap_or(nodes), most: nodes }
    }

    /// Whether a run can have so many.
    #[must_use]
    pub const fn is_possible(nodes: u32) -> bool {
        nodes > 0 && nodes <= MOST
    }

    /// Whether it goes on with fewer.
    #[must_use]
    pub const fn is_elastic(self) -> bool {
        self.least < self.most
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Self::all(1)
    }
}

impl FromStr for Nodes {
    type Err = InvalidNodes;

    fn from_str(text: &str) -> Result<Self, InvalidNodes> {
        let (least, most) = text.split_once(':').unwrap_or((text, text));
        let nodes = || Some(Self { least: least.trim().parse().ok()?, most: most.trim().parse().ok()? });
        let is_sane = |nodes: &Self| nodes.least > 0 && nodes.least <= nodes.most && nodes.most <= MOST;
        nodes().filter(is_sane).ok_or_else(|| InvalidNodes(text.to_owned()))
    }
}

impl fmt::Display for Nodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_elastic() { write!(f, "{}:{}", self.least, self.most) } else { write!(f, "{}", self.most) }
    }
}

impl<'de> Deserialize<'de> for Nodes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(i64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Nodes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Nodes".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"], "minimum": 1, "maximum": MOST, "pattern": "^[0-9]+(:[0-9]+)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_or_two() {
        assert_eq!("4".parse(), Ok(Nodes::all(4)));
        assert_eq!("3:4".parse(), Ok(Nodes { least: 3, most: 4 }));
        for text in ["4", "3:4"] {
            assert_eq!(text.parse::<Nodes>().map(|nodes| nodes.to_string()), Ok(text.to_owned()));
        }
        for text in ["0", "0:4", "4:3", "5000", "x", "3:", ":4", "1:2:3", "-1", ""] {
            assert!(text.parse::<Nodes>().is_err(), "{text}");
        }
        let read = |text: &str| serde_json::from_str::<Nodes>(text);
        assert_eq!(read("4").ok(), Some(Nodes::all(4)));
        assert_eq!(read("\"3:4\"").ok(), Some(Nodes { least: 3, most: 4 }));
        assert!(read("0").is_err_and(|error| error.to_string().contains("no number of ranks")));
    }
}
