//! Rank 0's side: listens for the others, and keeps the clock of their gathering.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, sleep, timeout_at};

use super::channel::Channel;
use super::preflight::report;
use super::ranks::{Phase, Ranks};
use super::{
    BACK_WITHIN, Gang, GangConfig, HEARTBEAT, Message, NotMet, Parting, Report, SILENT, interface_of, listen, order_of,
};
use crate::layout;
use crate::supervisor::admission::{Admission, Place};
use crate::supervisor::inspection::{Inspection, inspect};

/// How long ranks may take to look around.
const LOOK: Duration = Duration::from_secs(6);
/// Within this time whoever ends a whole run reaches its ranks. Kubernetes mostly needs longer to stop the others when the pod of one is
/// taken away (0.7 s and more were seen), and never begins while that is rank 0's, which stays for the others.
const TOGETHER: Duration = Duration::from_millis(500);
/// So many connections from one address are on their way in at once. More ranks than that may share an address (where addresses are
/// translated), but not the moment in which each proves the key.
const OF_ONE_ADDRESS: usize = 16;
/// How often the waiting is told.
const TELL: Duration = Duration::from_secs(5);

type Shared = Rc<RefCell<Ranks>>;

/// Waits until every rank has come, or names those that have not.
pub(super) async fn meet(config: GangConfig, say: impl Fn(&str) + 'static) -> Result<Gang, NotMet> {
    let (ranks, mut messages) = Ranks::new(config.clone());
    let streams = Rc::clone(&config.streams);
    let ranks = Rc::new(RefCell::new(ranks));
    streams.lead_to(&ranks);
    if config.nodes.most > 1 {
        let listener = listen().await.map_err(|error| {
            NotMet::Failed(format!("cannot wait for the other ranks on port {}: {error}", layout::GANG_PORT))
        })?;
        spawn_local(accept(listener, Rc::clone(&ranks)));
    }
    let (orders_tx, orders) = mpsc::unbounded_channel();
    let (reports_tx, mut reports) = mpsc::unbounded_channel();
    let (finished_tx, finished) = watch::channel(false);
    let (parting, mut delivered, leave_tx) = Parting::new();
    let own = Rc::clone(&ranks);
    spawn_local(async move {
        if delivered.wait_for(|delivered| *delivered).await.is_ok() {
            own.borrow_mut().delivered(0);
        }
    });
    let own = Rc::clone(&ranks);
    spawn_local(async move {
        while let Some(report) = reports.recv().await {
            take(report, 0, &own);
        }
    });
    spawn_local(async move {
        while let Some(message) = messages.recv().await {
            if message == Message::Leave {
                leave_tx.send_replace(true);
            }
            order_of(message).map(|order| orders_tx.send(order));
        }
    });
    spawn_local(keep_time(ranks, finished_tx, say));
    let address = if config.nodes.most > 1 { own_address(&config.coordinator).await } else { None };
    let met = Gang::begin(orders, reports_tx, finished, parting, address).await;
    if met.is_err() {
        // The refusals go out before the listener does.
        sleep(Duration::from_millis(200)).await;
    }
    met
}

/// Tells what a gathering waits for, and ends one that takes too long, or an attempt that has stalled; until nothing begins any
/// more.
async fn keep_time(ranks: Shared, finished_tx: watch::Sender<bool>, say: impl Fn(&str)) {
    let mut phase = ranks.borrow().phase();
    while *phase.borrow_and_update() != Phase::Over {
        match gather(&ranks, &mut phase, &say).await {
            Ok(()) if ranks.borrow().is_worth_a_look() => drop(spawn_local(look_around(Rc::clone(&ranks)))),
            Ok(()) => {}
            Err(reason) => ranks.borrow_mut().give_up(&reason),
        }
        tokio::select! {
            _ = phase.wait_for(|phase| *phase != Phase::Running) => {}
            () = watch_over(&ranks) => {}
        }
    }
    finished_tx.send_replace(true);
}

/// Looks for signs of life, for ever.
async fn watch_over(ranks: &Shared) {
    let Some(limit) = ranks.borrow().config().stall else { return std::future::pending().await };
    loop {
        sleep(HEARTBEAT / 2).await;
        let own = ranks.borrow().config().quiet();
        ranks.borrow_mut().watch_over(own, limit);
    }
}

/// Has all ranks look around, beside their programs, and says what they found.
async fn look_around(ranks: Shared) {
    ranks.borrow().look_around();
    let config = ranks.borrow().config().clone();
    // Every other rank has reached this one.
    let next = ranks.borrow().neighbour(0);
    let found = inspect(config.node.clone(), &config.outputs, next).await;
    ranks.borrow_mut().inspected(0, Inspection { clock: 0, ..found });
    let deadline = Instant::now() + LOOK;
    let found = loop {
        if let Some(found) = ranks.borrow().inspections(Instant::now() > deadline) {
            break found;
        }
        if *ranks.borrow().phase().borrow() != Phase::Running {
            // What came of the attempt is known by now.
            return;
        }
        sleep(Duration::from_millis(20)).await;
    };
    for line in report(&found, config.nodes.most, config.accelerators) {
        config.say(&line);
    }
}

/// Until all are there; fails with who is not.
async fn gather(ranks: &Shared, phase: &mut watch::Receiver<Phase>, say: &impl Fn(&str)) -> Result<(), String> {
    let limit = ranks.borrow().config().deadline;
    let deadline = Instant::now() + limit;
    loop {
        let tell = deadline.min(Instant::now() + TELL);
        if timeout_at(tell, phase.wait_for(|phase| *phase != Phase::Gathering)).await.is_ok() {
            return Ok(());
        }
        let missing = ranks.borrow().missing();
        if Instant::now() >= deadline {
            return Err(format!("{missing} did not come within {} s", limit.as_secs()));
        }
        say(&format!("waiting for {missing}"));
    }
}

/// The address that rank 0's own name leads to.
async fn own_address(name: &str) -> Option<IpAddr> {
    let mut addresses = lookup_host((name, layout::GANG_PORT)).await.ok()?.map(|address| address.ip());
    addresses.find(|address| interface_of(*address).is_some())
}

async fn accept(listener: TcpListener, ranks: Shared) {
    let admission = Admission::new(OF_ONE_ADDRESS);
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let ranks = Rc::clone(&ranks);
                admission.hear(from.ip().to_canonical(), |place| serve(stream, ranks, place)).await;
            }
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

/// Takes a rank's report, and looks again in a moment where the rank was taken away.
fn take(report: Report, rank: u32, ranks: &Shared) {
    let (attempt, leaving) = (report.attempt, report.leaving);
    ranks.borrow_mut().report(rank, report);
    if leaving {
        let ranks = Rc::clone(ranks);
        spawn_local(async move {
            sleep(TOGETHER).await;
            ranks.borrow_mut().left(rank, attempt);
        });
    }
}

/// One link, from its handshake to its end.
async fn serve(stream: TcpStream, ranks: Shared, place: Place) {
    let key = ranks.borrow().config().key;
    let Ok((mut channel, first)) = Channel::answer(stream, &key, place).await else { return };
    let hello = match first {
        Message::Hello(hello) => hello,
        Message::Dialled { dial } => {
            let streams = Rc::clone(&ranks.borrow().config().streams);
            return streams.connected(dial, channel);
        }
        _ => return,
    };
    let arrived = ranks.borrow_mut().arrive(&hello, channel.peer_address());
    let mut messages = match arrived {
        Ok(messages) => messages,
        Err(reason) => {
            let _ = channel.send(&Message::Refused { reason }).await;
            return;
        }
    };
    let silent = converse(&mut channel, &mut messages, &ranks, hello.rank).await == Err(Broken::Silent);
    drop((channel, messages));
    // A link may break and be made again; a rank that stays away is lost.
    if !silent {
        sleep(BACK_WITHIN).await;
    }
    ranks.borrow_mut().lost(hello.rank, &hello.instance);
}

#[derive(PartialEq, Eq)]
enum Broken {
    /// Nothing was heard for too long.
    Silent,
    Link,
}

async fn converse(
    channel: &mut Channel,
    messages: &mut mpsc::UnboundedReceiver<Message>,
    ranks: &Shared,
    rank: u32,
) -> Result<(), Broken> {
    let mut heartbeat = interval(HEARTBEAT);
    let mut last_heard = Instant::now();
    loop {
        tokio::select! {
            message = messages.recv() => match message {
                Some(message) => channel.send(&message).await.map_err(|_| Broken::Link)?,
                None => return Ok(()),
            },
            message = channel.receive() => {
                last_heard = Instant::now();
                match message.map_err(|_| Broken::Link)? {
                    Message::Ended(report) => take(report, rank, ranks),
                    Message::Delivered => ranks.borrow_mut().delivered(rank),
                    Message::Pong { quiet } => ranks.borrow_mut().quiet(rank, Duration::from_millis(quiet)),
                    Message::Inspected(mut found) => {
                        found.clock = found.clock.saturating_sub(jiff::Timestamp::now().as_millisecond());
                        ranks.borrow_mut().inspected(rank, *found);
                    }
                    _ => {}
                }
            }
            _ = heartbeat.tick() => {
                if last_heard.elapsed() > SILENT {
                    return Err(Broken::Silent);
                }
                channel.send(&Message::Ping).await.map_err(|_| Broken::Link)?;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpSocket;
    use tokio::task::LocalSet;

    use super::super::Hello;
    use super::*;
    use crate::job::Nodes;

    const KEY: [u8; 32] = [7; 32];

    fn config() -> GangConfig {
        GangConfig { nodes: Nodes::all(2), key: KEY, replaced: true, ..GangConfig::default() }
    }

    async fn connect(from: [u8; 4], to: SocketAddr) -> std::io::Result<TcpStream> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((Ipv4Addr::from(from), 0).into())?;
        socket.connect(to).await
    }

    /// Strangers from so many addresses, for ever; the last ones are held.
    async fn flood(addresses: u8, to: SocketAddr) {
        let mut held = std::collections::VecDeque::new();
        for number in 0_u32.. {
            let last = u8::try_from(number % u32::from(addresses)).unwrap_or_default();
            if let Ok(mut stranger) = connect([127, 0, 1, last], to).await {
                let said: &[u8] = if number % 2 == 0 { &[0, 48, 1, 2] } else { &[] };
                let _ = stranger.write_all(said).await;
                held.push_back(stranger);
            }
            if held.len() > 200 {
                held.pop_front();
            }
        }
    }

    /// A rank comes in, from an address.
    async fn come_in(from: [u8; 4], to: SocketAddr, instance: &str) -> Result<Message, String> {
        let stream = connect(from, to).await.map_err(|error| error.to_string())?;
        let mut channel = Channel::call(stream, &KEY).await?;
        let hello = Hello { run: String::new(), rank: 1, instance: instance.to_owned(), started: 0, running: false };
        channel.send(&Message::Hello(hello)).await?;
        channel.receive().await
    }

    /// Each of these comes in sooner or later, as ranks try again when they are hung up on.
    async fn ranks_come_in(from: [u8; 4], addresses: u8) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
        let to = listener.local_addr().expect("has one");
        let (ranks, _messages) = Ranks::new(config());
        spawn_local(accept(listener, Rc::new(RefCell::new(ranks))));
        let flooding = spawn_local(flood(addresses, to));
        for number in 0..20 {
            let mut tries = 0;
            while let Err(error) = come_in(from, to, &number.to_string()).await {
                tries += 1;
                assert!(tries < 20, "{error}");
            }
        }
        flooding.abort();
    }

    #[tokio::test]
    async fn ranks_come_in_through_a_flood_from_one_address_from_many_and_from_their_own() {
        for (from, addresses) in [([127, 0, 0, 1], 1), ([127, 0, 0, 1], 250), ([127, 0, 1, 0], 1)] {
            LocalSet::new().run_until(ranks_come_in(from, addresses)).await;
        }
    }

    #[tokio::test]
    async fn who_has_another_key_or_says_more_than_a_greeting_is_hung_up_on_at_once() {
        let hung_up_on = async |said: Vec<u8>| {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("listens");
            let to = listener.local_addr().expect("has one");
            let (ranks, _messages) = Ranks::new(config());
            spawn_local(accept(listener, Rc::new(RefCell::new(ranks))));
            let mut stranger = TcpStream::connect(to).await.expect("connects");
            stranger.write_all(&said).await.expect("is taken");
            let mut byte = [0];
            let heard = tokio::time::timeout(SILENT, tokio::io::AsyncReadExt::read(&mut stranger, &mut byte)).await;
            assert!(heard.is_ok_and(|heard| !matches!(heard, Ok(1..))), "{} bytes", said.len());
        };
        let tasks = async {
            let started = Instant::now();
            hung_up_on(vec![0xff, 0xff]).await;
            hung_up_on([&[0, 48][..], &[1; 48]].concat()).await;
            hung_up_on(vec![0, 0]).await;
            assert!(started.elapsed() < Duration::from_secs(3), "nothing is waited for");
        };
        LocalSet::new().run_until(tasks).await;
    }
}
