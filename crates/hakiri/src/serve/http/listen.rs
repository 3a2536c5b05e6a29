//! Listening and serving: bounded in connections, time and bytes, with an orderly end.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hakiri_core::codes::Code;
use hakiri_core::secret::Secret;
use hakiri_core::{Error, Result};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use super::{Listening, auth};

/// Connections at once; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 128;
/// How long the head of a request may take to arrive; also how long a connection may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one connection is kept, however busy.
const MAX_AGE: Duration = Duration::from_secs(120);
/// How long requests under way may still take at the end.
const LINGER: Duration = Duration::from_secs(5);
/// Bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 64;

/// Opens the address.
///
/// # Errors
/// `HK1110` for an address that others can reach without a token; `HK1111` for a token that can be guessed; `HK1112` when
/// the address cannot be had.
pub async fn bind(address: SocketAddr, token: Option<&Secret>) -> Result<(TcpListener, Listening)> {
    let loopback = address.ip().to_canonical().is_loopback();
    match token {
        None if !loopback => {
            return Err(Error::new(Code::ServeOpen, format!("{address} can be reached from other machines")));
        }
        Some(token) if token.expose().len() < auth::MIN_TOKEN => {
            return Err(Error::new(
                Code::ServeToken,
                format!("the token has fewer than {} characters", auth::MIN_TOKEN),
            ));
        }
        _ => {}
    }
    let refused = |e: std::io::Error| Error::new(Code::ServeListen, format!("{address}: {e}"));
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let port = listener.local_addr().map_err(refused)?.port();
    Ok((listener, Listening { port, loopback }))
}

/// Serves until `shutdown`, then lets requests under way end.
pub async fn serve(listener: TcpListener, router: Router, shutdown: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(false);
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        let accepted = async {
            // The slot first: a connection that has none is better left with the system.
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        tokio::select! {
            () = &mut shutdown => break,
            (slot, accepted) = accepted => match accepted {
                Ok((stream, _)) => {
                    let (router, stopped) = (router.clone(), stopped.clone());
                    connections.spawn(async move {
                        connection(stream, router, stopped).await;
                        drop(slot);
                    });
                }
                // Out of descriptors, say: not worth ending for, nor worth spinning.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
    drop(listener);
    let _ = stop.send(true);
    let _ = tokio::time::timeout(LINGER, async { while connections.join_next().await.is_some() {} }).await;
}

async fn connection(stream: TcpStream, router: Router, mut stopped: watch::Receiver<bool>) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    tokio::pin!(connection);
    // What goes wrong with a connection is its peer's business.
    tokio::select! {
        _ = connection.as_mut() => return,
        _ = stopped.wait_for(|stop| *stop) => {}
        () = tokio::time::sleep(MAX_AGE) => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(LINGER, connection).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_others_reach_needs_a_token_that_cannot_be_guessed() {
        let open: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let code = |result: Result<(TcpListener, Listening)>| result.map_err(|e| e.code()).err();
        assert_eq!(code(bind(open, None).await), Some(Code::ServeOpen));
        assert_eq!(code(bind("[::ffff:10.0.0.1]:0".parse().unwrap(), None).await), Some(Code::ServeOpen));
        assert_eq!(code(bind(open, Some(&Secret::new("short"))).await), Some(Code::ServeToken));
        let (_, at) = bind("[::ffff:127.0.0.1]:0".parse().unwrap(), None).await.unwrap();
        assert!(at.loopback && at.port != 0);
        let (held, at) = bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        assert_eq!(code(bind(SocketAddr::from(([127, 0, 0, 1], at.port)), None).await), Some(Code::ServeListen));
        drop(held);
    }

    #[tokio::test]
    async fn it_ends_although_someone_keeps_a_connection_open() {
        let (listener, at) = bind("127.0.0.1:0".parse().unwrap(), None).await.unwrap();
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let serving = tokio::spawn(serve(listener, Router::new(), async {
            let _ = ended.await;
        }));
        let idle = TcpStream::connect(("127.0.0.1", at.port)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        end.send(()).unwrap();
        tokio::time::timeout(LINGER, serving).await.unwrap().unwrap();
        drop(idle);
    }
}
