//! The trunk: one connection of the workstation's that leads to all ranks. It speaks HTTP/2; each rank is the target of a
//! `CONNECT` (RFC 9113, section 8.5), whose stream goes to that rank's control server.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::spawn_local;

use super::admission::Place;
use super::gang::{Purpose, Streams};
use crate::control::trunk;

/// Serves a connection to its end; `led` counts the streams that lead to other ranks.
pub(super) async fn serve(connection: TcpStream, streams: Rc<Streams>, led: watch::Sender<usize>, place: Place) {
    let place = Cell::new(Some(place));
    let service = service_fn(move |request| {
        // Who asks for something is in.
        drop(place.take());
        let (streams, led) = (Rc::clone(&streams), led.clone());
        async move { Ok::<_, Infallible>(answer(request, &streams, led).await) }
    });
    let serving = http2::Builder::new(OnThisThread)
        .timer(TokioTimer::new())
        .keep_alive_interval(trunk::KEEP_ALIVE)
        .keep_alive_timeout(trunk::KEEP_ALIVE_LIMIT)
        .max_concurrent_streams(trunk::MOST_STREAMS)
        .initial_stream_window_size(trunk::STREAM_WINDOW)
        .initial_connection_window_size(trunk::CONNECTION_WINDOW)
        .serve_connection(TokioIo::new(connection), service);
    // A workstation that went away is none of the rank's troubles.
    let _ = serving.await;
}

/// Leads to the rank that is asked for, or says why not.
async fn answer(request: Request<Incoming>, streams: &Streams, led: watch::Sender<usize>) -> Response<Full<Bytes>> {
    let rank = request.uri().authority().and_then(|target| trunk::rank_of(target.as_str()));
    let Some(rank) = rank.filter(|_| request.method() == Method::CONNECT) else {
        return refused(StatusCode::BAD_REQUEST, "there are only ranks here".to_owned());
    };
    let mut stream = match streams.open(rank, Purpose::Control).await {
        Ok(stream) => stream,
        Err(reason) => return refused(StatusCode::BAD_GATEWAY, reason),
    };
    let away = usize::from(!streams.is_own(rank));
    spawn_local(async move {
        led.send_modify(|count| *count += away);
        if let Ok(upgraded) = hyper::upgrade::on(request).await {
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(upgraded), &mut stream).await;
        }
        led.send_modify(|count| *count -= away);
    });
    Response::new(Full::default())
}

fn refused(status: StatusCode, reason: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(reason));
    *response.status_mut() = status;
    response
}

/// Runs what belongs to a connection on the thread that the supervisor has.
#[derive(Clone, Copy)]
struct OnThisThread;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for OnThisThread {
    fn execute(&self, future: F) {
        spawn_local(future);
    }
}
