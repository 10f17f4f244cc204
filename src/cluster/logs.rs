//! A rank's log as its kubelet has it: the fallback where no supervisor can be asked. The kubelet rotates it, so it may be
//! incomplete.

use bytes::Bytes;
use futures::io::AsyncReadExt as _;
use futures::{Stream, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::LogParams;

use super::Cluster;
use super::error::{Cause, ClusterError};
use crate::job::objects::CONTAINER;
use crate::job::state::Fold;

/// Bytes read at a time.
const PIECE: usize = 64 * 1024;

/// Which part of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogRange {
    /// Whether to go on as more is written, until the container ends.
    pub follow: bool,
    /// Whether each line begins with its time (RFC 3339) and a space.
    pub timestamps: bool,
}

impl Cluster {
    /// The log of a rank. The stream's end is not proof that the log is complete.
    pub async fn logs(
        &self,
        run: &str,
        rank: u32,
        range: LogRange,
    ) -> Result<impl Stream<Item = Result<Bytes, ClusterError>> + Send + '_, ClusterError> {
        let mut fold = Fold::new(run);
        self.look(run).await?.into_iter().for_each(|change| fold.apply(change));
        let pod = match (fold.job(), fold.pod(rank)) {
            (None, _) => return Err(self.no_such_run(run).await),
            (_, None) => {
                let message = "it has no pod".to_owned();
                return Err(self.error(Cause::NoContainer { run: run.to_owned(), rank, message }));
            }
            (_, Some(pod)) => pod.name_any(),
        };
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            follow: range.follow,
            timestamps: range.timestamps,
            ..LogParams::default()
        };
        let reader = self.ask("read the log", |client| {
            let (api, pod, params) = (kube::Api::<Pod>::namespaced(client, self.namespace()), &pod, &params);
            async move { api.log_stream(pod, params).await }
        });
        let reader = reader.await.map_err(|error| self.not_started(run, rank, error))?;
        Ok(stream::unfold(Some(Box::pin(reader)), |reader| async {
            let mut reader = reader?;
            let mut piece = vec![0; PIECE];
            match reader.read(&mut piece).await {
                Ok(0) => None,
                Ok(len) => {
                    piece.truncate(len);
                    Some((Ok(Bytes::from(piece)), Some(reader)))
                }
                Err(error) => Some((Err(self.classify("read the log", kube::Error::ReadEvents(error))), None)),
            }
        }))
    }

    /// A container that waits has no log yet: the server calls that a bad request.
    fn not_started(&self, run: &str, rank: u32, error: ClusterError) -> ClusterError {
        match error.cause() {
            Cause::Answer { code: 400, message, .. } => {
                self.error(Cause::NoContainer { run: run.to_owned(), rank, message: message.clone() })
            }
            _ => error,
        }
    }
}
