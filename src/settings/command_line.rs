//! A program and its arguments, written as one text or as a list.

use schemars::JsonSchema;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

/// A program and its arguments. A text is split as a POSIX shell would split it, without any expansion.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CommandLine(pub Vec<String>);

struct CommandVisitor;

impl<'de> Visitor<'de> for CommandVisitor {
    type Value = CommandLine;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a command: a text such as \"python train.py\", or a list of texts")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<CommandLine, E> {
        match shlex::split(text) {
            Some(words) if !words.is_empty() => Ok(CommandLine(words)),
            Some(_) => Err(E::custom("the command is empty")),
            None => Err(E::custom("the command's quotes do not close")),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<CommandLine, A::Error> {
        let mut words = Vec::new();
        while let Some(word) = list.next_element()? {
            words.push(word);
        }
        if words.is_empty() { Err(de::Error::custom("the command is empty")) } else { Ok(CommandLine(words)) }
    }
}

impl<'de> Deserialize<'de> for CommandLine {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CommandVisitor)
    }
}

impl JsonSchema for CommandLine {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "CommandLine".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "a program and its arguments",
            "oneOf": [
                { "type": "string", "minLength": 1 },
                { "type": "array", "items": { "type": "string" }, "minItems": 1 },
            ],
        })
    }
}
