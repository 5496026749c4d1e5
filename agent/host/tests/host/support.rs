//! What most tests begin with.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use weir_event::column::{Column, Kind};
use weir_event::transform::{Call, Context, Handled, Transform};
use weir_host::{
    Artifact, Cache, Compiler, Engine, EngineConfig, Instance, Isolation, Limits, LoadError, Plugin,
    PluginSpec,
};
use weir_manifest::Grants;

use crate::guest::Guest;

/// One engine for all tests of the process, as the agent has.
pub fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineConfig { instances: 64, memory: 64 << 20 }).unwrap())
}

pub fn spec(artifact: Vec<u8>) -> PluginSpec {
    PluginSpec {
        name: "test".into(),
        artifact: Artifact::Bytes(artifact.into()),
        config: "{}".into(),
        limits: Limits::default(),
        grants: Grants::default(),
        on_error: None,
        isolation: Isolation::Shared,
    }
}

pub fn load_spec(spec: PluginSpec) -> Result<Arc<Plugin>, LoadError> {
    Plugin::load(engine(), &Cache::in_memory(), &Compiler::InProcess, spec)
}

pub fn load(guest: &Guest) -> Arc<Plugin> {
    load_spec(spec(guest.build())).unwrap()
}

pub fn load_with(guest: &Guest, change: impl FnOnce(&mut PluginSpec)) -> Arc<Plugin> {
    let mut spec = spec(guest.build());
    change(&mut spec);
    load_spec(spec).unwrap()
}

pub fn deadline(milliseconds: u64) -> impl FnOnce(&mut PluginSpec) {
    move |spec| spec.limits.deadline = Some(Duration::from_millis(milliseconds))
}

/// A call with these messages, one row each.
pub fn call<T: AsRef<[u8]>>(messages: &[T]) -> Call {
    let rows = messages.len() as u32;
    let mut column = Column::default();
    column.clear();
    for message in messages {
        column.push(Kind::String, message.as_ref());
    }
    Call {
        rows,
        streams: vec![0; messages.len()],
        times: (0..i64::from(rows)).collect(),
        columns: vec![column],
    }
}

pub fn context() -> Context {
    let mut namespace = Column::default();
    namespace.push(Kind::String, b"shop");
    Context { now: 1_700_000_000_000_000_000, pressure: 0.5, attributes: vec![namespace] }
}

pub fn run<T: AsRef<[u8]>>(instance: &mut Instance, messages: &[T]) -> Handled {
    instance.transform(&call(messages), &context())
}

/// Messages that are kept, but for those at `rows`, which are `message`.
pub fn messages(count: usize, message: &str, rows: &[usize]) -> Vec<String> {
    let one = |row| if rows.contains(&row) { message.to_owned() } else { format!("k{row}") };
    (0..count).map(one).collect()
}
