//! The program that a kubeconfig may name to log in, run within limits.
//!
//! The client would run it too, but without a time limit and with our terminal as its input.

use std::ffi::OsStr;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use kube::config::{AuthInfo, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;

use super::error::Cause;
use crate::programs;

/// How long a program that asks nothing may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long a program that may ask a person may take.
const INTERACTIVE_LIMIT: Duration = Duration::from_mins(3);
/// Longest answer read, in bytes.
const MAX_ANSWER: u64 = 1024 * 1024;

/// What the program prints (`ExecCredential` of `client.authentication.k8s.io`).
#[derive(Deserialize)]
struct Credential {
    status: Option<CredentialStatus>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CredentialStatus {
    token: Option<String>,
    client_certificate_data: Option<String>,
    client_key_data: Option<String>,
    expiration_timestamp: Option<Timestamp>,
}

/// Runs the program, and gives what the client needs to know from it: credentials, and until when they hold.
pub(super) async fn log_in(
    exec: &ExecConfig,
    auth: &AuthInfo,
    path: Option<&OsStr>,
) -> Result<(AuthInfo, Option<Timestamp>), Cause> {
    let program = exec.command.clone().unwrap_or_default();
    let failed = |message: String| Cause::LoginFailed { program: program.clone(), message };
    let answer = run(exec, &program, path).await?;
    credentials(&answer, auth).map_err(|message| failed(message.to_owned()))
}

/// The credentials in what the program has printed. The error quotes nothing of it: it may be secret.
pub(super) fn credentials(answer: &[u8], auth: &AuthInfo) -> Result<(AuthInfo, Option<Timestamp>), &'static str> {
    let credential: Credential = serde_saphyr::from_slice(answer)
        .map_err(|_| "did not print an `ExecCredential` (nothing of it is shown: it may be secret)")?;
    let status = credential.status.ok_or("printed no credentials")?;
    let mut auth = AuthInfo { exec: None, ..auth.clone() };
    match (status.token, status.client_certificate_data, status.client_key_data) {
        (None, None, _) | (None, Some(_), None) => return Err("printed no credentials"),
        (token, certificate, key) => {
            auth.token = token.map(Into::into).or(auth.token);
            auth.client_certificate_data = certificate.map(|pem| STANDARD.encode(pem)).or(auth.client_certificate_data);
            auth.client_key_data = key.map(|pem| STANDARD.encode(pem).into()).or(auth.client_key_data);
        }
    }
    Ok((auth, status.expiration_timestamp))
}

/// The program's standard output.
async fn run(exec: &ExecConfig, program: &str, path: Option<&OsStr>) -> Result<Vec<u8>, Cause> {
    let interactive = exec.interactive_mode != Some(ExecInteractiveMode::Never) && std::io::stdin().is_terminal();
    let failed = |message: String| Cause::LoginFailed { program: program.to_owned(), message };
    if !interactive && exec.interactive_mode == Some(ExecInteractiveMode::Always) {
        return Err(failed("needs a terminal to ask on, and there is none".to_owned()));
    }
    let missing = |message: String| Cause::LoginMissing {
        program: program.to_owned(),
        message,
        install_hint: exec.install_hint.clone(),
    };
    // As kubectl does it: a program without a path is none of the current directory's.
    let found = if program.contains('/') { Some(program.into()) } else { programs::locate(program, path) };
    let found = found.ok_or_else(|| missing("it is in none of the absolute folders of PATH".to_owned()))?;
    let mut child = command(exec, &found, interactive).spawn().map_err(|error| missing(error.to_string()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let limit = if interactive { INTERACTIVE_LIMIT } else { LIMIT };
    let all = async { tokio::join!(read(stdout), read(stderr), child.wait()) };
    let (stdout, stderr, status) = tokio::time::timeout(limit, all)
        .await
        .map_err(|_| failed(format!("did not finish within {} seconds", limit.as_secs())))?;
    match status {
        Ok(status) if status.success() => Ok(stdout),
        Ok(status) => Err(failed(format!("failed ({status}){}", last_words(&stderr)))),
        Err(error) => Err(failed(format!("failed: {error}"))),
    }
}

fn command(exec: &ExecConfig, program: &Path, interactive: bool) -> Command {
    let mut command = Command::new(program);
    command.args(exec.args.iter().flatten()).kill_on_drop(true).stdout(Stdio::piped());
    for variable in exec.env.iter().flatten() {
        if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
            command.env(name, value);
        }
    }
    let cluster = exec.cluster.as_ref().filter(|_| exec.provide_cluster_info);
    let mut spec = serde_json::json!({ "interactive": interactive });
    if let Some(cluster) = cluster.and_then(|cluster| serde_json::to_value(cluster).ok()) {
        spec["cluster"] = cluster;
    }
    let info = serde_json::json!({ "apiVersion": exec.api_version, "kind": "ExecCredential", "spec": spec });
    command.env("KUBERNETES_EXEC_INFO", info.to_string());
    if interactive {
        command.stdin(Stdio::inherit()).stderr(Stdio::inherit());
    } else {
        command.stdin(Stdio::null()).stderr(Stdio::piped());
    }
    command
}

/// All of a stream up to the limit, and the rest thrown away so that the program does not wait for a reader.
async fn read(stream: Option<impl AsyncRead + Unpin>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        // A stream that breaks has ended: the exit status tells whether that is bad.
        _ = (&mut stream).take(MAX_ANSWER).read_to_end(&mut bytes).await;
        _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    bytes
}

fn last_words(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().trim();
    if line.is_empty() { String::new() } else { format!(": {}", line.chars().take(300).collect::<String>()) }
}
