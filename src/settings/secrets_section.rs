//! The secrets that a program or a build needs: their names, and never their values.

use std::fmt;

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::job::is_variable_name;
use crate::secret::is_secret_id;

/// The secrets that the program needs, by name. Their values are kept with `nauta secret set NAME`, or come with
/// `--secret-env NAME` or `--secret`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, default)]
pub struct SecretsSection {
    /// Names of variables, as `["WANDB_API_KEY"]`.
    pub names: Vec<String>,
}

/// The secrets that the environment's build needs, by name: ids of `RUN --mount=type=secret`, and variables in the builds
/// whose Dockerfile nauta writes. Their values are kept with `nauta secret set NAME`, or come with `--build-secret`.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[schemars(deny_unknown_fields, default)]
pub struct BuildSecretsSection {
    /// Names, as `["PIP_TOKEN"]`.
    pub names: Vec<String>,
}

/// Reads the names. Errors show no value: somebody may have written one.
struct SectionVisitor {
    is_name: fn(&str) -> bool,
    form: &'static str,
}

impl<'de> Visitor<'de> for SectionVisitor {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the names of secrets: `names = [\"WANDB_API_KEY\"]`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<String>, A::Error> {
        let mut names: Vec<String> = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            if key != "names" {
                let _: IgnoredAny = map.next_value()?;
                return Err(de::Error::custom(format!(
                    "nauta.toml names secrets and holds no values: write `names = [\"{key}\"]`, and keep the value with \
                     `nauta secret set {key}`"
                )));
            }
            names = map.next_value().map_err(|_| de::Error::custom("`names` is a list of names"))?;
            if !names.iter().all(|name| (self.is_name)(name)) {
                return Err(de::Error::custom(format!(
                    "`names` holds something that is no {}; values have no place here",
                    self.form
                )));
            }
        }
        Ok(names)
    }
}

impl<'de> Deserialize<'de> for SecretsSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = SectionVisitor { is_name: is_variable_name, form: "variable's name (letters, digits and `_`)" };
        Ok(Self { names: deserializer.deserialize_map(visitor)? })
    }
}

impl<'de> Deserialize<'de> for BuildSecretsSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let visitor = SectionVisitor { is_name: is_secret_id, form: "secret's id (letters, digits, `_`, `-` and `.`)" };
        Ok(Self { names: deserializer.deserialize_map(visitor)? })
    }
}
