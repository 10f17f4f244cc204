//! Rank 0's side: where its fronts come in, and from where they are led to the ranks.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use futures::future::join_all;
use futures::{SinkExt, StreamExt};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::spawn_local;
use tokio::time::{sleep, timeout};
use tokio_util::codec::Framed;

use super::front::NAMES;
use super::hostfile::Hostfile;
use super::protocol::{Answer, Ask, Casualty, RankCodec, codec, plain};
use crate::supervisor::gang::{Purpose, Streams};

/// How long a rank may take to say what was killed there.
const INQUEST: Duration = Duration::from_secs(2);

/// What the fronts need: the folder with their names, and the socket.
pub(in crate::supervisor) struct Launcher {
    /// First in the program's `PATH`.
    pub(in crate::supervisor) folder: PathBuf,
    pub(in crate::supervisor) socket: PathBuf,
}

impl Launcher {
    /// Begins to serve fronts, for as long as this process lives. Nobody but this user id gets in: the folder is closed to others.
    pub(in crate::supervisor) fn start(state: &Path, hosts: Hostfile, streams: Rc<Streams>) -> io::Result<Self> {
        let folder = state.join("launch");
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let program = std::env::current_exe()?;
        for name in NAMES {
            symlink(&program, folder.join(name))?;
        }
        let socket = folder.join("socket");
        let listener = UnixListener::bind(&socket)?;
        spawn_local(accept(listener, Rc::new(hosts), streams));
        Ok(Self { folder, socket })
    }
}

async fn accept(listener: UnixListener, hosts: Rc<Hostfile>, streams: Rc<Streams>) {
    loop {
        match listener.accept().await {
            Ok((front, _)) if is_ours(&front) => {
                let (hosts, streams) = (Rc::clone(&hosts), Rc::clone(&streams));
                spawn_local(async move {
                    let mut frames = Framed::new(front, codec());
                    if let Err(message) = lead(&mut frames, &hosts, &streams).await {
                        let _ = frames.send(plain(Answer::Refused { message })).await;
                    }
                });
            }
            Ok(_) => {}
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
}

fn is_ours(front: &UnixStream) -> bool {
    front.peer_cred().is_ok_and(|peer| peer.uid() == nix::unistd::geteuid().as_raw())
}

/// Leads a front to the rank it names. The error is for the front.
async fn lead(
    front: &mut Framed<UnixStream, RankCodec>,
    hosts: &Hostfile,
    streams: &Rc<Streams>,
) -> Result<(), String> {
    let Some(Ok((ask @ Ask::Run { .. }, command))) = front.next().await else {
        return Err("the first word was not understood".to_owned());
    };
    let Ask::Run { host } = &ask else { return Ok(()) };
    let rank = hosts.rank(host).ok_or_else(|| {
        format!("`{host}` is none of this run's {} ranks, which the file $NAUTA_HOSTFILE names", hosts.nodes)
    })?;
    let stream = streams.open(rank, Purpose::Exec).await?;
    let mut there = Framed::new(stream, codec::<Answer, _>());
    let broke = |_| format!("the connection to rank {rank} broke");
    there.send((ask, command)).await.map_err(broke)?;
    let mut stream = there.into_inner();
    // The front may have said more already.
    let early = front.read_buffer_mut().split();
    stream.write_all(&early).await.map_err(|error| broke(error.into()))?;
    let _ = copy_bidirectional(front.get_mut(), &mut stream).await;
    Ok(())
}

/// What was killed first on any rank, as far as they answer.
pub(in crate::supervisor) async fn inquest(streams: &Rc<Streams>, nodes: u32) -> Option<(u32, Casualty)> {
    let asked = (0..nodes).map(|rank| async move {
        let answer = timeout(INQUEST, ask(streams, rank)).await.ok().flatten();
        answer.map(|casualty| (rank, casualty))
    });
    join_all(asked).await.into_iter().flatten().max_by_key(|(rank, casualty)| (casualty.ago, u32::MAX - rank))
}

async fn ask(streams: &Rc<Streams>, rank: u32) -> Option<Casualty> {
    let stream = streams.open(rank, Purpose::Exec).await.ok()?;
    let mut frames = Framed::new(stream, codec());
    frames.send(plain(Ask::Inquest)).await.ok()?;
    match frames.next().await {
        Some(Ok((Answer::Killed { casualty }, _))) => casualty,
        _ => None,
    }
}
