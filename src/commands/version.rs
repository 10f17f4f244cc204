//! `nauta version`.

use serde_json::json;

use crate::output::Output;

/// Says which nauta this is.
pub fn run(output: &Output) -> u8 {
    let version = env!("CARGO_PKG_VERSION");
    let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
    output.result(
        &format!("nauta {version} ({os}/{arch})\n"),
        &json!({ "schema": 1, "version": version, "os": os, "arch": arch }),
    );
    0
}
