//! The other ranks' side: finds rank 0, waits for its word, and holds the link.

use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_local;
use tokio::time::{Instant, interval, sleep, timeout};

use super::channel::{Channel, Side};
use super::{Gang, GangConfig, Message, Order, interface_of};
use crate::control::{DEAD_AFTER, HEARTBEAT};
use crate::event::End;
use crate::layout;

/// A connection that is not made within this time is tried again.
const CONNECT: Duration = Duration::from_secs(3);

/// Finds rank 0 and waits for its word.
pub(super) async fn meet(config: GangConfig, say: impl Fn(&str) + 'static) -> Result<Gang, String> {
    let deadline = Instant::now() + config.deadline;
    let mut waiting = "rank 0 was never reached".to_owned();
    let joined = async {
        loop {
            let mut channel = join(&config, &say, &mut waiting).await?;
            "rank 0 was reached, but not all other ranks came".clone_into(&mut waiting);
            match wait_for_release(&mut channel).await {
                Ok(()) => return Ok(channel),
                Err(Broken::Refused(reason)) => return Err(reason),
                Err(Broken::Link(reason)) => say(&format!("lost rank 0 ({reason}), connecting again")),
            }
        }
    };
    let outcome = tokio::time::timeout_at(deadline + Duration::from_secs(2), joined).await;
    let channel = match outcome {
        Ok(outcome) => outcome?,
        Err(_) => return Err(format!("{waiting} within {} s", config.deadline.as_secs())),
    };
    let (orders_tx, orders) = mpsc::unbounded_channel();
    let (end_tx, ends) = mpsc::unbounded_channel();
    let (finished_tx, finished) = watch::channel(false);
    let interface = channel.local_address().and_then(interface_of);
    spawn_local(hold(config, channel, orders_tx, ends, finished_tx));
    Ok(Gang { orders, end_tx, finished, interface })
}

enum Broken {
    Refused(String),
    Link(String),
}

/// Connects to rank 0 until it works; the caller bounds the time.
async fn join(config: &GangConfig, say: &impl Fn(&str), waiting: &mut String) -> Result<Channel, String> {
    let started = Instant::now();
    let mut told = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let reason = match connect(config).await {
            Ok(channel) => return Ok(channel),
            Err(reason) => reason,
        };
        *waiting = format!("rank 0 was not reached at {} ({reason})", config.coordinator);
        // The first seconds are those that names need to become known: not worth a word.
        if told.elapsed() > Duration::from_secs(5) {
            told = Instant::now();
            say(&format!(
                "waiting for rank 0 at {} for {} s: {reason}",
                config.coordinator,
                started.elapsed().as_secs()
            ));
        }
        sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
}

async fn connect(config: &GangConfig) -> Result<Channel, String> {
    let addresses = lookup_host((config.coordinator.as_str(), layout::GANG_PORT));
    let addresses = addresses.await.map_err(|_| "its name is not known yet".to_owned())?;
    let mut reason = "its name has no address yet".to_owned();
    for address in addresses {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let mut channel = Channel::open(stream, Side::Connecting, &config.key).await?;
                let hello =
                    Message::Hello { run: config.run.clone(), rank: config.rank, instance: config.instance.clone() };
                channel.send(&hello).await?;
                return Ok(channel);
            }
            Ok(Err(error)) => reason = error.to_string(),
            Err(_) => "it does not answer".clone_into(&mut reason),
        }
    }
    Err(reason)
}

async fn wait_for_release(channel: &mut Channel) -> Result<(), Broken> {
    loop {
        let heard = tokio::time::timeout(Duration::from_secs(DEAD_AFTER), next(channel));
        match heard.await {
            Ok(Ok(Message::Release)) => return Ok(()),
            Ok(Ok(Message::Refused { reason })) => return Err(Broken::Refused(reason)),
            Ok(Ok(_)) => {}
            Ok(Err(reason)) => return Err(Broken::Link(reason)),
            Err(_) => return Err(Broken::Link("nothing was heard".to_owned())),
        }
    }
}

/// The next message; every one heard is answered, so that rank 0 knows we are there.
async fn next(channel: &mut Channel) -> Result<Message, String> {
    let message = channel.receive().await?;
    if message == Message::Ping {
        channel.send(&Message::Ping).await?;
    }
    Ok(message)
}

/// Holds the link to rank 0 until all have ended; a broken one is made again for a while.
async fn hold(
    config: GangConfig,
    mut channel: Channel,
    orders_tx: mpsc::UnboundedSender<Order>,
    mut ends: mpsc::UnboundedReceiver<End>,
    finished_tx: watch::Sender<bool>,
) {
    let mut own_end = None;
    loop {
        let Err(reason) = converse(&mut channel, &orders_tx, &mut ends, &mut own_end).await else {
            break;
        };
        let mut waiting = String::new();
        let again = join(&config, &|_: &str| (), &mut waiting);
        if let Ok(Ok(new)) = timeout(Duration::from_secs(DEAD_AFTER), again).await {
            channel = new;
        } else {
            let _ = orders_tx.send(Order::Alone { message: format!("rank 0 is gone: {reason}") });
            break;
        }
    }
    finished_tx.send_replace(true);
}

/// Until all have ended (`Ok`) or the link breaks.
async fn converse(
    channel: &mut Channel,
    orders_tx: &mpsc::UnboundedSender<Order>,
    ends: &mut mpsc::UnboundedReceiver<End>,
    own_end: &mut Option<End>,
) -> Result<(), String> {
    if let Some(end) = own_end.clone() {
        channel.send(&Message::Ended { end }).await?;
    }
    let mut heartbeat = interval(Duration::from_secs(HEARTBEAT));
    let mut last_heard = Instant::now();
    loop {
        tokio::select! {
            end = ends.recv(), if own_end.is_none() => {
                // The rank itself is going: nothing more to say or to hear.
                let Some(end) = end else { return Ok(()) };
                *own_end = Some(end.clone());
                channel.send(&Message::Ended { end }).await?;
            }
            message = next(channel) => {
                last_heard = Instant::now();
                match message? {
                    Message::Stop { first_failed } => drop(orders_tx.send(Order::Stop { first_failed })),
                    Message::Refused { reason } => return Err(reason),
                    Message::Finished => return Ok(()),
                    _ => {}
                }
            }
            _ = heartbeat.tick() => {
                if last_heard.elapsed() > Duration::from_secs(DEAD_AFTER) {
                    return Err("nothing was heard".to_owned());
                }
            }
        }
    }
}
