//! Asks a running agent at its admin address.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// From the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The ledger of a thousand pipelines has less.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The body at `path` of the agent at `address` (`http://IP:PORT`). Blocks. An error says what failed.
pub fn get(address: &str, path: &str) -> Result<Vec<u8>, String> {
    let socket: SocketAddr = address
        .strip_prefix("http://")
        .and_then(|socket| socket.parse().ok())
        .ok_or_else(|| "not an address".to_owned())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let asked = tokio::time::timeout(TIMEOUT, ask(socket, path)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {} s", TIMEOUT.as_secs())))
    })
}

async fn ask(socket: SocketAddr, path: &str) -> Result<Vec<u8>, String> {
    let stream = TcpStream::connect(socket).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let exchange = async {
        let request = Request::get(path).header(header::HOST, socket.to_string()).body(Body::empty());
        let request = request.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        if response.status() != StatusCode::OK {
            return Err(format!("it answers {}", response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        body.map(|body| body.to_bytes().to_vec()).map_err(|error| error.to_string())
    };
    // The connection is driven here and ends with the exchange.
    tokio::pin!(connection);
    tokio::pin!(exchange);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            Ok(()) => exchange.await,
            Err(error) => Err(error.to_string()),
        },
    }
}
