//! Projects whose dependencies are locked by tools of their own.

use super::{Shape, runs, shape, workstation};

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        kind: "`poetry.lock`",
        done: "Poetry, from its lock",
        files: &[
            ("pyproject.toml", include_str!("shapes/poetry/pyproject.toml")),
            ("poetry.lock", include_str!("shapes/poetry/poetry.lock")),
            ("lagoon/__init__.py", "depth = 4\n"),
            (
                "jobs/train.py",
                "import idna, lagoon; print('poetry', idna.__version__, lagoon.depth, lagoon.__file__)\n",
            ),
        ],
        project: "",
        base: "",
        command: &["jobs/train.py"],
        says: "poetry 3.10 4 /workspace/project/lagoon/__init__.py",
    },
    Shape {
        kind: "`pdm.lock`",
        done: "PDM, from its lock",
        files: &[
            ("pyproject.toml", include_str!("shapes/pdm/pyproject.toml")),
            ("pdm.lock", include_str!("shapes/pdm/pdm.lock")),
            ("src/delta/__init__.py", "arms = 5\n"),
            ("train.py", "import idna, delta; print('pdm', idna.__version__, delta.arms, delta.__file__)\n"),
        ],
        project: "",
        base: "",
        command: &[],
        says: "pdm 3.10 5 /workspace/project/src/delta/__init__.py",
    },
    Shape {
        kind: "`Pipfile.lock`",
        done: "Pipenv, from its lock",
        files: &[
            ("Pipfile", include_str!("shapes/pipenv/Pipfile")),
            ("Pipfile.lock", include_str!("shapes/pipenv/Pipfile.lock")),
            ("train.py", "import idna; print('pipenv', idna.__version__)\n"),
        ],
        project: "",
        base: "",
        command: &[],
        says: "pipenv 3.10",
    },
    Shape {
        kind: "`pixi.toml`, `pixi.lock`, `conda-lock.yml`",
        done: "named, with the line that makes a file that is installed from",
        files: &[("pixi.toml", "[workspace]\nname = 'x'\n"), ("train.py", "print(1)\n")],
        project: "",
        base: "",
        command: &[],
        says: "",
    },
];

#[test]
fn poetry() {
    let _ = runs(shape(SHAPES, "poetry"));
}

#[test]
fn pdm() {
    let _ = runs(shape(SHAPES, "pdm"));
}

#[test]
fn pipenv() {
    let _ = runs(shape(SHAPES, "Pipfile"));
}

#[test]
fn what_is_not_installed_is_named() {
    let workstation = workstation(shape(SHAPES, "pixi"));
    let done = workstation.nauta(&["run", "--local"]);
    assert_eq!(done.code, 125);
    assert!(
        done.stderr.contains("`pixi.toml` is for pixi") && done.stderr.contains("environment.yml"),
        "{}",
        done.stderr
    );
    workstation.write("nauta.toml", "[environment]\ninstall = false\n");
    let _ = workstation.succeeds(&["run", "--local"]);
}
