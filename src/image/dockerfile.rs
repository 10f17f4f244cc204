//! The Dockerfile that nauta writes where the user has none.

use std::fmt::Write;

use super::Builder;
use super::environment::dependency_files;
use crate::project::Dependencies;

/// The build secret that holds the certificates builds must trust; also the name of the file for the classic builder.
pub const CA_SECRET: &str = "nauta-ca";

/// What goes on top of a base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipe {
    /// Debian packages.
    pub packages: Vec<String>,
    /// Python dependencies.
    pub dependencies: Option<Dependencies>,
}

/// The Dockerfile's text. With `ca`, the build trusts the certificates handed over as [`CA_SECRET`]: BuildKit mounts
/// them for the one step that needs them; the classic builder has to copy them in, which is no leak (certificates are
/// public), and removes them again.
pub fn render(base: &str, recipe: &Recipe, builder: Builder, ca: bool) -> String {
    let mut text = format!("FROM {base}\nUSER 0\n");
    if ca && builder == Builder::Classic {
        let _ = writeln!(text, "COPY {CA_SECRET} {}", ca_path(builder));
    }
    if !recipe.packages.is_empty() {
        let packages = recipe.packages.join(" ");
        let caches = ["/var/cache/apt", "/var/lib/apt/lists"];
        let command = format!(
            "export DEBIAN_FRONTEND=noninteractive; apt-get update && apt-get install -y --no-install-recommends {packages}{}",
            // With a cache mount there is nothing to clean; without one the lists would stay in the layer.
            if builder == Builder::Classic { " && rm -rf /var/lib/apt/lists/*" } else { "" },
        );
        step(&mut text, builder, ca, &caches, &command);
    }
    if let Some(dependencies) = &recipe.dependencies {
        let _ = writeln!(text, "COPY {} /nauta/environment/", dependency_files(dependencies).join(" "));
        dependency_steps(&mut text, dependencies, builder, ca);
    }
    if ca && builder == Builder::Classic {
        let _ = writeln!(text, "RUN rm -f {}", ca_path(builder));
    }
    text
}

fn dependency_steps(text: &mut String, dependencies: &Dependencies, builder: Builder, ca: bool) {
    let file = |path: &str| path.rsplit('/').next().unwrap_or(path).to_owned();
    // Debian marks its Python as managed by apt; in an image of one purpose there is nobody to protect.
    let pip = "PIP_BREAK_SYSTEM_PACKAGES=1 PIP_ROOT_USER_ACTION=ignore python3 -m pip install";
    match dependencies {
        Dependencies::Requirements(path) => {
            let command = format!("{pip} -r /nauta/environment/{}", file(path));
            step(text, builder, ca, &["/root/.cache/pip"], &command);
        }
        Dependencies::Uv => {
            step(text, builder, ca, &["/root/.cache/pip"], &format!("command -v uv >/dev/null || {pip} uv"));
            let command = "cd /nauta/environment && UV_PROJECT_ENVIRONMENT=/opt/nauta/venv UV_LINK_MODE=copy \
                           uv sync --frozen --no-dev --no-install-project --system-certs";
            step(text, builder, ca, &["/root/.cache/uv"], command);
            text.push_str("ENV PATH=/opt/nauta/venv/bin:$PATH VIRTUAL_ENV=/opt/nauta/venv\n");
        }
        Dependencies::Conda(path) => {
            let file = file(path);
            let command = format!(
                "cd /nauta/environment; \
                 if command -v micromamba >/dev/null; then micromamba install --yes --name base --file {file}; \
                 elif command -v mamba >/dev/null; then mamba env update --name base --file {file}; \
                 elif command -v conda >/dev/null; then conda env update --name base --file {file}; \
                 else echo 'the base image has none of micromamba, mamba and conda, which {file} needs' >&2; exit 1; fi"
            );
            step(text, builder, ca, &["/opt/conda/pkgs"], &command);
            // Nothing activates the environment: its programs are found because they come first.
            text.push_str("ENV PATH=/opt/conda/bin:$PATH\n");
        }
    }
}

/// One `RUN`, with its caches and the certificates mounted where the builder can.
fn step(text: &mut String, builder: Builder, ca: bool, caches: &[&str], command: &str) {
    text.push_str("RUN ");
    if builder == Builder::BuildKit {
        for cache in caches {
            let _ = write!(text, "--mount=type=cache,target={cache},sharing=locked ");
        }
        if ca {
            let _ = write!(text, "--mount=type=secret,id={CA_SECRET},mode=0444 ");
        }
    }
    if ca {
        let path = ca_path(builder);
        // Each tool has a variable of its own for this; apt reads its from APT_CONFIG alone, so it gets a file.
        let _ = write!(
            text,
            "export SSL_CERT_FILE={path} PIP_CERT={path} REQUESTS_CA_BUNDLE={path} CURL_CA_BUNDLE={path} \
             APT_CONFIG=/tmp/nauta-apt.conf; echo 'Acquire::https::CaInfo \"{path}\";' > $APT_CONFIG; \
             trap 'rm -f /tmp/nauta-apt.conf' EXIT; "
        );
    }
    text.push_str(command);
    text.push('\n');
}

const fn ca_path(builder: Builder) -> &'static str {
    match builder {
        Builder::BuildKit => "/run/secrets/nauta-ca",
        Builder::Classic => "/nauta/environment/nauta-ca",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_caches_are_mounts_where_the_builder_has_them() {
        let recipe = Recipe {
            packages: vec!["git".to_owned()],
            dependencies: Some(Dependencies::Requirements("deps/requirements.txt".to_owned())),
        };
        let text = render("debian:12", &recipe, Builder::BuildKit, true);
        assert!(text.starts_with("FROM debian:12\n"));
        assert!(text.contains("--mount=type=cache,target=/root/.cache/pip"), "{text}");
        assert!(text.contains("--mount=type=secret,id=nauta-ca"), "{text}");
        assert!(text.contains("COPY deps/requirements.txt /nauta/environment/\n"), "{text}");
        let text = render("debian:12", &recipe, Builder::Classic, true);
        assert!(!text.contains("--mount") && text.ends_with("RUN rm -f /nauta/environment/nauta-ca\n"), "{text}");
        assert!(!render("debian:12", &recipe, Builder::BuildKit, false).contains("CERT"));
    }
}
