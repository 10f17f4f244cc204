//! The environment's HTTP proxies.
//!
//! Owns: what `NO_PROXY` says. Does not own: going through a proxy (`registry` and `cluster` do).

use http::Uri;
use hyper_util::client::proxy::matcher::Matcher;

use crate::env_vars;

/// Whether the environment names a proxy for requests to `server`, and `NO_PROXY` does not list it.
#[must_use]
pub fn lead_to(server: &Uri) -> bool {
    !are_unwanted() && Matcher::from_env().intercept(server).is_some()
}

/// Whether `NO_PROXY` is `*`: the matcher lets that stand for names only, `kubectl`, Docker and curl for addresses too.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the HTTP clients read the rest of these variables by themselves, too")]
pub fn are_unwanted() -> bool {
    let listed = [env_vars::NO_PROXY, "no_proxy"].iter().find_map(|name| std::env::var(name).ok());
    listed.is_some_and(|listed| listed.trim() == "*")
}
