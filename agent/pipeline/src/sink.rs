//! Sinks: where documents go, and the driver that brings them there.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng as _;
use tokio::sync::watch;
use weir_buffer::memory::{Lease, MemoryTier};
use weir_buffer::segment::{Documents, Receipt};

/// Pause after the first failure; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause between two tries.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// A delivery that takes longer has failed.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(60);

/// A delivery under way.
pub type Delivery<'a> = Pin<Box<dyn Future<Output = Receipt> + Send + 'a>>;

/// Where documents go. One task drives it, one segment after the other, so order is kept.
pub trait Sink: Send {
    /// Brings all documents of a segment to their place. A repeat after [`Receipt::Retry`] may find part of them there
    /// already. Dropping the future must leave the sink usable.
    fn deliver<'a>(&'a mut self, documents: &'a Arc<Documents>) -> Delivery<'a>;

    /// Called once behind the last segment, to flush and to say what there is to say.
    fn finish(&mut self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(async {})
    }
}

/// What the driver counts for a sink.
#[derive(Debug, Default)]
pub struct SinkMetrics {
    /// Segments delivered.
    pub segments: AtomicU64,
    /// Documents delivered.
    pub events: AtomicU64,
    /// Bytes of documents delivered.
    pub bytes: AtomicU64,
    /// Deliveries that failed and were tried again.
    pub retries: AtomicU64,
    /// 1 while the last try failed.
    pub failing: AtomicU64,
    /// 1 while an answer is awaited.
    pub trying: AtomicU64,
    /// How far the driver is in giving up: 1 when it ended with segments undelivered.
    pub abandoned: AtomicU64,
}

/// What a driver works with.
pub struct Driving {
    /// The sink's name in the configuration.
    pub name: String,
    /// Where its documents wait.
    pub buffer: Arc<MemoryTier>,
    /// What it counts.
    pub metrics: Arc<SinkMetrics>,
    /// True when nothing is to be tried any more.
    pub give_up: watch::Receiver<bool>,
    /// True when another driver is to go on with this buffer: what is under way is brought to its end, or given back to
    /// its place if it fails, and nothing more is taken.
    pub retire: watch::Receiver<bool>,
}

impl Driving {
    /// Returns when the driver is to end for either reason.
    pub async fn ends(&mut self) {
        tokio::select! {
            () = told(&mut self.give_up) => {}
            () = told(&mut self.retire) => {}
        }
    }
}

/// Returns when this says true, which it never does when nobody is left to say it.
async fn told(of: &mut watch::Receiver<bool>) {
    if of.wait_for(|told| *told).await.is_err() {
        std::future::pending().await
    }
}

/// Brings what lies in a buffer to its place, until the buffer is closed and empty, the agent gives up, or another
/// driver takes over.
pub trait Drive: Send {
    /// Runs to the end. Documents whose lease it drops are read again at the next start.
    fn drive(self: Box<Self>, driving: Driving) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Drives a sink that takes one segment after the other.
pub struct OneByOne(pub Box<dyn Sink>);

impl Drive for OneByOne {
    fn drive(self: Box<Self>, driving: Driving) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(drive(self.0, driving))
    }
}

/// Why a segment was not delivered.
enum Undelivered {
    /// The agent ends.
    GivenUp,
    /// Another driver goes on with it.
    Retired,
}

/// Drives a sink until its buffer is closed and empty, or until it is to end and a try fails.
async fn drive(mut sink: Box<dyn Sink>, mut driving: Driving) {
    loop {
        // A segment is waited for only as long as nobody else is to have it.
        let lease = tokio::select! {
            biased;
            () = told(&mut driving.retire) => None,
            lease = driving.buffer.take() => lease,
        };
        let Some(lease) = lease else { break };
        let metrics = Arc::clone(&driving.metrics);
        let lease = match deliver(&mut *sink, lease, &mut driving).await {
            Ok(lease) => lease,
            Err(Undelivered::Retired) => break,
            Err(Undelivered::GivenUp) => {
                metrics.abandoned.store(1, Ordering::Relaxed);
                return;
            }
        };
        let documents = lease.documents();
        metrics.segments.fetch_add(1, Ordering::Relaxed);
        metrics.events.fetch_add(documents.records.len() as u64, Ordering::Relaxed);
        metrics.bytes.fetch_add(documents.ndjson.len() as u64, Ordering::Relaxed);
        lease.delivered();
    }
    sink.finish().await;
}

/// Tries until the segment is delivered. What is given up leaves its batch unacked; what another driver is to deliver
/// goes back to its place.
async fn deliver(sink: &mut dyn Sink, lease: Lease, driving: &mut Driving) -> Result<Lease, Undelivered> {
    let (name, metrics) = (driving.name.clone(), Arc::clone(&driving.metrics));
    let mut pause = FIRST_PAUSE;
    loop {
        // What became of a delivery without an answer nobody knows yet: another driver might repeat it.
        let mut is_known = true;
        metrics.trying.store(1, Ordering::Relaxed);
        let answer = tokio::time::timeout(DELIVERY_TIMEOUT, sink.deliver(lease.documents())).await;
        metrics.trying.store(0, Ordering::Relaxed);
        let error = match answer {
            Ok(Receipt::Delivered) => {
                if metrics.failing.swap(0, Ordering::Relaxed) == 1 {
                    tracing::info!(sink = name, "the sink takes documents again");
                }
                return Ok(lease);
            }
            Ok(Receipt::Retry(error)) => error.to_string(),
            Err(_) => {
                is_known = false;
                format!("no answer within {} s", DELIVERY_TIMEOUT.as_secs())
            }
        };
        metrics.retries.fetch_add(1, Ordering::Relaxed);
        if metrics.failing.swap(1, Ordering::Relaxed) == 0 {
            tracing::warn!(sink = name, %error, "the sink does not take documents; trying again");
        }
        let jittered = pause.mul_f64(rand::rng().random_range(0.5..1.0));
        pause = (pause * 2).min(LAST_PAUSE);
        if *driving.give_up.borrow() {
            let stay = match lease.is_kept() {
                true => "they stay in its disk buffer",
                false => "they are read again at the next start",
            };
            tracing::error!(sink = name, %error, "stopped with undelivered documents; {stay}");
            return Err(Undelivered::GivenUp);
        }
        if *driving.retire.borrow() && is_known {
            return Err(Undelivered::Retired);
        }
        // An end cuts the pause short: one more try, then the end.
        let _ = tokio::time::timeout(jittered, driving.ends()).await;
    }
}
