//! Rank 0's side: waits for all, releases all at once, and stops all at the first failure.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, sleep, timeout};

use super::channel::{Channel, Side};
use super::{Gang, GangConfig, Message, Order, interface_of};
use crate::control::{DEAD_AFTER, HEARTBEAT};
use crate::event::End;
use crate::layout;

/// How often the waiting is told.
const TELL: Duration = Duration::from_secs(5);

/// What rank 0 knows about the others.
struct Ranks {
    config: GangConfig,
    members: BTreeMap<u32, Member>,
    ended: BTreeMap<u32, End>,
    first_failed: Option<u32>,
    released: bool,
    arrivals: watch::Sender<usize>,
    finished: watch::Sender<bool>,
    orders_tx: mpsc::UnboundedSender<Order>,
}

struct Member {
    instance: String,
    /// Messages for it; a link that broke leaves a sender that nobody hears.
    messages_tx: mpsc::UnboundedSender<Message>,
}

type Shared = Rc<RefCell<Ranks>>;

/// Waits until every rank has come, or names those that have not.
pub(super) async fn meet(config: GangConfig, say: impl Fn(&str)) -> Result<Gang, String> {
    let listener = listen()
        .await
        .map_err(|error| format!("cannot wait for the other ranks on port {}: {error}", layout::GANG_PORT))?;
    let (orders_tx, orders) = mpsc::unbounded_channel();
    let (finished, finished_rx) = watch::channel(false);
    let arrivals = watch::Sender::new(0);
    let mut arrived = arrivals.subscribe();
    let nodes = config.nodes as usize;
    let ranks = Rc::new(RefCell::new(Ranks {
        config: config.clone(),
        members: BTreeMap::new(),
        ended: BTreeMap::new(),
        first_failed: None,
        released: false,
        arrivals,
        finished,
        orders_tx,
    }));
    spawn_local(accept(listener, Rc::clone(&ranks)));
    let all_here = async {
        loop {
            if timeout(TELL, arrived.wait_for(|count| count + 1 == nodes)).await.is_ok() {
                return;
            }
            say(&format!("waiting for {}", ranks.borrow().missing()));
        }
    };
    if timeout(config.deadline, all_here).await.is_err() {
        let missing = ranks.borrow().missing();
        let reason = format!("{missing} did not come within {} s", config.deadline.as_secs());
        ranks.borrow().tell_all(&Message::Refused { reason: reason.clone() });
        // The refusals go out before the listener does.
        sleep(Duration::from_millis(200)).await;
        return Err(reason);
    }
    ranks.borrow_mut().released = true;
    ranks.borrow().tell_all(&Message::Release);
    let (end_tx, mut ends) = mpsc::unbounded_channel();
    let own = Rc::clone(&ranks);
    spawn_local(async move {
        while let Some(end) = ends.recv().await {
            own.borrow_mut().ended(0, end);
        }
    });
    Ok(Gang { orders, end_tx, finished: finished_rx, interface: own_interface(&config.coordinator).await })
}

/// The interface whose address rank 0's own name leads to.
async fn own_interface(name: &str) -> Option<String> {
    lookup_host((name, layout::GANG_PORT)).await.ok()?.find_map(|address| interface_of(address.ip()))
}

/// On all addresses, of both families where the kernel has both.
async fn listen() -> std::io::Result<TcpListener> {
    match TcpListener::bind((Ipv6Addr::UNSPECIFIED, layout::GANG_PORT)).await {
        Ok(listener) => Ok(listener),
        Err(_) => TcpListener::bind(("0.0.0.0", layout::GANG_PORT)).await,
    }
}

async fn accept(listener: TcpListener, ranks: Shared) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(spawn_local(serve(stream, Rc::clone(&ranks)))),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// One link, from its handshake to its end.
async fn serve(stream: TcpStream, ranks: Shared) {
    let key = ranks.borrow().config.key;
    let Ok(mut channel) = Channel::open(stream, Side::Accepting, &key).await else { return };
    let hello = timeout(Duration::from_secs(DEAD_AFTER), channel.receive()).await;
    let Ok(Ok(Message::Hello { run, rank, instance })) = hello else { return };
    let joined = ranks.borrow_mut().join(&run, rank, instance.clone());
    let mut messages = match joined {
        Ok(messages) => messages,
        Err(reason) => {
            let _ = channel.send(&Message::Refused { reason }).await;
            return;
        }
    };
    let _ = converse(&mut channel, &mut messages, &ranks, rank).await;
    drop(messages);
    // A link may break and be made again; a rank that stays away is lost.
    sleep(Duration::from_secs(DEAD_AFTER)).await;
    ranks.borrow_mut().stayed_away(rank, &instance);
}

async fn converse(
    channel: &mut Channel,
    messages: &mut mpsc::UnboundedReceiver<Message>,
    ranks: &Shared,
    rank: u32,
) -> Result<(), String> {
    let mut heartbeat = interval(Duration::from_secs(HEARTBEAT));
    let mut last_heard = Instant::now();
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => channel.send(&message).await?,
                None => return Ok(()),
            },
            message = channel.receive() => {
                last_heard = Instant::now();
                if let Message::Ended { end } = message? {
                    ranks.borrow_mut().ended(rank, end);
                }
            }
            _ = heartbeat.tick() => {
                if last_heard.elapsed() > Duration::from_secs(DEAD_AFTER) {
                    return Err("nothing was heard".to_owned());
                }
                channel.send(&Message::Ping).await?;
            }
        }
    }
}

impl Ranks {
    /// Takes a rank in, or says why not. Gives what is to be sent to it.
    fn join(&mut self, run: &str, rank: u32, instance: String) -> Result<mpsc::UnboundedReceiver<Message>, String> {
        if run != self.config.run || rank == 0 || rank >= self.config.nodes {
            return Err(format!("rank {rank} of `{run}` is none of this run's"));
        }
        let known = self.members.get(&rank);
        if self.released && known.is_none_or(|member| member.instance != instance) {
            return Err(format!("rank {rank} came again, after the run had started"));
        }
        let (messages_tx, messages) = mpsc::unbounded_channel();
        if self.released {
            let _ = messages_tx.send(Message::Release);
        }
        if let Some(first_failed) = self.first_failed {
            let _ = messages_tx.send(Message::Stop { first_failed });
        }
        if *self.finished.borrow() {
            let _ = messages_tx.send(Message::Finished);
        }
        self.members.insert(rank, Member { instance, messages_tx });
        self.arrivals.send_replace(self.members.len());
        Ok(messages)
    }

    /// A link broke, and no new one was made in time.
    fn stayed_away(&mut self, rank: u32, instance: &str) {
        let Some(member) = self.members.get(&rank) else { return };
        if member.instance != instance || !member.messages_tx.is_closed() {
            return;
        }
        if self.released {
            if !self.ended.contains_key(&rank) {
                self.ended(rank, End::lost("its link to rank 0 broke"));
            }
        } else {
            self.members.remove(&rank);
            self.arrivals.send_replace(self.members.len());
        }
    }

    fn ended(&mut self, rank: u32, end: End) {
        if !end.is_success() && !end.is_consequence() && self.first_failed.is_none() {
            self.first_failed = Some(rank);
            self.tell_all(&Message::Stop { first_failed: rank });
            let _ = self.orders_tx.send(Order::Stop { first_failed: rank });
        }
        self.ended.entry(rank).or_insert(end);
        if self.ended.len() == self.config.nodes as usize {
            self.tell_all(&Message::Finished);
            self.finished.send_replace(true);
        }
    }

    fn tell_all(&self, message: &Message) {
        for member in self.members.values() {
            let _ = member.messages_tx.send(message.clone());
        }
    }

    fn missing(&self) -> String {
        let missing: Vec<String> = (1..self.config.nodes)
            .filter(|rank| !self.members.contains_key(rank))
            .map(|rank| rank.to_string())
            .collect();
        let word = if missing.len() == 1 { "rank" } else { "ranks" };
        match missing.get(20..) {
            Some(rest) if !rest.is_empty() => format!("{word} {} and {} more", missing[..20].join(", "), rest.len()),
            _ => format!("{word} {}", missing.join(", ")),
        }
    }
}
