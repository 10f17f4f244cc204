//! The janitor's own life.

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use futures::TryStreamExt;
use tokio::io::{AsyncBufReadExt, BufReader, Lines, Stdin};

use super::{DETACH, GOODBYE, Order, READY};
use crate::docker::error::DockerError;
use crate::docker::{Docker, local};

/// The engine may need longer than the grace time to see that a rank has ended by itself.
const SLACK: Duration = Duration::from_secs(5);
/// Pause before another try when the engine does not answer: it may be restarting.
const RETRY_PAUSE: Duration = Duration::from_secs(2);
/// How often cleaning up is tried before it is left to the next sweep.
const ATTEMPTS: u32 = 300;
/// What nauta had asked for when it died may still be on its way through the engine: how often to look again.
const LOOKS: u32 = 3;
/// Pause before looking again.
const LOOK_PAUSE: Duration = Duration::from_secs(1);

/// Runs a janitor: `arguments` are what follows `janitor` on the command line, and there are none. Returns the
/// process's exit code.
#[must_use]
pub fn main(arguments: &[OsString]) -> u8 {
    // Ctrl-C and a closed terminal go to the session of nauta, which this process must outlive. It fails only when this
    // process leads a group already, and then it has been set apart by whoever started it.
    let _ = nix::unistd::setsid();
    if !arguments.is_empty() {
        return answer("a janitor takes no arguments", 2);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(live()),
        Err(error) => answer(&error.to_string(), 70),
    }
}

/// Says one line to nauta, if it still listens.
fn answer(line: &str, code: u8) -> u8 {
    let mut stdout = std::io::stdout();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        Ok(()) => code,
        Err(_) => code.max(1),
    }
}

async fn live() -> u8 {
    let mut words = BufReader::new(tokio::io::stdin()).lines();
    let Ok(Some(line)) = words.next_line().await else { return 0 };
    let order: Order = match serde_json::from_str(&line) {
        Ok(order) => order,
        Err(error) => return answer(&format!("this is no order for a janitor: {error}"), 2),
    };
    let docker = match Docker::connect(&order.settings).await {
        Ok(docker) => docker,
        Err(error) => return answer(&error.to_string(), 3),
    };
    // A nauta that died just now has made nothing yet, or this process would not still have to say that it is ready;
    // looking for leftovers is harmless then.
    answer(READY, 0);
    match last_word(&mut words).await.as_deref() {
        Some(GOODBYE) => return 0,
        Some(DETACH) => wait_for_the_end(&docker, &order).await,
        _ => {}
    }
    if clean_up(&docker, &order).await { 0 } else { 3 }
}

/// The first word that decides anything; none when nauta is no more.
async fn last_word(words: &mut Lines<BufReader<Stdin>>) -> Option<String> {
    while let Ok(Some(word)) = words.next_line().await {
        if [GOODBYE, DETACH].contains(&word.as_str()) {
            return Some(word);
        }
    }
    None
}

/// Ends the run if it still goes on, and removes it, until nothing is left of it.
async fn clean_up(docker: &Docker, order: &Order) -> bool {
    let mut looks = 0;
    for _ in 0..ATTEMPTS {
        let outcome = local::end_and_remove(docker, &order.run, order.grace + SLACK).await;
        if outcome.is_ok() {
            looks += 1;
            if looks == LOOKS {
                return true;
            }
        }
        tokio::time::sleep(if outcome.is_ok() { LOOK_PAUSE } else { RETRY_PAUSE }).await;
    }
    false
}

/// Waits until a detached run has ended and was kept for its time, was removed, or has passed its deadline.
async fn wait_for_the_end(docker: &Docker, order: &Order) {
    if tokio::time::timeout(order.deadline, ended(docker, &order.run)).await.is_err() {
        return;
    }
    let until = tokio::time::Instant::now() + order.keep;
    while tokio::time::Instant::now() < until && !matches!(docker.find_local(&order.run).await, Ok(None)) {
        let rest = until.saturating_duration_since(tokio::time::Instant::now());
        tokio::time::sleep(rest.min(Duration::from_mins(1))).await;
    }
}

async fn ended(docker: &Docker, run: &str) {
    loop {
        match followed_to_the_end(docker, run).await {
            Ok(()) => return,
            Err(_) => tokio::time::sleep(RETRY_PAUSE).await,
        }
    }
}

async fn followed_to_the_end(docker: &Docker, run: &str) -> Result<(), DockerError> {
    match docker.find_local(run).await? {
        Some(found) => found.watch().await?.try_for_each(|_| async { Ok(()) }).await,
        None => Ok(()),
    }
}
