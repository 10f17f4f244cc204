//! Projects of many shapes: what their own tools make of them here, nauta makes for the ranks. `docs/environments.md` is the table of
//! them: a shape more is a row in one of the lists.

mod dockerfiles;
mod python;
mod tools;

use std::fmt::Write as _;
use std::process::{Command, Stdio};

use crate::meta::reference::keep;
use crate::support::{Workstation, environment, tool};

/// Something in a project: `-> x` is a link, and a path that ends with `/` a folder.
pub(super) type File = (&'static str, &'static str);

/// A kind of project.
pub(super) struct Shape {
    /// What it is, for the table.
    pub(super) kind: &'static str,
    /// What is done, for the table.
    pub(super) done: &'static str,
    pub(super) files: &'static [File],
    /// The folder of the project in these files.
    pub(super) project: &'static str,
    /// The image that stands for the usual one; empty: the test environment's Python.
    pub(super) base: &'static str,
    /// What is typed after `nauta run`; empty: nothing.
    pub(super) command: &'static [&'static str],
    /// What its first rank says.
    pub(super) says: &'static str,
}

/// All of them.
const ALL: [&[Shape]; 3] = [python::SHAPES, tools::SHAPES, dockerfiles::SHAPES];

/// A workstation with a project of a shape, and where that is.
pub(super) fn workstation(shape: &Shape) -> Workstation {
    let base = if shape.base.is_empty() { environment("NAUTA_TEST_IMAGE_PYTHON") } else { shape.base.to_owned() };
    let mut workstation = Workstation::new();
    workstation.configure(&format!("[defaults]\nbase = '{base}'\nca_bundle = '/etc/ssl/certs/ca-certificates.crt'\n"));
    for (path, text) in shape.files {
        let place = workstation.project.join(path);
        match text.strip_prefix("-> ") {
            _ if path.ends_with('/') => std::fs::create_dir_all(&place).expect("created"),
            Some(target) => {
                std::fs::create_dir_all(place.parent().expect("has one")).expect("created");
                std::os::unix::fs::symlink(target, &place).expect("linked");
            }
            None => {
                let text = text.replace("@BASE@", &environment("NAUTA_TEST_IMAGE_PYTHON"));
                let _ = workstation.write(path, &text);
            }
        }
    }
    workstation.project = workstation.project.join(shape.project);
    workstation
}

/// It runs as it is, and says what it says here.
pub(super) fn runs(shape: &Shape) -> Workstation {
    let workstation = workstation(shape);
    let done = workstation.succeeds(&[&["run", "--local"], shape.command].concat());
    assert!(done.stdout.contains(shape.says), "{}\n{}\n{}", shape.says, done.stdout, done.stderr);
    workstation
}

/// The shape of this name in a list.
pub(super) fn shape<'s>(shapes: &'s [Shape], name: &str) -> &'s Shape {
    shapes.iter().find(|shape| shape.kind.contains(name)).unwrap_or_else(|| panic!("no shape {name}"))
}

/// An image that stands for what others have made; made once, and found the next time.
pub(super) fn image(name: &str, dockerfile: &str) -> String {
    let text = dockerfile.replace("@BASE@", &environment("NAUTA_TEST_IMAGE_PYTHON"));
    let tag = format!("nauta-test/{name}:{}", nauta::digest::Digest::of(&text).short());
    let mut build = Command::new("docker").args(["build", "--quiet", "--tag", &tag, "-"]).stdin(Stdio::piped()).spawn();
    let build = build.as_mut().expect("docker starts");
    let mut stdin = build.stdin.take().expect("piped");
    std::io::Write::write_all(&mut stdin, text.as_bytes()).expect("written");
    drop(stdin);
    assert!(build.wait().expect("ends").success(), "{name}");
    assert!(!tool("docker", &["image", "inspect", "--format", "{{.Id}}", &tag]).is_empty());
    tag
}

#[test]
fn the_table_of_shapes() {
    let mut page = "# Environments, by the shape of a project\n\n\
        Projects as the tests build and run them, with `nauta run` and nothing else: what `uv run`, `pip install -r`, `conda env create` or `docker build .`\n\
        makes on the workstation, nauta makes for the ranks. On a cluster the very same image is pushed. Why a build reads what it reads is in\n\
        [decision 54](decisions/0054-what-a-build-reads.md), how things are installed in [decision 55](decisions/0055-recipes.md).\n\n\
        | project | what is done |\n|---|---|\n"
        .to_owned();
    for shape in ALL.iter().copied().flatten() {
        let _ = writeln!(page, "| {} | {} |", shape.kind, shape.done);
    }
    keep("docs/environments.md", &page);
}
