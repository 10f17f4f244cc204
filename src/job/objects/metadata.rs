//! Names, labels and annotations.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::job::RunSpec;
use crate::layout::label;

/// Longest command kept in an annotation, in bytes: all annotations of an object share 256 KiB.
pub const MAX_COMMAND_ANNOTATION: usize = 16 * 1024;
/// Longest value of a label, in bytes.
const MAX_LABEL: usize = 63;

/// The metadata of an object of the run.
pub(super) fn object_meta(spec: &RunSpec, name: impl Into<String>, namespace: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.into()),
        namespace: Some(namespace.to_owned()),
        labels: Some(labels(spec)),
        ..ObjectMeta::default()
    }
}

/// The labels on every object of the run, its pods included.
pub(super) fn labels(spec: &RunSpec) -> BTreeMap<String, String> {
    BTreeMap::from([
        (label::MANAGED_BY.to_owned(), label::MANAGED_BY_NAUTA.to_owned()),
        (label::RUN.to_owned(), spec.name.clone()),
        (label::PROJECT.to_owned(), label_value(&spec.project)),
        (label::USER.to_owned(), label_value(&spec.user)),
    ])
}

/// `text` as a label's value: at most 63 letters, digits, `-`, `_` and `.`, with a letter or digit at both ends. What is
/// none of these becomes `-`.
#[must_use]
pub fn label_value(text: &str) -> String {
    let legal = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let mapped: String = text.chars().map(legal).collect();
    let ends = |c: char| !c.is_ascii_alphanumeric();
    let trimmed = mapped.trim_matches(ends);
    trimmed[..trimmed.len().min(MAX_LABEL)].trim_end_matches(ends).to_owned()
}

/// The command as one JSON array, shortened at its end when it is too long for an annotation.
#[must_use]
pub fn command_annotation(command: &[String]) -> String {
    let as_json = |arguments: &[String]| serde_json::to_string(arguments).expect("texts serialise");
    let whole = as_json(command);
    if whole.len() <= MAX_COMMAND_ANNOTATION {
        return whole;
    }
    let mut kept: Vec<String> = Vec::new();
    let mut room = MAX_COMMAND_ANNOTATION - 16;
    for argument in command {
        let size = as_json(std::slice::from_ref(argument)).len() + 1;
        if size > room {
            break;
        }
        room -= size;
        kept.push(argument.clone());
    }
    kept.push("…".to_owned());
    as_json(&kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn label_values_keep_what_they_can() {
        assert_eq!(label_value("mnist"), "mnist");
        assert_eq!(label_value("Jürgen Müller"), "J-rgen-M-ller");
        assert_eq!(label_value("_.-"), "");
        assert_eq!(label_value(&"x".repeat(70)).len(), 63);
    }

    #[test]
    fn a_long_command_stays_an_array() {
        let command = vec!["python".to_owned(), "x".repeat(300_000)];
        assert_eq!(command_annotation(&command), r#"["python","…"]"#);
        assert_eq!(command_annotation(&["a b".to_owned()]), r#"["a b"]"#);
    }

    proptest! {
        #[test]
        fn any_text_becomes_a_legal_label(text in "\\PC{0,90}") {
            let value = label_value(&text);
            prop_assert!(value.len() <= 63);
            prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)));
            let end = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
            prop_assert!(end(value.chars().next()) && end(value.chars().last()));
        }

        #[test]
        fn any_command_stays_small(command in proptest::collection::vec("\\PC{0,4000}", 0..12)) {
            let text = command_annotation(&command);
            prop_assert!(text.len() <= MAX_COMMAND_ANNOTATION);
            prop_assert!(serde_json::from_str::<Vec<String>>(&text).is_ok());
        }
    }
}
