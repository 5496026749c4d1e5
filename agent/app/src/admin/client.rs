//! Asks a running agent at its admin address.

use std::net::SocketAddr;
use std::ops::ControlFlow;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::signal::unix::{SignalKind, signal};

use super::place::Place;
use super::replay::Taken;

/// From the connection to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The agent itself answers after a minute.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(65);
/// An answer that goes on says something at least every five seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// A disk that writes what is to be safe may take its time.
const REPLAY_TIMEOUT: Duration = Duration::from_secs(60);
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
    in_its_words(exchange(&place.address, to_trusting(place, path, json), TIMEOUT)?)
}

/// Brings lines of an archive to an agent: whether it took them. Blocks. An error says what failed, in the agent's own
/// words where it has some.
pub fn replay(place: &Place, path: &str, lines: Vec<u8>) -> Result<Taken, String> {
    match exchange(&place.address, to_trusting(place, path, lines), REPLAY_TIMEOUT)? {
        (StatusCode::TOO_MANY_REQUESTS, _) => Ok(Taken::Full),
        answer => in_its_words(answer).map(|_| Taken::Safe),
    }
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
    let (socket, request) = prepared(address, request)?;
    runtime()?.block_on(async {
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

/// What became of following an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// The agent ended it.
    Ended,
    /// Whoever was told had enough.
    Enough,
    /// SIGINT or SIGTERM.
    Interrupted,
}

/// Tells `each` line of an answer that goes on, to JSON sent to `path` of an agent that wants to be shown its token.
/// Blocks. An error says what failed, in the agent's own words where it has some.
pub fn follow(
    place: &Place,
    path: &str,
    json: Vec<u8>,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Followed, String> {
    let (socket, request) = prepared(&place.address, to_trusting(place, path, json))?;
    runtime()?.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        tokio::select! {
            followed = follow_lines(socket, request, each) => followed,
            _ = tokio::signal::ctrl_c() => Ok(Followed::Interrupted),
            _ = terminate.recv() => Ok(Followed::Interrupted),
        }
    })
}

async fn follow_lines(
    socket: SocketAddr,
    request: Request<Full<Bytes>>,
    each: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<Followed, String> {
    let silence = |_| format!("it says nothing for {} s", SILENCE.as_secs());
    let connected = tokio::time::timeout(TIMEOUT, TcpStream::connect(socket)).await.map_err(silence)?;
    let stream = connected.map_err(|error| error.to_string())?;
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
    // Ends with the runtime, which ends with what is followed.
    tokio::spawn(connection);
    let answered = tokio::time::timeout(TIMEOUT, sender.send_request(request)).await.map_err(silence)?;
    let response = answered.map_err(|error| error.to_string())?;
    let status = response.status();
    let mut body = response.into_body();
    if status != StatusCode::OK {
        let said = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&said.to_bytes()).trim_end().to_owned();
        return Err(if said.is_empty() { format!("it answers {status}") } else { said });
    }
    let mut rest: Vec<u8> = Vec::new();
    while let Some(frame) = tokio::time::timeout(SILENCE, body.frame()).await.map_err(silence)? {
        let Ok(data) = frame.map_err(|error| error.to_string())?.into_data() else { continue };
        rest.extend_from_slice(&data);
        let mut begin = 0;
        while let Some(length) = rest.get(begin..).and_then(|rest| rest.iter().position(|b| *b == b'\n')) {
            let line = rest.get(begin..begin + length).unwrap_or_default();
            begin += length + 1;
            if each(line).is_break() {
                return Ok(Followed::Enough);
            }
        }
        rest.drain(..begin);
        if rest.len() > MAX_ANSWER_BYTES {
            return Err(format!("a line of its answer has more than {MAX_ANSWER_BYTES} bytes"));
        }
    }
    Ok(Followed::Ended)
}

fn to_trusting(place: &Place, path: &str, json: Vec<u8>) -> Result<Request<Full<Bytes>>, axum::http::Error> {
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::AUTHORIZATION, format!("Bearer {}", place.token))
        .body(Full::from(json))
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())
}

fn prepared(
    address: &str,
    request: Result<Request<Full<Bytes>>, axum::http::Error>,
) -> Result<(SocketAddr, Request<Full<Bytes>>), String> {
    let mut request = request.map_err(|error| error.to_string())?;
    let socket: SocketAddr = address
        .strip_prefix("http://")
        .and_then(|socket| socket.parse().ok())
        .ok_or_else(|| "not an address".to_owned())?;
    let host = HeaderValue::try_from(socket.to_string()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(header::HOST, host);
    Ok((socket, request))
}
