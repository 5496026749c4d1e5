//! What a call of a plugin costs, in nanoseconds of CPU time per row:
//! `throughput [PLUGIN.wasm [CONFIG-JSON]]`. Without arguments a guest that only looks at each row and answers
//! with a verdict.
#![allow(clippy::print_stdout, clippy::indexing_slicing)]

#[path = "../tests/host/guest.rs"]
#[allow(dead_code, clippy::panic)]
mod guest;

use std::error::Error;
use std::time::{Duration, Instant};

use weir_event::column::{Column, Kind};
use weir_event::transform::{Call, Context, Plan, Transform};
use weir_host::{
    Artifact, Cache, Compiler, Engine, EngineConfig, Isolation, Limits, OnError, Plugin, PluginSpec,
};

/// Rows for each measurement.
const ROWS: u32 = 4_000_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let artifact = match arguments.next() {
        Some(path) => Artifact::File(path.into()),
        None => Artifact::Bytes(two_columns().build().into()),
    };
    let config = arguments.next().unwrap_or_else(|| "{}".to_owned());
    let engine = Engine::new(EngineConfig::default())?;
    let cache = Cache::in_memory();
    let load = |isolation| {
        let (artifact, config) = (artifact.clone(), config.clone());
        let (limits, grants, on_error) = (Limits::default(), Default::default(), Some(OnError::Drop));
        let spec =
            PluginSpec { name: "bench".to_owned(), artifact, config, limits, grants, on_error, isolation };
        Plugin::load(&engine, &cache, &Compiler::InProcess, spec)
    };
    let begun = Instant::now();
    let plugin = load(Isolation::Shared)?;
    println!("load, compiled here   {:>10.2?}", begun.elapsed());
    let begun = Instant::now();
    let fresh = load(Isolation::Fresh)?;
    println!("load, code in memory  {:>10.2?}", begun.elapsed());
    for rows in [1, 64, 512, 4096] {
        println!("{rows:>5} rows a call    {:>10.1} ns per row", measure(&plugin, rows));
    }
    println!("  512 rows, fresh      {:>10.1} ns per row", measure(&fresh, 512));
    Ok(())
}

fn two_columns() -> guest::Guest {
    let mut guest = guest::Guest::by_row();
    guest.plan = Plan { reads: vec!["level".into(), "trace_id".into()], ..guest.plan };
    guest.plan.attributes.clear();
    guest
}

fn measure(plugin: &std::sync::Arc<Plugin>, rows: u32) -> f64 {
    let mut instance = plugin.instance();
    let (call, context) = (call(plugin.plan(), rows), context(plugin.plan()));
    let before = plugin.metrics().cpu();
    let calls = (ROWS / rows).min(500_000);
    for _ in 0..calls {
        let handled = instance.transform(&call, &context);
        assert!(handled.suspects.is_empty());
    }
    let spent: Duration = plugin.metrics().cpu() - before;
    spent.as_nanos() as f64 / f64::from(calls * rows)
}

fn call(plan: &Plan, rows: u32) -> Call {
    let column = |path: &String| {
        let mut column = Column::default();
        for row in 0..rows {
            match path.as_str() {
                "level" => column.push(
                    Kind::String,
                    ["info", "info", "info", "debug", "warn"][row as usize % 5].as_bytes(),
                ),
                _ => column.push(
                    Kind::String,
                    format!("{:032x}", u128::from(row) * 0x9e37_79b9_7f4a_7c15).as_bytes(),
                ),
            }
        }
        column
    };
    Call {
        rows,
        streams: vec![0; rows as usize],
        times: vec![1_700_000_000_000_000_000; rows as usize],
        columns: plan.reads.iter().map(column).collect(),
    }
}

fn context(plan: &Plan) -> Context {
    let mut attribute = Column::default();
    attribute.push(Kind::String, b"shop");
    Context {
        now: 1_700_000_000_000_000_000,
        pressure: 0.0,
        attributes: vec![attribute; plan.attributes.len()],
    }
}
