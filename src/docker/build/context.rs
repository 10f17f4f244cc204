//! The build context: exactly the files that the plan names, as an archive.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::archive::{ArchiveError, Attributes, Writer, Written};
use crate::docker::upload::{self, Upload};
use crate::image::build_plan::{BuildPlan, ContextFile, DOCKERFILE, Dockerfile};

/// 1980-01-01, the oldest time that a zip file can hold: builders do not look at times, but tools that run in builds do.
const MTIME: u64 = 315_532_800;

/// The path of the Dockerfile in the context.
pub(super) fn dockerfile(plan: &BuildPlan) -> &str {
    match &plan.dockerfile {
        Dockerfile::Text(_) => DOCKERFILE,
        Dockerfile::InContext(path) => path,
    }
}

/// Starts to write the plan's context.
pub(super) fn upload(plan: &BuildPlan) -> Upload {
    let mut files = plan.context.clone();
    if let Dockerfile::Text(text) = &plan.dockerfile {
        files.push((DOCKERFILE.into(), ContextFile::Bytes(text.clone().into_bytes())));
    }
    files.sort_by(|a, b| a.0.cmp(&b.0));
    upload::archive(move |archive| files.iter().try_for_each(|(name, file)| add(archive, name, file)))
}

fn add<W: std::io::Write>(archive: &mut Writer<W>, name: &[u8], file: &ContextFile) -> Result<(), ArchiveError> {
    match file {
        ContextFile::Version { path, digest, size, executable } => {
            let version = Written { digest: digest.clone(), size: *size };
            archive.version(name, path, attributes(*executable), &version, |_| Ok(()))
        }
        ContextFile::Link(target) => archive.symlink(name, target, attributes(true)),
        ContextFile::Folder => archive.directory(name, attributes(true)),
        ContextFile::Bytes(content) => archive.bytes(name, content, attributes(false)),
        ContextFile::Path(path) => archive.file(name, path, attributes(is_executable(path))).map(drop),
    }
}

const fn attributes(executable: bool) -> Attributes {
    Attributes { mode: if executable { 0o755 } else { 0o644 }, uid: 0, gid: 0, mtime: MTIME }
}

/// Whether the owner may execute it; a file that cannot be looked at is reported when it is read.
fn is_executable(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.permissions().mode() & 0o100 != 0)
}
