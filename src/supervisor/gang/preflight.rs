//! What the ranks found around them, in one table: a bad rank is to be known before the program says something obscure.

use std::collections::BTreeMap;

use crate::output::{Table, bytes};
use crate::supervisor::inspection::Inspection;

/// With no more shared memory than this, which is what engines give who are not asked, data loaders and NCCL fail.
const LITTLE_SHM: u64 = 64 << 20;
/// Less disk than this is soon full.
const LITTLE_DISK: u64 = 1 << 30;
/// Clocks that are further apart, in milliseconds, show in logs, in files and in certificates.
const APART: u64 = 1000;
/// A longer table is for the bad ranks alone.
const MOST_ROWS: usize = 32;

/// What is to be said of ranks of which these were heard. `asked`: how many accelerators each was promised.
pub(super) fn report(found: &BTreeMap<u32, Inspection>, nodes: u32, asked: u32) -> Vec<String> {
    let troubles: BTreeMap<u32, Vec<String>> = (0..nodes)
        .map(|rank| (rank, found.get(&rank).map_or_else(|| vec!["has not answered".to_owned()], |it| of(it, asked))))
        .filter(|(_, troubles)| !troubles.is_empty())
        .collect();
    if troubles.is_empty() {
        return if nodes > 1 { vec![summary(found, asked)] } else { Vec::new() };
    }
    let mut table = Table::new(&["rank", "node", "/dev/shm", "disk left", "accelerators", "clock", "trouble"]);
    let is_shown = |rank: &u32| nodes as usize <= MOST_ROWS || troubles.contains_key(rank);
    for rank in (0..nodes).filter(is_shown).take(MOST_ROWS) {
        let trouble = troubles.get(&rank).map_or_else(String::new, |troubles| troubles.join("; "));
        let cells = found.get(&rank).map_or_else(|| ["-"; 5].map(str::to_owned), |it| cells(it, asked));
        table.row([rank.to_string()].into_iter().chain(cells).chain([trouble]));
    }
    let which = if troubles.len() == 1 { "rank".to_owned() } else { format!("{} ranks", troubles.len()) };
    let heading = format!("preflight: trouble with {which} of {nodes}");
    std::iter::once(heading).chain(table.render().lines().map(str::to_owned)).collect()
}

fn cells(it: &Inspection, asked: u32) -> [String; 5] {
    let size = |size: Option<u64>| size.map_or_else(|| "-".to_owned(), bytes);
    let accelerators = if asked > 0 { format!("{} of {asked}", it.accelerators) } else { it.accelerators.to_string() };
    let node = it.node.clone().unwrap_or_else(|| "-".to_owned());
    [node, size(it.shm), size(it.disk), accelerators, format!("{:+} ms", it.clock)]
}

/// What is wrong around a rank.
fn of(it: &Inspection, asked: u32) -> Vec<String> {
    let mut troubles = Vec::new();
    if let Some((rank, reason)) = &it.unreached {
        troubles.push(format!("rank {rank} is not reached: {reason}"));
    }
    if it.accelerators < asked {
        troubles.push(format!("sees {} of {asked} accelerators", it.accelerators));
    }
    if let Some(shm) = it.shm.filter(|shm| *shm <= LITTLE_SHM) {
        troubles.push(format!("/dev/shm has only {}", bytes(shm)));
    }
    if let Some(disk) = it.disk.filter(|disk| *disk < LITTLE_DISK) {
        troubles.push(format!("only {} of disk are left", bytes(disk)));
    }
    if it.clock.unsigned_abs() > APART {
        let apart = it.clock.unsigned_abs() / 1000;
        troubles.push(format!("its clock is {apart} s {} rank 0's", if it.clock > 0 { "ahead of" } else { "behind" }));
    }
    troubles
}

/// An amount of bytes without its fraction.
fn whole(amount: u64) -> String {
    let exact = bytes(amount);
    match (exact.split_once('.'), exact.split_once(' ')) {
        (Some((whole, _)), Some((_, unit))) => format!("{whole} {unit}"),
        _ => exact,
    }
}

/// All is well, in one line of a terminal.
fn summary(found: &BTreeMap<u32, Inspection>, asked: u32) -> String {
    let all = || found.values();
    let machines: std::collections::BTreeSet<&str> = all().filter_map(|it| it.node.as_deref()).collect();
    let on = match machines.len() {
        0 => String::new(),
        1 => ", 1 node".to_owned(),
        n => format!(", {n} nodes"),
    };
    let least = |size: fn(&Inspection) -> Option<u64>| all().filter_map(size).min().map_or("?".to_owned(), whole);
    let apart = all().map(|it| it.clock.unsigned_abs()).max().unwrap_or(0);
    let accelerators = if asked > 0 { format!(", {asked} GPUs each") } else { String::new() };
    format!(
        "preflight: {} ranks{on}; shm {}, disk {}, clocks {apart} ms{accelerators}",
        found.len(),
        least(|it| it.shm),
        least(|it| it.disk),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good(node: &str) -> Inspection {
        let (shm, disk) = (Some(1 << 30), Some(40 << 30));
        Inspection { node: Some(node.to_owned()), shm, disk, clock: -3, ..Inspection::default() }
    }

    #[test]
    fn what_is_well_is_one_line_and_one_rank_needs_none() {
        let found = BTreeMap::from([(0, good("a")), (1, good("b"))]);
        let line = "preflight: 2 ranks, 2 nodes; shm 1 GiB, disk 40 GiB, clocks 3 ms";
        assert_eq!(report(&found, 2, 0), [line]);
        assert!(report(&BTreeMap::from([(0, good("a"))]), 1, 0).is_empty());
    }

    #[test]
    fn a_bad_rank_is_in_the_table_with_its_node() {
        let mut bad = good("worker-7");
        bad.clock = 61_500;
        bad.shm = Some(64 << 20);
        bad.unreached = Some((2, "it does not answer".to_owned()));
        let mut lines = report(&BTreeMap::from([(0, good("a")), (1, bad.clone())]), 3, 1);
        assert_eq!(lines.remove(0), "preflight: trouble with 3 ranks of 3");
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[1].contains("sees 0 of 1 accelerators") && lines[3].contains("has not answered"), "{lines:?}");
        for part in
            ["1  ", "worker-7", "64.00 MiB", "rank 2 is not reached: it does not answer", "61 s ahead of rank 0's"]
        {
            assert!(lines[2].contains(part), "{part}: {lines:?}");
        }
        // Among many, only the bad ones.
        let mut found: BTreeMap<u32, Inspection> = (0..100).map(|rank| (rank, good("a"))).collect();
        found.insert(42, bad);
        let lines = report(&found, 100, 0);
        assert!(lines.len() == 3 && lines[2].starts_with("42"), "{lines:?}");
    }
}
