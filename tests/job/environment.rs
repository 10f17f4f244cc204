//! Environments: made by Docker from what a project says, once.

use nauta::registry::{Auth, Endpoint, Registry};

use crate::support::docker_registry::DockerRegistry;
use crate::support::{Done, Workstation, environment, folders};

const PRINT_SIX: &str = "import six, sys; print('six', six.__version__, sys.prefix)";

/// A workstation whose projects are built on the test environment's Python.
fn python() -> Workstation {
    let workstation = Workstation::new();
    workstation.configure(&format!(
        "[defaults]\nbase = '{}'\nca_bundle = '/etc/ssl/certs/ca-certificates.crt'\n",
        environment("NAUTA_TEST_IMAGE_PYTHON")
    ));
    workstation
}

/// A run that nauta cannot even start; nothing of it is left.
fn cannot_run(workstation: &Workstation) -> Done {
    let done = workstation.nauta(&["run", "--local"]);
    assert_eq!(done.code, 125, "{}", done.stderr);
    assert!(done.stderr.contains("error:") && done.stderr.contains("hint:"), "{}", done.stderr);
    assert!(folders(&workstation.project.join("runs")).is_empty(), "{}", done.stderr);
    done
}

#[test]
fn requirements_are_installed_once() {
    let workstation = python();
    workstation.write("train.py", PRINT_SIX).write("requirements.txt", "six==1.16.0\n");
    let first = workstation.succeeds(&["run", "--local"]);
    assert!(first.stdout.contains("[0] six 1.16.0"), "{}", first.stdout);
    workstation.write("train.py", "import six; print('again')");
    let second = workstation.succeeds(&["run", "--local"]);
    assert!(second.stderr.contains("requirements.txt is unchanged"), "{}", second.stderr);
    workstation.write("requirements.txt", "six==1.15.0\n").write("train.py", PRINT_SIX);
    let third = workstation.succeeds(&["run", "--local"]);
    assert!(third.stdout.contains("[0] six 1.15.0"), "{}", third.stdout);
}

#[test]
fn a_uv_lock_is_installed_as_it_is_written() {
    let workstation = python();
    workstation
        .write("train.py", PRINT_SIX)
        .write("pyproject.toml", include_str!("fixtures/pyproject.toml"))
        .write("uv.lock", include_str!("fixtures/uv.lock"));
    let done = workstation.succeeds(&["run", "--local"]);
    assert!(done.stdout.contains("[0] six 1.16.0 /opt/nauta/venv"), "{}", done.stdout);
    // A lock that does not fit its hashes is no environment.
    let damaged = include_str!("fixtures/uv.lock").replace("hash = \"sha256:8a", "hash = \"sha256:00");
    workstation.write("uv.lock", &damaged);
    let _ = std::fs::remove_dir_all(workstation.project.join("runs"));
    let refused = cannot_run(&workstation);
    assert!(refused.stderr.to_lowercase().contains("hash"), "{}", refused.stderr);
}

#[test]
fn a_conda_environment_needs_a_base_that_has_conda() {
    let workstation = python();
    workstation.write("train.py", "print(1)").write("environment.yml", "dependencies: [numpy]\n");
    let done = cannot_run(&workstation);
    assert!(
        done.stderr.contains("none of micromamba, mamba and conda, which environment.yml needs"),
        "{}",
        done.stderr
    );
}

#[test]
fn a_dockerfile_is_built_again_when_what_it_copies_changes() {
    let workstation = Workstation::new();
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    // Docker may still have what an earlier run of this test made.
    let new = format!("{:?}", std::time::SystemTime::now());
    workstation
        .write("data/new", &new)
        .write("Dockerfile", &format!("FROM {base}\nCOPY data/ /data/\nRUN cat /data/words > /words\n"))
        .write("data/words", "one")
        .write("job.sh", "cat /words; echo")
        .write("nauta.toml", "[run]\ncommand = 'sh job.sh'\n");
    let run = || workstation.succeeds(&["run", "--local"]);
    let first = run();
    assert!(first.stdout.contains("[0] one") && first.stderr.contains("built Dockerfile"), "{first:?}");
    workstation.write("job.sh", "cat /words; echo; echo more");
    let second = run();
    assert!(second.stdout.contains("[0] more") && second.stderr.contains("Dockerfile of the project is unchanged"));
    workstation.write("data/words", "two");
    let third = run();
    assert!(third.stdout.contains("[0] two") && third.stderr.contains("built Dockerfile"), "{third:?}");
}

#[test]
fn what_cannot_be_built_says_why_and_leaves_nothing() {
    let workstation = python();
    workstation.write("train.py", "print(1)").write("requirements.txt", "no-such-package-of-nauta==1\n");
    let unknown = cannot_run(&workstation);
    assert!(unknown.stderr.contains("no-such-package-of-nauta"), "{}", unknown.stderr);
    workstation.write("nauta.toml", "[environment]\nrequirements = 'deps/missing.txt'\n");
    let missing = cannot_run(&workstation);
    assert!(missing.stderr.contains("`deps/missing.txt`"), "{}", missing.stderr);
    workstation.write("nauta.toml", "[environment]\nca_bundle = 'ours.pem'\n");
    let no_certificates = cannot_run(&workstation);
    assert!(no_certificates.stderr.contains("ours.pem"), "{}", no_certificates.stderr);
    std::fs::remove_file(workstation.project.join("requirements.txt")).expect("removed");
    workstation.write("nauta.toml", "[environment]\nbase = 'localhost:5000/nobody/has:this'\n");
    let no_base = cannot_run(&workstation);
    assert!(no_base.stderr.contains("localhost:5000/nobody/has:this"), "{}", no_base.stderr);
    workstation.write("nauta.toml", "[environment]\ndockerfile = 'Dockerfile'\n").write("Dockerfile", "FORM x\n");
    let syntax = cannot_run(&workstation);
    assert!(syntax.stderr.contains("FORM"), "{}", syntax.stderr);
}

/// A tag is a word: what is found under it has to say what it is, and says who pushed it.
#[tokio::test]
async fn an_environment_says_what_it_is_and_who_pushed_it() {
    const REPOSITORY: &str = "tests/shell";
    let server = DockerRegistry::start();
    let registry = Registry::new(Endpoint::new(&server.address).expect("a host"), Auth::Anonymous);
    let states = tempfile::tempdir().expect("a folder");
    // Each name is another colleague's workstation.
    let said = |state: &str| {
        let mut workstation = super::delivery::project(&server);
        workstation.set("NAUTA_STATE_DIR", states.path().join(state).to_str().expect("text")).set("USER", state);
        workstation.succeeds(&["run", "--dry-run"]).stderr
    };
    let first = said("ada");
    assert!(!first.contains("pushed by") && !first.contains("is unchanged"), "{first}");
    let found = said("grace");
    assert!(found.contains("is unchanged (pushed by ada just now)") && !found.contains("warning:"), "{found}");
    let known = said("grace");
    assert!(known.contains("is unchanged\n") && !known.contains("pushed by"), "{known}");

    let tags = registry.list_tags(REPOSITORY).await.expect("listed");
    let tag = tags.iter().find(|tag| tag.starts_with("env-")).expect("an environment");
    let manifest = registry.pull_manifest(REPOSITORY, tag).await.expect("there").expect("there").bytes;
    let manifest: serde_json::Value = serde_json::from_slice(&manifest).expect("JSON");
    let strangers = [
        ("annotations", None, "it does not say what it was made from"),
        ("nauta.dev/environment", Some("sha256:00"), "it says that it was made from something else"),
        ("org.opencontainers.image.base.name", Some("evil:1"), "it says that it is built on another image"),
    ];
    for (number, (key, value, words)) in strangers.into_iter().enumerate() {
        let mut stranger = manifest.clone();
        match value {
            Some(value) => stranger["annotations"][key] = value.into(),
            None => drop(stranger.as_object_mut().expect("an object").remove(key)),
        }
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        registry.push_manifest(REPOSITORY, tag, media_type, stranger.to_string()).await.expect("taken");
        // Who has it by its digests is not touched; who has not makes it anew, for all.
        assert!(!said("grace").contains("warning:"));
        let doubted = said(&format!("new-{number}"));
        assert!(doubted.contains("warning:") && doubted.contains(words), "{doubted}");
        let again = said(&format!("newer-{number}"));
        assert!(again.contains(&format!("pushed by new-{number} just now")), "{again}");
    }
}

/// What a program that cannot be reached, or a `COPY` without a source, needs is said with the line that mends it.
#[test]
fn a_closed_folder_and_a_missing_source_are_told_with_what_to_do() {
    let workstation = Workstation::new();
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write(
        "Dockerfile",
        &format!(
            "FROM {base}\nRUN mkdir -p /root/tools && printf '#!/bin/sh\\n' >/root/tools/tool && chmod 755 /root/tools/tool \
             && chmod 700 /root\nENV PATH=/root/tools:$PATH\n"
        ),
    );
    let done = workstation.nauta(&["run", "--local", "--", "tool"]);
    assert_eq!(done.code, 127, "{}", done.stderr);
    for words in
        ["user 1000 cannot look into `/root/tools` of PATH", "(`RUN chmod a+rx /root` in the Dockerfile opens it)"]
    {
        assert!(done.stderr.contains(words), "{words}: {}", done.stderr);
    }
    workstation.write("Dockerfile", &format!("FROM {base}\nRUN python3 -m pip install six\n"));
    let done = workstation.nauta(&["run", "--local", "--", "true"]);
    assert!(done.code == 125 && done.stderr.contains("the base image has no Python"), "{}", done.stderr);
}
