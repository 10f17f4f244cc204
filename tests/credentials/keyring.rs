//! The system's keyring: a real one, one that does not answer, and none.

use std::os::unix::net::UnixListener;
use std::process::Command;
use std::time::Duration;

use nauta::credentials::{Credential, CredentialSources, CredentialsError, Destination, Place, erase, find, store};
use nauta::diagnosis::Diagnosis as _;
use nauta::secret::Secret;

use crate::support::own_process::is_own_process;

const BUS: &str = "DBUS_SESSION_BUS_ADDRESS";

fn session() -> CredentialSources {
    CredentialSources { dbus_session_bus_address: std::env::var_os(BUS), ..CredentialSources::default() }
}

fn ada() -> Credential {
    Credential::Password { user: "ada".into(), password: Secret::new("correct horse") }
}

/// A session bus of its own with GNOME's keyring, unlocked with a password from standard input as at a login.
pub(crate) fn in_a_session(program: &std::path::Path, arguments: &[&str]) -> Command {
    let home = tempfile::tempdir().expect("a folder").keep();
    let script = r#"if [ -n "$LOCKED" ]; then gnome-keyring-daemon --start --components=secrets >/dev/null
        else printf secret | gnome-keyring-daemon --unlock --components=secrets >/dev/null; fi || exit 99
        "$@"; code=$?
        rm -rf "$HOME"; exit $code"#;
    let mut command = Command::new("dbus-run-session");
    command.args(["--", "sh", "-c", script, "sh"]).arg(program).args(arguments);
    command.env("HOME", &home).env("XDG_DATA_HOME", home.join("data")).env("XDG_RUNTIME_DIR", &home);
    command
}

#[test]
fn a_real_keyring_keeps_finds_and_forgets() {
    if !is_own_process("credentials::keyring::a_real_keyring_keeps_finds_and_forgets", in_a_session) {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    runtime.block_on(async {
        let sources = session();
        assert_eq!(find("localhost:5000", &sources).await, nauta::credentials::Lookup::default());
        for credential in [Credential::IdentityToken(Secret::new("t")), ada()] {
            let place = store("localhost:5000", &credential, Destination::Safe, &sources).await.expect("keeps it");
            assert_eq!(place, Place::Keyring);
            let found = find("localhost:5000", &sources).await.found.expect("is kept");
            assert_eq!((found.credential, found.place), (credential, Place::Keyring));
        }
        assert_eq!(find("localhost:5001", &sources).await.found, None, "every registry has its own");
        let erased = erase("localhost:5000", Destination::Safe, &sources).await.expect("erases");
        assert_eq!((erased.removed, erased.left), (vec![Place::Keyring], None));
        let erased = erase("localhost:5000", Destination::Safe, &sources).await.expect("has nothing left to do");
        assert!(erased.removed.is_empty());
    });
}

#[test]
fn a_bus_that_does_not_answer_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("bus");
    let silent = UnixListener::bind(&socket).expect("a socket that nobody accepts from");
    let with_it = |program: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).env(BUS, format!("unix:path={}", socket.display()));
        command
    };
    if !is_own_process("credentials::keyring::a_bus_that_does_not_answer_is_left_alone", with_it) {
        drop(silent);
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    runtime.block_on(async {
        // The limit is 5 s; a hang would last for ever.
        let lookup = tokio::time::timeout(Duration::from_mins(1), find("a.com", &session())).await.expect("is bounded");
        assert!(lookup.found.is_none());
        assert!(lookup.skipped[0].reason.contains("did not answer within 5 s"), "{lookup:?}");
        let error = store("a.com", &ada(), Destination::Safe, &session()).await.expect_err("has no place");
        assert!(matches!(error, CredentialsError::NowhereSafe { .. }), "{error:?}");
    });
    runtime.shutdown_background();
}

#[test]
fn a_bus_without_a_keyring_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let bus = folder.path().join("bus.conf");
    let config = r#"<busconfig><type>session</type><listen>unix:tmpdir=/tmp</listen><policy context="default">
        <allow send_destination="*"/><allow receive_sender="*"/><allow own="*"/></policy></busconfig>"#;
    std::fs::write(&bus, config).expect("writable");
    let bare = |program: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new("dbus-run-session");
        command.arg("--config-file").arg(&bus).arg("--").arg(program).args(arguments);
        command
    };
    if !is_own_process("credentials::keyring::a_bus_without_a_keyring_says_so", bare) {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    let lookup = runtime.block_on(find("a.com", &session()));
    assert!(lookup.skipped[0].reason.starts_with("no keyring answers"), "{lookup:?}");
}

#[test]
fn a_locked_keyring_is_not_waited_for() {
    let locked = |program: &std::path::Path, arguments: &[&str]| {
        let mut command = in_a_session(program, arguments);
        command.env("LOCKED", "1");
        command
    };
    if !is_own_process("credentials::keyring::a_locked_keyring_is_not_waited_for", locked) {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    runtime.block_on(async {
        let error = store("a.com", &ada(), Destination::Safe, &session()).await.expect_err("is locked");
        assert!(error.to_string().contains("the system's keyring: it is locked"), "{error}");
        assert!(error.hints()[0].contains("unlock a keyring"), "{:?}", error.hints());
    });
}

#[tokio::test]
async fn a_session_without_a_bus_is_not_asked() {
    let lookup = find("a.com", &CredentialSources::default()).await;
    assert!(lookup.skipped[0].reason.contains("no D-Bus session bus"), "{lookup:?}");
}
