//! What is read, for small projects of many kinds.

use std::path::Path;

use super::{Inputs, Trouble, gather};
use crate::image::{BuildOptions, EnvironmentPlan, Recipe};
use crate::project::{Dependencies, Project};
use crate::settings::{Setting, Source};
use crate::snapshot::take;

/// A path, and what is written there; `-> x` is a link, and a path that ends with `/` a folder.
type File = (&'static str, &'static str);

fn tree(files: &[File]) -> tempfile::TempDir {
    let temp = tempfile::tempdir().expect("a folder");
    for (path, text) in files {
        let place = temp.path().join(path);
        std::fs::create_dir_all(place.parent().expect("has one")).expect("created");
        match text.strip_prefix("-> ") {
            _ if path.ends_with('/') => std::fs::create_dir_all(&place).expect("created"),
            Some(target) => std::os::unix::fs::symlink(target, &place).expect("linked"),
            None => std::fs::write(&place, text).expect("written"),
        }
    }
    temp
}

fn inputs(root: &Path, dependencies: Option<Dependencies>) -> Inputs {
    let project = Project::open(root, None).expect("a project");
    let base = Setting { value: "x".to_owned(), source: Source::Default };
    let plan = if dependencies.is_some() {
        EnvironmentPlan::Generated { base, recipe: Box::new(Recipe { dependencies, ..Recipe::default() }) }
    } else {
        let text = std::fs::read_to_string(root.join("Dockerfile")).expect("there");
        EnvironmentPlan::Dockerfile { path: "Dockerfile".to_owned(), text, options: BuildOptions::default() }
    };
    gather(&plan, &project, &take(root, None).expect("readable"), None).expect("readable")
}

/// Paths in order; those of which only the name counts with `?`, folders with `/`.
fn paths(inputs: &Inputs) -> String {
    let files = inputs.files.iter().map(|(path, input)| {
        let path = String::from_utf8_lossy(path).into_owned();
        let is_folder = input.content == crate::snapshot::Content::Directory;
        path + if input.hollow {
            "?"
        } else if is_folder {
            "/"
        } else {
            ""
        }
    });
    files.collect::<Vec<_>>().join(" ")
}

fn problems(inputs: &Inputs) -> String {
    inputs.problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

#[test]
fn a_dockerfile_reads_what_it_copies_as_docker_does() {
    let files: &[File] = &[
        (".gitignore", "dist/\n*.log\n"),
        (".dockerignore", "docs\n"),
        (".streamlit/config.toml", ""),
        (".python-version", ""),
        ("dist/a.whl", ""),
        ("dist/b.log", ""),
        ("docs/x", ""),
        ("empty/", ""),
        ("current", "-> releases/2"),
        ("releases/1/v", ""),
        ("releases/2/v", ""),
        ("out", "-> ../elsewhere"),
        ("a/b.txt", ""),
        ("a/c.log", ""),
        (".env", ""),
        ("train.py", ""),
    ];
    for (text, expected, troubles) in [
        ("COPY .streamlit/ .python-version /x", ".python-version .streamlit/ .streamlit/config.toml", ""),
        ("COPY ./a/../a//b.txt /x", "a/b.txt", ""),
        ("COPY dist/ /x", "dist/ dist/a.whl dist/b.log", ""),
        ("COPY dist/*.whl /x", "dist/a.whl", ""),
        ("COPY a /x", "a/ a/b.txt a/c.log", ""),
        ("COPY empty /x", "empty/", ""),
        ("COPY current /x", "current releases/2/ releases/2/v", ""),
        ("COPY --from=y a /x", "", ""),
        ("RUN --mount=type=bind,source=a/b.txt,target=/b x", "a/b.txt", ""),
        ("ONBUILD COPY a/b.txt /x", "a/b.txt", ""),
        ("COPY docs /x", "", "`docs` is left out by .dockerignore:1 `docs` (`COPY docs` in Dockerfile:2)"),
        ("COPY .env /x", "", "`.env` stays here, it may hold a secret: `.env` (`COPY .env` in Dockerfile:2)"),
        ("COPY no*.txt /x", "", "`no*.txt` does not exist (`COPY no*.txt` in Dockerfile:2)"),
        // As in a context, whose root nothing leads out of.
        ("COPY ../../a/b.txt /x", "a/b.txt", ""),
        ("COPY out /x", "out", "`elsewhere` does not exist (`COPY out` in Dockerfile:2)"),
    ] {
        let temp = tree(files);
        std::fs::create_dir(temp.path().join(".git")).expect("created");
        std::fs::write(temp.path().join("Dockerfile"), format!("FROM x\n{text}\n")).expect("written");
        let inputs = inputs(temp.path(), None);
        let mut expected: Vec<&str> = expected.split_terminator(' ').chain(["Dockerfile"]).collect();
        expected.sort_unstable();
        assert_eq!(paths(&inputs), expected.join(" "), "{text}");
        assert_eq!(problems(&inputs), troubles, "{text}");
    }
    // Of the whole, the project's rules decide.
    let temp = tree(files);
    std::fs::create_dir(temp.path().join(".git")).expect("created");
    std::fs::write(temp.path().join("Dockerfile"), "FROM x\nCOPY . /x\n").expect("written");
    let all = paths(&inputs(temp.path(), None));
    assert!(
        all.contains("releases/1/v") && all.contains("empty/") && !all.contains("dist") && !all.contains(".env"),
        "{all}"
    );
}

#[test]
fn requirements_are_followed_to_their_ends() {
    let setuptools = "[build-system]\nrequires = ['setuptools']\n[project]\nname = 'x'\nreadme = 'README.md'\n";
    let temp = tree(&[
        ("repo/.git/", ""),
        ("repo/libs/shared/pyproject.toml", setuptools),
        ("repo/libs/shared/shared/__init__.py", ""),
        ("repo/base.txt", "idna\n"),
        ("repo/apps/p/requirements.txt", "-r deps/all.txt\n-c ../../base.txt\n-e .\n./libs/x\n../../libs/shared\n"),
        ("repo/apps/p/deps/all.txt", "-> prod.txt"),
        ("repo/apps/p/deps/prod.txt", "-r more.txt\n-r more.txt\n"),
        ("repo/apps/p/deps/more.txt", "six\n-r prod.txt\n"),
        ("repo/apps/p/pyproject.toml", setuptools),
        ("repo/apps/p/README.md", ""),
        ("repo/apps/p/src/p/__init__.py", "version = 1"),
        ("repo/apps/p/src/p/model.py", "much"),
        ("repo/apps/p/train.py", ""),
        ("repo/apps/p/libs/x/setup.py", ""),
        ("repo/apps/p/libs/x/x.py", ""),
    ]);
    let root = temp.path().join("repo/apps/p");
    let inputs = inputs(&root, Some(Dependencies::Requirements("requirements.txt".to_owned())));
    assert_eq!(problems(&inputs), "");
    assert_eq!((inputs.root.clone(), inputs.project.as_str()), (temp.path().join("repo"), "apps/p"));
    assert!(inputs.is_located);
    let expected = "apps/p/ apps/p/README.md apps/p/deps/all.txt apps/p/deps/more.txt apps/p/deps/prod.txt apps/p/libs/x/ \
        apps/p/libs/x/setup.py apps/p/libs/x/x.py apps/p/pyproject.toml apps/p/requirements.txt apps/p/src/p/ \
        apps/p/src/p/__init__.py base.txt libs/shared/ libs/shared/pyproject.toml libs/shared/shared/ libs/shared/shared/__init__.py";
    assert_eq!(paths(&inputs), expected);
    let reason = &inputs.files[&b"base.txt".to_vec()].reason;
    assert_eq!(reason.to_string(), "`-c ../../base.txt` in requirements.txt:2");
}

#[test]
fn what_requirements_name_and_is_not_there_is_said() {
    let temp =
        tree(&[("requirements.txt", "-r missing.txt\n-c ../above.txt\n-r out.txt\n"), ("out.txt", "-> /etc/hostname")]);
    let inputs = inputs(temp.path(), Some(Dependencies::Requirements("requirements.txt".to_owned())));
    let troubles: Vec<&Trouble> = inputs.problems.iter().map(|problem| &problem.trouble).collect();
    let link = Trouble::Link("/etc/hostname".to_owned());
    assert_eq!(troubles, [&Trouble::Missing, &Trouble::Outside, &link]);
    assert_eq!(inputs.problems[0].reason.to_string(), "`-r missing.txt` in requirements.txt:1");
}

#[test]
fn a_uv_workspace_reads_its_members() {
    let package = |name: &str, more: &str| format!("[build-system]\n[project]\nname = '{name}'\n{more}");
    let temp = tree(&[
        ("uv.lock", ""),
        ("packages/data/reef_data/__init__.py", ""),
        ("packages/other/train.py", ""),
        (".python-version", "3.11"),
    ]);
    let write = |path: &str, text: &str| std::fs::write(temp.path().join(path), text).expect("written");
    let root = "[project]\nname = 'reef'\n[tool.uv.sources]\nreef_data = { workspace = true }\n[tool.uv.workspace]\nmembers = ['packages/*']\n";
    write("pyproject.toml", root);
    write("packages/data/pyproject.toml", &package("reef-data", ""));
    write("packages/other/pyproject.toml", &package("other", ""));
    let found = inputs(temp.path(), Some(Dependencies::Uv));
    let expected = ".python-version packages/data/ packages/data/pyproject.toml packages/data/reef_data/ packages/data/reef_data/__init__.py \
        packages/other/pyproject.toml pyproject.toml uv.lock";
    assert_eq!((paths(&found).as_str(), problems(&found).as_str()), (expected, ""));
    // A member of a workspace whose lock is above it.
    let root = root.replace("members = ['packages/*']", "members = ['packages/*']\n");
    write("pyproject.toml", &root);
    std::fs::create_dir(temp.path().join(".git")).expect("created");
    write("packages/other/pyproject.toml", &package("other", "[tool.uv.sources]\nreef-data = { workspace = true }\n"));
    let member = inputs(&temp.path().join("packages/other"), Some(Dependencies::Uv));
    assert_eq!((member.project.as_str(), problems(&member).as_str()), ("packages/other", ""));
    assert!(
        paths(&member).contains("packages/data/reef_data/__init__.py") && paths(&member).contains("uv.lock"),
        "{}",
        paths(&member)
    );
}

#[test]
fn the_pip_section_of_a_conda_file_counts_from_the_file() {
    let temp = tree(&[
        ("env/environment.yml", "dependencies:\n- python\n- pip:\n  - -r more.txt\n  - -e ..\n"),
        ("env/more.txt", ""),
        ("setup.py", "from setuptools import setup\nsetup()\n"),
        ("pack/__init__.py", ""),
    ]);
    let found = inputs(temp.path(), Some(Dependencies::Conda("env/environment.yml".to_owned())));
    assert_eq!(paths(&found), "env/environment.yml env/more.txt pack/ pack/__init__.py setup.py");
    assert_eq!(problems(&found), "");
}
