//! The objects as plain manifests that `kubectl apply -f -` runs without nauta.

use serde::Serialize;

use super::RunObjects;

impl RunObjects {
    /// YAML documents, in the order in which they can be applied. Owner references are left out (nobody knows the Job's
    /// uid yet), and so are Secrets with registry credentials: a dry run must not print a password.
    #[must_use]
    pub fn render_yaml(&self) -> String {
        let mut documents = Vec::new();
        for secret in &self.secrets {
            if secret.type_.as_deref() == Some("Opaque") {
                documents.push(yaml(secret));
            } else {
                let name = secret.metadata.name.as_deref().unwrap_or_default();
                documents.push(format!(
                    "# Secret `{name}` with registry credentials is made by `nauta run` and not shown here; without nauta:\n\
                     #   kubectl create secret docker-registry {name} --namespace {} --docker-server … --docker-username …\n",
                    self.namespace()
                ));
            }
        }
        documents.push(yaml(&self.service));
        documents.push(yaml(&self.job));
        documents.join("---\n")
    }

    /// The same as JSON documents.
    #[must_use]
    pub fn manifests(&self) -> Vec<serde_json::Value> {
        let mut manifests: Vec<_> =
            self.secrets.iter().filter(|s| s.type_.as_deref() == Some("Opaque")).map(json).collect();
        manifests.extend([json(&self.service), json(&self.job)]);
        manifests
    }
}

fn yaml(object: &impl Serialize) -> String {
    // Folded scalars are left out: commands are easier to copy from one line.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(object, options).expect("objects have only text keys")
}

fn json(object: &impl Serialize) -> serde_json::Value {
    serde_json::to_value(object).expect("objects have only text keys")
}
