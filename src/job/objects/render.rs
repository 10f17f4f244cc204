//! The objects as plain manifests that `kubectl apply -f -` runs without nauta.

use k8s_openapi::api::core::v1::Secret as SecretObject;
use serde::Serialize;

use super::RunObjects;

impl RunObjects {
    /// YAML documents, in the order in which they can be applied. Owner references are left out (nobody knows the Job's
    /// uid yet), and so are credentials: a dry run must not print a password. A comment says how to make them.
    #[must_use]
    pub fn render_yaml(&self) -> String {
        let mut documents = vec![yaml(&self.key)];
        documents.extend(self.credentials.iter().map(|secret| self.how_to_make(secret)));
        documents.extend(self.shared.iter().map(yaml));
        documents.push(yaml(&self.service));
        documents.push(yaml(&self.job));
        documents.join("---\n")
    }

    fn how_to_make(&self, secret: &SecretObject) -> String {
        let (name, namespace) = (secret.metadata.name.as_deref().unwrap_or_default(), self.namespace());
        if secret.type_.as_deref() == Some("Opaque") {
            let keys: Vec<&str> = secret.data.iter().flatten().map(|(key, _)| key.as_str()).collect();
            return format!(
                "# Secret `{name}` with the program's secrets is made by `nauta run` and not shown here; without nauta, from a file with\n\
                 # lines as `{}=…`:\n#   kubectl create secret generic {name} --namespace {namespace} --from-env-file FILE\n",
                keys.join("=…`, `"),
            );
        }
        format!(
            "# Secret `{name}` with registry credentials is made by `nauta run` and not shown here; without nauta:\n\
             #   kubectl create secret docker-registry {name} --namespace {namespace} --docker-server … --docker-username …\n",
        )
    }

    /// The same as JSON documents.
    #[must_use]
    pub fn manifests(&self) -> Vec<serde_json::Value> {
        let shared = self.shared.iter().map(json);
        [json(&self.key)].into_iter().chain(shared).chain([json(&self.service), json(&self.job)]).collect()
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
