//! Projects with a Dockerfile of their own.

use super::{Shape, runs, shape, workstation};

pub(super) const SHAPES: &[Shape] = &[Shape {
    kind: "`Dockerfile` that copies dot files, links, empty folders, what Git ignores, by unclean paths and patterns",
    done: "as `docker build .`: what it names is sent, whatever Git's rules say of it",
    files: &[
        (".git/HEAD", "ref: refs/heads/main\n"),
        (".gitignore", "dist/\n"),
        (
            "Dockerfile",
            "FROM @BASE@\nCOPY .python-version .settings.toml /etc/app/\nCOPY .streamlit/ /etc/app/streamlit/\n\
             COPY current /opt/current\nCOPY etc/ /opt/etc/\nCOPY dist/ /opt/dist/\nCOPY ./wheels/../wheels//*.whl /opt/wheels/\n\
             COPY empty /opt/empty\n\
             RUN --mount=type=bind,source=notes.txt,target=/tmp/notes.txt cp /tmp/notes.txt /opt/notes.txt\n\
             RUN cat /etc/app/.python-version /etc/app/streamlit/config.toml /opt/dist/harbor-0.1-py3-none-any.whl\n",
        ),
        (".python-version", "3.11\n"),
        (".settings.toml", "a = 1\n"),
        (".streamlit/config.toml", "[server]\n"),
        ("current", "-> releases/2"),
        ("releases/2/v.txt", "two\n"),
        ("etc/app.conf", "-> app.prod.conf"),
        ("etc/app.prod.conf", "a\n"),
        ("dist/harbor-0.1-py3-none-any.whl", "wheel\n"),
        ("wheels/a.whl", "wheel\n"),
        ("wheels/b.txt", ""),
        ("empty/", ""),
        ("notes.txt", "notes\n"),
        (
            "train.py",
            "import os\nprint('copied', open('/opt/current/v.txt').read().strip(), os.readlink('/opt/etc/app.conf'), \
             os.listdir('/opt/wheels'), os.listdir('/opt/empty'), os.path.exists('dist'))\n",
        ),
    ],
    project: "",
    base: "",
    command: &[],
    says: "copied two app.prod.conf ['a.whl'] [] False",
}];

#[test]
fn what_it_copies() {
    let workstation = runs(shape(SHAPES, "dot files"));
    // What is copied counts, and what is not does not.
    workstation.write("wheels/b.txt", "more").write("releases/1/v.txt", "one\n");
    let same = workstation.succeeds(&["run", "--local"]);
    assert!(same.stderr.contains("Dockerfile of the project is unchanged"), "{}", same.stderr);
    // Docker may still have what an earlier run of this test made.
    workstation.write("dist/more.whl", &format!("{:?}", std::time::SystemTime::now()));
    let built = workstation.succeeds(&["run", "--local"]);
    assert!(built.stderr.contains("built Dockerfile"), "{}", built.stderr);
}

/// A build that fails says which of the files it names is not there to be copied, and why.
#[test]
fn what_cannot_be_copied() {
    let workstation = workstation(shape(SHAPES, "dot files"));
    workstation.write(
        "Dockerfile",
        "FROM @BASE@\nCOPY secret.pem /x\n"
            .replace("@BASE@", &crate::support::environment("NAUTA_TEST_IMAGE_PYTHON"))
            .as_str(),
    );
    workstation.write("secret.pem", "");
    let done = workstation.nauta(&["run", "--local"]);
    assert_eq!(done.code, 125);
    let words = "hint: `secret.pem` stays here, it may hold a secret: `*.pem` (`COPY secret.pem` in Dockerfile:2): `!secret.pem` in .nautaignore sends it";
    assert!(done.stderr.contains(words), "{}", done.stderr);
}
