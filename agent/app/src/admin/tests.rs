//! The admin address over a real connection.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use super::*;
use crate::test_agent;

/// Opens the address of an agent, asks, and closes it.
fn with_admin(ask: impl FnOnce(&str, &AgentState) + Send + 'static) {
    let folder = tempfile::tempdir().unwrap();
    let state = Arc::new(test_agent::state());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async {
        let listen = "127.0.0.1:0".parse().unwrap();
        let admin = start(listen, folder.path(), Arc::clone(&state)).await.unwrap();
        let address = place::read(folder.path()).unwrap();
        tokio::task::spawn_blocking(move || ask(&address, &state)).await.unwrap();
        admin.stop().await;
        assert_eq!(place::read(folder.path()), None);
    });
}

/// Everything that comes back for these bytes until the other side closes.
fn converse(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address.strip_prefix("http://").unwrap()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn get(address: &str, path: &str) -> String {
    converse(address, &format!("GET {path} HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n"))
}

#[test]
fn readiness_follows_the_agent() {
    with_admin(|address, state| {
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 OK"));
        let starting = get(address, "/readyz");
        assert!(starting.starts_with("HTTP/1.1 503 ") && starting.contains("starting"), "{starting}");
        state.readiness.set_ready();
        assert!(get(address, "/readyz").starts_with("HTTP/1.1 200 OK"));
        state.readiness.set_draining();
        let draining = get(address, "/readyz");
        assert!(draining.starts_with("HTTP/1.1 503 ") && draining.contains("draining"), "{draining}");
    });
}

#[test]
fn metrics_have_their_type() {
    with_admin(|address, _| {
        let answer = get(address, "/metrics");
        assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
        assert!(answer.contains("\nweir_ready 0\n"), "{answer}");
    });
}

#[test]
fn the_ledger_is_what_the_client_reads() {
    with_admin(|address, state| {
        let body = client::get(address, "/api/ledger").unwrap();
        let answer: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(answer, serde_json::json!({ "accounts": state.ledger.statements() }));
        assert_eq!(answer["accounts"][0]["read"]["events"], 10);
    });
}

#[test]
fn an_agent_that_does_not_reload_says_so_and_browsers_are_refused() {
    with_admin(|address, _| {
        let generation = get(address, "/api/generation");
        assert!(generation.contains(r#""generation":1,"#), "{generation}");
        assert!(generation.contains(r#""last_reload":null"#), "{generation}");
        let post = |header: &str| {
            let head =
                "POST /api/reload HTTP/1.1\r\nhost: weir\r\nconnection: close\r\ncontent-length: 0\r\n";
            converse(address, &format!("{head}{header}\r\n"))
        };
        let answer = post("");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains(r#""generation":1,"#), "{answer}");
        assert!(post("origin: http://elsewhere\r\n").starts_with("HTTP/1.1 403 "));
    });
}

#[test]
fn the_page_shows_the_parts_and_runs_nothing() {
    with_admin(|address, _| {
        let page = get(address, "/");
        assert!(page.contains("content-security-policy: default-src 'none'"), "{page}");
        for part in ["app-logs", "pods", "local", "sampler.debug", "guest", "http-equiv=refresh"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script"), "{page}");
    });
}

#[test]
fn what_is_not_there_and_what_is_not_asked_is_refused() {
    with_admin(|address, _| {
        assert!(get(address, "/nothing").starts_with("HTTP/1.1 404 "));
        let posted =
            "POST /api/ledger HTTP/1.1\r\nhost: weir\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert!(converse(address, posted).starts_with("HTTP/1.1 405 "));
        let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "x".repeat(100_000));
        assert!(converse(address, &long).starts_with("HTTP/1.1 431 "));
        assert!(converse(address, "hello\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(get(address, "/healthz").starts_with("HTTP/1.1 200 OK"));
        assert!(client::get(address, "/nothing").unwrap_err().contains("404"));
    });
}

#[test]
fn an_address_that_is_taken_is_told() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let started =
        runtime.block_on(start(taken.local_addr().unwrap(), folder.path(), Arc::new(test_agent::state())));
    let error = started.unwrap_err().to_string();
    assert!(error.contains("another program listens there"), "{error}");
    assert_eq!(place::read(folder.path()), None);
}

#[test]
fn nobody_there_is_told() {
    for (address, expected) in
        [("http://127.0.0.1:1", "refused"), ("ftp://x", "not an address"), ("", "not an address")]
    {
        let error = client::get(address, "/").unwrap_err();
        assert!(error.contains(expected), "{address}: {error}");
    }
}
