//! How much of what a run writes is brought back, as the project and the user have it.

use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::job::Memory;
use crate::settings::{ProjectFile, Setting, Source, UserFile};
use crate::sync::Budget;

#[derive(Debug, thiserror::Error)]
#[error("`{text}` is no size (from {source_text})")]
struct InvalidSize {
    text: String,
    source_text: String,
}

impl Diagnosis for InvalidSize {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        vec!["write it as `500Gi`, `2T` or a number of bytes".to_owned()]
    }
}

/// The budget of a project's runs.
pub(super) fn budget(project: &ProjectFile, user: &UserFile) -> Result<Budget> {
    let default = Budget::default();
    let max_size = size("outputs.max_size", project.outputs.max_size.as_ref(), user.outputs.max_size.as_ref())?;
    Ok(Budget {
        size: max_size.unwrap_or(default.size),
        files: project.outputs.max_files.or(user.outputs.max_files).unwrap_or(default.files),
        keep_free: size("outputs.keep_free", None, user.outputs.keep_free.as_ref())?,
    })
}

/// How large a file of a working directory may be, and how many come of each.
pub(super) fn rank_limits(project: &ProjectFile, user: &UserFile) -> Result<(Option<u64>, Option<u64>)> {
    let (project, user) = (&project.outputs, &user.outputs);
    let file_size = size("outputs.max_file_size", project.max_file_size.as_ref(), user.max_file_size.as_ref())?;
    Ok((file_size, project.max_rank_files.or(user.max_rank_files)))
}

fn size(key: &'static str, project: Option<&String>, user: Option<&String>) -> Result<Option<u64>> {
    let layers = [(project.cloned(), Source::ProjectFile(key)), (user.cloned(), Source::UserFile(key))];
    let Some(Setting { value: text, source }) = Setting::any(layers) else { return Ok(None) };
    match text.parse::<Memory>() {
        _ if text == "0" => Ok(Some(0)),
        Ok(size) => Ok(Some(size.bytes)),
        Err(_) => Err(InvalidSize { text, source_text: source.to_string() }.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{OutputsDefaults, OutputsSection};

    #[test]
    fn the_project_comes_before_the_user_and_only_the_user_says_what_stays_free() {
        let size = |text: &str| Some(text.to_owned());
        let user = UserFile {
            outputs: OutputsDefaults {
                max_size: size("1Gi"),
                max_files: Some(5),
                keep_free: size("0"),
                max_file_size: size("3Ki"),
                max_rank_files: Some(9),
            },
            ..UserFile::default()
        };
        let mut project = ProjectFile::default();
        let of = |project: &ProjectFile, user: &UserFile| budget(project, user).expect("valid");
        assert_eq!(of(&project, &UserFile::default()), Budget::default());
        assert_eq!(of(&project, &user), Budget { size: 1 << 30, files: 5, keep_free: Some(0) });
        project.outputs = OutputsSection { max_size: size("2Ki"), max_files: Some(7), ..OutputsSection::default() };
        assert_eq!(of(&project, &user), Budget { size: 2048, files: 7, keep_free: Some(0) });
        assert_eq!(rank_limits(&project, &user).expect("valid"), (Some(3072), Some(9)));
        project.outputs.max_file_size = size("0");
        assert_eq!(rank_limits(&project, &UserFile::default()).expect("valid"), (Some(0), None));
        project.outputs.max_size = size("much");
        let error = budget(&project, &user).expect_err("no size");
        assert_eq!(error.to_string(), "`much` is no size (from `outputs.max_size` in nauta.toml)");
    }
}
