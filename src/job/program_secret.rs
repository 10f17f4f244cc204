//! A secret of the program: the variable that it reads, and where its value is.

use crate::env_vars;
use crate::secret::Secret;

/// A secret of the program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramSecret {
    /// The program's variable.
    pub variable: String,
    /// Its value.
    pub value: SecretValue,
}

/// Where a value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretValue {
    /// Here.
    Here(Secret),
    /// In a Secret that the namespace has; this workstation never sees it.
    InNamespace {
        /// The Secret's name.
        secret: String,
        /// The key in it.
        key: String,
    },
}

impl ProgramSecret {
    /// The value, where it is here.
    #[must_use]
    pub const fn here(&self) -> Option<(&str, &Secret)> {
        match &self.value {
            SecretValue::Here(value) => Some((self.variable.as_str(), value)),
            SecretValue::InNamespace { .. } => None,
        }
    }
}

/// Whether a text can be the name of a program's variable: letters, digits and `_`, no digit first, and none of nauta's own.
#[must_use]
pub fn is_variable_name(text: &str) -> bool {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let begins = text.bytes().next().is_some_and(|first| !first.is_ascii_digit());
    begins && text.bytes().all(is_legal) && !text.starts_with(env_vars::PREFIX)
}
