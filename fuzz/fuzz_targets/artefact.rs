//! Artefacts: any bytes as a component, as they are and with a good manifest behind them, are refused with a message
//! or loaded; what is loaded is run within its limits.
//!
//! An input that begins with a parenthesis is the text of a component: small changes of it still parse.
#![no_main]

mod common;

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use weir_event::column::{Column, Kind};
use weir_event::transform::{Call, Context, Transform};
use weir_host::{Artifact, Cache, Compiler, Engine, EngineConfig, Isolation, Limits, Plugin, PluginSpec};
use weir_manifest::SECTION_NAME;

use common::{check_handled, check_message};

/// The bound of what is compiled here, in this process.
const MAX_INPUT_BYTES: usize = 16 << 10;
/// Enough for the seeds.
const MEMORY: u64 = 1 << 20;
const MANIFEST: &str =
    r#"{"name":"any","version":"1.0.0","worlds":["transform"],"reads":"any","writes":"any"}"#;
const ROWS: u32 = 3;

thread_local! {
    static ENGINE: RefCell<Engine> =
        RefCell::new(Engine::new(EngineConfig { instances: 4, memory: MEMORY }).expect("an engine"));
}

fuzz_target!(|data: &[u8]| {
    if data.len() > MAX_INPUT_BYTES {
        return;
    }
    let parsed = if data.starts_with(b"(") { wat::parse_bytes(data).ok() } else { None };
    let wasm = parsed.as_deref().unwrap_or(data);
    ENGINE.with_borrow(|engine| {
        check(engine, wasm.to_vec());
        check(engine, with_manifest(wasm));
    });
});

fn check(engine: &Engine, wasm: Vec<u8>) {
    let limits = Limits {
        memory: Some(MEMORY),
        deadline: Some(std::time::Duration::from_millis(10)),
        output: Some(1 << 20),
    };
    let spec = PluginSpec {
        name: "any".to_owned(),
        artifact: Artifact::Bytes(wasm.into()),
        config: "{}".to_owned(),
        limits,
        grants: Default::default(),
        on_error: None,
        isolation: Isolation::Shared,
    };
    let plugin = match Plugin::load(engine, &Cache::in_memory(), &Compiler::InProcess, spec) {
        Ok(plugin) => plugin,
        Err(error) => return check_message(&error.to_string()),
    };
    let call = call(plugin.plan().reads.len());
    let attributes = columns(plugin.plan().attributes.len(), 1);
    let handled = plugin.instance().transform(&call, &Context { attributes, ..Context::default() });
    check_handled(plugin.plan(), ROWS, &handled);
}

fn call(reads: usize) -> Call {
    let rows = ROWS as usize;
    Call { rows: ROWS, streams: vec![0; rows], times: vec![0; rows], columns: columns(reads, rows) }
}

fn columns(count: usize, rows: usize) -> Vec<Column> {
    let mut column = Column::default();
    column.clear();
    for _ in 0..rows {
        column.push(Kind::String, b"info");
    }
    vec![column; count]
}

/// The component with one more custom section.
fn with_manifest(wasm: &[u8]) -> Vec<u8> {
    let mut wasm = wasm.to_vec();
    let length = 1 + SECTION_NAME.len() + MANIFEST.len();
    assert!(SECTION_NAME.len() < 128 && (128..128 << 7).contains(&length) || length < 128);
    wasm.push(0);
    if length >= 128 {
        wasm.extend([length as u8 | 0x80, (length >> 7) as u8]);
    } else {
        wasm.push(length as u8);
    }
    wasm.push(SECTION_NAME.len() as u8);
    wasm.extend_from_slice(SECTION_NAME.as_bytes());
    wasm.extend_from_slice(MANIFEST.as_bytes());
    wasm
}
