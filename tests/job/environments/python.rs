//! Projects whose dependencies pip, uv or conda install.

use super::{File, Shape, image, runs, shape, workstation};
use crate::support::Workstation;

const PYPROJECT: &str = "[build-system]\nrequires = [\"setuptools>=64\"]\nbuild-backend = \"setuptools.build_meta\"\n\
    [project]\nname = \"harbor\"\nversion = \"0.1\"\n[tool.setuptools.packages.find]\nwhere = [\"src\"]\n";
const SHARED: &str = "[build-system]\nrequires = [\"setuptools>=64\"]\nbuild-backend = \"setuptools.build_meta\"\n\
    [project]\nname = \"harbor-common\"\nversion = \"0.1\"\n";
const UV_PACKAGE: &[File] = &[
    ("pyproject.toml", include_str!("shapes/uv-package/pyproject.toml")),
    ("uv.lock", include_str!("shapes/uv-package/uv.lock")),
    ("src/tidepool/__init__.py", ""),
    ("src/tidepool/cli.py", include_str!("shapes/uv-package/src/tidepool/cli.py")),
    ("train.py", "from tidepool.cli import main; main()\n"),
];

pub(super) const SHAPES: &[Shape] = &[
    Shape {
        kind: "`requirements.txt` that is a link, with `-r` and `-c` in it",
        done: "pip; the files that it names are read, and stand where they stand",
        files: &[
            ("requirements.txt", "-> requirements/prod.txt"),
            ("requirements/prod.txt", "-r requirements/base.txt\n-c constraints.txt\n"),
            ("requirements/base.txt", "idna\n"),
            ("constraints.txt", "idna==3.7\n"),
            ("train.py", "import idna; print('idna', idna.__version__)\n"),
        ],
        project: "",
        base: "",
        command: &[],
        says: "idna 3.7",
    },
    Shape {
        kind: "`requirements.txt` with `-e .`, `./libs/x`, and `../../libs/y` of the same repository",
        done: "pip; code of the project is that of the working directory, what is above the project is in the image",
        files: &[
            (".git/HEAD", "ref: refs/heads/main\n"),
            ("libs/shared/pyproject.toml", SHARED),
            ("libs/shared/harbor_common/__init__.py", "y = 1\n"),
            ("apps/trainer/requirements.txt", "idna==3.10\n-e .\n./libs/own\n-e ../../libs/shared\n"),
            ("apps/trainer/pyproject.toml", PYPROJECT),
            ("apps/trainer/src/harbor/__init__.py", "from pathlib import Path\nwhere = Path(__file__).resolve()\n"),
            ("apps/trainer/libs/own/setup.py", "from setuptools import setup\nsetup(name='own', py_modules=['own'])\n"),
            ("apps/trainer/libs/own/own.py", "z = 2\n"),
            (
                "apps/trainer/scripts/train.py",
                "import idna, harbor, harbor_common, own\nprint('from', harbor.where, harbor_common.y, own.z)\n",
            ),
        ],
        project: "apps/trainer",
        base: "",
        command: &["scripts/train.py"],
        says: "from /workspace/trainer/src/harbor/__init__.py 1 2",
    },
    Shape {
        kind: "`requirements.txt` with a newer version of a package that the distribution owns",
        done: "pip, in an environment that sees the base's packages and puts its own before them",
        files: &[
            ("requirements.txt", "typing_extensions>=4.14\n"),
            ("nauta.toml", "[environment]\npackages = ['python3-typing-extensions', 'python3-six']\n"),
            (
                "train.py",
                "import six, typing_extensions as t; from importlib.metadata import version\n\
                 print('newer', version('typing_extensions') >= '4.14', six.__file__)\n",
            ),
        ],
        project: "",
        base: "",
        command: &[],
        says: "newer True /usr/lib/python3/dist-packages/six.py",
    },
    Shape {
        kind: "`pyproject.toml` with `[project] dependencies`, without a lock",
        done: "pip, with `[environment] extras` and `groups`; the project itself where it has a `[build-system]`",
        files: &[
            (
                "pyproject.toml",
                "[project]\nname = \"buoy\"\nversion = \"0.1.0\"\ndependencies = [\"idna==3.10\"]\n\
                 [project.optional-dependencies]\nold = [\"six==1.16.0\"]\n",
            ),
            ("nauta.toml", "[environment]\nextras = ['old']\n"),
            ("data/x.csv", ""),
            ("train.py", "import idna, six; print('both', idna.__version__, six.__version__)\n"),
        ],
        project: "",
        base: "",
        command: &[],
        says: "both 3.10 1.16.0",
    },
    Shape {
        kind: "`uv.lock` of a package with `src/` and `[project.scripts]`",
        done: "uv, exactly the locked versions; its scripts are on `PATH`, and `uv run` in a rank uses what was built",
        files: UV_PACKAGE,
        project: "",
        base: "",
        command: &["--", "sh", "-c", "tidepool-train && uv run train.py && echo $VIRTUAL_ENV; ls -a"],
        says: "tidepool 3.10",
    },
    Shape {
        kind: "`uv.lock` of a workspace",
        done: "uv; members are installed, with the code of the working directory",
        files: &[
            ("pyproject.toml", include_str!("shapes/uv-workspace/pyproject.toml")),
            ("uv.lock", include_str!("shapes/uv-workspace/uv.lock")),
            (
                "packages/reef-data/pyproject.toml",
                include_str!("shapes/uv-workspace/packages/reef-data/pyproject.toml"),
            ),
            ("packages/reef-data/reef_data/__init__.py", "size = 3\n"),
            ("train.py", "import idna, six, reef_data; print('members', reef_data.size, reef_data.__file__)\n"),
        ],
        project: "",
        base: "",
        command: &[],
        says: "members 3 /workspace/project/packages/reef-data/reef_data/__init__.py",
    },
];

/// uv of two years ago, its interpreter in a home that ranks cannot enter, and another version of what is locked.
const UV_IN_ROOTS_HOME: &str = "FROM @BASE@\n\
    RUN PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --trusted-host pypi.org --trusted-host files.pythonhosted.org uv==0.5.9 idna==3.4\n\
    RUN d=/root/.local/share/uv/python/cpython-3.11.2-linux-x86_64-gnu; mkdir -p $d/bin $d/lib && cp /usr/bin/python3.11 $d/bin/ && \
    ln -s python3.11 $d/bin/python3 && cp -a /usr/lib/python3.11 $d/lib/ && chmod 700 /root\n";

#[test]
fn included_requirements() {
    let workstation = runs(shape(SHAPES, "that is a link"));
    // What is included counts.
    workstation.write("constraints.txt", "idna==3.6\n");
    let again = workstation.succeeds(&["run", "--local"]);
    assert!(again.stdout.contains("idna 3.6"), "{}", again.stdout);
    let listed = workstation.succeeds(&["files", "--build"]).stdout;
    assert!(
        listed.contains("constraints.txt") && listed.contains("`-c constraints.txt` in requirements.txt:2"),
        "{listed}"
    );
    let document: serde_json::Value =
        serde_json::from_str(&workstation.succeeds(&["--json", "files", "--build"]).stdout).expect("JSON");
    let paths: Vec<&str> =
        document["inputs"].as_array().expect("a list").iter().filter_map(|one| one["path"].as_str()).collect();
    assert_eq!(paths, ["constraints.txt", "requirements.txt", "requirements/base.txt", "requirements/prod.txt"]);
    workstation.write("requirements/base.txt", "-r missing.txt\n");
    let missing = workstation.nauta(&["run", "--local"]);
    assert_eq!(missing.code, 125);
    assert!(
        missing
            .stderr
            .contains("`requirements/missing.txt` does not exist (`-r missing.txt` in requirements/base.txt:1)"),
        "{}",
        missing.stderr
    );
}

#[test]
fn packages_by_path() {
    let workstation = runs(shape(SHAPES, "`-e .`"));
    // The working directory's code runs, and nothing is built for an edit of it.
    workstation.write("src/harbor/more.py", "");
    workstation.write("scripts/train.py", "import harbor.more, os; print('edited', sorted(os.listdir('.')))\n");
    let edited = workstation.succeeds(&["run", "--local", "scripts/train.py"]);
    assert!(edited.stderr.contains("requirements.txt is unchanged"), "{}", edited.stderr);
    let own = "edited ['libs', 'pyproject.toml', 'requirements.txt', 'scripts', 'src']";
    assert!(edited.stdout.contains(own), "{}", edited.stdout);
}

#[test]
fn packages_of_the_distribution() {
    let _ = runs(shape(SHAPES, "the distribution owns"));
}

#[test]
fn a_description_without_a_lock() {
    let workstation = runs(shape(SHAPES, "without a lock"));
    workstation.write("nauta.toml", "[environment]\nextras = ['odl']\n");
    let unknown = workstation.nauta(&["run", "--local"]);
    assert!(unknown.code == 125 && unknown.stderr.contains("`odl`"), "{}", unknown.stderr);
    // Without what is declared, the base is what it is.
    workstation.write("nauta.toml", "[environment]\ninstall = false\n");
    workstation.write("train.py", "try:\n    import idna\nexcept ImportError:\n    print('bare')\n");
    let bare = workstation.succeeds(&["run", "--local"]);
    assert!(bare.stdout.contains("bare"), "{}", bare.stdout);
}

#[test]
fn a_uv_package() {
    let workstation = runs(shape(SHAPES, "with `src/`"));
    let text = "import tidepool, sys; print('lives in', tidepool.__file__, sys.prefix)\n";
    workstation.write("train.py", text).write("src/tidepool/__init__.py", "");
    let done = workstation.succeeds(&["run", "--local"]);
    assert!(
        done.stdout.contains("lives in /workspace/project/src/tidepool/__init__.py /opt/nauta/venv"),
        "{}",
        done.stdout
    );
    assert!(done.stderr.contains("uv.lock is unchanged"), "{}", done.stderr);
}

#[test]
fn a_uv_workspace() {
    let _ = runs(shape(SHAPES, "of a workspace"));
}

/// Whoever a rank runs as, it is the interpreter that uv chose, with the locked versions.
#[test]
fn uvs_own_interpreter() {
    let base = image("uv-in-roots-home", UV_IN_ROOTS_HOME);
    let workstation: Workstation = workstation(shape(SHAPES, "with `src/`"));
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\n")).write(".python-version", "3.11\n");
    workstation.write("train.py", "import sys, idna; print('locked', idna.__version__, sys.base_prefix)\n");
    let done = workstation.succeeds(&["run", "--local"]);
    assert!(done.stdout.contains("locked 3.10 /opt/nauta/python/cpython-3.11.2"), "{}", done.stdout);
}

/// A base with an index in it, which has a PyTorch of its own.
const PYTORCHS_INDEX: &str = r#"FROM @BASE@
RUN mkdir -p /opt/index/torch && cd /opt/index/torch && python3 -c "import zipfile; z = zipfile.ZipFile('torch-2.0+own-py3-none-any.whl', 'w'); i = 'torch-2.0+own.dist-info/'; z.writestr('torch/__init__.py', '__version__ = \"2.0+own\"'); z.writestr(i + 'METADATA', 'Metadata-Version: 2.1\nName: torch\nVersion: 2.0+own\n'); z.writestr(i + 'WHEEL', 'Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n'); z.writestr(i + 'RECORD', ''); z.close()" && echo '<a href="torch-2.0%2Bown-py3-none-any.whl">torch-2.0+own-py3-none-any.whl</a>' > index.html
"#;

/// PyTorch comes from the index that is chosen, and stays where it is when another requirement comes.
#[test]
fn pytorch_in_a_layer_of_its_own() {
    let base = image("with-an-index", PYTORCHS_INDEX);
    let workstation: Workstation = workstation(shape(SHAPES, "that is a link"));
    std::fs::remove_file(workstation.project.join("requirements.txt")).expect("removed");
    workstation.write("nauta.toml", &format!("[environment]\nbase = '{base}'\npytorch = 'file:///opt/index'\n"));
    workstation.write(
        "train.py",
        "import os, torch; print('torch', torch.__version__, os.stat(torch.__file__).st_ctime_ns)\n",
    );
    let said = |requirements: &str| {
        workstation.write("requirements.txt", requirements);
        let done = workstation.succeeds(&["run", "--local"]);
        assert!(done.stderr.contains("built "), "{}", done.stderr);
        let line = done.stdout.lines().find(|line| line.contains("torch 2.0+own")).map(str::to_owned);
        line.unwrap_or_else(|| panic!("{}", done.stdout))
    };
    // Docker may still have what an earlier run of this test made.
    let new = format!("# {:?}\n", std::time::SystemTime::now());
    let first = said(&format!("{new}torch>=2\nidna==3.10\n"));
    assert_eq!(said(&format!("{new}torch>=2\nidna==3.10\nsix==1.16.0\n")), first);
}
