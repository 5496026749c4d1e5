//! The source: one thread that listens and decodes, one that fills batches.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::sync::watch;
use weir_pipeline::source::{Mode, Source, SourceContext, Stopped};

use crate::collect::Collector;
use crate::gate::Gate;
use crate::listen::{Door, LAST_ANSWERS, listen};
use crate::{forward, otlp, remote_write};

/// How often to look whether the source is to stop.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What clients speak.
#[derive(Clone)]
pub enum Protocol {
    /// Fluent Forward.
    Forward(Arc<forward::Settings>),
    /// OTLP, over HTTP and gRPC.
    Otlp(Arc<otlp::Settings>),
    /// Prometheus remote write 1.0 and 2.0.
    RemoteWrite(Arc<remote_write::Settings>),
}

/// What a source that is pushed to needs to know.
pub struct ReceiverSettings {
    /// Where clients connect to: bound, and listening already.
    pub listener: TcpListener,
    /// What they speak.
    pub protocol: Protocol,
    /// By what certificates; `None` without TLS.
    pub tls: Option<Arc<ServerConfig>>,
    /// Connections at once.
    pub max_connections: u32,
    /// Bytes of memory for messages, until they are in batches.
    pub memory: usize,
    /// Bytes a second of all connections together.
    pub bytes_per_second: Option<u64>,
}

/// A source that is pushed to.
pub struct Receiver(ReceiverSettings);

// === impl Receiver ===

impl Receiver {
    /// A source that is ready to listen.
    pub fn new(settings: ReceiverSettings) -> Receiver {
        Receiver(settings)
    }
}

impl Source for Receiver {
    /// In [`Mode::Once`] there is nothing to read: what is pushed comes from agents that run, and they would not hear
    /// that it ended.
    fn run(self: Box<Self>, context: SourceContext) {
        let name = Arc::clone(&context.name);
        if context.mode == Mode::Once {
            tracing::info!(source = %name, "nothing is pushed in a single run; the source is left out");
            return;
        }
        if let Err(error) = receive(self.0, context) {
            tracing::error!(source = %name, %error, "the source cannot listen; nothing is taken until a reload");
        }
    }
}

fn receive(settings: ReceiverSettings, context: SourceContext) -> std::io::Result<()> {
    let ReceiverSettings { listener, protocol, tls, max_connections, memory, bytes_per_second } = settings;
    let (source, stop) = (Arc::clone(&context.name), context.stop.clone());
    let gate = Gate::new(memory, bytes_per_second, Arc::clone(&context.metrics));
    let door = Door { protocol, tls, max_connections, gate: gate.clone(), source: Arc::clone(&source) };
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = {
        let _inside = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    let (tell, told) = watch::channel(false);
    let net = std::thread::Builder::new().name(format!("net-{source}"));
    let net = net.spawn(move || {
        runtime.block_on(listen(listener, Arc::new(door), told));
        // A name that is being looked up, or the like, is not waited for.
        runtime.shutdown_background();
    })?;
    let _ = context.metrics.receiving.address.set(address);
    tracing::info!(%source, %address, "listening");
    let mut collector = Collector::new(context);
    let is_over = || stop.is_stopped() || net.is_finished();
    let mut worked = collect(&gate, &mut collector, is_over);
    tell.send_replace(true);
    // What is under way may still become safe and be answered.
    let until = Instant::now() + LAST_ANSWERS;
    if worked.is_ok() {
        worked = collect(&gate, &mut collector, || net.is_finished() || Instant::now() >= until);
    }
    if worked.is_err() {
        tracing::debug!(%source, "its pipelines take nothing more");
    }
    gate.close();
    // It ends by itself within the same time.
    if net.join().is_err() {
        tracing::error!(%source, "a fault while connections were served; clients send again what was not answered");
    }
    Ok(())
}

/// Brings messages into batches until it is over. While pipelines are busy messages gather, and share batches then; one
/// that comes alone goes alone, at once.
fn collect(gate: &Gate, collector: &mut Collector, is_over: impl Fn() -> bool) -> Result<(), Stopped> {
    while !is_over() {
        let Some(arrived) = gate.next(LOOK_EVERY) else { continue };
        collector.take(arrived)?;
        while let Some(arrived) = gate.next(Duration::ZERO) {
            collector.take(arrived)?;
        }
        collector.send()?;
    }
    Ok(())
}
