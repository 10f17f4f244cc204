//! What nauta asks an API server for, one right each.

use std::fmt;

use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, ResourceRule, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};

/// The right to do something with a kind of object.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Access {
    /// `create`, `get`, `list`, `watch`, `delete`.
    pub verb: String,
    /// The API group; empty for the core.
    pub group: String,
    /// The plural: `jobs`, or `pods/log` for a part of an object.
    pub resource: String,
}

impl Access {
    pub(super) fn new(verb: &str, group: &str, resource: &str) -> Self {
        Self { verb: verb.to_owned(), group: group.to_owned(), resource: resource.to_owned() }
    }

    /// The question whether the caller has this right in a namespace.
    pub(super) fn review(&self, namespace: &str) -> SelfSubjectAccessReview {
        let (resource, subresource) = match self.resource.split_once('/') {
            Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
            None => (self.resource.as_str(), None),
        };
        SelfSubjectAccessReview {
            spec: SelfSubjectAccessReviewSpec {
                resource_attributes: Some(ResourceAttributes {
                    namespace: Some(namespace.to_owned()),
                    verb: Some(self.verb.clone()),
                    group: Some(self.group.clone()),
                    resource: Some(resource.to_owned()),
                    subresource,
                    ..ResourceAttributes::default()
                }),
                non_resource_attributes: None,
            },
            ..SelfSubjectAccessReview::default()
        }
    }

    /// Whether one of these rules gives it, for all objects of its kind.
    pub(super) fn is_in(&self, rules: &[ResourceRule]) -> bool {
        let names = |names: Option<&Vec<String>>, wanted: &[&str]| {
            names.into_iter().flatten().any(|name| wanted.contains(&name.as_str()))
        };
        // `*/log` stands for a part of whatever kind (Kubernetes' RBAC, "Referring to resources").
        let part = self.resource.split_once('/').map(|(_, part)| format!("*/{part}"));
        rules.iter().any(|rule| {
            names(Some(&rule.verbs), &["*", &self.verb])
                && names(rule.api_groups.as_ref(), &["*", &self.group])
                && names(rule.resources.as_ref(), &["*", &self.resource, part.as_deref().unwrap_or("*")])
                && rule.resource_names.as_ref().is_none_or(Vec::is_empty)
        })
    }

    /// The right that a refusal names: `… cannot create resource "pods/exec" in API group "" …`.
    pub(super) fn in_refusal(message: &str) -> Option<Self> {
        let (_, rest) = message.split_once(" cannot ")?;
        let (verb, rest) = rest.split_once(" resource \"")?;
        let (resource, rest) = rest.split_once('"')?;
        let group =
            rest.split_once("in API group \"").and_then(|(_, rest)| rest.split_once('"')).map_or("", |(g, _)| g);
        Some(Self::new(verb, group, resource))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.resource)?;
        if self.group.is_empty() { Ok(()) } else { write!(f, ".{}", self.group) }
    }
}

/// All rights of some kinds of objects, grouped for reading: `create, get jobs.batch; create pods/exec`.
pub(super) fn listing(all: &[Access]) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for access in all {
        let whole = access.to_string();
        let resource = whole.split_once(' ').map_or("", |(_, resource)| resource);
        match groups.iter_mut().find(|(known, _)| known == resource) {
            Some((_, verbs)) => verbs.push(&access.verb),
            None => groups.push((resource.to_owned(), vec![&access.verb])),
        }
    }
    let words: Vec<String> =
        groups.iter().map(|(resource, verbs)| format!("{} {resource}", verbs.join(", "))).collect();
    words.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_right_that_is_missing() {
        let message = "jobs.batch is forbidden: User \"ada\" cannot create resource \"jobs\" in API group \"batch\" in the namespace \"x\"";
        assert_eq!(Access::in_refusal(message), Some(Access::new("create", "batch", "jobs")));
        let message = "pods \"a\" is forbidden: User \"ada\" cannot get resource \"pods/log\" in API group \"\" in the namespace \"x\"";
        assert_eq!(Access::in_refusal(message).map(|a| a.to_string()).as_deref(), Some("get pods/log"));
        assert_eq!(Access::in_refusal("pods \"a\" is forbidden: exceeded quota: q"), None);
    }

    #[test]
    fn rules_give_what_they_name_and_no_more() {
        let rule = |verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]| {
            let all = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
            ResourceRule {
                verbs: all(verbs),
                api_groups: Some(all(groups)),
                resources: Some(all(resources)),
                resource_names: Some(all(names)),
            }
        };
        let log = Access::new("get", "", "pods/log");
        let job = Access::new("create", "batch", "jobs");
        assert!(log.is_in(&[rule(&["get", "list"], &[""], &["pods", "pods/log"], &[])]));
        assert!(log.is_in(&[rule(&["*"], &["*"], &["*"], &[])]) && job.is_in(&[rule(&["*"], &["*"], &["*"], &[])]));
        assert!(log.is_in(&[rule(&["get"], &[""], &["*/log"], &[])]));
        assert!(!log.is_in(&[rule(&["get"], &[""], &["pods", "pods/exec"], &[])]));
        assert!(!log.is_in(&[rule(&["get"], &[""], &["pods/log"], &["this-one"])]));
        assert!(!job.is_in(&[rule(&["create"], &[""], &["jobs"], &[]), rule(&["get"], &["batch"], &["jobs"], &[])]));
    }

    #[test]
    fn a_listing_is_grouped() {
        let all = [
            Access::new("create", "batch", "jobs"),
            Access::new("get", "batch", "jobs"),
            Access::new("get", "", "pods/log"),
        ];
        assert_eq!(listing(&all), "create, get jobs.batch; get pods/log");
    }
}
