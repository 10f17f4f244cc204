//! `nauta files`.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::bounded_file::relative;
use crate::context::Context;
use crate::diagnosis::{Diagnosis, Kind, Result};
use crate::output::{Output, Table, bytes, counted, shown};
use crate::snapshot::rules::{Rule, Verdict};
use crate::snapshot::{self, Difference, Entry, Idle, Left, Origin, Snapshot, SnapshotError};

/// How many of the largest files, and of the differences, are shown to people.
const SHOWN: usize = 10;
/// How many paths are named that one rule leaves out.
const NAMED: usize = 3;
/// In folders that rules leave out, so many names are counted.
const COUNTED: usize = 200_000;

/// Say what of this project is sent to runs, and why the rest is not
///
/// Example: nauta files --why data/model.bin
#[derive(Args, Debug)]
pub struct FilesArgs {
    /// Name the rule that takes this path or leaves it out
    #[arg(long, value_name = "PATH")]
    why: Option<String>,
    /// List every file
    #[arg(long, conflicts_with = "why")]
    all: bool,
    /// List what the build of the environment reads, and who says so
    #[arg(long, conflicts_with_all = ["why", "all"])]
    build: bool,
}

/// Says it.
pub fn run(args: &FilesArgs, context: &Context, output: &Output) -> Result<u8> {
    if args.build {
        return super::build_files::run(context, output);
    }
    let origin = context.project()?.origin();
    if let Some(path) = &args.why {
        return why(&origin, context, path, output);
    }
    let state = context.state_folder();
    let snapshot = snapshot::take(origin, Some(&state))?;
    if args.all {
        let entries: Vec<Entry> = snapshot.entries().collect();
        let text: String = entries.iter().map(|entry| shown(&entry.display()) + "\n").collect();
        let list: Vec<_> = entries.iter().map(Entry::display).collect();
        output.result(&text, &json!({ "schema": 1, "paths": list }));
        return Ok(0);
    }
    let changes = snapshot::since_last_run(&snapshot, &state);
    let largest = snapshot.largest(SHOWN);
    let (withheld, left, idle) = (snapshot.withheld(), snapshot.left(COUNTED)?, snapshot.idle()?);
    let mut text = format!("{} files, {} ({})\n", snapshot.files(), bytes(snapshot.size()), snapshot.digest());
    text.push_str(&table_of(&largest));
    for (path, pattern) in &withheld {
        text.extend(["stays here, may hold a secret: ", &shown(path), " (`", &shown(pattern), "`)\n"]);
    }
    for left in &left {
        text.extend([&left_out(left), "\n"]);
    }
    for idle in &idle {
        text.extend([&without_effect(idle), "\n"]);
    }
    for path in snapshot.own_outputs() {
        text.extend(["stays here, nauta's own output goes there: ", &shown(&path), "\n"]);
    }
    for path in snapshot.pointers() {
        text.extend([
            "is a Git LFS pointer and not the file itself (`git lfs pull` fetches it): ",
            &shown(&path),
            "\n",
        ]);
    }
    for path in snapshot.unsendable() {
        text.extend(["stays here, is no file, folder or link (or is named `.wh.…`): ", &shown(&path), "\n"]);
    }
    text.push_str(&difference(changes.as_deref()));
    let told = Told { largest: &largest, withheld: &withheld, left: &left, idle: &idle };
    output.result(&text, &document(&snapshot, &told, changes.as_deref()));
    Ok(0)
}

/// What a rule leaves out, how much that is, and how it would be sent.
pub(super) fn left_out(left: &Left) -> String {
    let files = counted(left.files, "file");
    let least = if left.more { "at least " } else { "" };
    let names: Vec<String> = left.paths.iter().take(NAMED).map(|path| shown(&path.path)).collect();
    let more = left.paths.len().saturating_sub(NAMED);
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    let (rule, size) = (rule_text(&left.rule), bytes(left.size));
    let remedy = shown(&left.remedy());
    format!("{least}{files}, {size} left out by {rule}: {}{more} ({remedy})", names.join(", "))
}

/// Why a path of the project (relative to it) stays here and how it is sent; nothing where it travels.
pub(super) fn why_left(origin: &Origin, path: &str) -> std::result::Result<Option<String>, SnapshotError> {
    let (decided, verdict) = snapshot::explain(origin.clone(), path)?;
    let rule = match verdict {
        Verdict::Take => return Ok(None),
        Verdict::Leave(rule) | Verdict::Withhold(rule) => rule,
        Verdict::Environment { mark } => {
            return Ok(Some(format!("{} (`!/{decided}/` in .nautaignore sends it)", environment(&decided, &mark))));
        }
    };
    let is_folder = origin.root.join(&decided).is_dir();
    let left = Left::one(rule, if is_folder { decided + "/" } else { decided }, 0);
    Ok(Some(format!("left out by {} ({})", rule_text(&left.rule), shown(&left.remedy()))))
}

/// What is said of a line that takes nothing back.
pub(super) fn without_effect(idle: &Idle) -> String {
    format!("{} has no effect: {} is left out by {}", rule_text(&idle.rule), shown(&idle.path), rule_text(&idle.by))
}

/// Why an environment stays here.
fn environment(folder: &str, mark: &str) -> String {
    format!("`{}` is an environment, since it has `{mark}`, and is made anew where the program runs", shown(folder))
}

/// A rule as compilers name places: file, line, text.
fn rule_text(rule: &Rule) -> String {
    let pattern = shown(&rule.pattern);
    match (rule.file.as_deref().map(shown), rule.line) {
        (Some(file), Some(line)) => format!("{file}:{line} `{pattern}`"),
        (Some(file), None) => format!("{file} `{pattern}`"),
        _ => format!("`{pattern}`, which nauta leaves out by itself"),
    }
}

/// What of a snapshot is told besides its totals.
struct Told<'a> {
    largest: &'a [Entry],
    withheld: &'a [(String, String)],
    left: &'a [Left],
    idle: &'a [Idle],
}

fn table_of(largest: &[Entry]) -> String {
    let mut table = Table::new(&["LARGEST", "SIZE"]);
    for entry in largest {
        table.row([entry.display(), bytes(entry.size())]);
    }
    if largest.is_empty() { String::new() } else { table.render() }
}

fn difference(changes: Option<&[Difference]>) -> String {
    let Some(changes) = changes else { return "no run was started from here yet\n".to_owned() };
    if changes.is_empty() {
        return "nothing has changed since the last run\n".to_owned();
    }
    let mut text = format!("{} paths differ from the last run\n", changes.len());
    for change in changes.iter().take(SHOWN) {
        let mark = match kind(change) {
            "added" => "+",
            "changed" => "~",
            _ => "-",
        };
        text.extend(["  ", mark, " ", &shown(&String::from_utf8_lossy(change.path())), "\n"]);
    }
    text
}

const fn kind(change: &Difference) -> &'static str {
    match change {
        Difference::Put { is_new: true, .. } => "added",
        Difference::Put { is_new: false, .. } => "changed",
        Difference::Gone(_) => "removed",
    }
}

fn document(snapshot: &Snapshot, told: &Told<'_>, changes: Option<&[Difference]>) -> serde_json::Value {
    let largest: Vec<_> =
        told.largest.iter().map(|entry| json!({ "path": entry.display(), "size": entry.size() })).collect();
    let withheld: Vec<_> =
        told.withheld.iter().map(|(path, pattern)| json!({ "path": path, "pattern": pattern })).collect();
    let changes = changes.map(|changes| {
        let one = |change| json!({ "path": String::from_utf8_lossy(Difference::path(change)), "kind": kind(change) });
        changes.iter().map(one).collect::<Vec<_>>()
    });
    json!({
        "schema": 1, "files": snapshot.files(), "size": snapshot.size(), "digest": snapshot.digest(),
        "largest": largest, "withheld": withheld, "left_out": told.left, "unsendable": snapshot.unsendable(), "changes": changes,
        "without_effect": told.idle, "own_outputs": snapshot.own_outputs(), "lfs_pointers": snapshot.pointers(),
    })
}

#[derive(Debug, thiserror::Error)]
enum FilesError {
    #[error("`{}` is outside the project `{}`", path.display(), root.display())]
    Outside { path: PathBuf, root: PathBuf },
}

impl Diagnosis for FilesError {
    fn kind(&self) -> Kind {
        Kind::Input
    }
    fn hints(&self) -> Vec<String> {
        vec!["name a path in the project; nothing else is sent".to_owned()]
    }
}

fn why(origin: &Origin, context: &Context, path: &str, output: &Output) -> Result<u8> {
    let root = origin.root.as_path();
    let clean = relative(root, &context.directory.join(path));
    let clean = clean.ok_or_else(|| FilesError::Outside { path: path.into(), root: root.to_owned() })?;
    // What a link on the way leads to is never asked about.
    let link = clean.ancestors().skip(1).filter(|folder| root.join(folder).is_symlink()).last();
    let asked = link.unwrap_or(&clean);
    let is_there = root.join(asked).symlink_metadata().is_ok();
    let (decided, verdict) = snapshot::explain(origin.clone(), &asked.to_string_lossy())?;
    let name = shown(if decided.is_empty() { "." } else { &decided });
    let place = |rule: &Rule| {
        let pattern = shown(&rule.pattern);
        match (rule.file.as_deref().map(shown), rule.line) {
            (Some(file), Some(number)) => format!("`{pattern}` in {file} line {number}"),
            (Some(file), None) => format!("`{pattern}` in {file}"),
            _ => format!("`{pattern}`, which nauta leaves out by itself (`!{name}` in .nautaignore sends it)"),
        }
    };
    let absent = if is_there { String::new() } else { format!("{} does not exist; ", shown(path)) };
    let text = match &verdict {
        Verdict::Take if link.is_some() => format!("{name} is a link and sent as one; what it leads to stays here\n"),
        Verdict::Take if !is_there => format!("{absent}it would be sent\n"),
        Verdict::Take => format!("{name} is sent\n"),
        Verdict::Leave(rule) => format!("{absent}{name} stays here: {}\n", place(rule)),
        Verdict::Environment { mark } => format!("{absent}{name} stays here: {}\n", environment(&decided, mark)),
        Verdict::Withhold(rule) => format!("{absent}{name} stays here, it may hold a secret: {}\n", place(rule)),
    };
    let document = json!({ "schema": 1, "path": path, "exists": is_there, "decided_by": decided, "why": verdict });
    output.result(&text, &document);
    Ok(0)
}
