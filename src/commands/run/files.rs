//! What is said of the project's files when a run begins: what stays here, and what is not what it looks like.

use crate::commands::files::{left_out, without_effect};
use crate::diagnosis::Result;
use crate::event::Events;
use crate::output::bytes;
use crate::snapshot::Snapshot;

/// A project of more bytes than this has something in it that was not meant to travel.
const LARGE: u64 = 100_000_000;

/// Says it.
pub(super) fn tell(snapshot: &Snapshot, events: &Events) -> Result<()> {
    for (path, pattern) in snapshot.withheld() {
        events.warn(format!(
            "`{path}` stays here: it may hold a secret (`{pattern}`); `!{path}` in .nautaignore sends it"
        ));
    }
    for path in snapshot.own_outputs() {
        events.note(format!("`{path}` stays here: nauta's own output goes there"));
    }
    for path in snapshot.grown() {
        events.note(format!("`{path}` is being written to, and is sent as it was when the run began"));
    }
    for path in snapshot.unsendable() {
        events.warn(format!("`{path}` stays here: it is no file, folder or link, or its name begins with `.wh.`"));
    }
    for left in snapshot.left_data()? {
        events.note(format!("this looks like data and stays here: {}", left_out(&left)));
    }
    for idle in snapshot.idle()? {
        events.warn(without_effect(&idle));
    }
    if let Some((first, more)) = snapshot.pointers().split_first() {
        let others = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        events.warn(format!(
            "`{first}`{others}: a Git LFS pointer is sent in place of the file, which is not here; `git lfs pull` fetches it"
        ));
    }
    let size = snapshot.size();
    if size > LARGE {
        let named: Vec<String> = snapshot.largest(3).iter().map(|entry| format!("`{}`", entry.display())).collect();
        events.warn(format!(
            "the project has {}, most of it in {}; `nauta files` shows more, a line in .nautaignore leaves something out",
            bytes(size),
            named.join(", ")
        ));
    }
    Ok(())
}
