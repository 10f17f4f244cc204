//! Token authentication: a real registry that verifies signed tokens, and a token server that signs them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use nauta::diagnosis::Diagnosis as _;
use nauta::registry::{Access, Auth, Blob, Registry, RegistryError};
use nauta::secret::Secret;
use rcgen::{CertificateParams, KeyPair, SigningKey as _};
use serde_json::json;

use super::{ada, open, push_image};
use crate::support::docker_registry::{DockerRegistry, PASSWORD, USER};
use crate::support::fault_proxy::{Action, FaultProxy, Head};

const IDENTITY_TOKEN: &str = "an identity token";

/// Signs tokens; the registry trusts its certificate.
pub(super) struct Signer {
    key: KeyPair,
    der: Vec<u8>,
    pem: String,
}

impl Signer {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a P-256 key");
        let certificate =
            CertificateParams::new(Vec::new()).expect("no names").self_signed(&key).expect("signs itself");
        Self { key, der: certificate.der().to_vec(), pem: certificate.pem() }
    }

    /// A JSON Web Token as distribution wants it, for the scopes of a request.
    pub(super) fn token(&self, scopes: &[Grant], valid_until: u64) -> String {
        let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [BASE64_STANDARD.encode(&self.der)]});
        let access: Vec<_> = scopes
            .iter()
            .map(|(name, actions)| json!({"type": "repository", "name": name, "actions": actions}))
            .collect();
        let claims = json!({"iss": "nauta-test", "aud": "nauta-test", "sub": USER, "exp": valid_until, "nbf": 0, "iat": 0,
            "jti": "1", "access": access});
        let encode = |value: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", encode(&header), encode(&claims));
        let signature = fixed(&self.key.sign(signed.as_bytes()).expect("signs"));
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

/// An ECDSA signature in DER (two integers) as the 64 bytes that JSON Web Tokens hold.
fn fixed(der: &[u8]) -> Vec<u8> {
    let mut rest = &der[2..];
    let mut signature = Vec::new();
    for _ in 0..2 {
        let (integer, after) = rest[2..].split_at(usize::from(rest[1]));
        let digits = &integer[integer.len().saturating_sub(32)..];
        signature.extend(std::iter::repeat_n(0, 32 - digits.len()));
        signature.extend_from_slice(digits);
        rest = after;
    }
    signature
}

pub(super) type Grant = (String, Vec<String>);

/// The scopes that a request to the token server asks for.
pub(super) fn asked(head: &Head) -> Vec<Grant> {
    let query = head.path.split_once('?').map_or("", |(_, query)| query);
    let scopes = url::form_urlencoded::parse(query.as_bytes()).filter(|(key, _)| key == "scope");
    scopes
        .filter_map(|(_, scope)| {
            let (name, actions) = scope.strip_prefix("repository:")?.rsplit_once(':')?;
            Some((name.to_owned(), actions.split(',').map(str::to_owned).collect()))
        })
        .collect()
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs()
}

fn is_ada(head: &Head) -> bool {
    let expected = format!("Basic {}", BASE64_STANDARD.encode(format!("{USER}:{PASSWORD}")));
    head.header("authorization") == Some(expected.as_str())
}

pub(super) struct Setup {
    pub(super) server: DockerRegistry,
    tokens: FaultProxy,
}

/// A registry whose token server answers with `reply`, given what was asked for and how many tokens it has issued before.
pub(super) async fn setup(reply: impl Fn(&Signer, &Head, usize) -> Action + Send + Sync + 'static) -> Setup {
    let signer = Signer::new();
    let pem = signer.pem.clone();
    let issued = AtomicUsize::new(0);
    let tokens = FaultProxy::alone(move |head| reply(&signer, head, issued.fetch_add(1, Ordering::SeqCst))).await;
    let server = DockerRegistry::builder().tokens(&format!("http://{}/token", tokens.address), &pem).start();
    Setup { server, tokens }
}

/// Anyone may read; ada may do everything.
fn lawful(signer: &Signer, head: &Head, expires_in: u64) -> Action {
    let mut grants = asked(head);
    if !is_ada(head) {
        for (_, actions) in &mut grants {
            actions.retain(|action| action == "pull");
        }
    }
    Action::json(200, &json!({"token": signer.token(&grants, now() + 300), "expires_in": expires_in}))
}

#[tokio::test]
async fn a_token_serves_many_requests() {
    let setup = setup(|signer, head, _| lawful(signer, head, 300)).await;
    let registry = open(&setup.server.address, ada());
    registry.check("a", Access::Push).await.expect("lets her in");
    let digest = push_image(&registry, "a", "t", &Blob::from_bytes("layer")).await;
    // One for pushing, one for looking.
    assert_eq!(setup.tokens.seen().len(), 2, "{:?}", setup.tokens.seen());
    let mounted = registry.mount_blob("b", "a", Blob::from_bytes("layer").digest()).await;
    assert!(mounted.expect("answers"), "a token for both repositories");
    registry.delete_manifest("a", &digest).await.expect("deletes");
}

#[tokio::test]
async fn parallel_uploads_share_a_token() {
    let setup = setup(|signer, head, _| lawful(signer, head, 300)).await;
    let registry = open(&setup.server.address, ada());
    registry.check("a", Access::Push).await.expect("lets her in");
    let uploads = (0..8).map(|number| {
        let registry = registry.clone();
        async move { registry.push_blob("a", &Blob::from_bytes(vec![number; 1000]), |_| ()).await }
    });
    for sent in futures::future::join_all(uploads).await {
        sent.expect("is taken");
    }
    assert_eq!(setup.tokens.seen().len(), 2);
}

#[tokio::test]
async fn anybody_may_read_and_only_ada_write() {
    let setup = setup(|signer, head, _| lawful(signer, head, 300)).await;
    push_image(&open(&setup.server.address, ada()), "a", "t", &Blob::from_bytes("layer")).await;
    let nobody = open(&setup.server.address, Auth::Anonymous);
    assert!(nobody.pull_manifest("a", "t").await.expect("may read").is_some());
    let error = nobody.check("a", Access::Push).await.expect_err("may not write");
    assert!(matches!(error, RegistryError::Unauthorised { with_credentials: false, .. }), "{error:?}");
    assert!(nobody.allows_anonymous("a", Access::Pull).await.expect("answers"));
    assert!(!nobody.allows_anonymous("a", Access::Push).await.expect("answers"));
}

#[tokio::test]
async fn a_right_that_the_token_server_withholds_is_named() {
    let setup = setup(|signer, _, _| {
        let grants = vec![("a".to_owned(), vec!["pull".to_owned()])];
        Action::json(200, &json!({"token": signer.token(&grants, now() + 300)}))
    })
    .await;
    let error = open(&setup.server.address, ada()).check("a", Access::Push).await.expect_err("may not write");
    assert!(matches!(error, RegistryError::Forbidden { access: Access::Push, .. }), "{error:?}");
    assert!(error.to_string().contains("does not let you push to `a`"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_told_from_a_missing_right() {
    for (status, unauthorised) in [(401, true), (403, false)] {
        let setup = setup(move |_, _, _| Action::status(status)).await;
        let error = open(&setup.server.address, ada()).check("a", Access::Push).await.expect_err("is refused");
        assert_eq!(
            matches!(error, RegistryError::Unauthorised { with_credentials: true, .. }),
            unauthorised,
            "{error:?}"
        );
        assert_eq!(matches!(error, RegistryError::Forbidden { .. }), !unauthorised, "{error:?}");
        assert!(!error.hints().is_empty());
    }
}

#[tokio::test]
async fn a_token_is_renewed_before_its_time() {
    // It is good for 300 s, but said to be for 1 s: asked for again after 0.75 s.
    let setup = setup(|signer, head, _| lawful(signer, head, 1)).await;
    let registry = open(&setup.server.address, ada());
    registry.has_blob("a", Blob::from_bytes("x").digest()).await.expect("answers");
    assert_eq!(setup.tokens.seen().len(), 1);
    tokio::time::sleep(std::time::Duration::from_millis(800)).await; // time itself is what is tested
    registry.has_blob("a", Blob::from_bytes("x").digest()).await.expect("answers");
    assert_eq!(setup.tokens.seen().len(), 2);
    let refused = registry.counters().requests;
    assert_eq!(refused, 5, "a 401 at the very first, none for the second token");
}

#[tokio::test]
async fn a_token_that_is_refused_is_replaced_once() {
    let expired = setup(|signer, head, nth| {
        let until = if nth == 0 { now() - 300 } else { now() + 300 };
        Action::json(200, &json!({"access_token": signer.token(&asked(head), until), "expires_in": 300}))
    })
    .await;
    let registry = open(&expired.server.address, ada());
    // The first request says nothing and learns what is asked for, the second one has the expired token.
    registry.check("a", Access::Push).await.expect("gets a good one");
    assert_eq!(expired.tokens.seen().len(), 2);

    let never =
        setup(|signer, head, _| Action::json(200, &json!({"token": signer.token(&asked(head), now() - 300)}))).await;
    let error = open(&never.server.address, ada()).check("a", Access::Push).await.expect_err("never gets a good one");
    assert!(matches!(error, RegistryError::Unauthorised { .. }), "{error:?}");
    assert_eq!(never.tokens.seen().len(), 2);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post() {
    let setup = setup(|signer, head, _| {
        let grants = vec![("a".to_owned(), vec!["pull".to_owned(), "push".to_owned()])];
        match head.method.as_str() {
            "POST" => {
                Action::json(200, &json!({"access_token": signer.token(&grants, now() + 300), "expires_in": 300}))
            }
            _ => Action::status(401),
        }
    })
    .await;
    let registry = open(&setup.server.address, Auth::IdentityToken(Secret::new(IDENTITY_TOKEN)));
    registry.check("a", Access::Push).await.expect("lets her in");
    let seen = setup.tokens.seen();
    assert!(seen.iter().all(|head| head.method == "POST" && !head.path.contains("identity")), "{seen:?}");
}

#[tokio::test]
async fn an_issued_token_opens_its_repository_and_no_other() {
    let setup = setup(|signer, head, _| lawful(signer, head, 300)).await;
    let ada = open(&setup.server.address, ada());
    let issued = ada.issue_token("mailbox", Access::Push).await.expect("issues").expect("has a token server");
    assert_eq!(issued.valid_for.as_secs(), 300);
    let pod: Registry = open(&setup.server.address, Auth::Bearer(issued.token.clone()));
    pod.check("mailbox", Access::Push).await.expect("opens");
    push_image(&pod, "mailbox", "t", &Blob::from_bytes("outputs")).await;
    let error = pod.check("other", Access::Push).await.expect_err("is for one repository");
    assert!(matches!(error, RegistryError::Forbidden { .. } | RegistryError::Unauthorised { .. }), "{error:?}");

    pod.replace_auth(Auth::Bearer(Secret::new("stale"))).await;
    pod.check("mailbox", Access::Push).await.expect_err("is no token");
    pod.replace_auth(Auth::Bearer(issued.token)).await;
    pod.check("mailbox", Access::Push).await.expect("opens again");
}

#[tokio::test]
async fn a_token_server_in_trouble_is_asked_again() {
    let setup = setup(|signer, head, nth| match nth {
        0 => Action::status(503),
        1 => Action::status(429),
        _ => lawful(signer, head, 300),
    })
    .await;
    let registry = open(&setup.server.address, ada());
    registry.has_blob("a", Blob::from_bytes("x").digest()).await.expect("gets a token in the end");
    assert_eq!(setup.tokens.seen().len(), 3);
}

#[tokio::test]
async fn nonsense_from_a_token_server_is_named() {
    for body in ["", "{}", "<html>", r#"{"token": ""}"#, r#"{"token": "a\nb"}"#] {
        let text = Arc::new(body.to_owned());
        let setup =
            setup(move |_, _, _| Action::Answer { status: 200, headers: Vec::new(), body: text.as_bytes().to_vec() })
                .await;
        let error = open(&setup.server.address, ada()).check("a", Access::Pull).await.expect_err("no token");
        assert!(matches!(error, RegistryError::NotARegistry { .. }), "{body}: {error:?}");
    }
}
