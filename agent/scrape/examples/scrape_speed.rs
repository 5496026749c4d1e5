//! How long a sample takes from the bytes of a body to a row of a batch, and how much memory a series takes: a target with
//! 100,000 series (200 counters of 500, five labels), and the same body with its lines the other way round.
//!
//! `cargo run --release -p weir-scrape --example scrape_speed`
#![allow(clippy::print_stdout, reason = "it is what an example is for")]

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use weir_event::batch::Batch;
use weir_pipeline::checkpoint::Progress;
use weir_pipeline::source::{Outlet, Stopped};
use weir_scrape::measure::Target;

const METRICS: usize = 200;
const SERIES: usize = 500;
const ROUNDS: u32 = 30;
/// As much as a connection brings at once.
const PIECE: usize = 64 * 1024;

/// Counts rows.
struct Count(Arc<AtomicU64>);

impl Outlet for Count {
    fn send(&mut self, batch: Batch, _: Vec<Progress>) -> Result<(), Stopped> {
        self.0.fetch_add(batch.rows().len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn lost(&mut self, _: &'static str, _: u64, _: Vec<Progress>) {}

    fn outstanding(&self) -> usize {
        0
    }
}

fn body(round: u64, is_reversed: bool) -> String {
    let mut out = String::new();
    for metric in 0..METRICS {
        let _ = writeln!(out, "# HELP app_requests_{metric}_total Requests of the application.");
        let _ = writeln!(out, "# TYPE app_requests_{metric}_total counter");
        for index in 0..SERIES {
            let series = if is_reversed { SERIES - 1 - index } else { index };
            let (code, pod) = (200 + series % 5, series / 5);
            let _ = writeln!(
                out,
                "app_requests_{metric}_total{{code=\"{code}\",handler=\"/api/v1/items/{series}\",method=\"GET\",pod=\"app-{pod:05}-abcde\",zone=\"eu-central-1\"}} {}",
                round * 17 + series as u64
            );
        }
    }
    out
}

/// Bytes of memory in use.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or_default() * 4_096
}

fn main() {
    let rows = Arc::new(AtomicU64::new(0));
    let (first, second, reversed) = (body(0, false), body(1, false), body(2, true));
    println!("a body has {} bytes, {} samples", first.len(), METRICS * SERIES);
    let labels = [("job", "app"), ("instance", "10.20.30.40:9090")];
    let external = [("cluster", "dev-cluster-1"), ("node", "worker-node-17")];
    let before = resident();
    let mut target = Target::new(&labels, &external, Box::new(Count(Arc::clone(&rows))));
    let begin = Instant::now();
    let samples = target.scrape(first.as_bytes(), PIECE, 1).unwrap_or_default();
    println!("first scrape: {} ns per sample", begin.elapsed().as_nanos() as u64 / samples.max(1));
    target.scrape(second.as_bytes(), PIECE, 2);
    let series = (METRICS * SERIES) as u64;
    println!(
        "memory: {} bytes per series, batches and stages of a scrape among them",
        (resident() - before) / series
    );
    for (name, bodies) in
        [("same order", [&first, &second]), ("every other scrape reversed", [&first, &reversed])]
    {
        let begin = Instant::now();
        let mut samples = 0;
        for round in 0..ROUNDS {
            let body = bodies.get(round as usize % 2).map_or("", |body| body.as_str());
            samples += target.scrape(body.as_bytes(), PIECE, 1_000 + i64::from(round)).unwrap_or_default();
        }
        println!("{name}: {} ns per sample", begin.elapsed().as_nanos() as u64 / samples.max(1));
    }
    println!("{} rows", rows.load(Ordering::Relaxed));
}
