//! What plugins cost that have nothing to do.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fs;
use std::thread;
use std::time::Duration;

use integration_tests::{Node, plugin};

/// Artefact and configuration of each of ten plugins. Those with the same artefact are made different ones, which share
/// no code.
const TEN: [(&str, &str); 10] = [
    ("log-sampler", "{}"),
    ("log-sampler", "{}"),
    ("log-sampler", "{}"),
    ("log-sampler", "{}"),
    ("field-filter", "{remove: [a]}"),
    ("bench-w1", "{}"),
    ("bench-w1", "{}"),
    ("bench-w1", "{}"),
    ("misbehave", "{mode: none}"),
    ("misbehave", "{mode: none}"),
];
/// What all of them may cost together.
const LIMIT: u64 = 8 << 20;
/// What the start needed and nobody needs any more is given back by then.
const SETTLE: Duration = Duration::from_secs(2);
const LOOKS: usize = 10;

#[test]
fn ten_of_them_cost_little_memory() {
    let node = Node::new();
    for (number, (artefact, _)) in TEN.iter().enumerate() {
        let bytes = fs::read(plugin(artefact)).unwrap();
        node.write(&format!("p{number}.wasm"), made_different(bytes, number as u8));
        // One by one, since on a busy machine all together take their time.
        node.write("weir.yaml", configuration(number..number + 1));
        node.run_once_well();
    }
    let none = idle(&node, 0..0);
    let ten = idle(&node, 0..TEN.len());
    let cost = ten.saturating_sub(none);
    eprintln!("{} KiB without plugins, {} KiB more with ten", none >> 10, cost >> 10);
    assert!(cost <= LIMIT, "{cost} bytes, at most {LIMIT}");
}

fn configuration(numbers: std::ops::Range<usize>) -> String {
    let stages: Vec<String> = numbers.clone().map(|number| format!("p{number}")).collect();
    let entry = |number: usize| {
        format!("  p{number}: {{artifact: 'file:p{number}.wasm', config: {}}}\n", TEN[number].1)
    };
    let plugins = match numbers.is_empty() {
        true => String::new(),
        false => format!("plugins:\n{}", numbers.map(entry).collect::<String>()),
    };
    // Ten plugins may have 32 MiB for each of two workers.
    format!(
        "version: 1
cluster: test
node: node-1
data_dir: data
memory: 2GiB
workers: 2
admin: {{listen: 127.0.0.1:0}}
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
pipelines: {{all: {{from: [pods], stages: [{}], to: [out]}}}}
sinks: {{out: {{type: blackhole}}}}
{plugins}",
        stages.join(", ")
    )
}

/// The least memory of an agent with these plugins that has nothing to do.
fn idle(node: &Node, numbers: std::ops::Range<usize>) -> u64 {
    node.write("weir.yaml", configuration(numbers));
    let agent = node.start();
    thread::sleep(SETTLE);
    let look = |_| {
        thread::sleep(Duration::from_millis(100));
        agent.resident_bytes()
    };
    let least = (0..LOOKS).map(look).min().unwrap_or_default();
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    least
}

/// The component with a custom section that no other has.
fn made_different(mut wasm: Vec<u8>, number: u8) -> Vec<u8> {
    wasm.extend([0, 5, 3]);
    wasm.extend(b"own");
    wasm.push(number);
    wasm
}
