//! Package indexes that want a password: builds get it as a secret, and images do not.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::dockerfiles::unique;
use crate::support::{Workstation, environment, tool};

/// An index that has `reef-internal-lib` 1.2 for ada, where builds reach it.
struct Index {
    child: Child,
    host: String,
    port: String,
    digest: String,
    password: String,
}

impl Index {
    fn start() -> Self {
        let host = environment("NAUTA_TEST_REGISTRY_FROM_PODS").split(':').next().expect("a host").to_owned();
        let password = format!("canary-{}", unique());
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/job/fixtures/index.py");
        let mut child = Command::new("python3")
            .args([script, &host, "ada", &password])
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 starts");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("piped")).read_line(&mut line).expect("says where it is");
        let (port, digest) = line.trim().split_once(' ').expect("a port and a digest");
        Self { child, host, port: port.to_owned(), digest: digest.to_owned(), password }
    }

    fn url(&self) -> String {
        format!("http://{}:{}/simple", self.host, self.port)
    }

    fn url_with_password(&self) -> String {
        format!("http://ada:{}@{}:{}/simple", self.password, self.host, self.port)
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The test environment's Python, and its way to the index that everybody has.
fn defaults() -> String {
    let base = environment("NAUTA_TEST_IMAGE_PYTHON");
    format!("[defaults]\nbase = '{base}'\nca_bundle = '/etc/ssl/certs/ca-certificates.crt'\n")
}

/// A project that uses the package.
fn project(requirements: &str) -> Workstation {
    let workstation = Workstation::new();
    workstation
        .configure(&defaults())
        .write("train.py", "import reef_internal_lib; print('reef', reef_internal_lib.v)")
        .write("requirements.txt", requirements);
    workstation
}

/// The image that was built last, with its history and all that it says, and root's home.
fn newest_image() -> String {
    let image = tool("docker", &["image", "ls", "-q", "nauta/environment"]);
    let image = image.lines().next().expect("one").to_owned();
    let found = "find /root /run /nauta /tmp -type f -size -100k -exec cat {} + 2>/dev/null; env";
    tool("docker", &["history", "--no-trunc", &image])
        + &tool("docker", &["image", "inspect", &image])
        + &tool("docker", &["run", "--rm", "--entrypoint", "sh", &image, "-c", found])
}

fn installs(workstation: &Workstation, index: &Index, flags: &[&str]) {
    let done = workstation.succeeds(&[&["run", "--local"], flags].concat());
    assert!(done.stdout.contains("[0] reef 1.2"), "{}\n{}", done.stdout, done.stderr);
    assert!(!done.stderr.contains(&index.password), "{}", done.stderr);
    let image = newest_image();
    assert!(!image.contains(&index.password), "{image}");
}

#[test]
fn what_pip_knows_here_reaches_the_build_and_not_the_image() {
    let index = Index::start();
    let lines = format!("--index-url {}\n--trusted-host {}\nreef-internal-lib==1.2\n", index.url(), index.host);
    let workstation = project(&lines);
    let refused = workstation.nauta(&["run", "--local"]);
    assert_eq!(refused.code, 125, "{}", refused.stderr);
    assert!(refused.stderr.contains("wants a login") && refused.stderr.contains("`~/.netrc`"), "{}", refused.stderr);

    let netrc = format!("machine {} login ada password {}\n", index.host, index.password);
    workstation.write("../home/.netrc", &netrc);
    installs(&workstation, &index, &[]);

    // The same from pip's own configuration, for a requirement that says nothing of it.
    let workstation = project(&format!("reef-internal-lib==1.2 # {}\n", unique()));
    let conf = format!("[global]\nindex-url =\n    {}\ntrusted-host = {}\n", index.url_with_password(), index.host);
    workstation.write("../config/pip/pip.conf", &conf);
    installs(&workstation, &index, &[]);

    // And by a name in the file, whose value is a build secret.
    let mut workstation = project(&format!(
        "--index-url http://ada:${{REEF_TOKEN}}@{}:{}/simple\n--trusted-host {}\nreef-internal-lib==1.2\n",
        index.host, index.port, index.host
    ));
    workstation.set("REEF_TOKEN", &index.password);
    installs(&workstation, &index, &["--build-secret", "id=REEF_TOKEN"]);
}

#[test]
fn logins_for_uv_by_an_indexs_name_reach_the_build() {
    let index = Index::start();
    let mut workstation = project("");
    std::fs::remove_file(workstation.project.join("requirements.txt")).expect("removed");
    let (url, digest) = (index.url(), &index.digest);
    let file = format!("http://{}:{}/files/reef_internal_lib-1.2-py3-none-any.whl", index.host, index.port);
    workstation
        .write(
            "pyproject.toml",
            &format!(
                "[project]\nname = 'tide'\nversion = '0.1.0'\nrequires-python = '>=3.9'\ndependencies = ['reef-internal-lib==1.2']\n\
                 [[tool.uv.index]]\nname = 'reef'\nurl = '{url}'\nexplicit = true\n\
                 [tool.uv.sources]\nreef-internal-lib = {{ index = 'reef' }}\n"
            ),
        )
        .write(
            "uv.lock",
            &format!(
                "version = 1\nrequires-python = '>=3.9'\n\n[[package]]\nname = 'reef-internal-lib'\nversion = '1.2'\n\
                 source = {{ registry = '{url}' }}\nwheels = [{{ url = '{file}', hash = 'sha256:{digest}' }}]\n\n\
                 [[package]]\nname = 'tide'\nversion = '0.1.0'\nsource = {{ virtual = '.' }}\n\
                 dependencies = [{{ name = 'reef-internal-lib' }}]\n"
            ),
        );
    workstation.set("UV_INDEX_REEF_USERNAME", "ada").set("UV_INDEX_REEF_PASSWORD", &index.password);
    installs(&workstation, &index, &[]);
}

#[test]
fn a_password_in_a_file_that_would_be_pushed_stops_the_run() {
    let index = Index::start();
    let lines = |url: &str| format!("--index-url {url}\n--trusted-host {}\nreef-internal-lib==1.2\n", index.host);
    let workstation = project(&lines(&index.url_with_password()));
    // Nothing is pushed from here, and pip would take it.
    let here = workstation.succeeds(&["run", "--local"]);
    assert!(here.stdout.contains("[0] reef 1.2"), "{}", here.stdout);
    assert!(here.stderr.contains("`requirements.txt` line 1 holds a password"), "{}", here.stderr);
    workstation.configure_cluster(&defaults());
    let stopped = workstation.nauta(&["run", "--dry-run"]);
    assert_eq!(stopped.code, 125, "{}", stopped.stderr);
    for words in ["`requirements.txt` line 1 holds a password", "`~/.netrc`", "`[environment.secrets]`"] {
        assert!(stopped.stderr.contains(words), "{words}: {}", stopped.stderr);
    }
    assert!(!stopped.stderr.contains(&index.password), "{}", stopped.stderr);
    // Other files, and a Dockerfile's own words.
    workstation
        .write("requirements.txt", "idna\n")
        .write("uv.toml", &format!("index-url = '{}'\n", index.url_with_password()));
    let stopped = workstation.nauta(&["run", "--dry-run"]);
    assert!(stopped.code == 125 && stopped.stderr.contains("`uv.toml` line 1 holds a password"), "{}", stopped.stderr);
    std::fs::remove_file(workstation.project.join("uv.toml")).expect("removed");
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write("Dockerfile", &format!("FROM {base}\nARG REEF_TOKEN\nENV A=1 \\\n  REEF_PASSWORD=canary-x\n"));
    let stopped = workstation.nauta(&["run", "--dry-run"]);
    assert!(stopped.stderr.contains("`Dockerfile` line 3 holds a password"), "{}", stopped.stderr);
    assert!(
        stopped.stderr.contains("`RUN --mount=type=secret") && !stopped.stderr.contains("canary"),
        "{}",
        stopped.stderr
    );
}
