//! Where there is no keyring: Docker's helpers, Docker's `config.json`, or nowhere.

use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use nauta::credentials::{Credential, CredentialSources, CredentialsError, Destination, Place, erase, find, store};
use nauta::diagnosis::{Diagnosis as _, Kind};
use nauta::secret::Secret;

/// A credential helper as simple as one can be: one file per server.
const HELPER: &str = r#"#!/bin/sh
set -e
cd "$(dirname "$0")/kept"
input=$(cat)
case $1 in
  store) name=$(printf %s "$input" | sed 's/.*"ServerURL":"\([^"]*\)".*/\1/' | tr / _); printf %s "$input" >"$name" ;;
  get) name=$(printf %s "$input" | tr / _); cat "$name" 2>/dev/null || { echo "credentials not found in native keychain"; exit 1; } ;;
  erase) name=$(printf %s "$input" | tr / _); rm "$name" ;;
esac
"#;

/// A home with Docker's configuration in it and a helper in PATH, in a session without a keyring.
struct Home(tempfile::TempDir);

impl Home {
    fn new(config: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("kept")).expect("writable");
        std::fs::write(folder.path().join("config.json"), config).expect("writable");
        let program = folder.path().join("docker-credential-files");
        std::fs::write(&program, HELPER).expect("writable");
        std::fs::set_permissions(program, std::fs::Permissions::from_mode(0o755)).expect("ours");
        Self(folder)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.path().join("config.json")).expect("readable")
    }

    fn sources(&self) -> CredentialSources {
        let path = OsString::from(format!("relative:{}:/usr/bin:/bin", self.path().display()));
        CredentialSources {
            docker_config_dir: Some(self.path().into()),
            path: Some(path),
            ..CredentialSources::default()
        }
    }
}

fn ada() -> Credential {
    Credential::Password { user: "ada".into(), password: Secret::new("correct horse") }
}

#[tokio::test]
async fn a_helper_keeps_what_no_keyring_keeps() {
    let home = Home::new(r#"{"credsStore": "files"}"#);
    let sources = home.sources();
    for host in ["localhost:5000", "docker.io"] {
        let lookup = find(host, &sources).await;
        assert_eq!(lookup.found, None);
        assert_eq!(lookup.skipped[0].place, Place::Keyring);
        assert_eq!(
            store(host, &ada(), Destination::Safe, &sources).await.expect("keeps it"),
            Place::Helper("files".into())
        );
        let found = find(host, &sources).await.found.expect("is kept");
        assert_eq!((found.credential, found.place), (ada(), Place::Helper("files".into())));
    }
    assert!(home.path().join("kept/https:__index.docker.io_v1_").exists(), "under Docker's own name for the Hub");
    let erased = erase("docker.io", Destination::Safe, &sources).await.expect("erases");
    assert_eq!((erased.removed, erased.left), (vec![Place::Helper("files".into())], None));
    assert_eq!(find("docker.io", &sources).await.found, None);
    assert_eq!(home.config(), r#"{"credsStore": "files"}"#);
}

#[tokio::test]
async fn an_identity_token_is_kept_as_docker_does() {
    let home = Home::new(r#"{"credHelpers": {"a.com": "files"}}"#);
    let token = Credential::IdentityToken(Secret::new("t"));
    store("a.com", &token, Destination::Safe, &home.sources()).await.expect("keeps it");
    let kept = std::fs::read_to_string(home.path().join("kept/a.com")).expect("kept");
    assert!(kept.contains("<token>"), "{kept}");
    assert_eq!(find("a.com", &home.sources()).await.found.expect("kept").credential, token);
}

#[tokio::test]
async fn where_nothing_is_safe_three_ways_are_named() {
    let home = Home::new("{}");
    let error = store("a.com", &ada(), Destination::Safe, &home.sources()).await.expect_err("has no safe place");
    assert!(matches!(error, CredentialsError::NowhereSafe { .. }), "{error:?}");
    assert_eq!((error.kind(), error.hints().len()), (Kind::Input, 3));
    assert!(error.hints()[2].contains("nauta login --store docker-config a.com"), "{:?}", error.hints());
    assert!(!format!("{error:?} {error} {:?}", error.hints()).contains("correct horse"));
    assert_eq!(home.config(), "{}", "nothing is kept in clear unless it is asked for");

    let missing = Home::new(r#"{"credsStore": "not-there"}"#);
    let error = store("a.com", &ada(), Destination::Safe, &missing.sources()).await.expect_err("has no helper either");
    assert!(error.to_string().contains("`docker-credential-not-there` is not in PATH"), "{error}");
}

#[tokio::test]
async fn docker_s_file_is_used_when_asked_for() {
    let home = Home::new(r#"{"detachKeys": "ctrl-e"}"#);
    let sources = home.sources();
    let place = store("a.com", &ada(), Destination::DockerConfig, &sources).await.expect("keeps it");
    assert!(place.warning().expect("is not safe").contains("base64"));
    assert_eq!(find("a.com", &sources).await.found.expect("kept").place, place);
    let kept: serde_json::Value = serde_json::from_str(&home.config()).expect("JSON");
    assert_eq!(
        kept,
        serde_json::json!({"detachKeys": "ctrl-e", "auths": {"a.com": {"auth": "YWRhOmNvcnJlY3QgaG9yc2U="}}})
    );
    let mode = home.path().join("config.json").metadata().expect("is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // It is Docker's: only the same wish removes it.
    let erased = erase("a.com", Destination::Safe, &sources).await.expect("finds nothing of ours");
    assert_eq!((erased.removed, erased.left), (Vec::new(), Some(place.clone())));
    let erased = erase("a.com", Destination::DockerConfig, &sources).await.expect("erases");
    assert_eq!((erased.removed, erased.left), (vec![place], None));
}

#[tokio::test]
async fn a_broken_place_does_not_hide_the_next_one() {
    let home = Home::new(r#"{"credsStore": "not-there", "auths": {"a.com": {"auth": "YWRhOmNvcnJlY3QgaG9yc2U="}}}"#);
    let lookup = find("a.com", &home.sources()).await;
    assert_eq!(lookup.found.expect("is in the file").credential, ada());
    assert_eq!(
        lookup.skipped[1].to_string(),
        "Docker's credential helper `not-there` was not asked: `docker-credential-not-there` is not in PATH; install it, or \
         take it out of Docker's `config.json`"
    );
    let broken = Home::new("{\"auths\": {\"a.com\": {\"auth\": \"canary");
    let lookup = find("a.com", &broken.sources()).await;
    assert!(lookup.found.is_none() && !format!("{lookup:?}").contains("canary"), "{lookup:?}");
    assert!(matches!(lookup.skipped[1].place, Place::DockerConfig(_)));
}

#[tokio::test]
async fn a_real_login_of_docker_s_form_opens_a_real_registry() {
    use nauta::registry::{Access, Auth, Endpoint, Registry};

    use crate::support::docker_registry::{DockerRegistry, PASSWORD, USER};
    let server = DockerRegistry::builder().password().start();
    let home = Home::new("{}");
    let credential = Credential::Password { user: USER.into(), password: Secret::new(PASSWORD) };
    store(&server.address, &credential, Destination::DockerConfig, &home.sources()).await.expect("keeps it");
    let found = find(&server.address, &home.sources()).await.found.expect("kept").credential;
    let Credential::Password { user, password } = found else { panic!("{found:?}") };
    let endpoint = Endpoint::new(&server.address).expect("valid");
    Registry::new(endpoint, Auth::Basic { user, password }).check("a", Access::Push).await.expect("opens");
}
