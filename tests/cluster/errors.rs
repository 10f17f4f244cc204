//! A cluster that cannot be reached or says no: what, where, and what next.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;

use nauta::cluster::{Cause, Cluster, ClusterAddress, ClusterError, Scope};
use nauta::diagnosis::{Diagnosis as _, Kind};

use super::support::{address, namespace, variable};

/// The error of connecting and listing.
async fn fails(address: &ClusterAddress) -> ClusterError {
    match Cluster::connect(address).await {
        Err(error) => error,
        Ok(cluster) => cluster.list(Scope::All).await.expect_err("this cannot work"),
    }
}

/// Programs are looked for where the tests' own are.
fn with_path() -> ClusterAddress {
    ClusterAddress { path: std::env::var_os("PATH"), ..ClusterAddress::default() }
}

fn write(directory: &Path, text: &str) -> ClusterAddress {
    let path = directory.join("kubeconfig");
    std::fs::write(&path, text).expect("written");
    ClusterAddress { kubeconfig: vec![path], namespace: Some("team".into()), ..with_path() }
}

/// A kubeconfig for `server` with one user.
fn kubeconfig(server: &str, user: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: lab\n\
         clusters: [{{name: lab, cluster: {{server: \"{server}\", insecure-skip-tls-verify: true}}}}]\n\
         users: [{{name: ada, user: {user}}}]\n\
         contexts: [{{name: lab, context: {{cluster: lab, user: ada}}}}, {{name: other, context: {{cluster: lab, user: ada}}}}]\n"
    )
}

/// The administrator's kubeconfig with another API server's address or other changes.
fn changed(directory: &Path, from: &str, to: &str) -> ClusterAddress {
    let original = std::fs::read_to_string(variable("NAUTA_TEST_KUBECONFIG")).expect("readable: run tests/run");
    assert!(original.contains(from), "{from}");
    write(directory, &original.replace(from, to))
}

fn server() -> String {
    let original = std::fs::read_to_string(variable("NAUTA_TEST_KUBECONFIG")).expect("readable: run tests/run");
    let (_, rest) = original.split_once("server: ").expect("a server");
    rest.lines().next().expect("a line").trim().to_owned()
}

/// Every message names kubeconfig, context and namespace.
fn names_the_place(error: &ClusterError, context: &str) {
    let text = error.to_string();
    assert!(text.contains("kubeconfig `/"), "{text}");
    assert!(text.contains(&format!("context `{context}`")), "{text}");
    assert!(text.contains("namespace `"), "{text}");
    assert!(!error.hints().is_empty(), "{text} needs a hint");
}

#[tokio::test]
async fn no_kubeconfig_at_all() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = ClusterAddress { kubeconfig: vec![directory.path().join("missing")], ..ClusterAddress::default() };
    let error = fails(&address).await;
    assert!(matches!(error.cause(), Cause::NoKubeconfig), "{error}");
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("missing"), "{error}");
}

#[tokio::test]
async fn a_missing_file_is_passed_over_when_another_is_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut address = write(directory.path(), &kubeconfig("https://127.0.0.1:1", "{token: x}"));
    address.kubeconfig.insert(0, directory.path().join("missing"));
    let cluster = Cluster::connect(&address).await.expect("one is enough");
    assert_eq!(cluster.place().context, "lab");
}

#[tokio::test]
async fn a_broken_kubeconfig_shows_no_secrets() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = fails(&write(directory.path(), "users: [{name: ada, user: {token: hunter2}\nclusters: {")).await;
    assert!(matches!(error.cause(), Cause::BrokenKubeconfig { .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
    let error = fails(&write(
        directory.path(),
        &kubeconfig("https://127.0.0.1:1", "{client-certificate-data: '%%', client-key-data: '%%'}"),
    ))
    .await;
    assert!(matches!(error.cause(), Cause::BrokenKubeconfig { .. }), "{error}");
}

#[tokio::test]
async fn an_unknown_context_names_the_nearest() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut address = write(directory.path(), &kubeconfig("https://127.0.0.1:1", "{token: x}"));
    address.context = Some("othr".into());
    let error = fails(&address).await;
    assert!(matches!(error.cause(), Cause::UnknownContext { .. }), "{error}");
    names_the_place(&error, "othr");
    assert!(error.hints()[0].contains("`other`"), "{:?}", error.hints());
    address.context = None;
    let none = kubeconfig("https://127.0.0.1:1", "{token: x}").replace("current-context: lab\n", "");
    let error = fails(&write(directory.path(), &none)).await;
    assert!(matches!(error.cause(), Cause::NoContext { .. }), "{error}");
    assert!(error.hints()[0].contains("lab, other"), "{:?}", error.hints());
}

#[tokio::test]
async fn an_api_server_that_refuses() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = fails(&changed(directory.path(), &server(), "https://127.0.0.1:1")).await;
    assert!(matches!(error.cause(), Cause::Unreachable { .. }), "{error:?}");
    assert_eq!(error.kind(), Kind::Unavailable);
    names_the_place(&error, "nauta-test");
    assert!(error.to_string().contains("`https://127.0.0.1:1`: connection refused"), "{error}");
}

#[tokio::test]
async fn an_api_server_in_a_black_hole() {
    // Connections to a listener whose queue is full are neither accepted nor refused.
    let directory = tempfile::tempdir().expect("a directory");
    let socket =
        rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).expect("a socket");
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    rustix::net::bind(&socket, &any).expect("bound");
    rustix::net::listen(&socket, 0).expect("listens");
    let listener = TcpListener::from(socket);
    let port = listener.local_addr().expect("bound").port();
    let _queue: Vec<_> = (0..4)
        .map(|_| {
            std::net::TcpStream::connect_timeout(&([127, 0, 0, 1], port).into(), std::time::Duration::from_millis(200))
        })
        .collect();
    let error = fails(&changed(directory.path(), &server(), &format!("https://127.0.0.1:{port}"))).await;
    assert!(matches!(error.cause(), Cause::Unreachable { .. }), "{error:?}");
    names_the_place(&error, "nauta-test");
}

#[tokio::test]
async fn an_api_server_that_accepts_and_says_nothing() {
    let directory = tempfile::tempdir().expect("a directory");
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let error = fails(&changed(directory.path(), &server(), &format!("https://127.0.0.1:{port}"))).await;
    assert!(matches!(error.cause(), Cause::Unreachable { .. }), "{error:?}");
}

#[tokio::test]
async fn an_api_server_whose_name_is_unknown() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = fails(&changed(directory.path(), &server(), "https://nowhere.invalid:6443")).await;
    assert!(matches!(error.cause(), Cause::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("its name is unknown"), "{error}");
}

#[tokio::test]
async fn an_authority_that_the_kubeconfig_does_not_name() {
    let directory = tempfile::tempdir().expect("a directory");
    let original = std::fs::read_to_string(variable("NAUTA_TEST_KUBECONFIG")).expect("readable: run tests/run");
    let line = original.lines().find(|line| line.contains("certificate-authority-data")).expect("an authority");
    let key = rcgen::KeyPair::generate().expect("a key");
    let other =
        rcgen::CertificateParams::new(vec!["other".to_owned()]).expect("a name").self_signed(&key).expect("signed");
    let data = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, other.pem());
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let error = fails(&changed(directory.path(), line, &format!("{indent}certificate-authority-data: {data}"))).await;
    assert!(matches!(error.cause(), Cause::Certificate { .. }), "{error:?}");
    names_the_place(&error, "nauta-test");
    assert!(error.to_string().contains("signed by an authority"), "{error}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls() {
    let directory = tempfile::tempdir().expect("a directory");
    let port = answer_with("HTTP/1.1 200 OK\r\n\r\n<html>");
    let error = fails(&changed(directory.path(), &server(), &format!("https://127.0.0.1:{port}"))).await;
    assert!(matches!(error.cause(), Cause::Certificate { .. }), "{error:?}");
    assert!(error.to_string().contains("does not speak TLS"), "{error}");
}

/// A server that gives the same answer to everybody.
fn answer_with(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let port = listener.local_addr().expect("bound").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut stream = stream;
            let mut request = [0; 4096];
            _ = stream.read(&mut request);
            _ = stream.write_all(answer.as_bytes());
        }
    });
    port
}

#[tokio::test]
async fn a_login_page_in_place_of_an_api_server() {
    let directory = tempfile::tempdir().expect("a directory");
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 25\r\n\r\n<html>please log in</html",
        "HTTP/1.1 403 Forbidden\r\nContent-Length: 25\r\n\r\n<html>please log in</html",
        "HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
    ] {
        let port = answer_with(answer);
        let error =
            fails(&write(directory.path(), &kubeconfig(&format!("http://127.0.0.1:{port}"), "{token: x}"))).await;
        assert!(matches!(error.cause(), Cause::NotKubernetes { .. }), "{answer}: {error:?}");
        names_the_place(&error, "lab");
    }
}

#[tokio::test]
async fn an_expired_certificate_says_when_it_expired() {
    let error = fails(&address(&variable("NAUTA_TEST_KUBECONFIG_EXPIRED"), &namespace())).await;
    assert!(matches!(error.cause(), Cause::Unauthorised { expired: Some(_) }), "{error:?}");
    assert!(error.to_string().contains("the client certificate expired on 20"), "{error}");
    assert!(!error.hints().is_empty());
}

#[tokio::test]
async fn a_token_that_nobody_knows() {
    let directory = tempfile::tempdir().expect("a directory");
    let error = fails(&write(directory.path(), &kubeconfig(&server(), "{token: nonsense}"))).await;
    assert!(matches!(error.cause(), Cause::Unauthorised { expired: None }), "{error:?}");
    names_the_place(&error, "lab");
}

#[tokio::test]
async fn a_namespace_that_is_not_ours_names_the_missing_right() {
    let error = fails(&address(&variable("NAUTA_TEST_KUBECONFIG_USER"), "kube-system")).await;
    assert!(matches!(error.cause(), Cause::Forbidden { .. }), "{error:?}");
    assert!(error.to_string().contains("not allowed to list jobs.batch"), "{error}");
    assert!(
        error.hints()[0].contains("kubectl auth can-i list jobs.batch --namespace kube-system"),
        "{:?}",
        error.hints()
    );
}

/// A kubeconfig whose user logs in by a program, given as a shell script.
fn login(directory: &Path, script: &str) -> ClusterAddress {
    use std::os::unix::fs::PermissionsExt as _;
    let program = directory.join("login");
    std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("written");
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("executable");
    let user = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: ./login, interactiveMode: IfAvailable, installHint: get it from us}}";
    write(directory, &kubeconfig(&server(), user))
}

#[tokio::test]
async fn login_programs_fail_in_words() {
    let directory = tempfile::tempdir().expect("a directory");
    for (script, words) in [
        ("echo 'session over' >&2; exit 3", "failed (exit status: 3): session over"),
        ("echo hunter2", "did not print an `ExecCredential`"),
        ("echo '{}'", "printed no credentials"),
        ("echo '{\"status\": {}}'", "printed no credentials"),
    ] {
        let error = fails(&login(directory.path(), script)).await;
        assert!(matches!(error.cause(), Cause::LoginFailed { .. }), "{script}: {error:?}");
        assert!(error.to_string().contains(words) && !error.to_string().contains("hunter2"), "{error}");
        names_the_place(&error, "lab");
    }
}

#[tokio::test]
async fn a_login_program_that_is_not_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = login(directory.path(), "true");
    std::fs::remove_file(directory.path().join("login")).expect("removed");
    let error = fails(&address).await;
    assert!(matches!(error.cause(), Cause::LoginMissing { .. }), "{error:?}");
    assert_eq!(error.hints(), ["get it from us"]);
}

/// `.` and an empty element of `PATH` mean the current directory, which may be a project with a program of that name.
#[tokio::test]
async fn a_login_program_of_the_current_directory_is_not_run() {
    let directory = tempfile::tempdir().expect("a directory");
    let _ = login(directory.path(), "touch \"$(dirname \"$0\")/ran\"; echo '{}'");
    let here = std::env::current_dir().expect("there is one");
    let up = "../".repeat(here.components().count());
    let relative = format!("{up}{}", directory.path().display());
    let user = "{exec: {apiVersion: client.authentication.k8s.io/v1, command: login, interactiveMode: IfAvailable}}";
    let gcp = "{auth-provider: {name: gcp, config: {cmd-path: login, cmd-args: x, token-key: '{.a}'}}}";
    for user in [user, gcp] {
        let text = kubeconfig(&server(), user);
        for path in [relative.clone(), format!("{relative}:.:"), String::new()] {
            let named = write(directory.path(), &text);
            let error = fails(&ClusterAddress { path: Some(path.clone().into()), ..named }).await;
            assert!(matches!(error.cause(), Cause::LoginMissing { .. }), "{path}: {error:?}");
            assert!(error.to_string().contains("login"), "{error}");
        }
        assert!(!directory.path().join("ran").exists(), "{user}");
    }
    // The oracle: where PATH names the folder itself, the program runs.
    let named = write(directory.path(), &kubeconfig(&server(), user));
    let _ = fails(&ClusterAddress { path: Some(directory.path().into()), ..named }).await;
    assert!(directory.path().join("ran").exists());
}

#[tokio::test]
async fn a_login_program_that_never_ends_is_ended() {
    let directory = tempfile::tempdir().expect("a directory");
    let address = login(directory.path(), "echo $$ > \"$(dirname \"$0\")/pid\"; exec sleep 600");
    let error = fails(&address).await;
    assert!(error.to_string().contains("did not finish within 20 seconds"), "{error}");
    let pid = std::fs::read_to_string(directory.path().join("pid")).expect("it ran");
    let proc = format!("/proc/{}/stat", pid.trim());
    for _ in 0..100 {
        let state = std::fs::read_to_string(&proc).unwrap_or_default();
        if state.is_empty() || state.contains(") Z ") {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{proc} is still there");
}

#[tokio::test]
async fn a_login_program_that_works() {
    let directory = tempfile::tempdir().expect("a directory");
    let kubeconfig =
        kube::config::Kubeconfig::read_from(variable("NAUTA_TEST_KUBECONFIG_USER")).expect("readable: run tests/run");
    let user = kubeconfig.auth_infos[0].auth_info.clone().expect("a user");
    let value = serde_json::to_value(&user).expect("serialises");
    let decode = |key: &str| {
        let data =
            base64::Engine::decode(&base64::engine::general_purpose::STANDARD, value[key].as_str().expect("data"));
        String::from_utf8(data.expect("base64")).expect("PEM")
    };
    let credential = serde_json::json!({"status": {
        "clientCertificateData": decode("client-certificate-data"), "clientKeyData": key(&user, decode)
    }});
    std::fs::write(directory.path().join("credential"), credential.to_string()).expect("written");
    let mut address =
        login(directory.path(), "echo x >> \"$(dirname \"$0\")/calls\"; cat \"$(dirname \"$0\")/credential\"");
    address.namespace = Some(namespace());
    let cluster = Cluster::connect(&address).await.expect("logs in");
    cluster.list(Scope::All).await.expect("is somebody");
    cluster.list(Scope::All).await.expect("still is");
    let calls = std::fs::read_to_string(directory.path().join("calls")).expect("called");
    assert_eq!(calls.lines().count(), 1, "asked once, not with every request");
}

/// The key is masked when it is serialised: the file has it.
fn key(_: &kube::config::AuthInfo, _: impl Fn(&str) -> String) -> String {
    let text = std::fs::read_to_string(variable("NAUTA_TEST_KUBECONFIG_USER")).expect("readable");
    let line = text.lines().find(|line| line.contains("client-key-data:")).expect("a key");
    let data = line.split_once(": ").expect("a value").1.trim().trim_matches('"');
    let pem = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, data).expect("base64");
    String::from_utf8(pem).expect("PEM")
}
