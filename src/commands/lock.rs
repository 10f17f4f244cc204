//! `nauta lock`.

use clap::Args;
use serde_json::json;

use crate::context::Context;
use crate::delivery::{pin, plan_environment, update};
use crate::diagnosis::Result;
use crate::image::BuildOptions;
use crate::output::{Output, Table};
use crate::settings::LockFile;

/// Pin the images that this project is built on, in nauta.lock
///
/// Runs do that by themselves with an image they have not seen yet; from then on nothing moves until you say so.
///
/// Example: nauta lock --update
#[derive(Args, Debug)]
pub struct LockArgs {
    /// Take what the registries have now
    #[arg(long)]
    update: bool,
}

/// Pins.
pub async fn run(args: LockArgs, context: &Context, output: &Output) -> Result<u8> {
    let project = context.project()?;
    let events = output.events();
    let section = &project.file.environment;
    let options =
        BuildOptions { args: section.args.clone(), target: section.target.clone(), ..BuildOptions::default() };
    let plan = plan_environment(&project, context.user_file(), options)?;
    let mut names = plan.bases();
    names.sort();
    names.dedup();
    let before = LockFile::read(&project.root);
    if args.update {
        let path = project.root.join(LockFile::NAME);
        let lock = update(context, &names, &events).await?;
        lock.write(&project.root).map_err(|source| crate::delivery::DeliveryError::File { path, source })?;
    } else {
        pin(context, &project.root, plan, &events).await?;
    }
    let (before, now) = (before.unwrap_or_default(), LockFile::read(&project.root)?);
    let mut table = Table::new(&["IMAGE", "DIGEST", ""]);
    let mut list = Vec::new();
    for name in &names {
        let (old, new) = (before.images.get(name), now.images.get(name));
        let state = match (old, new) {
            _ if name.contains('@') => "says its digest itself",
            (_, None) => "not pinned: it is only in Docker here",
            (None, Some(_)) => "new",
            (Some(old), Some(new)) if old == new => "unchanged",
            _ => "moved",
        };
        let digest = new.map_or("-", |digest| digest.as_str());
        table.row([name.clone(), digest.to_owned(), state.to_owned()]);
        list.push(json!({ "image": name, "digest": new, "before": old }));
    }
    output.result(&table.render(), &json!({ "schema": 1, "images": list }));
    Ok(0)
}
