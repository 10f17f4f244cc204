//! Any bytes as kubeconfig files, what programs print that log in, and what a cluster announces.

use kube::config::{AuthInfo, Kubeconfig};

use super::{hosting, kubeconfig as files, login};

/// The context that is picked is one of the file's.
pub(crate) fn kubeconfig(bytes: &[u8]) {
    let Ok(config) = Kubeconfig::from_yaml(&String::from_utf8_lossy(bytes)) else { return };
    for asked in [None, Some("lab")] {
        if let Ok(context) = files::pick_context(&config, asked) {
            assert!(config.contexts.iter().any(|known| known.name == context));
            let _ = files::names_proxy(&config, &context);
        }
    }
    let _ = config.clone().merge(config);
}

/// Credentials hold a token, or a certificate with its key; and what is wrong is said without a word of the program's.
pub(crate) fn exec_credential(bytes: &[u8]) {
    match login::credentials(bytes, &AuthInfo::default()) {
        Ok((auth, _)) => {
            let has_certificate = auth.client_certificate_data.is_some() && auth.client_key_data.is_some();
            assert!(auth.token.is_some() || has_certificate);
        }
        Err(message) => assert!(message.contains("print")),
    }
}

/// A name that is announced is not empty.
pub(crate) fn hosting(bytes: &[u8]) {
    if let Some(hosting) = hosting::parse(&String::from_utf8_lossy(bytes)) {
        assert!(hosting.host.is_none_or(|host| !host.trim().is_empty()));
    }
}
