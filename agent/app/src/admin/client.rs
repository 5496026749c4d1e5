//! Asks a running agent at its admin address.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::place::Place;

/// From the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The agent itself answers after a minute.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(65);
/// The ledger of a thousand pipelines has less.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;

/// The body at `path` of the agent at `address` (`http://IP:PORT`). Blocks. An error says what failed.
pub fn get(address: &str, path: &str) -> Result<Vec<u8>, String> {
    let request = Request::get(path).body(Full::default());
    match exchange(address, request, TIMEOUT)? {
        (StatusCode::OK, body) => Ok(body),
        (status, _) => Err(format!("it answers {status}")),
    }
}

/// What is answered to JSON sent to `path` of an agent that wants to be shown its token. Blocks. An error says what
/// failed, in the agent's own words where it has some.
pub fn post(place: &Place, path: &str, json: Vec<u8>) -> Result<Vec<u8>, String> {
    let request = Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {}", place.token))
        .body(Full::from(json));
    in_its_words(exchange(&place.address, request, TIMEOUT)?)
}

/// The body at `path` of an agent that wants to be shown its token. Blocks. An error says what failed, in the agent's own
/// words where it has some.
pub fn get_trusted(place: &Place, path: &str) -> Result<Vec<u8>, String> {
    let token = format!("Bearer {}", place.token);
    let request = Request::get(path).header(header::AUTHORIZATION, token).body(Full::default());
    in_its_words(exchange(&place.address, request, TIMEOUT)?)
}

/// Asks for a reload, and waits for what becomes of it: whether it was refused, and the answer. Blocks.
pub fn reload(address: &str) -> Result<(bool, Vec<u8>), String> {
    let request = Request::post("/api/reload").body(Full::default());
    let (status, body) = exchange(address, request, RELOAD_TIMEOUT)?;
    Ok((status == StatusCode::OK, body))
}

fn in_its_words((status, body): (StatusCode, Vec<u8>)) -> Result<Vec<u8>, String> {
    match status {
        StatusCode::OK => Ok(body),
        status if body.is_empty() => Err(format!("it answers {status}")),
        _ => Err(String::from_utf8_lossy(&body).trim_end().to_owned()),
    }
}

fn exchange(
    address: &str,
    request: Result<Request<Full<Bytes>>, axum::http::Error>,
    patience: Duration,
) -> Result<(StatusCode, Vec<u8>), String> {
    let mut request = request.map_err(|error| error.to_string())?;
    let socket: SocketAddr = address
        .strip_prefix("http://")
        .and_then(|socket| socket.parse().ok())
        .ok_or_else(|| "not an address".to_owned())?;
    let host = HeaderValue::try_from(socket.to_string()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let asked = tokio::time::timeout(patience, ask(socket, request)).await;
        asked.unwrap_or_else(|_| Err(format!("no answer within {} s", patience.as_secs())))
    })
}

async fn ask(socket: SocketAddr, request: Request<Full<Bytes>>) -> Result<(StatusCode, Vec<u8>), String> {
    let stream = TcpStream::connect(socket).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        body.map(|body| (status, body.to_bytes().to_vec())).map_err(|error| error.to_string())
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
