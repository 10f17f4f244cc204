//! HTTP proxies from the environment.

use std::process::Command;

use nauta::registry::{Access, Auth, Endpoint, Reach, Registry, RegistryError};
use serde_json::json;

use super::{PATIENCE, anonymous};
use crate::support::docker_registry::DockerRegistry;
use crate::support::fault_proxy::{Action, FaultProxy};
use crate::support::own_process::is_own_process;

#[test]
fn proxies_carry_what_is_not_loopback() {
    let runtime = tokio::runtime::Runtime::new().expect("starts");
    // A proxy that answers in the registry's place, and lets nobody through to TLS.
    let proxy = runtime.block_on(FaultProxy::alone(|head| match head.method.as_str() {
        "CONNECT" => Action::status(403),
        "POST" => Action::status(201),
        _ => Action::json(200, &json!({})),
    }));
    let through_it = |program: &std::path::Path, arguments: &[&str]| {
        let mut command = Command::new(program);
        let address = format!("http://{}", proxy.address);
        command.args(arguments).env("HTTP_PROXY", &address).env("http_proxy", &address).env("HTTPS_PROXY", &address);
        command.env_remove("NO_PROXY").env_remove("no_proxy");
        command
    };
    if !is_own_process("registry::proxies::proxies_carry_what_is_not_loopback", through_it) {
        let seen: Vec<_> = proxy.seen().iter().map(|head| format!("{} {}", head.method, head.path)).collect();
        assert!(seen[0].contains(" http://registry.invalid/v2/"), "{seen:?}");
        assert!(seen.contains(&"CONNECT registry.invalid:443".to_owned()), "{seen:?}");
        assert!(
            seen.iter().all(|line| line.contains("registry.invalid")),
            "loopback stays away from proxies: {seen:?}"
        );
        return;
    }
    runtime.block_on(async {
        let endpoint = || Endpoint::new("registry.invalid").expect("a name");
        let plain = Registry::new(endpoint().plain_http(), Auth::Anonymous).with_patience(PATIENCE);
        plain.check("a", Access::Push).await.expect("goes through the proxy");
        let tls = Registry::new(endpoint(), Auth::Anonymous).with_patience(PATIENCE);
        let error = tls.check("a", Access::Push).await.expect_err("is stopped by the proxy");
        assert!(matches!(error, RegistryError::Unreachable { reach: Reach::Proxy(_), .. }), "{error:?}");
        let server = DockerRegistry::start();
        anonymous(&server.address).check("a", Access::Push).await.expect("needs no proxy");
    });
}
