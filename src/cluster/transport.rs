//! The HTTP client to an API server.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use tokio::net::TcpStream;
use tower::retry::RetryLayer;
use tower::{BoxError, Service, ServiceBuilder};

/// How long a connection waits for another request: after a while without one nobody knows whether it is still alive.
const IDLE: Duration = Duration::from_secs(3);
/// How often a silent connection is proved alive: a watch may have nothing to say for hours, and networks forget connections
/// on which nothing moves, without a word to either side.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// As kube makes its clients, but for three settings. Sockets do not keep small writes back: a request with a body is two of
/// them, and would wait for 40 ms each time (kube's issue 2056). Connections that are not used are closed soon: one that the
/// network has forgotten would swallow the request that is to find that out. Those that are used are kept alive.
pub(super) fn client(config: Config) -> kube::Result<Client> {
    let connector = config.rustls_https_connector_with_connector(Connector::new(&config)?)?;
    let http: HttpClient<_, Body> = HttpClient::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.default_retry.then(|| RetryLayer::new(RetryPolicy::server_retry())))
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(ClientBuilder::new(service, config.default_namespace).build())
}

/// Makes connections, straight or through the kubeconfig's proxy.
#[derive(Clone)]
struct Connector {
    direct: HttpConnector,
    proxy: Option<Tunnel<HttpsConnector<HttpConnector>>>,
}

impl Connector {
    fn new(config: &Config) -> kube::Result<Self> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        direct.set_nodelay(true);
        direct.set_keepalive(Some(KEEP_ALIVE));
        direct.set_keepalive_interval(Some(KEEP_ALIVE));
        direct.set_keepalive_retries(Some(2));
        direct.set_connect_timeout(config.connect_timeout);
        let Some(proxy_url) = &config.proxy_url else { return Ok(Self { direct, proxy: None }) };
        let matcher = Matcher::builder().all(proxy_url.to_string()).build();
        let intercept = matcher.intercept(&config.cluster_url);
        let intercept = intercept.filter(|it| matches!(it.uri().scheme_str(), Some("http" | "https")));
        let Some(intercept) = intercept else {
            return Err(kube::Error::ProxyProtocolUnsupported { proxy_url: Box::new(proxy_url.clone()) });
        };
        let to_proxy = config.rustls_https_connector_with_connector(direct.clone())?;
        let mut proxy = Tunnel::new(intercept.uri().clone(), to_proxy);
        if let Some(login) = intercept.basic_auth() {
            proxy = proxy.with_auth(login.clone());
        }
        Ok(Self { direct, proxy: Some(proxy) })
    }
}

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.proxy {
            Some(proxy) => proxy.poll_ready(context).map_err(Into::into),
            None => self.direct.poll_ready(context).map_err(Into::into),
        }
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        if let Some(proxy) = &mut self.proxy {
            let connecting = proxy.call(to);
            return Box::pin(async move { Ok(connecting.await?) });
        }
        let connecting = self.direct.call(to);
        Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
    }
}
