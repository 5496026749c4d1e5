//! A source whose samples are kept, targets that answer what a test says, and time that a test moves.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use weir_event::batch::{ArenaPool, Batch};
use weir_pipeline::checkpoint::{Checkpoints, Progress};
use weir_pipeline::source::{Mode, Outlet, SourceContext, SourceMetrics, Stop, Stopped};
use weir_samples::document::{Document, Point, is_stale};

use crate::clock::Clock;
use crate::settings::{Job, ScrapeSettings};
use crate::source::{Parts, Scrape, assemble, commit};
use crate::{ScrapeMetrics, TargetGroup};

/// 2023-11-14T22:13:20Z, in milliseconds since the Unix epoch: when a test begins.
pub(super) const BEGIN: i64 = 1_700_000_000_000;

/// A sample that was sent.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Seen {
    /// Its series as text.
    pub(super) series: String,
    /// In milliseconds since [`BEGIN`].
    pub(super) time: i64,
    /// `stale` for a marker, and what begins with `histogram` for a native histogram.
    pub(super) value: String,
    /// The type of its family.
    pub(super) kind: String,
    /// Bytes of its exemplars.
    pub(super) exemplars: usize,
}

/// Keeps what is sent.
#[derive(Clone, Default)]
pub(super) struct Kept(Arc<Mutex<Vec<Seen>>>);

/// What a target answers.
#[derive(Clone)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
    pub(super) delay: Duration,
}

/// A target.
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// The heads of requests: path and headers.
    pub(super) requests: Arc<Mutex<Vec<hyper::http::request::Parts>>>,
}

// === impl Kept ===

impl Kept {
    /// All samples so far, and forgets them.
    pub(super) fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Those whose series' text begins so, as `series value`.
    pub(super) fn values(&self, begin: &str) -> Vec<String> {
        let seen = self.0.lock().unwrap();
        let wanted = seen.iter().filter(|seen| seen.series.starts_with(begin));
        wanted.map(|seen| format!("{} {}", seen.series, seen.value)).collect()
    }

    /// Times and values of a metric.
    pub(super) fn history(&self, metric: &str) -> Vec<(i64, String)> {
        let seen = self.0.lock().unwrap();
        let is_it = |seen: &&Seen| seen.series.split('{').next() == Some(metric);
        seen.iter().filter(is_it).map(|seen| (seen.time, seen.value.clone())).collect()
    }
}

impl Outlet for Kept {
    fn send(&mut self, batch: Batch, _: Vec<Progress>) -> Result<(), Stopped> {
        let mut kept = self.0.lock().unwrap();
        for row in batch.rows() {
            let document = Document::read(batch.content(row)).unwrap();
            assert_eq!(row.offset, document.labels.hash());
            assert_eq!(row.time, document.point.timestamp() * 1_000_000);
            let family = batch.streams()[row.stream as usize].attributes().family.clone().unwrap();
            let value = match document.point {
                Point::Float { value, .. } if is_stale(value) => "stale".to_owned(),
                Point::Float { value, .. } => value.to_string(),
                Point::Histogram { message, .. } => {
                    let histogram: weir_samples::proto::write_v2::Histogram =
                        prost::Message::decode(message).unwrap();
                    match is_stale(histogram.sum) {
                        true => "histogram stale".to_owned(),
                        false => format!("histogram {}", histogram.sum),
                    }
                }
            };
            kept.push(Seen {
                series: document.labels.to_string(),
                time: document.point.timestamp() - BEGIN,
                value,
                kind: family.kind.clone(),
                exemplars: document.exemplars.len(),
            });
        }
        Ok(())
    }

    fn lost(&mut self, _: &'static str, _: u64, _: Vec<Progress>) {}

    fn outstanding(&self) -> usize {
        0
    }
}

// === impl Reply ===

impl Reply {
    /// Text in the format of Prometheus.
    pub(super) fn text(body: &str) -> Reply {
        let headers = vec![("content-type", "text/plain; version=0.0.4".to_owned())];
        Reply { status: 200, headers, body: body.into(), delay: Duration::ZERO }
    }

    /// Of another type.
    pub(super) fn of_type(content_type: &str, body: impl Into<Vec<u8>>) -> Reply {
        Reply { headers: vec![("content-type", content_type.into())], body: body.into(), ..Reply::text("") }
    }

    pub(super) fn status(status: u16) -> Reply {
        Reply { status, ..Reply::text("a 1\n") }
    }
}

// === impl Target ===

impl Target {
    /// A target that answers the request with this number (from 0) so.
    pub(super) async fn new(answer: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target { address: listener.local_addr().unwrap(), requests: Arc::default() };
        let (answer, requests) = (Arc::new(answer), Arc::clone(&target.requests));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&requests)));
            }
        });
        target
    }

    /// One that always answers the same.
    pub(super) async fn always(reply: Reply) -> Target {
        Target::new(move |_| reply.clone()).await
    }

    /// A job `j` with it as its target.
    pub(super) fn job(&self) -> Job {
        Job { name: "j".into(), groups: vec![group(&[&self.address.to_string()])], ..Job::default() }
    }

    /// A header of the last request.
    pub(super) fn header(&self, name: &str) -> String {
        let requests = self.requests.lock().unwrap();
        let value =
            requests.last().and_then(|head| head.headers.get(name)).map(|value| value.to_str().unwrap());
        value.unwrap_or_default().to_owned()
    }
}

/// Serves a connection.
pub(super) async fn serve(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    answer: Arc<impl Fn(usize) -> Reply + Send + Sync + 'static>,
    requests: Arc<Mutex<Vec<hyper::http::request::Parts>>>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let number = {
            let mut requests = requests.lock().unwrap();
            requests.push(request.into_parts().0);
            requests.len() - 1
        };
        let reply = answer(number);
        async move {
            tokio::time::sleep(reply.delay).await;
            let mut response = Response::builder().status(reply.status);
            for (name, value) in reply.headers {
                response = response.header(name, value);
            }
            Ok::<_, Infallible>(response.body(Full::new(Bytes::from(reply.body))).unwrap())
        }
    });
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

pub(super) fn group(targets: &[&str]) -> TargetGroup {
    TargetGroup { targets: targets.iter().map(|target| (*target).into()).collect(), ..TargetGroup::default() }
}

pub(super) fn settings(job: Job) -> ScrapeSettings {
    ScrapeSettings { jobs: vec![job], ..ScrapeSettings::default() }
}

/// What a source is given; its folder lives as long as the first part.
pub(super) fn context(mode: Mode, kept: &Kept) -> (tempfile::TempDir, SourceContext) {
    let folder = tempfile::tempdir().unwrap();
    let context = SourceContext {
        name: "s".into(),
        cluster: "c".into(),
        node: "".into(),
        mode,
        outlet: Box::new(kept.clone()),
        arenas: ArenaPool::new(),
        checkpoints: Arc::new(Checkpoints::open(folder.path()).unwrap()),
        stop: Stop::default(),
        metrics: Arc::new(SourceMetrics::default()),
    };
    (folder, context)
}

/// Runs a source for some time of the runtime's, or in [`Mode::Once`] to its end.
pub(super) async fn run_for(mut scrape: Scrape, mode: Mode, duration: Duration, kept: &Kept) {
    scrape.clock = Clock::Runtime(BEGIN * 1_000_000, tokio::time::Instant::now());
    let (_folder, context) = context(mode, kept);
    let Parts { engine, shared, mut committer, mut todo } = assemble(scrape, context);
    drop(shared);
    let engine = tokio::spawn(engine.run());
    let working = async {
        while let Some(work) = todo.recv().await {
            commit(&mut committer, work).unwrap();
            committer.outgoing.send().unwrap();
        }
    };
    let _ = tokio::time::timeout(duration, working).await;
    engine.abort();
}

/// Scrapes every target of a job once, and says what came of it.
pub(super) async fn once(job: Job) -> (Kept, Arc<ScrapeMetrics>) {
    let (kept, scrape) = (Kept::default(), Scrape::new(settings(job)).unwrap());
    let metrics = scrape.metrics();
    run_for(scrape, Mode::Once, Duration::from_secs(3_600), &kept).await;
    (kept, metrics)
}
