//! Templates: small projects to begin with. Those in the binary, and the user's own in a folder.

use std::io;
use std::path::{Path, PathBuf};

use crate::bounded_file::{self, KEPT};
use crate::diagnosis::{Diagnosis, Kind, nearest};

/// A small project to begin with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// What it is, in one line.
    pub summary: String,
    /// Its files: path relative to the project, content.
    pub files: Vec<(String, Vec<u8>)>,
    /// `None` for those in the binary; else the folder it was read from.
    pub folder: Option<PathBuf>,
}

/// Files of a template in the binary: name, summary, files.
type Embedded = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

macro_rules! embedded {
    ($($name:literal: $summary:literal [$($file:literal),*];)*) => {
        &[$(($name, $summary, &[$(($file, include_str!(concat!("../../templates/", $name, "/", $file)))),*])),*]
    };
}

/// The templates in the binary. All of their files are in `templates/`, and each is run by the tests.
const EMBEDDED: &[Embedded] = embedded! {
    "accelerate": "Hugging Face Accelerate on scikit-learn's digits" ["nauta.toml", "requirements.txt", "train.py", "README.md"];
    "deepspeed": "DeepSpeed's ZeRO, started by its own launcher, on scikit-learn's digits" ["nauta.toml", "requirements.txt", "ds_config.json", "train.py", "README.md"];
    "elastic": "PyTorch under torchrun, which goes on when a rank is lost, on scikit-learn's digits" ["nauta.toml", "train.py", "README.md"];
    "jax": "JAX, one program on all devices of all ranks, on scikit-learn's digits" ["nauta.toml", "requirements.txt", "train.py", "README.md"];
    "mpi": "mpi4py under Open MPI's mpirun, without SSH, on scikit-learn's digits" ["nauta.toml", "train.py", "README.md"];
    "python": "any Python program; N independent ranks that share the work" ["nauta.toml", "main.py", "README.md"];
    "pytorch": "PyTorch DistributedDataParallel on scikit-learn's digits" ["nauta.toml", "train.py", "README.md"];
    "tensorflow": "TensorFlow MultiWorkerMirroredStrategy on scikit-learn's digits" ["nauta.toml", "requirements.txt", "train.py", "README.md"];
};

/// What can be wrong with a template.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// No template has this name.
    #[error("there is no template `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A folder or file of the user's own templates cannot be read.
    #[error("cannot read the template in `{}`", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is there already.
    #[error("`{}` is there already", path.display())]
    Exists {
        /// Which.
        path: PathBuf,
    },
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Diagnosis for TemplateError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        match self {
            Self::Unknown { name, known } => match nearest(name, known.iter().map(String::as_str)) {
                Some(near) => vec![format!("did you mean `{near}`?")],
                None => vec![format!("there are: {} (`nauta template list`)", known.join(", "))],
            },
            Self::Exists { .. } => {
                vec!["choose another directory, or move the file away; nothing was written".to_owned()]
            }
            Self::Unreadable { .. } | Self::Unwritable { .. } => vec!["check the permissions".to_owned()],
        }
    }
}

/// All templates: those in the binary, then the user's own in the folders below `folder`, which may replace them.
pub fn all(folder: &Path) -> Result<Vec<Template>, TemplateError> {
    let mut templates: Vec<Template> = EMBEDDED.iter().map(embedded_template).collect();
    for own in read_own(folder)? {
        templates.retain(|template| template.name != own.name);
        templates.push(own);
    }
    templates.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(templates)
}

/// The template called `name`.
pub fn find(folder: &Path, name: &str) -> Result<Template, TemplateError> {
    let templates = all(folder)?;
    let known = templates.iter().map(|template| template.name.clone()).collect();
    templates
        .into_iter()
        .find(|template| template.name == name)
        .ok_or_else(|| TemplateError::Unknown { name: name.to_owned(), known })
}

fn embedded_template((name, summary, files): &Embedded) -> Template {
    Template {
        name: (*name).to_owned(),
        summary: (*summary).to_owned(),
        files: files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect(),
        folder: None,
    }
}

fn read_own(folder: &Path) -> Result<Vec<Template>, TemplateError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| TemplateError::Unreadable { path, source }
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder)(error)),
    };
    let mut templates = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable(folder))?.path();
        let (true, Some(name)) = (path.is_dir(), path.file_name().and_then(|name| name.to_str())) else { continue };
        let files = read_files(&path).map_err(unreadable(&path))?;
        let summary = format!("your own, in {}", path.display());
        templates.push(Template { name: name.to_owned(), summary, files, folder: Some(path) });
    }
    Ok(templates)
}

fn read_files(folder: &Path) -> io::Result<Vec<(String, Vec<u8>)>> {
    let mut files = Vec::new();
    for entry in ignore::WalkBuilder::new(folder).standard_filters(false).sort_by_file_path(Ord::cmp).build() {
        let entry = entry.map_err(io::Error::other)?;
        let relative = entry.path().strip_prefix(folder).map_err(io::Error::other)?;
        if let (true, Some(path)) = (entry.path().is_file(), relative.to_str()) {
            files.push((path.to_owned(), bounded_file::read(entry.path(), KEPT)?));
        }
    }
    Ok(files)
}

impl Template {
    /// Writes the template's files into `directory` (made if need be); nothing is written when one is there already.
    /// Returns the paths written.
    pub fn write_to(&self, directory: &Path) -> Result<Vec<PathBuf>, TemplateError> {
        let paths: Vec<PathBuf> = self.files.iter().map(|(path, _)| directory.join(path)).collect();
        if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
            return Err(TemplateError::Exists { path: path.clone() });
        }
        for (path, (_, content)) in paths.iter().zip(&self.files) {
            let write = || -> io::Result<()> {
                if let Some(parent) = path.parent() {
                    std::fs::create_dir_all(parent)?;
                }
                io::Write::write_all(&mut std::fs::File::create_new(path)?, content)
            };
            write().map_err(|source| TemplateError::Unwritable { path: path.clone(), source })?;
        }
        Ok(paths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_own_template_replaces_one_of_ours() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir_all(temp.path().join("python/sub")).expect("created");
        std::fs::write(temp.path().join("python/sub/a.py"), "pass").expect("written");
        let template = find(temp.path(), "python").expect("there");
        assert_eq!(template.files, [("sub/a.py".to_owned(), b"pass".to_vec())]);
        assert_eq!(all(temp.path()).expect("readable").len(), EMBEDDED.len());
    }

    #[test]
    fn nothing_is_overwritten_and_a_slip_is_understood() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let template = find(temp.path(), "python").expect("there");
        let project = temp.path().join("new");
        assert_eq!(template.write_to(&project).expect("written").len(), template.files.len());
        assert!(matches!(template.write_to(&project), Err(TemplateError::Exists { .. })));
        let error = find(temp.path(), "pytroch").expect_err("unknown");
        assert_eq!(error.hints(), ["did you mean `pytorch`?"]);
    }
}
