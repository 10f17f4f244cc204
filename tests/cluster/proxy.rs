//! The API server behind a kubeconfig's `proxy-url`.

use std::sync::{Arc, Mutex};

use nauta::cluster::Cluster;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use crate::support::Workstation;

use super::support::{address, namespace, script, spec, unique, variable};

/// An HTTP proxy that lets everybody through who says who he is; gives its port and what it was asked for.
async fn proxy() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let port = listener.local_addr().expect("bound").port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            tokio::spawn(serve(near, Arc::clone(&seen)));
        }
    });
    (port, asked)
}

async fn serve(near: TcpStream, asked: Arc<Mutex<Vec<String>>>) -> std::io::Result<()> {
    let mut near = BufReader::new(near);
    let mut head = String::new();
    while near.read_line(&mut head).await? > 2 {}
    asked.lock().expect("no test panics while it holds this").push(head.clone());
    // `ada:p@ss` in base64.
    if !head.to_lowercase().contains("proxy-authorization: basic ywrhonbac3m=") {
        return near.write_all(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
    }
    let to = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next()).expect("a place");
    let mut far = TcpStream::connect(to).await?;
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
    copy_bidirectional(&mut near, &mut far).await.map(drop)
}

async fn through(url: &str) -> Result<(), nauta::cluster::ClusterError> {
    let folder = tempfile::tempdir().expect("a folder");
    let original = std::fs::read_to_string(variable("NAUTA_TEST_KUBECONFIG_USER")).expect("readable: run tests/run");
    let changed = original.replacen("    server: ", &format!("    proxy-url: {url}\n    server: "), 1);
    assert_ne!(original, changed);
    let path = folder.path().join("config");
    std::fs::write(&path, changed).expect("written");
    let cluster = Cluster::connect(&address(&path.display().to_string(), &namespace())).await?;
    let objects = script(&spec(&unique("proxy"), 1), &namespace(), "true").await;
    cluster.check(&objects).await.map(drop)
}

#[tokio::test]
async fn a_proxy_is_gone_through_with_its_password() {
    let (port, asked) = proxy().await;
    through(&format!("http://ada:p%40ss@127.0.0.1:{port}")).await.expect("lets us through");
    assert!(asked.lock().expect("whole").iter().all(|head| head.starts_with("CONNECT ")));
    let error = through(&format!("http://127.0.0.1:{port}")).await.expect_err("refused");
    let text = error.to_string();
    assert!(text.contains("cannot reach the API server") && text.contains("proxy authorization required"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environments_proxy_is_for_servers_that_no_proxy_does_not_list() {
    let (port, asked) = proxy().await;
    let mut workstation = Workstation::new();
    let (kubeconfig, namespace) = (variable("NAUTA_TEST_KUBECONFIG_USER"), namespace());
    workstation.configure(&format!("[targets.lab]\nkubeconfig = '{kubeconfig}'\nnamespace = '{namespace}'\n"));
    workstation.set("HTTPS_PROXY", &format!("ada:p%40ss@127.0.0.1:{port}")).set("NO_PROXY", "example.org,127.0.0.0/8");
    let _ = workstation.succeeds(&["list"]);
    let through = asked.lock().expect("whole").len();
    assert!(through > 0, "the proxy's own address is in NO_PROXY, the server's is not");
    for direct in ["172.29.77.0/24", "*"] {
        workstation.set("NO_PROXY", direct);
        let _ = workstation.succeeds(&["list"]);
        assert_eq!(asked.lock().expect("whole").len(), through, "{direct}");
    }
}

#[tokio::test]
async fn a_proxy_of_an_unknown_kind_is_refused() {
    let error = through("gopher://127.0.0.1:70").await.expect_err("unknown");
    assert!(error.to_string().contains("gopher"), "{error}");
}
