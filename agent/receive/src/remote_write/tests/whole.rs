//! The source over TCP and TLS up to the gate, and from the gate to its batches.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;
use weir_event::batch::{ArenaPool, Batch, MAX_BATCH_BYTES, MAX_ROWS};
use weir_pipeline::checkpoint::{Checkpoints, OnDurable, Progress};
use weir_pipeline::source::{Mode, Outlet, SourceContext, SourceMetrics, Stop, Stopped};
use weir_samples::document::Document;

use super::support::*;
use crate::collect::Collector;
use crate::gate::{Arrived, Gate};
use crate::intake::Intake as _;
use crate::listen::{Door, listen};
use crate::receiver::Protocol as Speaks;
use crate::remote_write::{Auth, Settings};
use crate::tls::{Pem, server_config};

/// A source that listens; what comes through its gate is safe at once, except the first messages.
struct Listening {
    address: SocketAddr,
    gate: Gate,
    metrics: Arc<SourceMetrics>,
    stop: watch::Sender<bool>,
    ended: tokio::task::JoinHandle<()>,
    taken: Arc<AtomicUsize>,
}

async fn start(settings: Settings, tls: Option<Arc<ServerConfig>>, not_safe: usize) -> Listening {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(SourceMetrics::default());
    let gate = Gate::new(4 * LIMIT, None, Arc::clone(&metrics));
    let protocol = Speaks::RemoteWrite(Arc::new(settings));
    let door = Door { protocol, tls, max_connections: 10, gate: gate.clone(), source: "metrics".into() };
    let (stop, stopped) = watch::channel(false);
    let ended = tokio::spawn(listen(listener, Arc::new(door), stopped));
    let taken = Arc::new(AtomicUsize::new(0));
    let (worker, count, closed) = (gate.clone(), Arc::clone(&taken), stop.subscribe());
    std::thread::spawn(move || {
        while !*closed.borrow() {
            let Some(Arrived { duty, .. }) = worker.next(Duration::from_millis(20)) else { continue };
            // What is not released is not safe.
            if count.fetch_add(1, Ordering::Relaxed) >= not_safe {
                duty.release();
            }
        }
    });
    Listening { address, gate, metrics, stop, ended, taken }
}

impl Listening {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn end(self) {
        self.stop.send(true).unwrap();
        self.gate.close();
        self.ended.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_is_sent_again_is_answered_and_taken_once() {
    for protocol in PROTOCOLS {
        let listening = start(settings(), None, 1).await;
        let mut client = Client::new(protocol, listening.connect().await).await;
        assert!(is_unavailable(&client.send(v2(&["up"])).await));
        // It was not safe, so it is taken again; then it is known.
        for _ in 0..3 {
            let answered = client.send(v2(&["up"])).await;
            assert_eq!((is_success(&answered), written(&answered)), (true, Some([1, 0, 0])));
        }
        let receiving = &listening.metrics.receiving;
        let load = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        assert_eq!((load(&receiving.messages), load(&receiving.repeated)), (4, 2));
        assert_eq!(listening.taken.load(Ordering::Relaxed), 2);
        drop(client);
        listening.end().await;
    }
}

#[tokio::test]
async fn samples_come_over_tls_from_who_has_the_password() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = made.cert.pem().into_bytes();
    let key = made.signing_key.serialize_pem().into_bytes();
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(&certificate).unwrap()).unwrap();
    let tls = server_config(&Pem { certificate, key, client_ca: None }, &[b"h2", b"http/1.1"]).unwrap();
    let own = Settings { auth: Some(Auth::basic("weir", "secret")), ..settings() };
    let listening = start(own, Some(tls), 0).await;
    for (protocol, alpn) in [(Protocol::Http1, &b"http/1.1"[..]), (Protocol::Http2, b"h2")] {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut config = builder.with_root_certificates(roots.clone()).with_no_client_auth();
        config.alpn_protocols = vec![alpn.to_vec()];
        let connector = TlsConnector::from(Arc::new(config));
        let connecting = connector.connect("localhost".try_into().unwrap(), listening.connect().await);
        let stream = connecting.await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn));
        let mut client = Client::new(protocol, stream).await;
        assert_eq!(client.send(v1(&["up"])).await.status, 401);
        let mut request = v2(&["up", &String::from_utf8_lossy(alpn)]);
        // weir:secret
        request.headers_mut().insert("authorization", "Basic d2VpcjpzZWNyZXQ=".parse().unwrap());
        assert!(is_success(&client.send(request).await));
    }
    assert_eq!(listening.taken.load(Ordering::Relaxed), 2);
    listening.end().await;
}

/// A row, as the pipeline sees it: its labels, its timestamp in milliseconds, its family.
type Seen = (String, i64, Option<String>);

/// Keeps what is pushed, and never says that it is durable.
struct Keeping(mpsc::SyncSender<Vec<Seen>>);

impl Outlet for Keeping {
    fn send(&mut self, _batch: Batch, _progress: Vec<Progress>) -> Result<(), Stopped> {
        panic!("it lies in no file");
    }

    fn push(&mut self, batch: Batch, _on_durable: OnDurable) -> Result<(), Stopped> {
        assert!(batch.rows().len() <= MAX_ROWS && batch.bytes().len() <= MAX_BATCH_BYTES);
        let seen = batch.rows().iter().map(|row| {
            let document = Document::read(batch.content(row)).unwrap();
            assert_eq!((document.labels.hash(), batch.raw(row)), (row.offset, batch.content(row)));
            assert_eq!(document.point.timestamp() * 1_000_000, row.time);
            let stream = batch.streams()[row.stream as usize].attributes();
            assert_eq!((&*stream.source, &*stream.cluster, &*stream.node), ("metrics", "c1", "n1"));
            let family = stream.family.as_ref().map(|family| family.name.clone());
            (document.labels.to_string(), document.point.timestamp(), family)
        });
        self.0.send(seen.collect()).unwrap();
        Ok(())
    }

    fn lost(&mut self, _reason: &'static str, _bytes: u64, _progress: Vec<Progress>) {}

    fn outstanding(&self) -> usize {
        0
    }
}

/// Sends requests through a connection, and what becomes of them into batches.
async fn batches(requests: Vec<hyper::Request<Vec<u8>>>) -> Vec<Vec<Seen>> {
    let (send, seen) = mpsc::sync_channel(100);
    let metrics = Arc::new(SourceMetrics::default());
    let context = SourceContext {
        name: "metrics".into(),
        cluster: "c1".into(),
        node: "n1".into(),
        mode: Mode::Follow,
        outlet: Box::new(Keeping(send)),
        arenas: ArenaPool::new(),
        // Nothing is written there.
        checkpoints: Arc::new(Checkpoints::open(std::path::Path::new("/nowhere/at/all")).unwrap()),
        stop: Stop::default(),
        metrics: Arc::clone(&metrics),
    };
    let gate = Gate::new(16 * LIMIT, None, metrics);
    let connection = connect(settings());
    let mut client = Client::new(Protocol::Http1, connection.stream).await;
    for request in requests {
        assert!(is_success(&client.send(request).await));
    }
    let mut collector = Collector::new(context);
    let parcels = std::mem::take(&mut connection.intake.state.lock().unwrap().parcels);
    for parcel in parcels {
        let room = gate.room(1).await.unwrap();
        let safe = gate.push(parcel, room);
        collector.take(gate.next(Duration::ZERO).unwrap()).unwrap();
        drop(safe);
    }
    collector.send().unwrap();
    drop(collector);
    seen.iter().collect()
}

#[tokio::test(start_paused = true)]
async fn samples_become_rows_of_batches_in_order() {
    // More than two batches take.
    let metrics: Vec<String> = (0..9_000).map(|index| format!("m{index:05}")).collect();
    let names: Vec<&str> = metrics.iter().map(String::as_str).collect();
    let requests = (1..4).map(|timestamp| post(V2, pack(&v2_body(&names, timestamp)))).collect();
    let batches = batches(requests).await;
    assert_eq!(batches.iter().map(Vec::len).max(), Some(MAX_ROWS));
    let expected = (1..4).flat_map(|timestamp| {
        let row =
            move |name: &&str| (format!("{name}{{cluster=\"c1\",job=\"a\",node=\"n1\"}}"), timestamp, None);
        names.iter().map(row).collect::<Vec<_>>()
    });
    assert!(batches.concat() == expected.collect::<Vec<Seen>>());
}

#[tokio::test(start_paused = true)]
async fn rows_of_a_family_have_its_stream_in_every_batch() {
    use prost::Message as _;
    use weir_samples::proto::prometheus::{MetricMetadata, WriteRequest};
    let names = ["h_bucket", "x", "h_count", "h_sum"].repeat(3_000);
    let mut request = WriteRequest::decode(&v1_body(&names, 1)[..]).unwrap();
    let metadata = MetricMetadata { r#type: 3, metric_family_name: "h".into(), ..MetricMetadata::default() };
    request.metadata.push(metadata);
    let batches = batches(vec![post(V1, pack(&request.encode_to_vec())), v1(&["h", "x"])]).await;
    assert!(batches.len() > 2);
    for (labels, _, family) in batches.concat() {
        assert_eq!(family.is_some(), labels.starts_with('h'), "{labels}");
    }
}
