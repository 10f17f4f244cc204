//! Passwords, TLS, proxies.

use nauta::diagnosis::Diagnosis as _;
use nauta::registry::{Access, Auth, Blob, CertificateProblem, Endpoint, Registry, RegistryError};
use nauta::secret::Secret;

use super::{PATIENCE, ada, anonymous, open, push_image};
use crate::support::certificates::{Authority, Identity};
use crate::support::docker_registry::{DockerRegistry, USER};

#[tokio::test]
async fn a_password_opens_and_a_wrong_one_names_the_way_out() {
    let server = DockerRegistry::builder().password().start();
    let registry = open(&server.address, ada());
    registry.check("a", Access::Push).await.expect("lets her in");
    push_image(&registry, "a", "t", &Blob::from_bytes("layer")).await;
    assert!(!registry.allows_anonymous("a", Access::Pull).await.expect("answers"));
    assert!(registry.issue_token("a", Access::Push).await.expect("answers").is_none(), "has no token server");

    let wrong = Auth::Basic { user: USER.into(), password: Secret::new("canary-of-a-password") };
    for (auth, words) in [(wrong, "refuses the credentials"), (Auth::Anonymous, "asks for credentials")] {
        let error = open(&server.address, auth).check("a", Access::Pull).await.expect_err("keeps strangers out");
        let address = &server.address;
        assert_eq!(error.to_string(), format!("registry `{address}` {words} for `a`"));
        assert_eq!(error.hints(), [format!("run `nauta login {address}`")]);
        assert!(!format!("{error:?}").contains("canary"));
    }
}

#[tokio::test]
async fn the_anonymous_registry_is_known_as_such() {
    let server = DockerRegistry::start();
    assert!(anonymous(&server.address).allows_anonymous("a", Access::Push).await.expect("answers"));
}

fn with_tls(server: &DockerRegistry, authority: &Authority) -> Registry {
    let endpoint = Endpoint::new(&server.address).expect("an address").trusting(authority.pem.as_bytes());
    Registry::new(endpoint.expect("a certificate"), Auth::Anonymous).with_patience(PATIENCE)
}

/// What the client says of a server with `identity` when it trusts `authority`.
async fn certificate_problem(authority: &Authority, identity: &Identity) -> (CertificateProblem, Vec<String>) {
    let server = DockerRegistry::builder().tls(identity).start();
    let error = with_tls(&server, authority).check("a", Access::Pull).await.expect_err("cannot prove who it is");
    let hints = error.hints();
    match error {
        RegistryError::Certificate { problem, .. } => (problem, hints),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_users_own_authority_is_trusted() {
    let authority = Authority::new();
    let server = DockerRegistry::builder().tls(&authority.valid()).start();
    push_image(&with_tls(&server, &authority), "a", "t", &Blob::from_bytes("layer")).await;
}

#[tokio::test]
async fn each_certificate_problem_has_its_name() {
    let authority = Authority::new();
    let (problem, hints) = certificate_problem(&Authority::new(), &authority.valid()).await;
    assert_eq!(problem, CertificateProblem::UnknownIssuer);
    assert!(hints[0].contains("CA's PEM file"), "{hints:?}");
    let expired = authority.issue(&["127.0.0.1"], 2000, 2001);
    assert_eq!(certificate_problem(&authority, &expired).await.0, CertificateProblem::Expired);
    let foreign = authority.issue(&["registry.example.com"], 2000, 2100);
    assert_eq!(
        certificate_problem(&authority, &foreign).await.0,
        CertificateProblem::WrongName(vec!["registry.example.com".to_owned()])
    );
    let (problem, hints) = certificate_problem(&authority, &authority.issue(&["127.0.0.1"], 2090, 2100)).await;
    assert!(matches!(problem, CertificateProblem::NotYetValid(Some(seconds)) if seconds > 1_000_000), "{problem:?}");
    assert!(problem.to_string().ends_with(" days") && hints[0].contains("clock"), "{problem} {hints:?}");
}

#[tokio::test]
async fn tls_where_there_is_none_and_none_where_there_is() {
    let authority = Authority::new();
    let plain = DockerRegistry::start();
    let error = with_tls(&plain, &authority).check("a", Access::Pull).await.expect_err("speaks plain HTTP");
    assert!(matches!(error, RegistryError::PlainHttp { .. }), "{error:?}");
    assert!(error.hints().iter().any(|hint| hint.contains("by name in the target")), "{:?}", error.hints());

    let tls = DockerRegistry::builder().tls(&authority.valid()).start();
    let error = anonymous(&tls.address).check("a", Access::Pull).await.expect_err("wants TLS");
    assert!(matches!(error, RegistryError::WantsTls { .. }), "{error:?}");
}
