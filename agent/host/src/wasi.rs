//! A closed WASI 0.2, for components of tool chains that cannot do without: no arguments, no environment, no files, no
//! network, no clock, no randomness; what is printed goes to the agent's log, up to a bound.
//!
//! 1. A function answers as if there were nothing, where the interface can say so.
//! 2. Any other function of WASI is a fault of the plugin when it is called, not when it is loaded: a runtime imports far
//!    more than a plugin uses.
//! 3. Nothing here reaches the operating system.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wasmtime::StoreContextMut;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, Linker, LinkerInstance, ResourceDynamic, ResourceType, Val};

use crate::fault::capped;
use crate::limiter::State;

/// What a plugin may print into the agent's log while it is loaded.
const MAX_PRINTED_BYTES: usize = 64 << 10;
/// What a stream says that it takes at once.
const WRITE_BYTES: u64 = 4096;

/// A function of WASI that asks for what no plugin has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it called {function}, which no plugin is granted")]
pub(crate) struct NotGranted {
    function: String,
}

/// What a function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Nothing,
    EmptyList,
    Absent,
    True,
    /// A new handle of the resource of this name.
    Handle(&'static str),
    Room,
    Done,
    Closed,
    Print,
    Refuse,
}

/// Where the bytes of a plugin's streams go.
struct Printer {
    plugin: String,
    left: AtomicUsize,
}

/// Whether an import is of WASI 0.2.
pub(crate) fn is_wasi(name: &str) -> bool {
    name.strip_prefix("wasi:")
        .and_then(|name| name.split_once('@'))
        .is_some_and(|(_, version)| version.starts_with("0.2."))
}

/// Defines what a component imports of WASI.
pub(crate) fn define(
    linker: &mut Linker<State>,
    component: &Component,
    plugin: &str,
) -> wasmtime::Result<()> {
    let printer = Arc::new(Printer { plugin: plugin.to_owned(), left: AtomicUsize::new(MAX_PRINTED_BYTES) });
    let engine = component.engine();
    for (name, import) in component.component_type().imports(engine).filter(|(name, _)| is_wasi(name)) {
        let ComponentItem::ComponentInstance(instance) = &import.ty else { continue };
        let interface = name.split('@').next().unwrap_or(name);
        let mut target = linker.instance(name)?;
        for (export, item) in instance.exports(engine) {
            match item.ty {
                ComponentItem::Resource(_) => target.resource(export, resource(export), |_, _| Ok(()))?,
                ComponentItem::ComponentFunc(_) => function(&mut target, interface, export, &printer)?,
                _ => {}
            }
        }
    }
    Ok(())
}

fn function(
    target: &mut LinkerInstance<'_, State>,
    interface: &str,
    name: &str,
    printer: &Arc<Printer>,
) -> wasmtime::Result<()> {
    let answer = answer(interface, name);
    let (refused, printer) = (NotGranted { function: format!("{interface}#{name}") }, Arc::clone(printer));
    target.func_new(name, move |mut store, _, arguments, results| {
        if answer == Answer::Print {
            printer.print(arguments.get(1));
        }
        for argument in arguments {
            if let Val::Resource(handle) = argument {
                handle.resource_drop(&mut store)?;
            }
        }
        let value = value(answer, &mut store, &refused)?;
        if let (Some(value), Some(result)) = (value, results.first_mut()) {
            *result = value;
        }
        Ok(())
    })
}

/// The result of a function; `None` for one that has none.
fn value(
    answer: Answer,
    store: &mut StoreContextMut<'_, State>,
    refused: &NotGranted,
) -> wasmtime::Result<Option<Val>> {
    Ok(Some(match answer {
        Answer::Nothing => return Ok(None),
        Answer::EmptyList => Val::List(Vec::new()),
        Answer::Absent => Val::Option(None),
        Answer::True => Val::Bool(true),
        Answer::Handle(name) => {
            Val::Resource(ResourceDynamic::new_own(0, number_of(name)).try_into_resource_any(store)?)
        }
        Answer::Room => Val::Result(Ok(Some(Box::new(Val::U64(WRITE_BYTES))))),
        Answer::Done | Answer::Print => Val::Result(Ok(None)),
        Answer::Closed => Val::Result(Err(Some(Box::new(Val::Variant("closed".to_owned(), None))))),
        Answer::Refuse => return Err(wasmtime::Error::new(refused.clone())),
    }))
}

fn answer(interface: &str, function: &str) -> Answer {
    match (interface, function) {
        ("wasi:cli/environment", "get-environment" | "get-arguments")
        | ("wasi:filesystem/preopens", "get-directories") => Answer::EmptyList,
        ("wasi:cli/environment", "initial-cwd")
        | ("wasi:cli/terminal-stdin", "get-terminal-stdin")
        | ("wasi:cli/terminal-stdout", "get-terminal-stdout")
        | ("wasi:cli/terminal-stderr", "get-terminal-stderr") => Answer::Absent,
        ("wasi:cli/stdin", "get-stdin") => Answer::Handle("input-stream"),
        ("wasi:cli/stdout", "get-stdout") | ("wasi:cli/stderr", "get-stderr") => {
            Answer::Handle("output-stream")
        }
        ("wasi:io/streams", "[method]input-stream.subscribe" | "[method]output-stream.subscribe") => {
            Answer::Handle("pollable")
        }
        ("wasi:io/streams", "[method]input-stream.read" | "[method]input-stream.blocking-read") => {
            Answer::Closed
        }
        ("wasi:io/streams", "[method]output-stream.check-write") => Answer::Room,
        (
            "wasi:io/streams",
            "[method]output-stream.write" | "[method]output-stream.blocking-write-and-flush",
        ) => Answer::Print,
        ("wasi:io/streams", "[method]output-stream.flush" | "[method]output-stream.blocking-flush") => {
            Answer::Done
        }
        ("wasi:io/poll", "[method]pollable.ready") => Answer::True,
        ("wasi:io/poll", "[method]pollable.block") => Answer::Nothing,
        _ => Answer::Refuse,
    }
}

/// Interfaces share resources by their names: an `output-stream` is the same for all of them.
fn resource(name: &str) -> ResourceType {
    ResourceType::host_dynamic(number_of(name))
}

/// FNV-1a; WASI has some twenty names.
fn number_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

// === impl Printer ===

impl Printer {
    fn print(&self, bytes: Option<&Val>) {
        let Some(Val::List(values)) = bytes else { return };
        let left = self.left.load(Relaxed);
        if left == 0 {
            return;
        }
        let byte = |value: &Val| if let Val::U8(byte) = value { Some(*byte) } else { None };
        let taken: Vec<u8> = values.iter().take(left).filter_map(byte).collect();
        self.left.store(left - taken.len().min(left), Relaxed);
        let text = String::from_utf8_lossy(&taken);
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            tracing::info!(plugin = %self.plugin, text = %capped(line), "plugin printed");
        }
        if self.left.load(Relaxed) == 0 {
            tracing::info!(plugin = %self.plugin, bytes = MAX_PRINTED_BYTES, "plugin prints no more");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_wasi_of_this_line_is_known() {
        for (name, expected) in [
            ("wasi:cli/environment@0.2.0", true),
            ("wasi:io/streams@0.2.6", true),
            ("wasi:io/streams@0.3.0", false),
            ("wasi:io/streams", false),
            ("weir:plugin/types@0.2.0", false),
        ] {
            assert_eq!(is_wasi(name), expected, "{name}");
        }
    }

    #[test]
    fn what_reaches_out_is_refused() {
        for (interface, function) in [
            ("wasi:clocks/wall-clock", "now"),
            ("wasi:random/random", "get-random-bytes"),
            ("wasi:filesystem/types", "[method]descriptor.open-at"),
            ("wasi:sockets/tcp-create-socket", "create-tcp-socket"),
            ("wasi:cli/exit", "exit"),
            ("wasi:http/outgoing-handler", "handle"),
        ] {
            assert_eq!(answer(interface, function), Answer::Refuse, "{interface} {function}");
        }
    }

    #[test]
    fn resources_are_told_apart() {
        let names = ["input-stream", "output-stream", "pollable", "error", "descriptor", "terminal-input"];
        let numbers: std::collections::HashSet<u32> = names.iter().map(|name| number_of(name)).collect();
        assert_eq!(numbers.len(), names.len());
    }
}
