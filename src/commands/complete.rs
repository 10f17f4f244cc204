//! What the shells are told when a name is completed: from files alone, never over the network.

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use super::record::Record;
use crate::context::Context;
use crate::job::state::State;
use crate::output::shown;
use crate::project::template;

/// Names of this project's runs, the newest first.
pub(super) fn runs() -> ArgValueCompleter {
    of(|context| {
        let root = context.project().ok()?.root;
        let told = |record: &Record| {
            // Whether it really runs, only the engine knows.
            let (spec, state) = (&record.spec, record.state(Some(State::Running)));
            (spec.name.clone(), format!("{state}, {} on {}", spec.nodes, record.target))
        };
        Some(Record::all(&root).iter().map(told).collect())
    })
}

/// Names of targets, `local` among them.
pub(super) fn targets() -> ArgValueCompleter {
    of(|context| {
        let clusters = context.user_file().targets.iter().map(|(name, target)| (name.clone(), target.registry.clone()));
        Some(clusters.chain([("local".to_owned(), "Docker on this workstation".to_owned())]).collect())
    })
}

/// Names of templates.
pub(super) fn templates() -> ArgValueCompleter {
    of(|context| {
        let all = template::all(&context.templates()).ok()?;
        Some(all.into_iter().map(|template| (template.name, template.summary)).collect())
    })
}

/// Hosts of the targets' registries.
pub(super) fn registries() -> ArgValueCompleter {
    of(|context| {
        let targets = context.user_file().targets.iter();
        Some(targets.map(|(name, target)| (target.registry_parts().0.to_owned(), name.clone())).collect())
    })
}

/// Names, with a word on each.
type Names = Vec<(String, String)>;

/// Completes from names with a word on each; a context that cannot be read gives none.
fn of(list: fn(&Context) -> Option<Names>) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &std::ffi::OsStr| {
        let Some(current) = current.to_str() else { return Vec::new() };
        let names = Context::read().ok().and_then(|context| list(&context)).unwrap_or_default();
        let fitting = names.into_iter().filter(|(name, _)| name.starts_with(current));
        // What a shell is told ends up in a line, and on a terminal.
        let sound = fitting.filter(|(name, _)| shown(name) == *name);
        sound.map(|(name, help)| CompletionCandidate::new(name).help(Some(shown(&help).into()))).collect()
    })
}
