//! Finding the engine, and what is said when it is not there.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nauta::diagnosis::{Diagnosis, Kind};
use nauta::docker::{Docker, DockerError, DockerSettings};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::{busybox, docker};
use crate::support::engine_proxy::engine_socket;

/// The address that a process of this test binary is to connect to.
const ROLE: &str = "NAUTA_TEST_DOCKER_CONNECT";

fn at(address: &str) -> DockerSettings {
    DockerSettings { host: Some(address.to_owned()), ..DockerSettings::default() }
}

async fn refused(settings: &DockerSettings) -> (DockerError, String) {
    let error = Docker::connect(settings).await.expect_err("no engine there");
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    let shown = format!("{error}; {}", error.hints().join("; "));
    assert!(!shown.contains("666"), "{shown}");
    (error, shown)
}

#[tokio::test]
async fn an_absent_socket_is_named_with_its_origin() {
    let (error, shown) = refused(&at("unix:///nonexistent/docker.sock")).await;
    assert!(matches!(error, DockerError::NoSocket { .. }), "{error:?}");
    assert!(shown.contains("`unix:///nonexistent/docker.sock` (from `DOCKER_HOST`)"), "{shown}");
}

#[tokio::test]
async fn a_dead_engine_is_told_from_an_absent_one() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    let (error, shown) = refused(&at(&format!("unix://{}", socket.display()))).await;
    assert!(matches!(error, DockerError::Refused { .. }), "{error:?}");
    assert!(shown.contains("start the engine"), "{shown}");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (error, shown) = refused(&at(&format!("tcp://127.0.0.1:{port}"))).await;
    assert!(matches!(error, DockerError::Refused { .. }), "{error:?}");
    assert!(shown.contains(&format!("tcp://127.0.0.1:{port}")), "{shown}");
}

#[tokio::test]
async fn an_unknown_host_is_unreachable() {
    let (error, shown) = refused(&at("tcp://no-such-host.invalid:2375")).await;
    assert!(matches!(error, DockerError::Unreachable { .. }), "{error:?}");
    assert!(shown.contains("no-such-host.invalid"), "{shown}");
}

/// Not a test by itself: connects as another user, for the test below.
#[tokio::test]
async fn as_another_user() {
    let Ok(address) = std::env::var(ROLE) else { return };
    let (error, shown) = refused(&at(&address)).await;
    assert!(matches!(error, DockerError::PermissionDenied { .. }), "{error:?}");
    assert!(shown.contains("usermod -aG docker") && shown.contains("rootless"), "{shown}");
}

#[tokio::test]
async fn a_forbidden_socket_says_how_to_get_permission() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    let socket = folder.path().join("docker.sock");
    let _listener = UnixListener::bind(&socket).unwrap();
    std::fs::set_permissions(&socket, PermissionsExt::from_mode(0o000)).unwrap();
    // The binary is copied since the folder of the build may be closed to others; by a process of its own, since a file that is
    // open for writing when another test forks cannot be started.
    let binary = folder.path().join("tests");
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&binary).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(binary);
    command.args(["--exact", "docker::connect::as_another_user"]).current_dir("/");
    command.env(ROLE, format!("unix://{}", socket.display()));
    if nix::unistd::geteuid().is_root() {
        command.uid(1000).gid(1000);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}

#[tokio::test]
async fn contexts_that_the_docker_command_made_are_understood() {
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("docker")
            .args(arguments)
            .env("DOCKER_CONFIG", folder.path())
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT")
            .output()
            .unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    let host = format!("host=unix://{}", engine_socket().display());
    run(&["context", "create", "here", "--docker", &host]);
    run(&["context", "create", "nowhere", "--docker", "host=tcp://127.0.0.1:1"]);
    run(&["context", "use", "nowhere"]);
    let current = DockerSettings { config: Some(folder.path().to_owned()), ..DockerSettings::default() };
    let (_, shown) = refused(&current).await;
    assert!(shown.contains("the context `nowhere`, the current one in"), "{shown}");
    let named = DockerSettings { context: Some("here".to_owned()), ..current.clone() };
    let docker = Docker::connect(&named).await.unwrap();
    assert!(docker.endpoint().to_string().contains("the context `here`, named by `DOCKER_CONTEXT`"));
    let unknown = DockerSettings { context: Some("nowhre".to_owned()), ..current };
    let error = Docker::connect(&unknown).await.expect_err("no such context");
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.hints()[0].contains("did you mean `nowhere`"), "{:?}", error.hints());
}

/// Lets each connection of a listener meet the engine.
async fn forward(mut near: impl AsyncRead + AsyncWrite + Unpin, engine: PathBuf) {
    if let Ok(mut far) = UnixStream::connect(engine).await {
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    }
}

#[tokio::test]
async fn an_engine_on_tcp_serves_as_well() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let serve = async {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            tokio::spawn(forward(near, engine_socket()));
        }
    };
    let work = async {
        let docker = Docker::connect(&at(&address)).await.unwrap();
        assert_eq!(docker.version(), super::docker().await.version());
        assert!(docker.image(&busybox()).await.unwrap().is_some());
        // An upgraded connection, too.
        docker.builder().await.unwrap();
    };
    tokio::select! { () = serve => unreachable!(), () = work => {} }
}

/// Files of a TLS setup: an authority, and a certificate for 127.0.0.1 that serves both sides.
fn tls_files(folder: &Path) {
    let authority = {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    };
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &authority).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
}

fn tls_acceptor(folder: &Path) -> tokio_rustls::TlsAcceptor {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_file(folder.join("cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(folder.join("key.pem")).unwrap(),
        );
    tokio_rustls::TlsAcceptor::from(Arc::new(config.unwrap()))
}

#[tokio::test]
async fn an_engine_behind_tls_is_verified_both_ways() {
    let ours = tempfile::tempdir().unwrap();
    tls_files(ours.path());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp://{}", listener.local_addr().unwrap());
    let acceptor = tls_acceptor(ours.path());
    let serve = async {
        loop {
            let (near, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(near) = acceptor.accept(near).await {
                    forward(near, engine_socket()).await;
                }
            });
        }
    };
    let work = async {
        let with = |folder: &Path| DockerSettings {
            tls_verify: Some("1".to_owned()),
            cert_path: Some(folder.to_owned()),
            ..at(&address)
        };
        let docker = Docker::connect(&with(ours.path())).await.unwrap();
        assert!(docker.image(&busybox()).await.unwrap().is_some());
        docker.builder().await.unwrap();

        let others = tempfile::tempdir().unwrap();
        tls_files(others.path());
        let (error, shown) = refused(&with(others.path())).await;
        assert!(matches!(error, DockerError::Tls { .. }), "{error:?}");
        assert!(shown.contains("ca.pem"), "{shown}");
        std::fs::write(others.path().join("ca.pem"), "nonsense").unwrap();
        std::fs::remove_file(others.path().join("cert.pem")).unwrap();
        refused(&with(others.path())).await;
        let (_, shown) = refused(&at(&address)).await;
        assert!(shown.contains(&address), "{shown}");
    };
    tokio::select! { () = serve => unreachable!(), () = work => {} }
}

/// An engine that gives one answer to everything.
async fn scripted(answer: &str) -> (DockerError, String) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let serve = async {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let _ = near.read(&mut request).await;
            near.write_all(answer.as_bytes()).await.unwrap();
        }
    };
    let settings = at(&format!("unix://{}", socket.display()));
    tokio::select! { () = serve => unreachable!(), outcome = refused(&settings) => outcome }
}

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn engines_that_do_not_fit_are_told_apart() {
    let old = r#"{"Version":"1.12.0","ApiVersion":"1.24","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}"#;
    let (error, shown) = scripted(&response("200 OK", old)).await;
    assert!(matches!(error, DockerError::TooOld { .. }), "{error:?}");
    assert!(shown.contains("1.24") && shown.contains("1.40"), "{shown}");
    let new = r#"{"Version":"99.0","ApiVersion":"1.99","MinAPIVersion":"1.90","Os":"linux","Arch":"amd64"}"#;
    let (error, _) = scripted(&response("200 OK", new)).await;
    assert!(matches!(error, DockerError::TooNew { .. }), "{error:?}");
    let (error, _) = scripted(&response("400 Bad Request", "Client sent an HTTP request to an HTTPS server.\n")).await;
    assert!(matches!(error, DockerError::Tls { .. }), "{error:?}");
    let (_, shown) = scripted("SSH-2.0-OpenSSH_9.2\r\n").await;
    assert!(shown.contains("docker.sock"), "{shown}");
    let (_, shown) = scripted("").await;
    assert!(shown.contains("docker.sock"), "{shown}");
}

#[tokio::test]
async fn the_engine_says_what_it_is() {
    let docker = docker().await;
    assert!(docker.version().split('.').next().unwrap().parse::<u32>().is_ok(), "{docker:?}");
    assert!(docker.platform().starts_with("linux/"), "{}", docker.platform());
}
