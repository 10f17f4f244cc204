//! The secrets that a program needs: their names, and never their values.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::job::is_variable_name;

/// The secrets that the program needs, by name. Their values are kept with `nauta secret set NAME`, or come with
/// `--secret-env NAME` or `--secret`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, default)]
pub struct SecretsSection {
    /// Names of variables, as `["WANDB_API_KEY"]`.
    pub names: Vec<String>,
}

struct SectionVisitor;

impl<'de> Visitor<'de> for SectionVisitor {
    type Value = SecretsSection;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the names of secrets: `names = [\"WANDB_API_KEY\"]`")
    }

    /// Errors show no value: somebody may have written one.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<SecretsSection, A::Error> {
        let mut section = SecretsSection::default();
        while let Some(key) = map.next_key::<String>()? {
            if key != "names" {
                let _: IgnoredAny = map.next_value()?;
                return Err(de::Error::custom(format!(
                    "nauta.toml names secrets and holds no values: write `names = [\"{key}\"]`, and keep the value with \
                     `nauta secret set {key}`"
                )));
            }
            section.names = map.next_value().map_err(|_| de::Error::custom("`names` is a list of names"))?;
            if !section.names.iter().all(|name| is_variable_name(name)) {
                return Err(de::Error::custom(
                    "`names` holds something that is no variable's name (letters, digits and `_`); values have no place here",
                ));
            }
        }
        Ok(section)
    }
}

impl<'de> Deserialize<'de> for SecretsSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SectionVisitor)
    }
}
