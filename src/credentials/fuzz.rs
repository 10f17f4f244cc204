//! Any bytes as Docker's files and what its helpers say.

use std::path::PathBuf;

use super::docker_config::DockerConfig;
use super::{Credential, credential_in_docker_config};

/// What is kept in a configuration is found in it, and what is removed is not.
pub(crate) fn docker_config(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(mut config) = DockerConfig::parse(PathBuf::new(), &text) else { return };
    for host in ["localhost:5000", "docker.io"] {
        let _ = (config.helpers(host), config.credential(host), credential_in_docker_config(&text, host));
        let ada = Credential::from_pair("ada", "pass:word").expect("not empty");
        config.remove(host);
        assert_eq!(config.credential(host), None);
        config.set(host, &ada);
        assert_eq!(config.credential(host), Some(ada));
    }
}

/// A helper's answer: what is shown of it is plain text.
pub(crate) fn helper(bytes: &[u8]) {
    super::helper::try_answer(bytes);
}
