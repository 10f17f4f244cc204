//! The other ranks' side: finds rank 0, waits for its word, and holds the link.

use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, sleep, timeout};

use super::channel::Channel;
use super::{
    BACK_WITHIN, Gang, GangConfig, HEARTBEAT, Hello, Message, NotMet, Order, Parting, Report, SILENT, Streams, listen,
    order_of,
};
use crate::layout;
use crate::supervisor::inspection::{Inspection, Neighbour, inspect};

/// A connection that is not made within this time is tried again.
const CONNECT: Duration = Duration::from_secs(3);
/// Between two attempts to reach rank 0.
const SHORTEST_PAUSE: Duration = Duration::from_millis(25);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Where this rank stands, as it presents itself.
struct Standing {
    config: GangConfig,
    /// The last attempt it has begun.
    started: u32,
    running: bool,
    /// How its last program ended; rank 0 may not have heard it.
    report: Option<Report>,
    /// Whether it has delivered what it left, and whether all have.
    delivered: watch::Receiver<bool>,
    leave_tx: watch::Sender<bool>,
}

impl Standing {
    fn pong(&self) -> Message {
        Message::Pong { quiet: u64::try_from(self.config.quiet().as_millis()).unwrap_or(u64::MAX) }
    }
}

/// Finds rank 0 and waits for its word.
pub(super) async fn meet(config: GangConfig, say: impl Fn(&str) + 'static) -> Result<Gang, NotMet> {
    spawn_local(answer_neighbours());
    let deadline = config.deadline + Duration::from_secs(2);
    let limit = config.deadline.as_secs();
    let (parting, delivered, leave_tx) = Parting::new();
    let started = config.started;
    let mut standing = Standing { started, config, running: false, report: None, delivered, leave_tx };
    let (orders_tx, orders) = mpsc::unbounded_channel();
    let (reports_tx, mut reports) = mpsc::unbounded_channel();
    let (finished_tx, finished) = watch::channel(false);
    let (reached_tx, mut reached) = watch::channel(None);
    let waiting = watch::Sender::new("rank 0 was never reached".to_owned());
    let last_word = waiting.subscribe();
    spawn_local(async move {
        let first = async {
            let channel = join(&standing, &say, &waiting).await;
            waiting.send_replace("rank 0 was reached, but not all other ranks came".to_owned());
            channel
        };
        let Ok(channel) = timeout(deadline, first).await else { return };
        reached_tx.send_replace(Some(channel.local_address()));
        hold(&mut standing, channel, &orders_tx, &mut reports, &finished_tx).await;
        finished_tx.send_replace(true);
        standing.leave_tx.send_replace(true);
    });
    let begun = async {
        let address = reached.wait_for(Option::is_some).await.ok()?.flatten();
        Some(Gang::begin(orders, reports_tx, finished, parting, address).await)
    };
    let met = timeout(deadline, begun).await.ok().flatten();
    met.unwrap_or_else(|| Err(NotMet::Failed(format!("{} within {limit} s", *last_word.borrow()))))
}

/// Takes the connections by which other ranks find out whether they reach this one.
async fn answer_neighbours() {
    let Ok(listener) = listen().await else { return };
    loop {
        if listener.accept().await.is_err() {
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Connects to rank 0 until it works; the caller bounds the time.
async fn join(standing: &Standing, say: &impl Fn(&str), waiting: &watch::Sender<String>) -> Channel {
    let coordinator = &standing.config.coordinator;
    let started = Instant::now();
    let mut told = Instant::now();
    loop {
        let reason = match present(standing).await {
            Ok(channel) => return channel,
            Err(reason) => reason,
        };
        waiting.send_replace(format!("rank 0 was not reached at {coordinator} ({reason})"));
        // The first seconds are those that names need to become known: not worth a word.
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            say(&format!("waiting for rank 0 at {coordinator} for {} s: {reason}", started.elapsed().as_secs()));
        }
        // A part of what was waited so far: the last of many pauses must not be what the gang waits for.
        sleep((started.elapsed() / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
    }
}

/// Presents this rank to rank 0.
async fn present(standing: &Standing) -> Result<Channel, String> {
    let config = &standing.config;
    let mut channel = connect(config).await?;
    let hello = Hello {
        run: config.run.clone(),
        rank: config.rank,
        instance: config.instance.clone(),
        started: standing.started,
        running: standing.running,
    };
    channel.send(&Message::Hello(hello)).await?;
    Ok(channel)
}

/// Connects to rank 0 once; the error says what is in the way.
pub(super) async fn connect(config: &GangConfig) -> Result<Channel, String> {
    let addresses = lookup_host((config.coordinator.as_str(), layout::GANG_PORT));
    let addresses = addresses.await.map_err(|_| "its name is not known yet".to_owned())?;
    let mut reason = "its name has no address yet".to_owned();
    for address in addresses {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // A former rank 0 may hold a name's other address, and say nothing.
                match Channel::call(stream, &config.key).await {
                    Ok(channel) => return Ok(channel),
                    Err(error) => reason = error,
                }
            }
            Ok(Err(error)) => reason = error.to_string(),
            Err(_) => "it does not answer".clone_into(&mut reason),
        }
    }
    Err(reason)
}

/// Holds the link to rank 0 as long as this rank lives; one that breaks before the run is over is made again for a while.
async fn hold(
    standing: &mut Standing,
    mut channel: Channel,
    orders_tx: &mpsc::UnboundedSender<Order>,
    reports: &mut mpsc::UnboundedReceiver<Report>,
    finished_tx: &watch::Sender<bool>,
) {
    let silence = watch::Sender::new(String::new());
    while let Err(reason) = converse(standing, &mut channel, orders_tx, reports, finished_tx).await {
        if *finished_tx.borrow() {
            return;
        }
        // Before the first attempt there is nothing to lose by waiting.
        let limit = if standing.started == 0 { standing.config.deadline } else { BACK_WITHIN };
        let again = join(standing, &|_: &str| (), &silence);
        let Ok(new) = timeout(limit, again).await else {
            let _ = orders_tx.send(Order::Alone { message: format!("rank 0 is gone: {reason}") });
            return;
        };
        channel = new;
    }
}

async fn look_around(
    config: GangConfig,
    neighbour: Option<Neighbour>,
    inspected_tx: mpsc::UnboundedSender<Inspection>,
) {
    let _ = inspected_tx.send(inspect(config.node.clone(), &config.outputs, neighbour).await);
}

/// Until nobody needs the link any more (`Ok`) or it breaks.
async fn converse(
    standing: &mut Standing,
    channel: &mut Channel,
    orders_tx: &mpsc::UnboundedSender<Order>,
    reports: &mut mpsc::UnboundedReceiver<Report>,
    finished_tx: &watch::Sender<bool>,
) -> Result<(), String> {
    if let Some(report) = standing.report.clone() {
        channel.send(&Message::Ended(report)).await?;
    }
    if *standing.delivered.borrow_and_update() {
        channel.send(&Message::Delivered).await?;
    }
    let mut heartbeat = interval(HEARTBEAT);
    let mut last_heard = Instant::now();
    let (inspected_tx, mut inspected) = mpsc::unbounded_channel();
    loop {
        tokio::select! {
            report = reports.recv() => {
                // The rank itself is going: nothing more to say or to hear.
                let Some(report) = report else { return Ok(()) };
                standing.running = false;
                standing.report = Some(report.clone());
                channel.send(&Message::Ended(report)).await?;
            }
            Ok(()) = standing.delivered.changed() => channel.send(&Message::Delivered).await?,
            message = channel.receive() => {
                last_heard = Instant::now();
                let message = message?;
                match message {
                    // Every one is answered, so that rank 0 knows we are there.
                    Message::Ping => channel.send(&standing.pong()).await?,
                    Message::Dial { dial, purpose } => Streams::dial(&standing.config, dial, purpose),
                    Message::Leave => drop(standing.leave_tx.send_replace(true)),
                    Message::Inspect { neighbour } => {
                        spawn_local(look_around(standing.config.clone(), neighbour, inspected_tx.clone()));
                    }
                    _ => {}
                }
                let refused = matches!(message, Message::Refused { .. });
                // The link stays: the workstation still reads what this rank has to say through rank 0.
                if message == Message::Finished {
                    finished_tx.send_replace(true);
                }
                let is_news = match message {
                    Message::Release { attempt, .. } if attempt <= standing.started => false,
                    Message::Release { attempt, .. } => {
                        (standing.started, standing.running, standing.report) = (attempt, true, None);
                        true
                    }
                    _ => true,
                };
                if let Some(order) = order_of(message).filter(|_| is_news) {
                    let _ = orders_tx.send(order);
                }
                if refused {
                    return Ok(());
                }
            }
            Some(found) = inspected.recv() => channel.send(&Message::Inspected(Box::new(found))).await?,
            _ = heartbeat.tick() => {
                if last_heard.elapsed() > SILENT {
                    return Err("nothing was heard".to_owned());
                }
            }
        }
    }
}
