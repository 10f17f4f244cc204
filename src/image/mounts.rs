//! What the steps of a Dockerfile that nauta writes get from the workstation: secrets, which no layer and no history holds.
//!
//! With BuildKit each is a mount for the one step. The classic builder knows none: it gets certificates alone, as a file that
//! is copied in and removed again.

use std::fmt::Write as _;

use super::Builder;

/// The build secret that holds the certificates builds must trust; also the name of the file for the classic builder.
pub const CA_SECRET: &str = "nauta-ca";
/// The build secret that holds variables, as a shell reads them.
pub const VARIABLES_SECRET: &str = "nauta-variables";
/// The build secret that is root's `.netrc`.
pub const NETRC_SECRET: &str = "nauta-netrc";
/// The build secret that is conda's configuration.
pub const CONDARC_SECRET: &str = "nauta-condarc";

/// Where the `.netrc` lies: also git and curl look there.
const NETRC: &str = "/root/.netrc";

/// What the steps get.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each is there or not, whatever the others are")]
pub struct Mounts {
    /// Certificates: [`CA_SECRET`].
    pub ca: bool,
    /// Variables: [`VARIABLES_SECRET`].
    pub variables: bool,
    /// Logins by host: [`NETRC_SECRET`].
    pub netrc: bool,
    /// Channels: [`CONDARC_SECRET`].
    pub condarc: bool,
    /// The user's own build secrets, by id.
    pub secrets: Vec<String>,
    /// SSH agents, by id.
    pub agents: Vec<String>,
}

impl Mounts {
    /// The flags of a `RUN`.
    pub(super) fn flags(&self, builder: Builder) -> String {
        let mut flags = String::new();
        if builder == Builder::Classic {
            return flags;
        }
        let mut secret = |wanted: bool, id: &str, more: &str| {
            if wanted {
                let _ = write!(flags, "--mount=type=secret,id={id}{more} ");
            }
        };
        secret(self.ca, CA_SECRET, ",mode=0444");
        secret(self.variables, VARIABLES_SECRET, "");
        secret(self.netrc, NETRC_SECRET, &format!(",target={NETRC}"));
        secret(self.condarc, CONDARC_SECRET, "");
        self.secrets.iter().for_each(|id| secret(true, id, ""));
        for id in &self.agents {
            let _ = write!(flags, "--mount=type=ssh,id={id} ");
        }
        flags
    }

    /// What it begins with.
    pub(super) fn commands(&self, builder: Builder) -> Vec<String> {
        let mut commands = Vec::new();
        if self.ca {
            let path = ca_path(builder);
            // Each tool has a variable of its own for this; apt reads its from APT_CONFIG alone, so it gets a file.
            commands.push(format!(
                "export SSL_CERT_FILE={path} PIP_CERT={path} REQUESTS_CA_BUNDLE={path} CURL_CA_BUNDLE={path} \
                 APT_CONFIG=/tmp/nauta-apt.conf"
            ));
            commands.push(format!("echo 'Acquire::https::CaInfo \"{path}\";' > $APT_CONFIG"));
            commands.push("trap 'rm -f /tmp/nauta-apt.conf' EXIT".to_owned());
        }
        if self.variables {
            commands.push(format!(". /run/secrets/{VARIABLES_SECRET}"));
        }
        if self.netrc {
            commands.push(format!("export NETRC={NETRC}"));
        }
        if self.condarc {
            commands.push(format!("export CONDARC=/run/secrets/{CONDARC_SECRET}"));
        }
        commands
    }
}

/// Where the certificates are.
pub(super) const fn ca_path(builder: Builder) -> &'static str {
    match builder {
        Builder::BuildKit => "/run/secrets/nauta-ca",
        Builder::Classic => "/nauta/environment/nauta-ca",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_in_mounts_and_the_classic_builder_has_none() {
        let mounts = Mounts {
            ca: true,
            variables: true,
            netrc: true,
            condarc: true,
            secrets: vec!["token".to_owned()],
            agents: vec!["default".to_owned()],
        };
        let flags = mounts.flags(Builder::BuildKit);
        for id in [CA_SECRET, VARIABLES_SECRET, NETRC_SECRET, CONDARC_SECRET, "token"] {
            assert!(flags.contains(&format!("--mount=type=secret,id={id}")), "{flags}");
        }
        assert!(flags.contains("--mount=type=ssh,id=default "), "{flags}");
        assert_eq!(mounts.flags(Builder::Classic), "");
        let nothing = Mounts::default();
        assert_eq!(nothing.flags(Builder::BuildKit), "");
        assert!(nothing.commands(Builder::BuildKit).is_empty());
    }
}
