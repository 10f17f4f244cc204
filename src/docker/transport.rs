//! One connection per request, over a socket, TCP or TLS: bollard's requests and our own use the same.
//!
//! Its own connector instead of bollard's because a refused or forbidden connection must be told apart, a context's
//! TLS files are not environment variables, and BuildKit's session needs the raw upgraded stream.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use bollard::BollardRequest;
use bollard::errors::Error as BollardError;
use futures::TryStreamExt;
use http::{HeaderValue, Response, StatusCode, Uri, header};
use http_body_util::{BodyDataStream, BodyExt};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};
use tokio_util::io::StreamReader;

use super::endpoint::{Address, Endpoint, TlsFiles};
use super::error::DockerError;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A byte stream to the engine.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Makes connections to one engine.
pub(super) struct Transport {
    endpoint: Endpoint,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// Minor version of the API to speak; 0 before it is agreed on.
    api: AtomicU16,
}

impl Transport {
    pub(super) fn new(endpoint: Endpoint) -> Result<Self, DockerError> {
        let tls = match endpoint.address() {
            Address::Tcp { host, tls: Some(files), .. } => {
                let failed = |source| DockerError::Tls { endpoint: endpoint.clone(), source };
                let name = ServerName::try_from(host.clone()).map_err(|e| failed(e.into()))?;
                Some((tls_connector(files).map_err(failed)?, name))
            }
            _ => None,
        };
        Ok(Self { endpoint, tls, api: AtomicU16::new(0) })
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// From now on, requests name version 1.`minor` of the API.
    pub(super) fn speak(&self, minor: u16) {
        self.api.store(minor, Ordering::Relaxed);
    }

    /// Sends one request over a connection of its own.
    ///
    /// Whoever drops the response (or this future) closes the connection, and with it ends what the engine does.
    pub(super) async fn send(&self, request: BollardRequest) -> Result<Response<Incoming>, BollardError> {
        let request = self.addressed(request)?;
        let stream = self.connect().await?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // The connection's own task ends with the connection: its handles are the response's body or upgraded stream.
        tokio::spawn(connection.with_upgrades());
        Ok(sender.send_request(request).await?)
    }

    /// Sends a request that turns its connection into a byte stream; `None` when the engine will not.
    pub(super) async fn upgrade(&self, request: BollardRequest) -> Result<Option<impl Stream + use<>>, BollardError> {
        let response = self.send(request).await?;
        match response.status() {
            StatusCode::SWITCHING_PROTOCOLS => Ok(Some(TokioIo::new(hyper::upgrade::on(response).await?))),
            _ => Ok(None),
        }
    }

    /// The request in the form that goes over the wire: only the path, with the version before it.
    fn addressed(&self, mut request: BollardRequest) -> Result<BollardRequest, BollardError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let uri: Uri = match self.api.load(Ordering::Relaxed) {
            0 => path.parse()?,
            minor => format!("/v1.{minor}{path}").parse()?,
        };
        *request.uri_mut() = uri;
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("docker"));
        Ok(request)
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        match tokio::time::timeout(CONNECT_TIMEOUT, self.open()).await {
            Ok(stream) => stream,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 seconds")),
        }
    }

    async fn open(&self) -> io::Result<Box<dyn Stream>> {
        match self.endpoint.address() {
            Address::Unix(path) => Ok(Box::new(UnixStream::connect(path).await?)),
            Address::Tcp { host, port, .. } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await?;
                stream.set_nodelay(true)?;
                match &self.tls {
                    Some((connector, name)) => Ok(Box::new(connector.connect(name.clone(), stream).await?)),
                    None => Ok(Box::new(stream)),
                }
            }
        }
    }
}

type BoxedError = Box<dyn std::error::Error + Send + Sync>;

fn tls_connector(files: &TlsFiles) -> Result<TlsConnector, BoxedError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut roots = rustls::RootCertStore::empty();
    // Like the docker command: a given authority replaces the system's.
    match &files.ca {
        Some(path) => {
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = builder.with_root_certificates(roots);
    let config = match &files.client {
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|e| unreadable(key, &e))?;
            builder.with_client_auth_cert(certificates(certificate)?, key)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(TlsConnector::from(Arc::new(config)))
}

fn certificates(path: &std::path::Path) -> Result<Vec<CertificateDer<'static>>, BoxedError> {
    CertificateDer::pem_file_iter(path).and_then(Iterator::collect).map_err(|e| unreadable(path, &e))
}

fn unreadable(path: &std::path::Path, error: &rustls::pki_types::pem::Error) -> BoxedError {
    format!("`{}`: {error}", path.display()).into()
}

/// The whole body of a response, for answers that are small.
pub(super) async fn text(response: Response<Incoming>) -> String {
    let bytes = response.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The longest line that an engine says, in bytes; what is longer is no engine's.
const MAX_LINE: usize = 64 * 1024 * 1024;

/// The lines of a response, as they come.
pub(super) fn lines(
    response: Response<Incoming>,
) -> impl futures::Stream<Item = Result<String, LinesCodecError>> + Send {
    let body = BodyDataStream::new(response.into_body()).map_err(io::Error::other);
    FramedRead::new(StreamReader::new(body), LinesCodec::new_with_max_length(MAX_LINE))
}
