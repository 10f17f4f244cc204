//! The janitor as nauta sees it.

use std::io;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};

use super::{DETACH, GOODBYE, Order, READY};
use crate::docker::error::DockerError;
use crate::docker::local::{JanitorProgram, Owner};

/// How long a janitor may take until it is ready; it connects to the engine first.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a janitor may take to leave.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(5);

/// A janitor that waits. Dropping it without a word makes it clean up.
pub(in crate::docker) struct Janitor {
    child: Child,
    stdin: ChildStdin,
    owner: Owner,
}

impl Janitor {
    /// Starts a janitor, and waits until it could do its work.
    pub(in crate::docker) async fn start(program: &JanitorProgram, order: &Order) -> Result<Self, DockerError> {
        let failed = |detail: String| DockerError::Janitor { program: program.program.display().to_string(), detail };
        let mut child = Command::new(&program.program)
            .args(&program.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // It must not keep a folder busy that the user wants to remove.
            .current_dir("/")
            .spawn()
            .map_err(|e| failed(e.to_string()))?;
        let (Some(mut stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed("it has no pipes".to_owned()));
        };
        let order = serde_json::to_string(order).expect("texts and times serialise");
        let mut answer = String::new();
        let talk = async {
            stdin.write_all(format!("{order}\n").as_bytes()).await?;
            stdin.flush().await?;
            BufReader::new(stdout).read_line(&mut answer).await
        };
        match tokio::time::timeout(READY_TIMEOUT, talk).await {
            Err(_) => Err(failed("it did not get ready in 30 seconds".to_owned())),
            Ok(Err(e)) => Err(failed(e.to_string())),
            Ok(Ok(_)) if answer.trim_end() == READY => {
                let owner = Owner::of(child.id().unwrap_or(0));
                Ok(Self { child, stdin, owner })
            }
            Ok(Ok(0)) => Err(failed("it ended at once".to_owned())),
            Ok(Ok(_)) => Err(failed(answer.trim_end().to_owned())),
        }
    }

    /// Which process it is.
    pub(in crate::docker) const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// There is nothing to clean up any more.
    pub(in crate::docker) async fn goodbye(mut self) {
        // A janitor that cannot be told looks for leftovers, finds none, and leaves.
        if self.say(GOODBYE).await.is_ok() {
            drop(self.stdin);
            drop(tokio::time::timeout(LEAVE_TIMEOUT, self.child.wait()).await);
        }
    }

    /// The run goes on without us.
    pub(in crate::docker) async fn detach(mut self) -> Result<(), DockerError> {
        let told = self.say(DETACH).await;
        told.map_err(|source| DockerError::Local { what: "leave the run to its clean-up process".to_owned(), source })
    }

    async fn say(&mut self, word: &str) -> io::Result<()> {
        self.stdin.write_all(format!("{word}\n").as_bytes()).await?;
        self.stdin.flush().await
    }
}
