//! Image builds with both builders.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nauta::diagnosis::{Diagnosis, Kind};
use nauta::docker::DockerError;
use nauta::event::{Event, Events};
use nauta::image::Builder;
use nauta::image::build_plan::{BuildPlan, ContextFile, Dockerfile};
use nauta::secret::Secret;

use super::{busybox, docker, docker_command, recorder, unique};

/// An image that is removed when the test is over.
struct Tag(String);

impl Drop for Tag {
    fn drop(&mut self) {
        drop(std::process::Command::new("docker").args(["image", "rm", "-f", &self.0]).output());
    }
}

fn plan(instructions: &str, builder: Builder) -> (BuildPlan, Tag) {
    let tag = Tag(format!("{}:1", unique("build")));
    let text = format!("FROM {}\n{instructions}", busybox());
    let mut plan = BuildPlan::new(Dockerfile::Text(text), builder);
    plan.tags.push(tag.0.clone());
    plan.labels.insert("nauta.dev/test".to_owned(), "yes".to_owned());
    (plan, tag)
}

fn lines(seen: &Arc<Mutex<Vec<Event>>>) -> Vec<String> {
    let seen = seen.lock().unwrap();
    seen.iter()
        .filter_map(|event| if let Event::BuildOutput { line } = event { Some(line.clone()) } else { None })
        .collect()
}

#[tokio::test]
async fn the_engine_has_buildkit() {
    assert_eq!(docker().await.builder().await.unwrap(), Builder::BuildKit);
}

#[tokio::test]
async fn both_builders_build_the_same_and_tell_what_they_do() {
    let docker = docker().await;
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script.sh");
    std::fs::write(&script, "#!/bin/sh\necho from a script\n").unwrap();
    std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    for builder in [Builder::BuildKit, Builder::Classic] {
        let stamp = unique("stamp");
        let (mut plan, tag) = plan(
            &format!("COPY a/ /a/\nRUN echo {stamp} && /a/script.sh && cat /a/data.txt; printf '10%%\\r20%%\\n'\n"),
            builder,
        );
        plan.context.push(("a/data.txt".into(), ContextFile::Bytes(b"some data\n".to_vec())));
        plan.context.push(("a/script.sh".into(), ContextFile::Path(script.clone())));
        let (events, seen) = recorder();
        let built = docker.build(&plan, &events).await.unwrap();
        let lines = lines(&seen);
        for line in [stamp.as_str(), "from a script", "some data", "20%"] {
            assert!(lines.iter().any(|l| l == line), "{builder:?}: no line `{line}` in {lines:?}");
        }
        let counts: Vec<(u64, Option<u64>, String)> = seen
            .lock()
            .unwrap()
            .iter()
            .filter_map(|event| match event {
                Event::Progress { done, total, detail, .. } => Some((*done, *total, detail.clone())),
                _ => None,
            })
            .collect();
        assert!(counts.iter().any(|(_, _, detail)| detail.contains("COPY a/ /a/")), "{counts:?}");
        assert!(counts.iter().all(|(done, total, _)| total.is_some_and(|total| *done <= total)), "{counts:?}");
        let inspected =
            docker_command(&["image", "inspect", "-f", "{{.Id}} {{index .Config.Labels \"nauta.dev/test\"}}", &tag.0]);
        assert_eq!(inspected, format!("{} yes", built.id));
    }
}

#[tokio::test]
async fn a_failing_step_is_named_with_its_code_and_last_words() {
    let docker = docker().await;
    for builder in [Builder::BuildKit, Builder::Classic] {
        let (plan, _tag) = plan("RUN echo fine\nRUN echo before; echo \"it broke\" >&2; exit 42\n", builder);
        let error = docker.build(&plan, &Events::none()).await.expect_err("exit 42");
        assert_eq!(error.kind(), Kind::JobFailed);
        let DockerError::BuildFailed { step, code, mut lines } = error else { panic!("{error}") };
        assert!(step.contains("it broke"), "{builder:?}: {step}");
        assert_eq!(code, Some(42));
        // The order of stdout and stderr is the builder's.
        lines.sort();
        assert_eq!(lines, ["before", "it broke"], "{builder:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_built_says_why() {
    let docker = docker().await;
    for builder in [Builder::BuildKit, Builder::Classic] {
        for (text, expected) in [
            ("FROM nauta-test/no-such-image:1\n".to_owned(), "nauta-test/no-such-image"),
            (format!("FROM {}\nFLY away\n", busybox()), "FLY"),
            (format!("FROM {}\nCOPY nothing /\n", busybox()), "nothing"),
        ] {
            let plan = BuildPlan::new(Dockerfile::Text(text.clone()), builder);
            let error = docker.build(&plan, &Events::none()).await.expect_err("no image");
            assert!(
                matches!(error, DockerError::BuildRefused { .. } | DockerError::Rejected { .. }),
                "{builder:?}: {error:?}"
            );
            assert!(error.to_string().contains(expected), "{builder:?}: {error}");
        }
    }
}

#[tokio::test]
async fn secrets_are_there_while_a_command_runs_and_nowhere_afterwards() {
    let docker = docker().await;
    let secret = unique("secret");
    let (mut plan, tag) = plan(
        &format!(
            "RUN echo {}\n{}",
            unique("run"),
            "RUN mkdir -p /etc && echo 'me:x:1000:1000::/:/bin/sh' > /etc/passwd && echo me:x:1000: > /etc/group\nUSER 1000\n\
         RUN --mount=type=secret,id=token,mode=0444 --mount=type=secret,id=nauta-ca,mode=0444 \
         wc -c < /run/secrets/token; cat /run/secrets/nauta-ca; echo\n"
        ),
        Builder::BuildKit,
    );
    plan.secrets.push(("token".to_owned(), Secret::new(secret.clone())));
    plan.secrets.push(("nauta-ca".to_owned(), Secret::new("of authorities")));
    let (events, seen) = recorder();
    docker.build(&plan, &events).await.unwrap();
    let lines = lines(&seen);
    assert!(lines.contains(&secret.len().to_string()) && lines.contains(&"of authorities".to_owned()), "{lines:?}");
    let saved = std::process::Command::new("docker").args(["save", &tag.0]).output().unwrap().stdout;
    for hidden in [secret.as_str(), "of authorities"] {
        assert!(!saved.windows(hidden.len()).any(|window| window == hidden.as_bytes()), "{hidden} is in the image");
    }

    plan.secrets.push(("large".to_owned(), Secret::new("x".repeat(600_000))));
    let error = docker.build(&plan, &Events::none()).await.expect_err("too large");
    assert!(matches!(error, DockerError::SecretTooLarge { .. }), "{error}");
    plan.builder = Builder::Classic;
    plan.secrets.pop();
    let error = docker.build(&plan, &Events::none()).await.expect_err("no secrets");
    assert!(matches!(error, DockerError::SecretsNeedBuildKit { .. }), "{error}");
}

#[tokio::test]
async fn proxies_reach_commands_and_not_the_image() {
    let docker = docker().await;
    for builder in [Builder::BuildKit, Builder::Classic] {
        let password = unique("password");
        let (mut plan, tag) = plan(&format!("RUN echo {} \"proxy=$HTTPS_PROXY\"\n", unique("run")), builder);
        let proxy = format!("http://me:{password}@proxy.invalid:3128");
        plan.proxies.insert("HTTPS_PROXY".to_owned(), Secret::new(proxy.clone()));
        let (events, seen) = recorder();
        docker.build(&plan, &events).await.unwrap();
        let lines = lines(&seen);
        assert!(lines.iter().any(|line| line.ends_with(&format!("proxy={proxy}"))), "{builder:?}: {lines:?}");
        let kept = docker_command(&["history", "--no-trunc", &tag.0]) + &docker_command(&["image", "inspect", &tag.0]);
        assert!(!kept.contains(&password), "{builder:?}: {kept}");
    }
}

#[tokio::test]
async fn a_context_file_that_is_not_there_is_named() {
    let (mut plan, _tag) = plan("COPY x /\n", Builder::BuildKit);
    plan.context.push(("x".into(), ContextFile::Path("/nonexistent/x".into())));
    let error = docker().await.build(&plan, &Events::none()).await.expect_err("no such file");
    assert!(error.to_string().contains("/nonexistent/x"), "{error}");
}

#[tokio::test]
async fn a_dropped_build_is_a_cancelled_build() {
    let docker = docker().await;
    for builder in [Builder::BuildKit, Builder::Classic] {
        let mark = format!("sleep\0{}\0", 3600 + u64::from(std::process::id()) * 10 + builder as u64);
        let (plan, _tag) = plan(&format!("RUN echo started; exec {}\n", mark.replace('\0', " ")), builder);
        let (started_tx, mut started_rx) = tokio::sync::mpsc::unbounded_channel();
        let events = Events::new(move |event| {
            if matches!(&event, Event::BuildOutput { line } if line == "started") {
                started_tx.send(()).unwrap_or_default();
            }
        });
        let started = async { tokio::time::timeout(Duration::from_mins(1), started_rx.recv()).await };
        tokio::select! {
            built = docker.build(&plan, &events) => panic!("{builder:?}: the build ended: {built:?}"),
            started = started => assert!(started.is_ok(), "{builder:?}: the build did not start"),
        }
        let gone = async {
            while runs(&mark) {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(Duration::from_mins(1), gone).await.is_ok(), "{builder:?}: it still runs");
    }
}

/// Whether a process with that command line runs on this machine.
fn runs(line: &str) -> bool {
    let Ok(folders) = std::fs::read_dir("/proc") else { return false };
    folders
        .filter_map(|folder| std::fs::read(folder.ok()?.path().join("cmdline")).ok())
        .any(|found| found == line.as_bytes())
}

#[tokio::test]
async fn packages_are_installed_with_a_ca_bundle_that_does_not_stay() {
    let docker = docker().await;
    let bundle = "/etc/ssl/certs/ca-certificates.crt";
    let recipe = nauta::image::Recipe {
        packages: Vec::new(),
        dependencies: Some(nauta::project::Dependencies::Requirements("requirements.txt".to_owned())),
        ..nauta::image::Recipe::default()
    };
    let mounts = nauta::image::Mounts { ca: true, ..nauta::image::Mounts::default() };
    for builder in [Builder::BuildKit, Builder::Classic] {
        let tag = Tag(format!("{}:1", unique("pip")));
        let text = nauta::image::render(
            &super::image("NAUTA_TEST_IMAGE_PYTHON"),
            &recipe,
            &nauta::image::Site::default(),
            builder,
            &mounts,
        );
        let mut plan = BuildPlan::new(Dockerfile::Text(text), builder);
        plan.tags.push(tag.0.clone());
        let requirements = format!("# {}\niniconfig==2.0.0\n", unique("run"));
        plan.context.push(("requirements.txt".into(), ContextFile::Bytes(requirements.into_bytes())));
        let ca = nauta::image::CA_SECRET.to_owned();
        match builder {
            Builder::BuildKit => plan.secrets.push((ca, Secret::new(std::fs::read_to_string(bundle).unwrap()))),
            Builder::Classic => plan.context.push((ca.into(), ContextFile::Path(bundle.into()))),
        }
        docker.build(&plan, &Events::none()).await.unwrap_or_else(|error| panic!("{builder:?}: {error:?}"));
        let check = "import iniconfig, os; assert not os.path.exists('/nauta/environment/nauta-ca'); \
                     assert not os.path.exists('/run/secrets/nauta-ca') or not os.path.getsize('/run/secrets/nauta-ca'); \
                     assert 'PIP_CERT' not in os.environ; print('installed')";
        assert_eq!(docker_command(&["run", "--rm", &tag.0, "python3", "-c", check]), "installed", "{builder:?}");
    }
}
