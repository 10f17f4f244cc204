//! What rank 0 knows of all ranks, and what follows from it: when they begin, stop, begin again, and are done. No clock
//! and no link is here: who calls says what happened, and messages go into channels.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use super::known::Member;
use super::{GangConfig, Hello, Inspection, Message, Neighbour, Report};
use crate::event::{End, Reason};
use crate::job::Launch;

/// So many containers are kept in mind that must stay out: the last ones, since others are long gone.
const MOST_REPLACED: usize = 4096;

/// Where a gang stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Ranks are waited for.
    Gathering,
    /// The programs of an attempt run, or some have ended.
    Running,
    /// Nothing will begin any more.
    Over,
}

/// All ranks, rank 0 itself among them.
pub(super) struct Ranks {
    config: GangConfig,
    /// The attempt that runs, or that is gathered for; from 1.
    attempt: u32,
    phase: watch::Sender<Phase>,
    members: BTreeMap<u32, Member>,
    /// Containers whose place another one has taken, newest last: they stay out.
    replaced: VecDeque<String>,
    /// How ranks ended in this attempt.
    ended: BTreeMap<u32, End>,
    first_failed: Option<u32>,
    /// Lost ranks that the attempt goes on without; others may come in their place.
    absent: BTreeSet<u32>,
    /// What ranks found around them.
    inspections: BTreeMap<u32, Inspection>,
    /// Whether the attempt has stalled.
    stalled: bool,
    /// Whether the work is done.
    done: bool,
    /// The first to fail in the former attempt, and how.
    former: Option<(u32, End)>,
    /// Somebody wanted the run to end.
    unwanted: bool,
}

impl Ranks {
    /// Rank 0 alone; what it is told comes out of the receiver.
    pub(super) fn new(config: GangConfig) -> (Self, mpsc::UnboundedReceiver<Message>) {
        let (to, messages) = mpsc::unbounded_channel();
        let (instance, quiet) = (config.instance.clone(), Duration::ZERO);
        let own = Member { instance, to, linked: true, idle: true, address: None, quiet, delivered: false };
        let mut ranks = Self {
            attempt: config.started + 1,
            config,
            phase: watch::Sender::new(Phase::Gathering),
            members: BTreeMap::from([(0, own)]),
            replaced: VecDeque::new(),
            ended: BTreeMap::new(),
            first_failed: None,
            absent: BTreeSet::new(),
            inspections: BTreeMap::new(),
            stalled: false,
            done: false,
            former: None,
            unwanted: false,
        };
        ranks.settle();
        (ranks, messages)
    }

    /// A rank has delivered what it left.
    pub(super) fn delivered(&mut self, rank: u32) {
        self.members.entry(rank).and_modify(|member| member.delivered = true);
        self.part();
    }

    /// Lets all go once nobody who can be reached has anything to deliver any more.
    fn part(&self) {
        if self.members.values().all(|member| member.delivered || !member.linked) {
            self.tell_all(&Message::Leave);
        }
    }

    pub(super) const fn config(&self) -> &GangConfig {
        &self.config
    }

    pub(super) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    /// Takes a rank in, or says why not. Gives what is to be sent to it.
    pub(super) fn arrive(
        &mut self,
        hello: &Hello,
        address: Option<IpAddr>,
    ) -> Result<mpsc::UnboundedReceiver<Message>, String> {
        let rank = hello.rank;
        if hello.run != self.config.run || rank == 0 || rank >= self.config.nodes.most {
            return Err(format!("rank {rank} of `{}` is none of this run's", hello.run));
        }
        if self.replaced.contains(&hello.instance) {
            return Err(format!("another container has taken the place of rank {rank}"));
        }
        let phase = *self.phase.borrow();
        let is_back = self.members.get(&rank).is_some_and(|member| member.instance == hello.instance);
        if !is_back {
            self.replace(rank, phase)?;
        }
        if phase == Phase::Gathering && hello.started >= self.attempt {
            // We are the new one: the others know better how far the run is.
            self.attempt = hello.started.saturating_add(1);
        }
        let (to, messages) = mpsc::unbounded_channel();
        // A run that goes on with fewer takes them in again as they come.
        let joins = phase == Phase::Running && !is_back && self.absent.remove(&rank);
        if joins {
            self.say_strength(&format!("rank {rank} is there again"));
        }
        let misses_start = (is_back || joins) && hello.started < self.attempt;
        let word = match phase {
            Phase::Running if misses_start => Some(self.release()),
            Phase::Gathering if hello.running => Some(Message::Stop { first_failed: self.blamed() }),
            Phase::Over if self.done && !is_back => Some(Message::Dismissed),
            Phase::Over => Some(Message::Finished),
            _ => None,
        };
        let stop = self.first_failed.filter(|_| phase == Phase::Running && is_back);
        let stop = stop.map(|first_failed| Message::Stop { first_failed });
        let dismissed = (phase == Phase::Running && is_back && self.dismisses()).then_some(Message::Dismissed);
        for message in word.into_iter().chain(stop).chain(dismissed) {
            let _ = to.send(message);
        }
        let begins_now = phase == Phase::Running && misses_start;
        let idle = !hello.running && !begins_now;
        let (instance, quiet) = (hello.instance.clone(), Duration::ZERO);
        self.members.insert(rank, Member { instance, to, linked: true, idle, address, quiet, delivered: false });
        self.settle();
        Ok(messages)
    }

    /// Another container is this rank from now on, if it may.
    fn replace(&mut self, rank: u32, phase: Phase) -> Result<(), String> {
        match phase {
            Phase::Over if !self.done => return Err(format!("rank {rank} came again, after the run had ended")),
            Phase::Running if !self.config.replaced => {
                return Err(format!("rank {rank} came again, after the run had started"));
            }
            Phase::Running | Phase::Gathering | Phase::Over => {}
        }
        if let Some(former) = self.members.remove(&rank) {
            let reason = format!("another container has taken the place of rank {rank}");
            let _ = former.to.send(Message::Refused { reason });
            self.replaced.push_back(former.instance);
            self.replaced.drain(..self.replaced.len().saturating_sub(MOST_REPLACED));
        }
        self.ended(rank, End::lost("another container took its place"), false);
        Ok(())
    }

    /// A rank's program is no more.
    pub(super) fn report(&mut self, rank: u32, report: Report) {
        if let Some(member) = self.members.get_mut(&rank) {
            member.idle = true;
            member.linked &= !report.leaving;
        }
        if report.attempt == self.attempt {
            self.ended(rank, report.end, report.leaving);
        }
        self.settle();
    }

    /// A rank that was taken away is gone for a moment, and the run needs it: where nobody has stopped the others meanwhile, as
    /// who ends the whole run does, they follow from it.
    pub(super) fn left(&mut self, rank: u32, attempt: u32) {
        let is_gone =
            *self.phase.borrow() == Phase::Running && attempt == self.attempt && self.ended.contains_key(&rank);
        if is_gone && self.first_failed.is_none() {
            self.fails_first(rank);
        }
    }

    /// A rank cannot be reached any more.
    pub(super) fn lost(&mut self, rank: u32, instance: &str) {
        let Some(member) = self.members.get_mut(&rank) else { return };
        // It has come back, or another one has come.
        if member.instance != instance || !member.to.is_closed() {
            return;
        }
        member.linked = false;
        self.ended(rank, End::lost("its link to rank 0 broke"), false);
        self.settle();
        self.part();
    }

    /// Nothing begins any more.
    pub(super) fn give_up(&mut self, reason: &str) {
        self.tell_all(&Message::Refused { reason: reason.to_owned() });
        self.phase.send_replace(Phase::Over);
    }

    fn ended(&mut self, rank: u32, end: End, leaving: bool) {
        let is_known = self.ended.contains_key(&rank) || self.absent.contains(&rank);
        if *self.phase.borrow() != Phase::Running || is_known {
            return;
        }
        if self.goes_on_without(rank, &end, leaving) {
            self.absent.insert(rank);
            self.say_strength(&format!("rank {rank} {end}"));
            return;
        }
        // Of programs that rank 0's has started, the one that was killed is the first to fail, not the one that saw it.
        let blames = match end.reason {
            Reason::PeerFailed { rank: blamed } if rank == 0 && self.config.launch == Launch::Rank0 => Some(blamed),
            _ => None,
        };
        let stopped = matches!(end.reason, Reason::Stopped { .. });
        // A rank that the cluster takes away is one that has to be replaced; one that the user stops is not.
        let taken = stopped && leaving && self.config.replaced;
        self.unwanted |= stopped && !leaving || matches!(end.reason, Reason::Cancelled { .. });
        let is_cause = !end.is_success() && (!end.is_consequence() || taken);
        if let Some(first) = blames.or(is_cause.then_some(rank)).filter(|_| self.first_failed.is_none()) {
            self.fails_first(first);
        }
        self.ended.insert(rank, end);
        if rank == 0 && self.dismisses() {
            self.tell_all(&Message::Dismissed);
        }
    }

    fn fails_first(&mut self, rank: u32) {
        self.first_failed = Some(rank);
        self.tell_all(&Message::Stop { first_failed: rank });
    }

    /// Whether the run goes on with fewer ranks where this one is lost. Rank 0 holds what the others meet by.
    fn goes_on_without(&self, rank: u32, end: &End, leaving: bool) -> bool {
        let lost = matches!(end.reason, Reason::Lost { .. }) || leaving && matches!(end.reason, Reason::Stopped { .. });
        let nodes = self.config.nodes;
        let left = nodes.most.saturating_sub(1 + u32::try_from(self.absent.len()).unwrap_or(u32::MAX));
        let enough = nodes.is_elastic() && left >= nodes.least;
        lost && enough && rank != 0 && self.first_failed.is_none() && !self.stalled
    }

    fn say_strength(&self, what: &str) {
        let (nodes, absent) = (self.config.nodes.most as usize, self.absent.len());
        self.config.say(&format!("{what}; the run goes on with {} of {nodes} ranks", nodes - absent));
    }

    /// A rank's program has given no sign of life for so long.
    pub(super) fn quiet(&mut self, rank: u32, quiet: Duration) {
        if let Some(member) = self.members.get_mut(&rank) {
            member.quiet = quiet;
        }
    }

    /// Ends an attempt in which no program has given a sign of life for too long, rank 0's for `own`.
    pub(super) fn watch_over(&mut self, own: Duration, limit: Duration) {
        self.quiet(0, own);
        let running = self.members.values().filter(|member| member.linked && !member.idle);
        let Some(quiet) = running.map(|member| member.quiet).min() else { return };
        let may_stall = *self.phase.borrow() == Phase::Running && self.first_failed.is_none() && !self.stalled;
        if may_stall && quiet >= limit {
            self.stalled = true;
            self.tell_all(&Message::Stalled { seconds: quiet.as_secs() });
        }
    }

    /// Whether the ranks are to look around: once, and where there are several, or accelerators that may be missing. One rank
    /// alone finds out the rest by itself.
    pub(super) const fn is_worth_a_look(&self) -> bool {
        self.attempt == 1 && (self.config.nodes.most > 1 || self.config.accelerators > 0)
    }

    /// The rank behind this one, and where it is.
    pub(super) fn neighbour(&self, rank: u32) -> Option<Neighbour> {
        let next = self.members.get(&(rank + 1))?;
        Some((rank + 1, next.address?))
    }

    /// Has all others look around.
    pub(super) fn look_around(&self) {
        for (rank, member) in self.members.range(1..) {
            let _ = member.to.send(Message::Inspect { neighbour: self.neighbour(*rank) });
        }
    }

    /// What a rank found around it; the clock is told as it differs from ours.
    pub(super) fn inspected(&mut self, rank: u32, found: Inspection) {
        self.inspections.insert(rank, found);
    }

    /// What all ranks found, or what is there when it is `late`.
    pub(super) fn inspections(&self, late: bool) -> Option<BTreeMap<u32, Inspection>> {
        let is_whole = self.inspections.len() == self.config.nodes.most as usize;
        (is_whole || late).then(|| self.inspections.clone())
    }

    /// Whether the hosts of rank 0's program are not needed any more.
    fn dismisses(&self) -> bool {
        self.config.launch == Launch::Rank0 && self.ended.get(&0).is_some_and(End::is_success)
    }

    /// Goes on where all are there, or all have ended.
    fn settle(&mut self) {
        let phase = *self.phase.borrow();
        let nodes = self.config.nodes.most as usize;
        if phase == Phase::Gathering && self.members.values().filter(|m| m.linked && m.idle).count() == nodes {
            if self.attempt > self.config.restarts.most + 1 {
                self.give_up("there are no restarts left");
                return;
            }
            for member in self.members.values_mut() {
                (member.idle, member.quiet) = (false, Duration::ZERO);
            }
            self.tell_all(&self.release());
            self.phase.send_replace(Phase::Running);
        }
        if phase == Phase::Running && self.ended.len() + self.absent.len() == nodes {
            self.conclude();
        }
    }

    fn conclude(&mut self) {
        let failure = self.first_failed.and_then(|rank| Some((rank, self.ended.get(&rank)?.clone())));
        let possible = !self.unwanted && (self.config.replaced || self.members.values().all(|member| member.linked));
        let again = failure.filter(|(_, end)| possible && self.config.restarts.follow(self.attempt, end));
        match again {
            // Our own container is going: the next one gathers the others.
            Some(_) if self.members.get(&0).is_none_or(|own| !own.linked) => {
                self.phase.send_replace(Phase::Over);
            }
            Some(failure) => {
                self.attempt += 1;
                self.ended.clear();
                self.absent.clear();
                (self.first_failed, self.stalled) = (None, false);
                self.former = Some(failure);
                self.phase.send_replace(Phase::Gathering);
                self.settle();
            }
            None => {
                self.done = self.ended.values().all(End::is_success);
                self.tell_all(&Message::Finished);
                self.phase.send_replace(Phase::Over);
            }
        }
    }

    fn release(&self) -> Message {
        let after = self.former.as_ref().map(|(rank, end)| format!("rank {rank} {end}"));
        Message::Release { attempt: self.attempt, after }
    }

    fn blamed(&self) -> u32 {
        self.former.as_ref().map_or(0, |(rank, _)| *rank)
    }

    /// Tells a rank something; whether it can be reached.
    pub(super) fn tell(&self, rank: u32, message: Message) -> bool {
        self.members.get(&rank).is_some_and(|member| member.to.send(message).is_ok())
    }

    fn tell_all(&self, message: &Message) {
        for member in self.members.values() {
            let _ = member.to.send(message.clone());
        }
    }

    /// The ranks that are waited for.
    pub(super) fn missing(&self) -> String {
        let is_here = |rank: &u32| self.members.get(rank).is_some_and(|member| member.linked && member.idle);
        let missing: Vec<String> =
            (0..self.config.nodes.most).filter(|rank| !is_here(rank)).map(|rank| rank.to_string()).collect();
        let word = if missing.len() == 1 { "rank" } else { "ranks" };
        match missing.get(20..) {
            Some(rest) if !rest.is_empty() => format!("{word} {} and {} more", missing[..20].join(", "), rest.len()),
            _ => format!("{word} {}", missing.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::{Nodes, RestartOn, Restarts};

    type Messages = mpsc::UnboundedReceiver<Message>;

    fn gang(nodes: u32, most: u32) -> (Ranks, Messages) {
        let restarts = Restarts::new(most, RestartOn::default()).expect("few");
        let config = GangConfig { nodes: Nodes::all(nodes), restarts, replaced: most > 0, ..GangConfig::default() };
        Ranks::new(config)
    }

    fn hello(rank: u32, instance: &str, started: u32, running: bool) -> Hello {
        Hello { run: String::new(), rank, instance: instance.to_owned(), started, running }
    }

    fn report(attempt: u32, code: u8) -> Report {
        Report { attempt, end: End { code, reason: Reason::Exited }, leaving: false }
    }

    fn stopped_with(attempt: u32, rank: u32) -> Report {
        Report { attempt, end: End { code: 143, reason: Reason::PeerFailed { rank } }, leaving: false }
    }

    fn heard(messages: &mut Messages) -> Vec<Message> {
        std::iter::from_fn(|| messages.try_recv().ok()).collect()
    }

    fn attempts(messages: &[Message]) -> Vec<u32> {
        messages
            .iter()
            .filter_map(|m| if let Message::Release { attempt, .. } = m { Some(*attempt) } else { None })
            .collect()
    }

    const STOP_1: Message = Message::Stop { first_failed: 1 };
    const STOP_2: Message = Message::Stop { first_failed: 2 };

    #[test]
    fn all_begin_when_the_last_has_come_and_end_together() {
        let (mut ranks, mut own) = gang(3, 0);
        let mut one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        assert!(heard(&mut own).is_empty() && ranks.missing() == "rank 2");
        let mut two = ranks.arrive(&hello(2, "b", 0, false), None).expect("ours");
        for messages in [&mut own, &mut one, &mut two] {
            assert_eq!(heard(messages), [Message::Release { attempt: 1, after: None }]);
        }
        ranks.report(1, report(1, 3));
        assert_eq!(heard(&mut two), [STOP_1]);
        ranks.report(0, stopped_with(1, 1));
        ranks.report(2, stopped_with(1, 1));
        assert_eq!(heard(&mut two), [Message::Finished]);
        assert_eq!(*ranks.phase().borrow(), Phase::Over);
        assert!(ranks.arrive(&hello(2, "c", 0, false), None).is_err());
    }

    #[test]
    fn a_gang_begins_again_as_often_as_it_may() {
        let (mut ranks, mut own) = gang(2, 2);
        let mut one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        for attempt in 1..=3 {
            assert_eq!(attempts(&heard(&mut own)), [attempt]);
            ranks.report(1, report(attempt, 3));
            // A report that comes twice, or of a former attempt, is none.
            ranks.report(1, report(attempt, 0));
            ranks.report(0, report(attempt - 1, 9));
            ranks.report(0, stopped_with(attempt, 1));
        }
        let said = heard(&mut one);
        assert_eq!(attempts(&said), [1, 2, 3]);
        let why = Message::Release { attempt: 3, after: Some("rank 1 exited with code 3".to_owned()) };
        assert!(said.contains(&why) && said.last() == Some(&Message::Finished), "{said:?}");
    }

    #[test]
    fn a_lost_rank_is_waited_for_and_its_former_container_stays_out() {
        let (mut ranks, mut own) = gang(2, 1);
        let mut former = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        let _ = heard(&mut own);
        // The other container comes before anybody has missed the first.
        let mut one = ranks.arrive(&hello(1, "b", 0, false), None).expect("takes its place");
        assert!(matches!(heard(&mut former).last(), Some(Message::Refused { .. })));
        assert_eq!(heard(&mut own), [STOP_1]);
        assert!(heard(&mut one).is_empty(), "not before rank 0 has stopped");
        ranks.report(0, stopped_with(1, 1));
        assert_eq!((attempts(&heard(&mut own)), attempts(&heard(&mut one))), (vec![2], vec![2]));
        assert!(ranks.arrive(&hello(1, "a", 1, true), None).is_err());
        // Now it is lost without a successor, and there is no attempt left.
        drop(one);
        ranks.lost(1, "b");
        ranks.report(0, stopped_with(2, 1));
        assert_eq!(heard(&mut own), [STOP_1, Message::Finished]);
    }

    #[test]
    fn a_link_that_breaks_and_comes_back_loses_nothing() {
        let (mut ranks, mut own) = gang(2, 1);
        let one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        let _ = heard(&mut own);
        drop(one);
        // It had not heard that it may begin.
        let mut one = ranks.arrive(&hello(1, "a", 0, false), None).expect("back");
        assert_eq!(attempts(&heard(&mut one)), [1]);
        ranks.lost(1, "a");
        ranks.report(0, report(1, 4));
        drop(one);
        let mut one = ranks.arrive(&hello(1, "a", 1, true), None).expect("back");
        assert_eq!(heard(&mut one), [Message::Stop { first_failed: 0 }]);
    }

    #[test]
    fn a_new_rank_0_learns_how_far_the_run_is() {
        let (mut ranks, mut own) = gang(2, 2);
        let mut one = ranks.arrive(&hello(1, "a", 2, true), None).expect("ours");
        assert_eq!(heard(&mut one), [Message::Stop { first_failed: 0 }]);
        ranks.report(1, stopped_with(2, 0));
        assert_eq!(attempts(&heard(&mut own)), [3]);
        let (mut ranks, mut own) = gang(2, 1);
        let _one = ranks.arrive(&hello(1, "a", 2, false), None).expect("ours");
        assert!(matches!(heard(&mut own)[..], [Message::Refused { .. }]), "no attempt is left");
    }

    #[test]
    fn who_is_taken_away_is_replaced_and_who_is_stopped_is_not() {
        let stopped = |leaving| Report {
            attempt: 1,
            end: End { code: 143, reason: Reason::Stopped { message: "asked".to_owned() } },
            leaving,
        };
        let (mut ranks, mut own) = gang(2, 1);
        let _one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        ranks.report(1, stopped(true));
        assert_eq!(heard(&mut own)[1..], [STOP_1]);
        ranks.report(0, stopped_with(1, 1));
        assert_eq!((*ranks.phase().borrow(), ranks.missing().as_str()), (Phase::Gathering, "rank 1"));
        let (mut ranks, mut own) = gang(2, 1);
        let _one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        ranks.report(1, stopped(false));
        ranks.report(0, report(1, 1));
        assert_eq!(heard(&mut own).last(), Some(&Message::Finished));
        // Where nothing is replaced, all are stopped at once, or they follow from the one that is taken away.
        let (mut ranks, mut own) = gang(3, 0);
        let mut one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        let _two = ranks.arrive(&hello(2, "b", 0, false), None).expect("ours");
        ranks.report(2, stopped(true));
        assert_eq!(heard(&mut own)[1..], []);
        ranks.left(2, 1);
        ranks.left(2, 1);
        assert_eq!((&heard(&mut own)[..], &heard(&mut one)[1..]), (&[STOP_2][..], &[STOP_2][..]));
        ranks.report(1, stopped_with(1, 2));
        ranks.report(0, stopped_with(1, 2));
        ranks.left(1, 1);
        assert_eq!(heard(&mut own), [Message::Finished]);
        // Rank 0 goes itself: the others hear nothing, and look for its successor.
        let (mut ranks, _own) = gang(2, 1);
        let mut one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        ranks.report(0, stopped(true));
        ranks.report(1, stopped_with(1, 0));
        assert_eq!(heard(&mut one).last(), Some(&Message::Stop { first_failed: 0 }));
        assert_eq!(*ranks.phase().borrow(), Phase::Over);
    }

    #[test]
    fn hosts_go_when_rank_0_has_done_its_work_and_the_one_that_was_killed_is_named() {
        let launching = |most| {
            let restarts = Restarts::new(most, "memory".parse().expect("known")).expect("few");
            Ranks::new(GangConfig { nodes: Nodes::all(3), restarts, launch: Launch::Rank0, ..GangConfig::default() })
        };
        let (mut ranks, mut own) = launching(0);
        let one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        let mut two = ranks.arrive(&hello(2, "b", 0, false), None).expect("ours");
        ranks.report(0, report(1, 0));
        assert_eq!(heard(&mut two)[1..], [Message::Dismissed]);
        // One whose link was broken meanwhile hears it too.
        drop(one);
        let mut one = ranks.arrive(&hello(1, "a", 1, true), None).expect("back");
        assert_eq!(heard(&mut one), [Message::Dismissed]);
        ranks.report(1, report(1, 0));
        ranks.report(2, report(1, 0));
        assert_eq!(heard(&mut own).last(), Some(&Message::Finished));

        let (mut ranks, mut own) = launching(1);
        let mut one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        let _two = ranks.arrive(&hello(2, "b", 0, false), None).expect("ours");
        ranks.report(0, stopped_with(1, 1));
        assert_eq!(heard(&mut one)[1..], [STOP_1]);
        let killed = End { code: 137, reason: Reason::OutOfMemory };
        ranks.report(1, Report { attempt: 1, end: killed, leaving: false });
        ranks.report(2, stopped_with(1, 1));
        let again = heard(&mut own);
        let after = Some("rank 1 was killed by the kernel: out of memory".to_owned());
        assert_eq!(again.last(), Some(&Message::Release { attempt: 2, after }), "{again:?}");
    }

    #[test]
    fn an_elastic_gang_loses_ranks_and_takes_others_in() {
        let config = GangConfig { nodes: Nodes { least: 2, most: 3 }, replaced: true, ..GangConfig::default() };
        let (mut ranks, mut own) = Ranks::new(config);
        let _one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        let two = ranks.arrive(&hello(2, "b", 0, false), None).expect("ours");
        assert_eq!(attempts(&heard(&mut own)), [1]);
        drop(two);
        ranks.lost(2, "b");
        assert!(heard(&mut own).is_empty(), "nobody is told to stop");
        let mut two = ranks.arrive(&hello(2, "c", 0, false), None).expect("takes its place");
        assert_eq!(attempts(&heard(&mut two)), [1]);
        // The former one stays out, and another one may come before this one is missed.
        assert!(ranks.arrive(&hello(2, "b", 1, true), None).is_err());
        let mut two = ranks.arrive(&hello(2, "d", 0, false), None).expect("takes its place");
        assert_eq!((attempts(&heard(&mut two)), heard(&mut own)), (vec![1], vec![]));
        // One that the cluster takes away is lost, too; the others do the work, and who comes then is not needed.
        let stopped = End { code: 143, reason: Reason::Stopped { message: "evicted".to_owned() } };
        ranks.report(2, Report { attempt: 1, end: stopped, leaving: true });
        ranks.report(1, report(1, 0));
        ranks.report(0, report(1, 0));
        assert_eq!((heard(&mut own), *ranks.phase().borrow()), (vec![Message::Finished], Phase::Over));
        let mut late = ranks.arrive(&hello(2, "e", 0, false), None).expect("is told");
        assert_eq!(heard(&mut late), [Message::Dismissed]);
    }

    #[test]
    fn an_elastic_gang_needs_enough_ranks_and_none_that_failed() {
        let gang = || {
            let (mut ranks, mut own) =
                Ranks::new(GangConfig { nodes: Nodes { least: 2, most: 3 }, replaced: true, ..GangConfig::default() });
            let one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
            let two = ranks.arrive(&hello(2, "b", 0, false), None).expect("ours");
            let _ = heard(&mut own);
            (ranks, own, one, two)
        };
        let (mut ranks, mut own, one, two) = gang();
        drop((one, two));
        ranks.lost(2, "b");
        ranks.lost(1, "a");
        assert_eq!(heard(&mut own), [STOP_1]);
        ranks.report(0, stopped_with(1, 1));
        assert_eq!(heard(&mut own), [Message::Finished]);
        let (mut ranks, mut own, _one, _two) = gang();
        ranks.report(1, report(1, 3));
        assert_eq!(heard(&mut own), [STOP_1]);
    }

    #[test]
    fn a_gang_has_stalled_when_no_rank_gives_a_sign_of_life() {
        let (mut ranks, mut own) = gang(2, 1);
        let mut one = ranks.arrive(&hello(1, "a", 0, false), None).expect("ours");
        let _ = (heard(&mut own), heard(&mut one));
        let [short, long, limit] = [2, 12, 10].map(Duration::from_secs);
        ranks.quiet(1, short);
        ranks.watch_over(long, limit);
        ranks.quiet(1, long);
        ranks.watch_over(short, limit);
        assert!(heard(&mut own).is_empty());
        ranks.watch_over(long, limit);
        ranks.watch_over(long, limit);
        assert_eq!(
            (heard(&mut own), heard(&mut one)),
            (vec![Message::Stalled { seconds: 12 }], vec![Message::Stalled { seconds: 12 }])
        );
        let end = End { code: 124, reason: Reason::Stalled { seconds: 12 } };
        ranks.report(0, Report { attempt: 1, end: end.clone(), leaving: false });
        ranks.report(1, Report { attempt: 1, end, leaving: false });
        assert_eq!(attempts(&heard(&mut own)), [2]);
    }

    #[test]
    fn nobody_goes_before_all_who_are_left_have_delivered() {
        let (mut ranks, mut own) = gang(3, 0);
        let mut others: Vec<_> =
            (1..3).map(|rank| ranks.arrive(&hello(rank, "a", 0, false), None).expect("welcome")).collect();
        let leaves = |messages: &mut Messages| heard(messages).contains(&Message::Leave);
        ranks.delivered(1);
        ranks.delivered(0);
        assert!(!leaves(&mut own) && !leaves(&mut others[0]), "rank 2 still delivers");
        drop(others.pop());
        ranks.lost(2, "a");
        assert!(leaves(&mut own) && leaves(&mut others[0]), "nobody waits for one that is lost");
    }

    #[test]
    fn one_rank_is_a_gang_too() {
        let (mut ranks, mut own) = gang(1, 1);
        ranks.report(0, report(1, 3));
        ranks.report(0, report(2, 0));
        let said = heard(&mut own);
        assert!(attempts(&said) == [1, 2] && said.last() == Some(&Message::Finished), "{said:?}");
    }
}
