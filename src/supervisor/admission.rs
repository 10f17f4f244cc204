//! Who is on the way in at a port that strangers reach: few at a time, and nobody keeps others out.
//!
//! A rank that comes at the same time as a flood gets in: it needs a moment only, and those who have to go for newcomers are the
//! oldest of whoever has the most on the way.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::rc::Rc;

use tokio::task::{AbortHandle, spawn_local, yield_now};

/// So many strangers are on the way in at once.
const STRANGERS: usize = 64;
/// So many who have proved the key are on the way in at once. Only who has heard another's proof, and repeats it, stays there.
const PROVEN: usize = 256;

/// Those on the way in.
pub(super) struct Admission {
    strangers: RefCell<Crowd<AbortHandle>>,
    proven: RefCell<Crowd<AbortHandle>>,
    last: Cell<u64>,
}

/// A place among those on the way in, until this is dropped.
pub(super) struct Place {
    number: u64,
    address: IpAddr,
    admission: Rc<Admission>,
}

impl Admission {
    /// No limit of its own for one address: where all come from the same.
    pub(super) const ANY: usize = STRANGERS;

    /// A way in for few strangers at once, and for no more than so many of one address.
    pub(super) fn new(of_one_address: usize) -> Rc<Self> {
        Rc::new(Self {
            strangers: RefCell::new(Crowd::new(STRANGERS, of_one_address)),
            proven: RefCell::new(Crowd::new(PROVEN, PROVEN)),
            last: Cell::default(),
        })
    }

    /// Begins to hear a stranger. The task is ended where another one needs its place before it has given it back.
    pub(super) async fn hear<F>(self: &Rc<Self>, address: IpAddr, hear: impl FnOnce(Place) -> F)
    where
        F: Future<Output = ()> + 'static,
    {
        let number = self.last.get() + 1;
        self.last.set(number);
        let task = spawn_local(hear(Place { number, address, admission: Rc::clone(self) })).abort_handle();
        let loser = self.strangers.borrow_mut().enter(number, address, task);
        if let Some(loser) = loser {
            loser.abort();
        }
        // It may have said already what there is to say: that is heard before the next one comes.
        yield_now().await;
    }
}

impl Place {
    /// It has proved the key, and has more to say.
    pub(super) fn proven(&self) {
        let task = self.admission.strangers.borrow_mut().leave(self.number);
        let enter = |task| self.admission.proven.borrow_mut().enter(self.number, self.address, task);
        if let Some(loser) = task.and_then(enter) {
            loser.abort();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.admission.strangers.borrow_mut().leave(self.number);
        self.admission.proven.borrow_mut().leave(self.number);
    }
}

/// A bounded number of comers, in the order of their coming.
struct Crowd<T> {
    most: usize,
    most_of_one: usize,
    comers: VecDeque<Comer<T>>,
}

struct Comer<T> {
    number: u64,
    address: IpAddr,
    task: T,
}

impl<T> Crowd<T> {
    const fn new(most: usize, most_of_one: usize) -> Self {
        Self { most, most_of_one, comers: VecDeque::new() }
    }

    /// Takes one in, and gives the one that loses its place for it.
    fn enter(&mut self, number: u64, address: IpAddr, task: T) -> Option<T> {
        let loser = self.loser(address).and_then(|at| self.comers.remove(at));
        self.comers.push_back(Comer { number, address, task });
        loser.map(|comer| comer.task)
    }

    /// Who has to go for a newcomer from this address: the oldest of its own where it has its share, or of whoever has the most.
    fn loser(&self, newcomer: IpAddr) -> Option<usize> {
        let mut count: HashMap<IpAddr, usize> = HashMap::new();
        for comer in &self.comers {
            *count.entry(comer.address).or_default() += 1;
        }
        let of = |address: &IpAddr| count.get(address).copied().unwrap_or_default();
        let has_its_share = of(&newcomer) >= self.most_of_one;
        let busiest = count.values().copied().max()?;
        let goes = |comer: &Comer<T>| {
            if has_its_share { comer.address == newcomer } else { of(&comer.address) == busiest }
        };
        let is_full = has_its_share || self.comers.len() >= self.most;
        self.comers.iter().position(|comer| is_full && goes(comer))
    }

    fn leave(&mut self, number: u64) -> Option<T> {
        let at = self.comers.iter().position(|comer| comer.number == number)?;
        self.comers.remove(at).map(|comer| comer.task)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tokio::task::LocalSet;

    use super::*;

    const FEW: usize = 16;

    fn address(last: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, last).into()
    }

    fn crowd() -> (Crowd<u64>, impl FnMut(&mut Crowd<u64>, u8) -> Option<u64>) {
        let mut next = 0;
        let enter = move |crowd: &mut Crowd<u64>, from: u8| {
            next += 1;
            crowd.enter(next, address(from), next)
        };
        (Crowd::new(6, 3), enter)
    }

    #[test]
    fn who_comes_too_often_loses_its_own_oldest() {
        let (mut crowd, mut enter) = crowd();
        let lost: Vec<_> = [1, 2, 1, 1, 1, 1, 2].into_iter().map(|from| enter(&mut crowd, from)).collect();
        assert_eq!(lost, [None, None, None, None, Some(1), Some(3), None]);
        assert_eq!(crowd.leave(4), Some(4));
        assert_eq!((crowd.leave(4), enter(&mut crowd, 1)), (None, None));
    }

    #[test]
    fn the_oldest_of_the_busiest_goes_when_there_is_no_room() {
        let (mut crowd, mut enter) = crowd();
        for from in [9, 1, 1, 2, 2, 1] {
            assert_eq!(enter(&mut crowd, from), None);
        }
        assert_eq!(enter(&mut crowd, 3), Some(2), "of the three from 1");
        assert_eq!(enter(&mut crowd, 4), Some(3), "1 and 2 have two each, and 1's is older");
        assert_eq!(enter(&mut crowd, 5), Some(4), "2 has the most");
        assert_eq!(crowd.comers.front().map(|comer| comer.address), Some(address(9)), "who came once, stays");
    }

    #[test]
    fn a_flood_never_fills_more_than_there_is() {
        let mut crowd = Crowd::new(STRANGERS, FEW);
        let mut alive = std::collections::HashSet::new();
        crowd.enter(0, address(0), 0);
        for number in 1..50_000 {
            let from = u8::try_from(1 + number % 7).expect("small");
            alive.insert(number);
            if let Some(lost) = crowd.enter(number, address(from), number) {
                assert!(alive.remove(&lost), "{lost} goes once, and never the one that came alone");
            }
            assert!(crowd.comers.len() <= STRANGERS && alive.len() < STRANGERS);
        }
    }

    #[tokio::test]
    async fn tasks_end_as_they_lose_their_places_and_live_on_once_they_are_in() {
        let tasks = LocalSet::new();
        tasks.run_until(lose_places()).await;
    }

    async fn lose_places() {
        let admission = Admission::new(FEW);
        let alive = Rc::new(());
        for _ in 0..3 * FEW {
            let alive = Rc::clone(&alive);
            let waits = async move |place: Place| {
                std::future::pending::<()>().await;
                drop((place, alive));
            };
            admission.hear(address(1), waits).await;
        }
        yield_now().await;
        assert_eq!(admission.strangers.borrow().comers.len(), FEW);
        assert_eq!(Rc::strong_count(&alive), FEW + 1, "what the others held is free");
        // Who has proved the key makes room for others, and nobody ends who is in.
        let (inside_tx, inside) = tokio::sync::oneshot::channel();
        let enters = async move |place: Place| {
            place.proven();
            drop(place);
            yield_now().await;
            let _ = inside_tx.send(());
        };
        admission.hear(address(1), enters).await;
        inside.await.expect("lives on");
        assert_eq!(admission.strangers.borrow().comers.len(), FEW - 1);
        assert!(admission.proven.borrow().comers.is_empty());
    }
}
