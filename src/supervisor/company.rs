//! Whether the programs of a run's ranks ever connect to each other: N ranks that never do are N copies of one program, each of
//! which takes itself for the only one.
//!
//! The kernel lists this container's connections, a minute longer than they last. Links between supervisors are among them, and
//! tell where the other ranks are; what else leads there is the program's. Every framework's first connections are between rank 0
//! and the others, whatever follows (RDMA, shared memory), so that these are enough.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::layout::GANG_PORT;

/// Between two looks: a connection that is shorter is still listed, unless it was broken off.
const LOOK: Duration = Duration::from_secs(1);
/// A program that is over sooner has not had the time to find anybody, or to be seen.
const LONG_ENOUGH: Duration = Duration::from_secs(5);
/// A socket that waits for connections, as the kernel numbers states.
const LISTENS: &str = "0A";

/// What is known of a rank's connections to others.
#[derive(Default)]
pub(super) struct Company {
    /// Where other ranks are.
    others: RefCell<BTreeSet<IpAddr>>,
    has_met: Cell<bool>,
    /// For how long the looks could have seen a connection of the program's, and have not.
    alone_for: Cell<Duration>,
}

impl Company {
    /// Looks until the program has met another rank's. `master` is the name of rank 0, where this is another rank.
    pub(super) async fn watch(&self, master: Option<&str>) {
        if let Some(master) = master {
            // It may have an address of each family.
            let Ok(found) = lookup_host((master, GANG_PORT)).await else { return };
            self.others.borrow_mut().extend(found.map(|address| address.ip().to_canonical()));
        }
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut began = Instant::now();
        while !self.has_met.get() {
            looks.tick().await;
            if !self.look() {
                began = Instant::now();
            }
            self.alone_for.set(began.elapsed());
        }
    }

    /// Takes a look; gives whether it could have seen something.
    pub(super) fn look(&self) -> bool {
        let read = |name: &str| std::fs::read_to_string(format!("/proc/net/{name}"));
        // A kernel without IPv6 has one table only.
        let Ok(table) = read("tcp") else { return false };
        let table = table + &read("tcp6").unwrap_or_default();
        let mut others = self.others.borrow_mut();
        self.has_met.set(self.has_met.get() || met(&table, &mut others));
        !others.is_empty()
    }

    /// Whether it is sure that this rank's program never met another's.
    pub(super) fn is_none(&self) -> bool {
        !self.has_met.get() && self.alone_for.get() >= LONG_ENOUGH
    }
}

/// Whether a table of connections has one to another rank that is no link between supervisors. Who has such a link is one.
fn met(table: &str, others: &mut BTreeSet<IpAddr>) -> bool {
    let connections: Vec<_> = table.lines().filter_map(connection).collect();
    let (links, rest): (Vec<_>, Vec<_>) =
        connections.into_iter().partition(|(here, (_, there))| *here == GANG_PORT || *there == GANG_PORT);
    others.extend(links.iter().map(|(_, (address, _))| *address));
    rest.iter().any(|(_, (address, _))| others.contains(address))
}

/// The port here, and the address and port there.
fn connection(line: &str) -> Option<(u16, (IpAddr, u16))> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (here, there, state) = (end(fields.next()?)?, end(fields.next()?)?, fields.next()?);
    (state != LISTENS && there.1 != 0 && !there.0.is_loopback()).then_some((here.1, there))
}

/// `ADDRESS:PORT` as the kernel writes them: an address is its 32-bit words as this machine has them.
fn end(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address = if address.len() == 8 {
        IpAddr::from(word(0)?)
    } else {
        let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
        Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).to_canonical()
    };
    Some((address, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Linux on a machine of today writes: rank 0 at 172.18.0.2 listens at 7117 and is linked to 172.18.0.3.
    const LINK: &str = "\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1BCE 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1 0 100 0 0 10 0
   0: 00000000000000000000000000000000:1BCD 00000000000000000000000000000000:0000 0A 0:0 00:0 0 1000 0 2
   1: 0000000000000000FFFF0000020012AC:1BCD 0000000000000000FFFF0000030012AC:A1B2 01 0:0 00:0 0 1000 0 3
";

    #[test]
    fn links_tell_who_the_others_are_and_only_the_programs_own_connections_count() {
        let look = |more: &str| met(&format!("{LINK}{more}\n"), &mut BTreeSet::new());
        assert!(!look(""));
        for (line, has_met) in [
            // A registry, itself, and what listens for others that never come.
            ("2: 020012AC:C350 0100A8C0:1388 01", false),
            ("2: 020012AC:C350 020012AC:733C 01", false),
            ("2: 00000000:733C 00000000:0000 0A", false),
            ("2: 0100007F:C350 0100007F:733C 06", false),
            // Rank 1 at PyTorch's port, still there, gone a moment ago, and one that is tried.
            ("2: 020012AC:733C 030012AC:C350 01", true),
            ("2: 020012AC:733C 030012AC:C350 06", true),
            ("2: 020012AC:C350 030012AC:733C 02", true),
            ("2: 0000000000000000FFFF0000020012AC:733C 0000000000000000FFFF0000030012AC:C350 01", true),
        ] {
            assert_eq!(look(line), has_met, "{line}");
        }
    }

    #[test]
    fn nothing_is_sure_of_a_program_that_was_short() {
        let company = Company::default();
        company.alone_for.set(Duration::from_secs(2));
        assert!(!company.is_none());
        company.alone_for.set(LONG_ENOUGH);
        assert!(company.is_none());
        company.has_met.set(true);
        assert!(!company.is_none());
    }
}
