//! `POST /api/replay/SINK`: takes events of an archive, as its lines, into the buffer of a sink; for those only who may read
//! the agent's data folder.
//!
//! 1. What was answered with 200 is on the disk of the buffer, and a checkpoint on disk names it.
//! 2. An event goes to the index that its stream and time give it, as when it was read: what the stream was stands in the
//!    envelope of its document.
//! 3. The ledger counts the events as created, in the account of the pipeline [`PIPELINE`].

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use axum::{Extension, Json, Router};
use serde::Deserialize;
use serde::de::IgnoredAny;
use weir_archive::line::Line;
use weir_buffer::memory::{MemoryTier, PutBackError};
use weir_buffer::segment::{Documents, Record, Route};
use weir_event::stream::{Attributes, Stream};
use weir_pipeline::checkpoint::Checkpoints;

use super::Token;
use super::buffers::{Changed, MAX_BODY_BYTES};
use super::routes::off_the_reactor;
use super::trusted::Trusted;
use crate::state::AgentState;

/// In whose account the events are.
const PIPELINE: &str = "archive-replay";

/// What became of events that were sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// They are safe.
    Safe,
    /// The buffer had no room for them.
    Full,
}

/// Where the events go, and what makes them safe.
struct Target {
    buffer: Arc<MemoryTier>,
    route: Option<Arc<dyn Route>>,
    checkpoints: Arc<Checkpoints>,
}

/// Where an event came from, as its document says.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope<'a> {
    #[serde(borrow)]
    cluster: Cow<'a, str>,
    #[serde(borrow)]
    node: Cow<'a, str>,
    #[serde(borrow)]
    kubernetes: Kubernetes<'a>,
    #[serde(borrow)]
    stream: Cow<'a, str>,
    #[serde(borrow)]
    log: Log<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Kubernetes<'a> {
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    pod: Cow<'a, str>,
    #[serde(borrow)]
    container: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Log<'a> {
    #[serde(borrow)]
    file: LogFile<'a>,
    #[serde(borrow)]
    tag: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct LogFile<'a> {
    #[serde(borrow)]
    path: Cow<'a, str>,
}

/// The path for a sink.
pub fn path_of(sink: &str) -> String {
    format!("/api/replay/{sink}")
}

/// The paths.
pub fn routes(token: Token) -> Router<Arc<AgentState>> {
    Router::new()
        .route("/api/replay/{sink}", post(replay))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(Extension(token))
}

/// 200 with how much was taken; 429 while the buffer is full; 422 for what is no line of an archive; 409 for a sink that
/// cannot take any; 503 when it could not be made safe.
async fn replay(
    _: Trusted,
    State(state): State<Arc<AgentState>>,
    Path(sink): Path<String>,
    lines: Bytes,
) -> Response {
    let view = state.view();
    let buffer = view.sinks.iter().find(|(name, ..)| *name == sink).map(|(_, _, buffer)| Arc::clone(buffer));
    let Some(buffer) = buffer else {
        return (StatusCode::NOT_FOUND, format!("no sink is called {sink:?}\n")).into_response();
    };
    let Some(checkpoints) = state.checkpoints().cloned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the agent starts; ask again later\n").into_response();
    };
    let route = view.opensearch.iter().find(|(name, _)| *name == sink);
    let route = route.map(|(_, view)| Arc::clone(&view.route) as Arc<dyn Route>);
    let target = Target { buffer, route, checkpoints };
    match off_the_reactor(move || target.take(&lines)).await {
        Ok(Ok(changed)) => Json(changed).into_response(),
        Ok(Err((status, reason))) => (status, reason + "\n").into_response(),
        Err(status) => status.into_response(),
    }
}

// === impl Target ===

impl Target {
    /// Puts the events of these lines into the buffer; returns when they are safe. Blocks.
    fn take(&self, lines: &[u8]) -> Result<Changed, (StatusCode, String)> {
        let documents = documents(lines).map_err(|reason| (StatusCode::UNPROCESSABLE_ENTITY, reason))?;
        if documents.records.is_empty() {
            return Ok(Changed::default());
        }
        let targets = self.route.as_ref().map(|route| route.route(&documents)).unwrap_or_default();
        let amount = self.buffer.put_back(PIPELINE, documents, targets).map_err(|error| {
            let status = match error {
                PutBackError::Full => StatusCode::TOO_MANY_REQUESTS,
                PutBackError::NoDisk => StatusCode::CONFLICT,
                PutBackError::NotStored => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, error.to_string())
        })?;
        // On the disk they are; what no checkpoint names is not read from there.
        let saved = self.checkpoints.save();
        saved.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
        Ok(Changed { amount })
    }
}

/// The documents of lines of an archive. An error says which line is none.
fn documents(lines: &[u8]) -> Result<Documents, String> {
    let mut documents = Documents::default();
    let mut last = None;
    for (number, line) in lines.split(|byte| *byte == b'\n').enumerate().filter(|(_, line)| !line.is_empty())
    {
        let wrong = || format!("line {} is none of an archive", number + 1);
        let Line { id, time, document } = Line::parse(line).ok_or_else(wrong)?;
        let attributes = attributes(document).ok_or_else(wrong)?;
        let stream = stream(&mut documents.streams, &mut last, attributes);
        documents.ndjson.extend_from_slice(document);
        let too_much = |_| "there is too much at once".to_owned();
        let end = u32::try_from(documents.ndjson.len()).map_err(too_much)?;
        let bytes = u32::try_from(document.len()).map_err(too_much)?;
        documents.ndjson.push(b'\n');
        documents.records.push(Record { id, time, stream, bytes, end });
    }
    Ok(documents)
}

/// The index of the stream with these attributes, most often the last one.
fn stream(streams: &mut Vec<Arc<Stream>>, last: &mut Option<u32>, attributes: Attributes) -> u32 {
    let is_it =
        |index: &u32| streams.get(*index as usize).is_some_and(|stream| *stream.attributes() == attributes);
    let known = last.filter(is_it).or_else(|| (0..streams.len() as u32).find(is_it));
    let index = known.unwrap_or_else(|| {
        streams.push(Stream::new(attributes, 0));
        (streams.len() - 1) as u32
    });
    *last = Some(index);
    index
}

/// What a document says of where it came from; nothing where a plugin has changed that. `None` for what is no JSON object.
fn attributes(document: &[u8]) -> Option<Attributes> {
    if !document.starts_with(b"{") {
        return None;
    }
    let envelope = match serde_json::from_slice::<Envelope<'_>>(document) {
        Ok(envelope) => envelope,
        Err(_) => {
            serde_json::from_slice::<IgnoredAny>(document).ok()?;
            Envelope::default()
        }
    };
    let Envelope { cluster, node, kubernetes, stream, log } = envelope;
    Some(Attributes {
        source: String::new(),
        cluster: cluster.into_owned(),
        node: node.into_owned(),
        namespace: kubernetes.namespace.into_owned(),
        pod: kubernetes.pod.into_owned(),
        container: kubernetes.container.into_owned(),
        uid: kubernetes.uid.into_owned(),
        stream: stream.into_owned(),
        path: log.file.path.into_owned(),
        tag: log.tag.into_owned(),
        family: None,
    })
}

#[cfg(test)]
mod tests {
    use weir_buffer::ack::Acknowledge;
    use weir_buffer::disk::Unnamed;
    use weir_buffer::disk::filesystem::OperatingSystem;
    use weir_buffer::ledger::{Amount, Ledger};
    use weir_buffer::memory::{Disk, DiskSettings};
    use weir_event::identity::EventId;
    use weir_event::name_template::NameTemplate;
    use weir_opensearch::IndexRoute;

    use super::*;

    fn line(number: u8, document: &str) -> Vec<u8> {
        let mut out = Vec::new();
        Line { id: EventId([number; 20]), time: i64::from(number), document: document.as_bytes() }
            .write(&mut out);
        out
    }

    #[test]
    fn documents_come_back_with_where_they_came_from() {
        let shop = r#"{"@timestamp":"2023-11-14T22:13:20Z","cluster":"c","node":"n","kubernetes":{"namespace":"shop","pod":"cart-1","container":"app","uid":"u"},"stream":"stdout","log":{"file":{"path":"/a"},"offset":7},"level":"info"}"#;
        let other = r#"{"@timestamp":"2023-11-14T22:13:20Z","cluster":"c","node":"n","log":{"tag":"t","offset":7},"a":"\u0041"}"#;
        let lines = [line(1, shop), line(2, other), line(3, shop)].concat();
        let documents = documents(&lines).unwrap();
        let streams: Vec<u32> = documents.records.iter().map(|record| record.stream).collect();
        assert_eq!(streams, [0, 1, 0]);
        let of = |index: usize| documents.streams[index].attributes().clone();
        let expected = Attributes {
            cluster: "c".into(),
            node: "n".into(),
            namespace: "shop".into(),
            pod: "cart-1".into(),
            container: "app".into(),
            uid: "u".into(),
            stream: "stdout".into(),
            path: "/a".into(),
            ..Attributes::default()
        };
        assert_eq!(of(0), expected);
        let expected =
            Attributes { cluster: "c".into(), node: "n".into(), tag: "t".into(), ..Attributes::default() };
        assert_eq!(of(1), expected);
        let documents: Vec<&[u8]> = documents.iter().map(|(_, document)| document).collect();
        assert_eq!(documents, [shop.as_bytes(), other.as_bytes(), shop.as_bytes()]);
    }

    /// A sink's buffer with a disk in this folder, and where it is noted what lies there.
    fn target(folder: &std::path::Path, ledger: &Arc<Ledger>, memory: u64) -> Target {
        let checkpoints = Arc::new(Checkpoints::open(folder).unwrap());
        let settings = DiskSettings {
            sink: "search".to_owned(),
            folder: folder.join("buffer/search"),
            bound: 64 << 20,
            unnamed: Unnamed::Remove,
            next_file: checkpoints.next_file("search"),
        };
        let direct = Arc::clone(&checkpoints) as Arc<dyn Acknowledge>;
        let stored = checkpoints.stored("search");
        let disk = Disk::open(&settings, stored, ledger, direct, Arc::new(OperatingSystem)).unwrap();
        let buffer = MemoryTier::new(memory, Arc::clone(ledger));
        buffer.put_disk(disk);
        let template = NameTemplate::parse("logs-{namespace}-%Y").unwrap();
        Target { buffer, route: Some(Arc::new(IndexRoute::new(template, 10))), checkpoints }
    }

    #[tokio::test]
    async fn what_was_answered_survives_a_kill_and_goes_where_it_belongs() {
        let folder = tempfile::tempdir().unwrap();
        let document = |namespace: &str| format!(r#"{{"kubernetes":{{"namespace":"{namespace}"}}}}"#);
        let lines = [line(1, &document("shop")), line(2, &document("bank"))].concat();
        let ledger = Arc::<Ledger>::default();
        let changed = target(folder.path(), &ledger, 1 << 20).take(&lines).unwrap();
        let expected = Amount { events: 2, bytes: 2 * document("shop").len() as u64 };
        assert_eq!(changed.amount, expected);
        let account = ledger.account(PIPELINE, "search");
        assert_eq!((account.counts().read, account.counts().created), (Amount::default(), expected));

        // Nothing but what is on disk is left; the checkpoint was not written for any other cause.
        let again = target(folder.path(), &Arc::default(), 1 << 20);
        let stored = again.checkpoints.stored("search");
        let noted: u64 = stored.values().map(|file| file.accounts[PIPELINE].events).sum();
        assert_eq!(noted, 2);
        let mut found = Vec::new();
        while found.len() < 2 {
            let lease = again.buffer.take().await.unwrap();
            for (index, (record, document)) in lease.documents().iter().enumerate() {
                let name = lease.targets().name(index).unwrap().to_string();
                found.push((record.time, name, String::from_utf8(document.to_vec()).unwrap()));
            }
            lease.delivered();
        }
        found.sort();
        let expected = [
            (1, "logs-shop-1970".to_owned(), document("shop")),
            (2, "logs-bank-1970".to_owned(), document("bank")),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_full_buffer_is_told_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let large = line(1, &format!(r#"{{"a":"{}"}}"#, "x".repeat(10_000)));
        let small = target(folder.path(), &Arc::default(), 1 << 10);
        assert!(small.buffer.reserve(1 << 10));
        let full = small.take(&large).unwrap_err();
        assert_eq!(full.0, StatusCode::TOO_MANY_REQUESTS, "{}", full.1);
        let target = target(&folder.path().join("other"), &Arc::default(), 1 << 20);
        let without_disk = Target { buffer: MemoryTier::new(1 << 20, Arc::default()), ..target };
        assert_eq!(without_disk.take(&large).unwrap_err().0, StatusCode::CONFLICT);
    }

    #[test]
    fn what_is_no_line_is_named() {
        let good = line(1, "{}");
        let cases: [(&[u8], &str); 4] = [
            (b"{}", "line 1 is none"),
            (&[&good[..], b"x\n"].concat(), "line 2 is none"),
            (&line(1, "[]"), "line 1 is none"),
            (&line(1, "{\"a\":}"), "line 1 is none"),
        ];
        for (lines, expected) in cases {
            let error = documents(lines).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        assert_eq!(documents(b"\n").unwrap().records.len(), 0);
        // An envelope that a plugin has changed names no stream.
        assert_eq!(attributes(b"{\"kubernetes\":5}"), Some(Attributes::default()));
    }
}
