//! How each tool installs what a project depends on, as commands for a shell.
//!
//! Whoever a rank runs as, it reads what is installed: nothing of it lies in root's home.

use super::Builder;
use super::dockerfile::{Recipe, Site, VENV, quote};
use super::torch::Torch;
use crate::project::{Dependencies, Heavy};

/// Where tools are that the base does not have.
const TOOLS: &str = "/opt/nauta/tools";
/// Where uv's own interpreters are.
const PYTHONS: &str = "/opt/nauta/python";
/// Caches that live on between builds, of all projects.
const PIP_CACHE: (&str, &str) = ("/root/.cache/pip", "shared");
const UV_CACHE: (&str, &str) = ("/root/.cache/uv", "shared");
const CONDA_CACHE: (&str, &str) = ("/root/.cache/conda", "locked");
const TOOL_CACHE: (&str, &str) = ("/root/.cache/nauta", "locked");

/// What uv is told in all steps; versions that do not know a variable pass over it.
const UV_SETTINGS: &str = "export UV_CACHE_DIR=/root/.cache/uv UV_LINK_MODE=copy UV_PYTHON_INSTALL_DIR=/opt/nauta/python \
    UV_PROJECT_ENVIRONMENT=/opt/nauta/venv UV_NATIVE_TLS=1 UV_SYSTEM_CERTS=1";

/// One `RUN`.
#[derive(Clone, Debug, Default)]
pub(super) struct Step {
    /// Folders that are kept between builds, and how builds share them.
    pub(super) caches: Vec<(&'static str, &'static str)>,
    /// What is done.
    pub(super) commands: Vec<String>,
}

/// Everything that an installation takes.
#[derive(Clone, Debug, Default)]
pub(super) struct Steps {
    /// What depends on no file of the project.
    pub(super) before: Vec<Step>,
    /// What is done with them.
    pub(super) install: Vec<Step>,
    /// Variables of the image.
    pub(super) variables: Vec<(&'static str, String)>,
}

/// Debian packages.
pub(super) fn packages(packages: &[String], builder: Builder) -> Step {
    let packages: Vec<String> = packages.iter().map(|package| quote(package)).collect();
    let mut commands = vec![
        "export DEBIAN_FRONTEND=noninteractive".to_owned(),
        "apt-get update".to_owned(),
        format!("apt-get install -y --no-install-recommends {}", packages.join(" ")),
    ];
    if builder == Builder::Classic {
        // With a cache mount there is nothing to clean; without one the lists would stay in the layer.
        commands.push("rm -rf /var/lib/apt/lists/*".to_owned());
    }
    Step { caches: vec![("/var/cache/apt", "locked"), ("/var/lib/apt/lists", "locked")], commands }
}

/// How a recipe's dependencies are installed.
pub(super) fn steps(recipe: &Recipe, dependencies: &Dependencies, site: &Site) -> Steps {
    let mut steps = match dependencies {
        Dependencies::Requirements(path) => pip(site, path, &[format!("-r {}", quote(path))]),
        Dependencies::Project(file) => {
            let extras = &recipe.declared.extras;
            let extras = if extras.is_empty() { String::new() } else { format!("[{}]", extras.join(",")) };
            let own = recipe.declared.is_package.then(|| format!("-e {}", quote(&format!(".{extras}"))));
            let lines = recipe.declared.lines.iter().map(|line| quote(line));
            pip(site, file, &own.into_iter().chain(lines).collect::<Vec<_>>())
        }
        Dependencies::Uv => uv(site, recipe),
        Dependencies::Poetry => tool(site, "poetry", "POETRY_CACHE_DIR", &[poetry(recipe)]),
        Dependencies::Pdm => {
            let groups = recipe.extras.iter().chain(recipe.groups.iter().flatten());
            let groups: Vec<String> = groups.map(|group| format!("-G {}", quote(group))).collect();
            let groups = groups.join(" ");
            tool(
                site,
                "pdm",
                "PDM_CACHE_DIR",
                &[format!("if [ -e pdm.lock ]; then pdm sync {groups}; else pdm install {groups}; fi")],
            )
        }
        Dependencies::Pipenv => {
            let dev = if recipe.groups.iter().flatten().any(|group| group == "dev") { " --dev" } else { "" };
            let install = format!("if [ -e Pipfile.lock ]; then pipenv sync{dev}; else pipenv install{dev}; fi");
            tool(site, "pipenv", "PIPENV_CACHE_DIR", &[install])
        }
        Dependencies::Conda(path) => conda(site, path),
        Dependencies::Foreign(_) => Steps::default(),
    };
    if let (Some(torch), Dependencies::Requirements(needs) | Dependencies::Project(needs)) =
        (&recipe.torch, dependencies)
    {
        steps.before.push(torch_first(torch, needs));
    }
    steps
}

/// PyTorch in a layer of its own: it is large, and stays where other requirements come and go.
fn torch_first(torch: &Torch, needs: &str) -> Step {
    let lines: Vec<String> = torch.lines.iter().map(|line| quote(line)).collect();
    let usual = format!("$python -m pip install {}", lines.join(" "));
    let mut commands = python_with_pip(needs);
    match &torch.index {
        Some(index) if torch.is_said => commands.push(format!("{usual} --index-url {}", quote(index))),
        // Who chose no index may be where only one can be reached.
        Some(index) => commands.push(format!(
            "{usual} --retries 1 --index-url {} || {{ echo 'warning: {index} cannot be used; PyTorch comes from the usual index' >&2; \
             {usual}; }}",
            quote(index)
        )),
        None => commands.push(usual),
    }
    Step { caches: vec![PIP_CACHE], commands }
}

/// The image's programs are found behind those that were installed.
fn path_first(folder: &str) -> (&'static str, String) {
    ("PATH", format!("{folder}:$PATH"))
}

/// Whether Python belongs to the distribution, whose packages pip cannot replace: `python` is put into a shell's condition.
const IS_THE_DISTRIBUTIONS: &str = "python3 -c 'import os, sys, sysconfig; \
    marker = os.path.join(sysconfig.get_path(\"stdlib\"), \"EXTERNALLY-MANAGED\"); \
    own = os.path.exists(marker) or \"/usr/lib/python3/dist-packages\" in sys.path; \
    sys.exit(not (own and sys.prefix == sys.base_prefix))'";

/// Programs of the base's packages (`torchrun`) that see what is installed beside them.
const BASES_PROGRAMS: &str = "import importlib.metadata as m, os; \
    [(open(p, \"w\").write(\"#!/opt/nauta/venv/bin/python3\\nimport sys\\nfrom %s import %s\\nsys.exit(%s())\\n\" \
    % (e.module, e.attr.split(\".\")[0], e.attr)), os.chmod(p, 0o755)) \
    for d in m.distributions() for e in d.entry_points if e.group == \"console_scripts\" \
    for p in [\"/opt/nauta/venv/bin/\" + e.name] if not os.path.exists(p)]";

/// Commands after which `$python` is a Python with pip that may be installed into: the base's own, or an environment that sees
/// the base's packages where the distribution owns them.
fn python_with_pip(needs: &str) -> Vec<String> {
    let lacks = |what: &str, package: &str| {
        format!(
            "{{ echo 'error: the base image has no {what}, which {needs} needs; \
             add \"{package}\" to `packages` under [environment] in nauta.toml, or choose another `base`' >&2; exit 1; }}",
            needs = needs.replace('\'', "")
        )
    };
    vec![
        "export PIP_CACHE_DIR=/root/.cache/pip PIP_ROOT_USER_ACTION=ignore PIP_DISABLE_PIP_VERSION_CHECK=1".to_owned(),
        format!("command -v python3 >/dev/null || {}", lacks("python3", "python3-pip")),
        "python=python3".to_owned(),
        format!(
            "if {IS_THE_DISTRIBUTIONS}; then python={VENV}/bin/python3; \
             [ -e $python ] || python3 -m venv --without-pip --system-site-packages {VENV}; fi"
        ),
        format!("$python -m pip --version >/dev/null 2>&1 || {}", lacks("pip", "python3-pip")),
    ]
}

fn pip(site: &Site, needs: &str, what: &[String]) -> Steps {
    let mut commands = python_with_pip(needs);
    commands.extend([
        format!("cd {}", quote(&site.project())),
        format!("$python -m pip install {}", what.join(" ")),
        format!("[ $python = python3 ] || $python -c '{BASES_PROGRAMS}'"),
    ]);
    let install = vec![Step { caches: vec![PIP_CACHE], commands }];
    Steps { install, variables: vec![path_first(&format!("{VENV}/bin"))], ..Steps::default() }
}

/// Lets everybody read what is in these folders. What everybody can read already is not touched: it would be copied into this layer
/// from the one below, large packages with it.
fn readable(folders: &str) -> String {
    format!(r"find {folders} ! -type l \( ! -perm -o+r -o -type d ! -perm -o+x \) -exec chmod a+rX {{}} +")
}

/// A tool that installs into an environment which is active.
fn tool(site: &Site, name: &str, cache: &str, install: &[String]) -> Steps {
    let mut get = python_with_pip(name);
    get.push(format!(
        "command -v {name} >/dev/null || {{ python3 -m venv --without-pip --system-site-packages {TOOLS}; \
         {TOOLS}/bin/python3 -m pip install {}; }}",
        // PDM 2.29 takes any newer hishel, and fails with the next major one.
        if name == "pdm" { "pdm 'hishel<2'" } else { name }
    ));
    let mut commands = vec![
        format!("export {cache}=/root/.cache/nauta/{name} PIP_CACHE_DIR=/root/.cache/pip"),
        "export POETRY_NO_INTERACTION=1 PDM_CHECK_UPDATE=0 PDM_NON_INTERACTIVE=1 PIPENV_NOSPIN=1 PIPENV_YES=1"
            .to_owned(),
        format!("python3 -m venv --without-pip {VENV}"),
        format!("export VIRTUAL_ENV={VENV} PATH={VENV}/bin:$PATH:{TOOLS}/bin"),
        format!("cd {}", quote(&site.project())),
    ];
    commands.extend(install.iter().cloned());
    commands.push(readable(VENV));
    Steps {
        before: vec![Step { caches: vec![PIP_CACHE], commands: get }],
        install: vec![Step { caches: vec![PIP_CACHE, TOOL_CACHE], commands }],
        variables: vec![path_first(&format!("{VENV}/bin")), ("VIRTUAL_ENV", VENV.to_owned())],
    }
}

/// Options for extras: one for all of them, or one for each.
fn extras(recipe: &Recipe, option: &str) -> Vec<String> {
    if recipe.extras.iter().any(|extra| extra == "all") {
        return vec!["--all-extras".to_owned()];
    }
    recipe.extras.iter().map(|extra| format!("{option} {}", quote(extra))).collect()
}

fn poetry(recipe: &Recipe) -> String {
    let mut words = vec!["poetry install".to_owned()];
    words.extend(extras(recipe, "--extras"));
    words.extend(recipe.groups.as_ref().map(|groups| {
        let all: Vec<&str> = std::iter::once("main").chain(groups.iter().map(String::as_str)).collect();
        format!("--only {}", quote(&all.join(",")))
    }));
    words.join(" ")
}

/// `uv sync`, with the extras and groups that are asked for; its own choice where none are.
fn uv_sync(recipe: &Recipe) -> String {
    let mut words = vec!["uv sync --frozen".to_owned()];
    words.extend(extras(recipe, "--extra"));
    if let Some(groups) = &recipe.groups {
        words.extend((!groups.iter().any(|group| group == "dev")).then(|| "--no-dev".to_owned()));
        words.extend(groups.iter().map(|group| format!("--group {}", quote(group))));
    }
    words.join(" ")
}

fn uv(site: &Site, recipe: &Recipe) -> Steps {
    let get = Step {
        caches: vec![PIP_CACHE],
        commands: vec![
            "export PIP_CACHE_DIR=/root/.cache/pip PIP_ROOT_USER_ACTION=ignore PIP_BREAK_SYSTEM_PACKAGES=1".to_owned(),
            "command -v uv >/dev/null || python3 -m pip install uv || { echo 'error: the base image has no uv, which uv.lock needs, \
             and no pip that could bring it; add \"python3-pip\" to `packages` under [environment] in nauta.toml, or choose another \
             `base`' >&2; exit 1; }"
                .to_owned(),
            // Whoever a rank runs as has no way into root's home.
            "case $(command -v uv) in /root/*) cp \"$(command -v uv)\" /usr/local/bin/uv;; esac".to_owned(),
            // So are the interpreters that it has there.
            format!(
                "mkdir -p {PYTHONS}; for bin in \"$(uv python dir)\"/*/bin; do found=${{bin%/bin}}; \
                 if [ -d \"$bin\" ] && [ ! -L \"$found\" ] && [ ! -e {PYTHONS}/\"${{found##*/}}\" ]; then \
                 cp -a \"$found\" {PYTHONS}/; fi; done"
            ),
        ],
    };
    let sync = Step {
        caches: vec![UV_CACHE],
        commands: vec![
            UV_SETTINGS.to_owned(),
            format!("cd {}", quote(&site.project())),
            uv_sync(recipe),
            readable(&format!("{VENV} {PYTHONS}")),
        ],
    };
    let variables = vec![
        path_first(&format!("{VENV}/bin")),
        ("VIRTUAL_ENV", VENV.to_owned()),
        ("UV_PYTHON_INSTALL_DIR", PYTHONS.to_owned()),
        // `uv run` in a rank takes what was built.
        ("UV_PROJECT_ENVIRONMENT", VENV.to_owned()),
        ("UV_NO_SYNC", "1".to_owned()),
    ];
    let before = [get].into_iter().chain(heavy_first(recipe)).collect();
    Steps { before, install: vec![sync], variables }
}

/// Large packages in a layer of their own, which knows nothing of the project's files. Only a way to be quick: what cannot be
/// installed like this is installed with the others.
fn heavy_first(recipe: &Recipe) -> Option<Step> {
    if recipe.heavy.is_empty() {
        return None;
    }
    let python = if recipe.python.is_empty() { String::new() } else { format!(" --python {}", quote(&recipe.python)) };
    let mut all = vec![format!("uv venv --quiet{python} {VENV}")];
    for Heavy { index, lines } in &recipe.heavy {
        let lines: Vec<String> = lines.iter().map(|line| quote(line)).collect();
        all.push(format!(
            "printf '%s\\n' {} | uv pip install --python {VENV} --no-deps --require-hashes --index-url {} -r -",
            lines.join(" "),
            quote(index)
        ));
    }
    let commands = vec![
        UV_SETTINGS.to_owned(),
        format!("{{ {}; }} || echo 'large packages are installed with the others' >&2", all.join(" && ")),
    ];
    Some(Step { caches: vec![UV_CACHE], commands })
}

fn conda(site: &Site, path: &str) -> Steps {
    let (folder, file) = path.rsplit_once('/').unwrap_or((".", path));
    let file = quote(file);
    let commands = vec![
        "export CONDA_PKGS_DIRS=/root/.cache/conda PIP_CACHE_DIR=/root/.cache/pip PIP_ROOT_USER_ACTION=ignore"
            .to_owned(),
        format!("cd {}", quote(&format!("{}/{folder}", site.project()))),
        format!(
            "if command -v micromamba >/dev/null; then micromamba install --yes --name base --file {file}; \
             elif command -v mamba >/dev/null; then mamba env update --name base --file {file}; \
             elif command -v conda >/dev/null; then conda env update --name base --file {file}; \
             else echo 'error: the base image has none of micromamba, mamba and conda, which {file} needs; choose another `base`' >&2; \
             exit 1; fi",
            file = file
        ),
    ];
    // Nothing activates the environment: its programs are found because they come first.
    let variables = vec![path_first("/opt/conda/bin")];
    Steps { install: vec![Step { caches: vec![CONDA_CACHE, PIP_CACHE], commands }], variables, ..Steps::default() }
}
