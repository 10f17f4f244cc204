//! TLS with rustls and ring, without a process-wide default provider: libraries of ours must not fight over that.

use std::sync::Arc;

use rustls::ClientConfig;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::CertificateDer;
use rustls_platform_verifier::Verifier;

/// TLS that trusts this machine's authorities and `extra` ones; HTTP/1.1 only, so that parallel uploads have connections
/// (and congestion windows) of their own.
///
/// A machine without any CA bundle gets a configuration that trusts nobody: its certificate errors say what is missing.
pub(super) fn configuration(extra: &[CertificateDer<'static>]) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let mut configuration = match Verifier::new_with_extra_roots(extra.iter().cloned(), Arc::clone(&provider)) {
        Ok(verifier) => {
            builder(provider).dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth()
        }
        Err(error) => {
            tracing::warn!(%error, "no certificate authorities on this machine");
            without_authorities()
        }
    };
    configuration.alpn_protocols = vec![b"http/1.1".to_vec()];
    configuration
}

/// TLS that trusts nobody, for hosts that are spoken to in plain HTTP: reading the machine's CA bundle would be wasted.
pub(super) fn without_authorities() -> ClientConfig {
    let roots = rustls::RootCertStore::empty();
    builder(Arc::new(ring::default_provider())).with_root_certificates(roots).with_no_client_auth()
}

fn builder(provider: Arc<CryptoProvider>) -> rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier> {
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has the cipher suites of TLS 1.2 and 1.3")
}
