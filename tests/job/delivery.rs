//! What a delivery costs, and what becomes of it when the registry is not what it was.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use super::code::{LIST, expected, sorted};
use crate::support::docker_registry::DockerRegistry;
use crate::support::random::Random;
use crate::support::{Workstation, environment, tool};

/// A project on busybox whose registry is a test's own; its runs are planned and not started.
pub(super) fn project(server: &DockerRegistry) -> Workstation {
    let workstation = Workstation::new();
    workstation.configure(&target(&server.address));
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    workstation.write(
        "nauta.toml",
        &format!("[project]\nname = 'shell'\n[environment]\nbase = '{base}'\n[run]\ncommand = 'sh job.sh'\n"),
    );
    workstation.write("job.sh", "true");
    workstation
}

/// A user's configuration with a target whose registry is at `host`.
pub(super) fn target(host: &str) -> String {
    let (kubeconfig, namespace) = (environment("NAUTA_TEST_KUBECONFIG_USER"), environment("NAUTA_TEST_NAMESPACE"));
    format!("[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\nregistry = '{host}/tests'\n")
}

/// What a delivery said.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) image: String,
    pub(super) bytes: u64,
    requests: u64,
    said: String,
}

pub(super) fn deliver(workstation: &Workstation) -> Delivered {
    let done = workstation.succeeds(&["run", "--dry-run"]);
    let image = done.stdout.split("image: ").nth(1).and_then(|rest| rest.lines().next()).expect("an image").to_owned();
    let words: Vec<&str> = done.stderr.split("push sent ").nth(1).expect("told").split(' ').collect();
    let number = |at: usize| words[at].parse().expect("a number");
    Delivered { image, bytes: number(0), requests: number(3), said: done.stderr }
}

/// Asserts that a container of the image sees what the workstation has.
pub(super) fn arrived(workstation: &Workstation, image: &str) {
    let seen = tool("docker", &["run", "--rm", "--quiet", "--entrypoint", "sh", image, "-c", LIST]);
    assert_eq!(sorted(&seen), expected(workstation));
    let _ = tool("docker", &["rmi", "-f", image]);
}

#[test]
fn an_edit_costs_its_bytes_and_a_few_requests() {
    let server = DockerRegistry::start();
    let workstation = project(&server);
    let mut random = Random::new(7);
    for number in 0..300 {
        let size = random.below(20_000);
        workstation.write(&format!("package/{}/{number}.py", number % 20), &"x".repeat(size));
    }
    let first = deliver(&workstation);
    let same = deliver(&workstation);
    assert_eq!((same.bytes, same.requests, &same.image), (0, 1, &first.image), "{same:?}");
    // A touch sends nothing.
    tool("touch", &["-d", "2001-01-01", workstation.project.join("package/3/3.py").to_str().expect("text")]);
    let touched = deliver(&workstation);
    assert_eq!((touched.bytes, touched.requests), (0, 1), "{touched:?}");
    // Layer and configuration by POST and PUT, the manifest by PUT: five; and a look at what is there now.
    workstation.write("package/3/3.py", &"y".repeat(3000));
    let edited = deliver(&workstation);
    assert!(edited.requests == 6 && edited.bytes <= 2 * 3000 + 8192, "{edited:?}");
    arrived(&workstation, &edited.image);
    // A rename sends headers and the moved bytes.
    std::fs::rename(workstation.project.join("package/4"), workstation.project.join("package/four")).expect("moved");
    let moved: u64 = std::fs::read_dir(workstation.project.join("package/four"))
        .expect("there")
        .map(|entry| entry.expect("there").metadata().expect("there").len().next_multiple_of(512) + 512)
        .sum();
    let renamed = deliver(&workstation);
    assert!(renamed.bytes <= moved + 2 * 3000 + 16384, "{moved} bytes moved: {renamed:?}");
    arrived(&workstation, &renamed.image);
}

#[test]
fn many_edits_cost_a_few_times_their_bytes() {
    let server = DockerRegistry::start();
    let workstation = project(&server);
    let mut random = Random::new(8);
    for number in 0..400 {
        let size = 1000 + random.below(10_000);
        workstation.write(&format!("package/{}/{number}.py", number % 20), &"x".repeat(size));
    }
    let mut edited = BTreeMap::new();
    let (mut sent, mut changed) = (0, 0);
    deliver(&workstation);
    for round in 0..100 {
        edited.clear();
        for _ in 0..=random.below(20) {
            let (number, size) = (random.below(400), 1000 + random.below(10_000));
            workstation.write(&format!("package/{}/{number}.py", number % 20), &format!("{round}{}", "z".repeat(size)));
            edited.insert(number, size as u64);
        }
        changed += edited.values().sum::<u64>();
        sent += deliver(&workstation).bytes;
    }
    assert!(sent <= 3 * changed + 100 * 16384, "{sent} bytes for {changed}");
    let last = deliver(&workstation);
    arrived(&workstation, &last.image);
}

#[test]
fn large_files_have_layers_of_their_own_and_are_sent_once() {
    let server = DockerRegistry::start();
    let workstation = project(&server);
    deliver(&workstation); // the supervisor is there
    let noise = Random::new(9).bytes(40 << 20);
    std::fs::write(workstation.project.join("weights.bin"), &noise).expect("written");
    std::fs::create_dir_all(workstation.project.join("data/deep")).expect("made");
    let table = "0.1,0.2,0.3\n".repeat(3 << 20);
    std::fs::write(workstation.project.join("data/deep/table.csv"), &table).expect("written");
    workstation.write("data/small.csv", "1,2");
    let first = deliver(&workstation);
    // Noise as it is, a table compressed.
    assert!(first.bytes > 40 << 20 && first.bytes < 44 << 20, "{first:?}");
    arrived(&workstation, &first.image);
    for number in 0..40 {
        workstation.write(&format!("new/{number}"), &"n".repeat(40_000));
    }
    let second = deliver(&workstation);
    assert!(second.bytes < 4 << 20, "{second:?}");
    std::fs::remove_file(workstation.project.join("data/deep/table.csv")).expect("there");
    workstation.write("data/deep/table.csv/now", "a folder");
    let third = deliver(&workstation);
    assert!(third.bytes < 4 << 20, "{third:?}");
    arrived(&workstation, &third.image);
    // The layers are made anew while nobody waits: the large file is not sent, and the next run begins there.
    let before = server.size();
    let _ = workstation.succeeds(&["rebase", "--target", "lab"]);
    assert!(server.size() - before < 4 << 20);
    let fourth = deliver(&workstation);
    assert!(fourth.bytes < 8192 && fourth.image != third.image, "{fourth:?}");
    arrived(&workstation, &fourth.image);
}

#[test]
fn what_a_registry_has_lost_is_sent_again() {
    let mut server = DockerRegistry::start();
    let workstation = project(&server);
    workstation.write("ballast", &"b".repeat(300_000));
    let first = deliver(&workstation);
    // A new disk.
    server.kill();
    std::fs::remove_dir_all(server.storage()).expect("there");
    server.start_again();
    let again = deliver(&workstation);
    assert_eq!(again.image, first.image);
    arrived(&workstation, &again.image);
    // Somebody's clean-up took the images, and the collection what they consisted of.
    workstation.write("job.sh", "false");
    let edited = deliver(&workstation);
    for folder in ["code", "env"] {
        let tags = server.storage().join("docker/registry/v2/repositories/tests/shell/_manifests/tags");
        for tag in std::fs::read_dir(tags).expect("there").flatten() {
            if tag.file_name().to_string_lossy().starts_with(folder) {
                std::fs::remove_dir_all(tag.path()).expect("ours");
            }
        }
    }
    server.collect_garbage();
    server.kill();
    server.start_again();
    workstation.write("job.sh", "exit 3");
    let healed = deliver(&workstation);
    assert!(healed.bytes > 300_000 && healed.image != edited.image, "{healed:?}");
    arrived(&workstation, &healed.image);
}

#[test]
fn environments_send_what_is_new_in_them() {
    let server = DockerRegistry::start();
    let workstation = project(&server);
    let unique = format!("{:?}", std::time::SystemTime::now());
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    let text = |more: &str| format!("FROM {base}\nRUN echo '{unique}' > /one\n{more}");
    workstation.write("Dockerfile", &text("")).write("nauta.toml", "[project]\nname = 'a'\n[run]\ncommand = 'true'\n");
    let first = deliver(&workstation);
    assert!(first.said.contains("sent 2 of 2 layers"), "{}", first.said);
    workstation.write("Dockerfile", &text("RUN echo two > /two\n"));
    let second = deliver(&workstation);
    assert!(second.said.contains("sent 1 of 3 layers"), "{}", second.said);
    // In another repository they are mounted.
    workstation.write("nauta.toml", "[project]\nname = 'b'\n[run]\ncommand = 'true'\n");
    let third = deliver(&workstation);
    assert!(third.said.contains("all 3 layers of") && third.said.contains("were there"), "{}", third.said);
    let seen = tool("docker", &["run", "--rm", "--quiet", "--entrypoint", "cat", &third.image, "/one", "/two"]);
    assert_eq!(seen, format!("{unique}\ntwo\n"));
    let _ = tool("docker", &["rmi", "-f", &third.image]);
}

#[test]
fn an_environment_that_was_cut_off_goes_on() {
    let server = DockerRegistry::start();
    let workstation = project(&server);
    let base = environment("NAUTA_TEST_IMAGE_BUSYBOX");
    // Docker gives layers out in an order of its own.
    let layers = [0, 1, 2, 3, 4].map(|number| format!("RUN head -c 25000000 /dev/urandom > /layer-{number}\n"));
    workstation.write("Dockerfile", &format!("FROM {base}\n{}", layers.concat()));
    workstation.write("nauta.toml", "[project]\nname = 'a'\n[run]\ncommand = 'true'\n");
    let mut cut_off = workstation.command(&["run", "--dry-run"]).stderr(Stdio::null()).spawn().expect("nauta starts");
    while server.size() < 50_000_000 {
        assert!(cut_off.try_wait().expect("a child").is_none(), "it ended before");
        std::thread::sleep(Duration::from_millis(1));
    }
    // Of the two that have arrived at least one is known to have.
    cut_off.kill().expect("ours to kill");
    cut_off.wait().expect("ours");
    assert!(server.size() < 120_000_000, "{}", server.size());
    let again = deliver(&workstation);
    let sent = |count: u64| again.said.contains(&format!("sent {count} of 6 layers"));
    let count = (1..=5).find(|count| sent(*count)).unwrap_or_else(|| panic!("{again:?}"));
    assert!(again.bytes < count * 25_200_000 + 12_000_000, "{again:?}");
    let seen =
        tool("docker", &["run", "--rm", "--quiet", "--entrypoint", "sh", &again.image, "-c", "cat /layer-* | wc -c"]);
    assert_eq!(seen.trim(), "125000000");
    let _ = tool("docker", &["rmi", "-f", &again.image]);
}
