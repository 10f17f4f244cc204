//! SSH agents of the workstation for builds that ask for them (`RUN --mount=type=ssh`).
//!
//! A build may ask which keys there are, and have something signed. It adds, removes and locks nothing: what it runs is not
//! always the user's own.

use std::collections::HashMap;
use std::path::PathBuf;

use bollard::moby::sshforward::v1::ssh_server::Ssh;
use bollard::moby::sshforward::v1::{BytesMessage, CheckAgentRequest, CheckAgentResponse};
use bytes::{Buf as _, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// The agent of a mount that names none.
pub(super) const DEFAULT: &str = "default";
/// Where a request says which agent it means.
const ID: &str = "buildkit.ssh.id";
/// Message types (draft-miller-ssh-agent, "Protocol numbers").
const FAILURE: u8 = 5;
const REQUEST_IDENTITIES: u8 = 11;
const SIGN_REQUEST: u8 = 13;
/// No message of an agent is longer, as OpenSSH has it.
const LONGEST: usize = 256 * 1024;

/// Agents by id.
pub(super) struct Agents {
    sockets: HashMap<String, PathBuf>,
}

impl Agents {
    pub(super) fn new(agents: &[(String, PathBuf)]) -> Self {
        Self { sockets: agents.iter().cloned().collect() }
    }

    fn socket(&self, id: &str) -> Result<&PathBuf, Status> {
        let id = if id.is_empty() { DEFAULT } else { id };
        self.sockets.get(id).ok_or_else(|| Status::not_found(format!("no SSH agent {id} was given to the build")))
    }
}

#[async_trait]
impl Ssh for Agents {
    type ForwardAgentStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn check_agent(&self, request: Request<CheckAgentRequest>) -> Result<Response<CheckAgentResponse>, Status> {
        self.socket(&request.get_ref().id).map(|_| Response::new(CheckAgentResponse {}))
    }

    async fn forward_agent(
        &self,
        request: Request<Streaming<BytesMessage>>,
    ) -> Result<Response<Self::ForwardAgentStream>, Status> {
        let id = request.metadata().get(ID).and_then(|id| id.to_str().ok()).unwrap_or(DEFAULT).to_owned();
        let agent = UnixStream::connect(self.socket(&id)?).await;
        let agent =
            agent.map_err(|error| Status::unavailable(format!("the SSH agent {id} does not answer: {error}")))?;
        let (answers_tx, answers_rx) = mpsc::channel(1);
        let asked = request.into_inner();
        // Whoever reads the answers drives the questions, too: both end with the stream.
        let answers = futures::stream::unfold(answers_rx, |mut answers_rx| async {
            let answer: Vec<u8> = answers_rx.recv().await?;
            Some((Some(Ok(BytesMessage { data: answer })), answers_rx))
        });
        let asking = futures::stream::once(converse(asked, agent, answers_tx)).map(|()| None);
        let both = futures::stream::select(answers, asking).filter_map(std::future::ready);
        Ok(Response::new(Box::pin(both)))
    }
}

/// Hands requests on that a build may make, one after the other, and their answers back, until either side has ended.
async fn converse(mut asked: Streaming<BytesMessage>, mut agent: UnixStream, answers_tx: mpsc::Sender<Vec<u8>>) {
    let mut bytes = BytesMut::new();
    loop {
        while let Some(request) = next_message(&mut bytes) {
            let answer = match request.get(4) {
                Some(&(REQUEST_IDENTITIES | SIGN_REQUEST)) => ask(&mut agent, &request).await,
                _ => Some(vec![0, 0, 0, 1, FAILURE]),
            };
            let Some(answer) = answer else { return };
            if answers_tx.send(answer).await.is_err() {
                return;
            }
        }
        match asked.next().await {
            Some(Ok(message)) if bytes.len() <= LONGEST => bytes.extend_from_slice(&message.data),
            _ => return,
        }
    }
}

/// Takes a whole message, with the length before it, from what has come.
fn next_message(bytes: &mut BytesMut) -> Option<BytesMut> {
    let length = usize::try_from(bytes.get(..4)?.get_u32()).ok()?;
    (bytes.len() >= length.checked_add(4)?).then(|| bytes.split_to(length + 4))
}

async fn ask(agent: &mut UnixStream, request: &[u8]) -> Option<Vec<u8>> {
    agent.write_all(request).await.ok()?;
    let length = agent.read_u32().await.ok()?;
    let size = usize::try_from(length).ok().filter(|size| *size <= LONGEST)?;
    let mut answer = vec![0; size + 4];
    answer[..4].copy_from_slice(&length.to_be_bytes());
    agent.read_exact(&mut answer[4..]).await.ok()?;
    Some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_taken_when_they_are_whole() {
        let mut bytes = BytesMut::from(&[0, 0, 0, 2, 11][..]);
        assert_eq!(next_message(&mut bytes), None);
        bytes.extend_from_slice(&[7, 0, 0]);
        assert_eq!(next_message(&mut bytes).as_deref(), Some(&[0, 0, 0, 2, 11, 7][..]));
        assert_eq!((next_message(&mut bytes), &bytes[..]), (None, &[0, 0][..]));
        let mut endless = BytesMut::from(&[255, 255, 255, 255, 1][..]);
        assert_eq!(next_message(&mut endless), None);
    }
}
