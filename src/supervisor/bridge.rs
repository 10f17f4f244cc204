//! `nauta supervise --bridge`: standard input and output to the control server, for engines whose way in is `exec`.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::layout;

/// How long the supervisor may take to listen after its container has started.
const PATIENCE: Duration = Duration::from_secs(5);

/// Copies both ways until the server has nothing more to say.
pub(super) fn main() -> u8 {
    match connect().and_then(|stream| copy(&stream)) {
        Ok(()) => 0,
        Err(error) => {
            super::journal::say(&format!("the control server cannot be reached: {error}"));
            crate::event::NOT_RUN
        }
    }
}

fn connect() -> io::Result<TcpStream> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match TcpStream::connect(("127.0.0.1", layout::CONTROL_PORT)) {
            Err(_) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(20)),
            outcome => return outcome,
        }
    }
}

fn copy(stream: &TcpStream) -> io::Result<()> {
    let mut to_server = stream.try_clone()?;
    std::thread::spawn(move || {
        let _ = pump(&mut io::stdin().lock(), &mut to_server);
        let _ = to_server.shutdown(Shutdown::Write);
    });
    pump(&mut &*stream, &mut io::stdout().lock())
}

/// Copies and flushes piece by piece: a message must not wait in a buffer for the next one.
fn pump(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            n => {
                to.write_all(&buffer[..n])?;
                to.flush()?;
            }
        }
    }
}
