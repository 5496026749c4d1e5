//! Reloading: other pipelines, sinks, sources and plugins while a container writes, and configurations that are not
//! taken. Every line arrives once at every sink that it is for.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use integration_tests::{Admin, ConfigMap, Node, count, numbers, until, until_some};
use rustix::process::Signal;
use serde_json::{Value, json};

const ONE: &str = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";

fn event(n: u64) -> String {
    json!({"n": n, "level": "info"}).to_string()
}

/// A container that writes numbered lines all the time, in a tree of pods.
struct Writer<'a> {
    stop: &'a AtomicBool,
    written: &'a AtomicU64,
}

impl Writer<'_> {
    /// Writes until it is told to stop, about 4,000 lines a second, rotating now and then.
    fn write(&self, pods: &Path) {
        let mut log = integration_tests::PodLog::create(pods, "shop_cart_u1");
        let mut n = 0;
        while !self.stop.load(Ordering::Relaxed) {
            log.lines((n..n + 20).map(event));
            n += 20;
            self.written.store(n, Ordering::Relaxed);
            if n.is_multiple_of(4_000) {
                log.rotate();
            }
            thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Changes the configuration while a container writes; afterwards everything written must be settled.
fn while_writing(node: &Node, act: impl FnOnce(&Admin, &AtomicU64)) -> u64 {
    let agent = node.start();
    let (stop, written) = (AtomicBool::new(false), AtomicU64::new(0));
    let writer = Writer { stop: &stop, written: &written };
    thread::scope(|scope| {
        scope.spawn(|| writer.write(&node.path("pods")));
        // Whatever happens, the writer ends.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let _stop = Stop(&stop);
        until("something is written", || written.load(Ordering::Relaxed) > 500);
        act(&agent.admin(), &written);
    });
    let ended = {
        until("all is settled", || {
            let ledger = agent.admin().ledger();
            ledger.check();
            let main = ledger.accounts.iter().filter(|account| account.pipeline == "all");
            let read = main.map(|account| account.read.events).max().unwrap_or_default();
            read >= written.load(Ordering::Relaxed)
                && ledger.accounts.iter().all(|account| account.is_settled())
        });
        agent.terminate()
    };
    assert_eq!(ended.code, Some(0), "{ended}");
    written.load(Ordering::Relaxed)
}

/// Waits until the container has written some more.
fn more(written: &AtomicU64) {
    let now = written.load(Ordering::Relaxed);
    until("more is written", || written.load(Ordering::Relaxed) > now + 600);
}

/// Reloads, and the configuration must be taken: by this, or a moment before because the agent saw the file.
#[track_caller]
fn take(node: &Node, admin: &Admin, config: &str) -> Value {
    node.configure(config);
    let (status, mut answer) = admin.reload();
    assert_eq!(status, 200, "{answer:#}\n{config}");
    if answer["outcome"] == "unchanged" {
        let last = admin.generation()["last_change"].clone();
        assert_eq!(last["trigger"], "files", "{last:#}\n{config}");
        answer["changes"] = last["changes"].clone();
    }
    answer
}

/// Every number from `first` on is there once.
#[track_caller]
fn is_whole(mut numbers: Vec<u64>, first: u64, end: u64) {
    numbers.sort_unstable();
    let expected: Vec<u64> = (first..end).collect();
    if numbers != expected {
        let mut times: BTreeMap<u64, u64> = (first..end).map(|n| (n, 0)).collect();
        numbers.iter().for_each(|n| *times.entry(*n).or_default() += 1);
        let wrong: Vec<_> = times.into_iter().filter(|(_, times)| *times != 1).take(20).collect();
        panic!("{} numbers of {}; (number, times): {wrong:?}", numbers.len(), expected.len());
    }
}

#[test]
fn a_sink_goes_to_another_path_and_nothing_is_lost_or_doubled() {
    let node = Node::new();
    node.configure(ONE);
    let path = |n: u64| format!("out-{n}.ndjson");
    let end = while_writing(&node, |admin, written| {
        for n in 0..6 {
            let answer = take(&node, admin, &ONE.replace("out.ndjson", &path(n)));
            assert_eq!(answer["changes"]["sinks"]["changed"], json!(["out"]), "{answer:#}");
            assert_eq!(answer["changes"]["pipelines"]["kept"], json!(["all"]), "{answer:#}");
            assert_eq!(answer["changes"]["sources"]["kept"], json!(["pods"]), "{answer:#}");
            more(written);
            until("lines go there", || count(&node.path(path(n))) > 0);
        }
    });
    let mut all = numbers(&node.path("out.ndjson"));
    for n in 0..6 {
        let part = numbers(&node.path(path(n)));
        assert!(!part.is_empty(), "{n}");
        all.extend(part);
    }
    // One segment after the other, wherever it goes.
    assert!(all.is_sorted());
    is_whole(all, 0, end);
}

#[test]
fn pipelines_sources_and_sinks_come_and_go() {
    let node = Node::new();
    node.configure(ONE);
    let second = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [out]}, more: {from: [pods], to: [also]}}
sinks: {out: {type: file, path: out.ndjson}, also: {type: file, path: also.ndjson}}
";
    // The source changes, and so where it is read on matters.
    let third = second.replace("path: pods}", "path: pods, linger: 50ms, exclude_pods: [none]}");
    let fourth = third.replace("to: [out]}", "to: [out, also]}");
    let fifth = "
sources:
  pods: {type: kubernetes_logs, path: pods}
  other: {type: file, include: ['other/*.log'], format: json}
pipelines: {all: {from: [pods, other], to: [out]}}
sinks: {out: {type: file, path: out.ndjson}}
";
    fs::create_dir(node.path("other")).unwrap();
    let end = while_writing(&node, |admin, written| {
        let answer = take(&node, admin, second);
        assert_eq!(answer["changes"]["pipelines"]["added"], json!(["more"]));
        assert_eq!(answer["changes"]["pipelines"]["kept"], json!(["all"]));
        more(written);
        let answer = take(&node, admin, &third);
        assert_eq!(answer["changes"]["sources"]["changed"], json!(["pods"]));
        more(written);
        let answer = take(&node, admin, &fourth);
        assert_eq!(answer["changes"]["pipelines"]["changed"], json!(["all"]));
        more(written);
        let answer = take(&node, admin, fifth);
        assert_eq!(answer["changes"]["pipelines"]["removed"], json!(["more"]));
        assert_eq!(answer["changes"]["sinks"]["removed"], json!(["also"]));
        assert_eq!(answer["changes"]["sources"]["added"], json!(["other"]));
        node.write("other/a.log", "{\"other\": 1}\n");
        until("the new source is read", || {
            // The last line may not be finished yet.
            fs::read_to_string(node.path("out.ndjson")).is_ok_and(|text| text.contains("\"other\""))
        });
        // What was removed comes back under its old name.
        take(&node, admin, ONE);
        more(written);
        take(&node, admin, second);
        more(written);
        take(&node, admin, ONE);
        assert_eq!(admin.generation()["generation"], 8);
    });
    let out = integration_tests::parse(&node.path("out.ndjson"));
    is_whole(out.iter().filter_map(|document| document["n"].as_u64()).collect(), 0, end);
    let account = |pipeline, sink| node.ledger().account(pipeline, sink);
    let also = count(&node.path("also.ndjson"));
    assert_eq!(account("more", "also").delivered.events + account("all", "also").delivered.events, also);
    assert!(also > 1_000, "{also}");
    assert_eq!(account("all", "out").delivered.events, end + 1);
}

#[test]
fn a_plugin_gets_another_configuration_and_what_is_bad_is_not_taken() {
    let node = Node::with_compiled(&["log-sampler", "field-filter"]);
    node.write("garbage.wasm", "this is no component");
    let config = |keep: &str, extra: &str| {
        format!(
            "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
plugins: {{sampler: {{artifact: 'file:plugins/log-sampler.wasm', config: {{rates: {{{keep}}}}}}}}}
pipelines: {{all: {{from: [pods], stages: [sampler], to: [out]}}}}
sinks: {{out: {{type: file, path: out.ndjson}}}}
{extra}"
        )
    };
    let good = config("debug: 0", "");
    node.configure(&good);
    let end = while_writing(&node, |admin, written| {
        let bad = [
            ("sources: [", "weir.yaml"),
            (&*config("debug: 0", "sinkz: {}"), "sinkz"),
            (&config("debug: no-number", ""), "plugins.sampler.config"),
            (&good.replace("plugins/log-sampler.wasm", "garbage.wasm"), "plugins.sampler.artifact"),
            (&good.replace("plugins/log-sampler.wasm", "missing.wasm"), "plugins.sampler.artifact"),
            (&good.replace("to: [out]", "to: [elsewhere]"), "elsewhere"),
            (&good.replace("out.ndjson", "pods"), "sinks.out"),
        ];
        for (n, (config, reason)) in (1..).zip(bad) {
            node.configure(config);
            let (status, answer) = admin.reload();
            assert_eq!((status, &answer["outcome"]), (422, &json!("rejected")), "{answer:#}\n{config}");
            assert_eq!(answer["generation"], 1);
            let errors = answer["errors"].as_array().unwrap();
            assert!(!errors.is_empty() && answer["errors"].to_string().contains(reason), "{answer:#}");
            let generation = admin.generation();
            assert_eq!(generation["generation"], 1);
            assert_eq!(generation["last_reload"]["errors"], answer["errors"]);
            let metrics = admin.metrics();
            assert_eq!(metrics.value("weir_config_generation", &[]), 1.0);
            assert_eq!(metrics.value("weir_config_last_reload_successful", &[]), 0.0);
            // The watch may have seen it first, then it is refused twice.
            assert!(metrics.value("weir_config_reloads_total", &[("outcome", "rejected")]) >= f64::from(n));
            assert!(admin.get("/").body.contains("was not taken"), "the page says so");
            more(written);
        }
        let answer = take(&node, admin, &config("debug: 0, trace: 0", ""));
        assert_eq!(answer["generation"], 2);
        assert_eq!(answer["changes"]["plugins"]["changed"], json!(["sampler"]));
        assert_eq!(answer["changes"]["pipelines"]["changed"], json!(["all"]));
        assert_eq!(answer["changes"]["sinks"]["kept"], json!(["out"]));
        assert_eq!(admin.metrics().value("weir_config_last_reload_successful", &[]), 1.0);
        let (status, answer) = admin.reload();
        assert_eq!((status, &answer["outcome"]), (200, &json!("unchanged")), "{answer:#}");
        assert_eq!(answer["generation"], 2);
        more(written);
        // More memory than any plugin had before, and another artefact under the same path.
        let roomy = good.replace("config:", "limits: {memory: 40MiB}, config:");
        assert_eq!(take(&node, admin, &roomy)["generation"], 3);
        more(written);
        fs::copy(integration_tests::plugin("log-sampler"), node.path("own.wasm")).unwrap();
        let own = good
            .replace("plugins/log-sampler.wasm", "own.wasm")
            .replace("config: {rates: {debug: 0}}", "config: {}");
        assert_eq!(take(&node, admin, &own)["generation"], 4);
        more(written);
        fs::copy(integration_tests::plugin("field-filter"), node.path("own.wasm")).unwrap();
        let (status, answer) = admin.reload();
        assert_eq!(status, 200, "{answer:#}");
        assert_eq!(answer["changes"]["plugins"]["changed"], json!(["sampler"]), "{answer:#}");
        assert_eq!(answer["generation"], 5);
        more(written);
    });
    is_whole(numbers(&node.path("out.ndjson")), 0, end);
}

#[test]
fn keys_that_are_for_life_are_refused_by_name() {
    let node = Node::new();
    node.configure(ONE);
    let agent = node.start();
    let text = fs::read_to_string(node.path("weir.yaml")).unwrap();
    let changes =
        [("data_dir: data", "data_dir: data2", "data_dir"), ("127.0.0.1:0}", "127.0.0.1:1}", "admin")];
    for (from, to, key) in changes {
        node.write("weir.yaml", text.replace(from, to));
        let (status, answer) = agent.admin().reload();
        assert_eq!(status, 422, "{answer:#}");
        let error = &answer["errors"][0];
        assert_eq!(error["path"], key, "{answer:#}");
        assert!(error["help"].as_str().unwrap().contains("restart"), "{answer:#}");
    }
    // These are not.
    let mut log = node.pod("shop_cart_u1");
    for (n, (from, to)) in [
        ("workers: 2", "workers: 4"),
        ("memory: 256MiB", "memory: 200MiB"),
        ("cluster: test", "cluster: other"),
        ("node: node-1", "node: node-2"),
    ]
    .into_iter()
    .enumerate()
    {
        node.write("weir.yaml", text.replace(from, to));
        let (status, answer) = agent.admin().reload();
        assert_eq!((status, &answer["outcome"]), (200, &json!("reloaded")), "{from}: {answer:#}");
        log.line(event(n as u64));
        until("the line is there", || count(&node.path("out.ndjson")) == n as u64 + 1);
    }
    let documents = integration_tests::parse(&node.path("out.ndjson"));
    assert_eq!((&documents[2]["cluster"], &documents[3]["node"]), (&json!("other"), &json!("node-2")));
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn a_config_map_that_is_swapped_is_reloaded_and_one_that_stays_the_same_is_not() {
    let node = Node::new();
    let config = |out: &str| {
        let folder = node.path("");
        let folder = folder.display();
        let head = format!(
            "version: 1\ncluster: test\nnode: node-1\ndata_dir: {folder}/data\nadmin: {{listen: 127.0.0.1:0}}\nworkers: 2\n"
        );
        let body = format!(
            "sources: {{pods: {{type: kubernetes_logs, path: {folder}/pods}}}}\npipelines: {{all: {{from: [pods], to: [out]}}}}\n"
        );
        (head + &body, format!("sinks: {{out: {{type: file, path: {folder}/{out}}}}}\n"))
    };
    let (main, sinks) = config("one.ndjson");
    let mut map = ConfigMap::mount(&node.path("config"), &[("weir.yaml", &main), ("sinks.yaml", &sinks)]);
    let agent = node.start_with(node.command(&["run", "-c", "config"]));
    let admin = agent.admin();
    let mut log = node.pod("shop_cart_u1");
    log.line(event(1));
    until("the first line is there", || count(&node.path("one.ndjson")) == 1);

    // The kubelet swaps the folder even where nothing is new; editors write what was there.
    map.swap(&[("weir.yaml", &main), ("sinks.yaml", &sinks)]);
    thread::sleep(Duration::from_secs(1));
    assert_eq!(admin.generation()["generation"], 1);
    assert_eq!(admin.generation()["last_reload"], Value::Null, "nothing was tried");

    let (main, other) = config("two.ndjson");
    map.swap(&[("weir.yaml", &main), ("others.yaml", &other)]);
    until("it is reloaded", || admin.generation()["generation"] == 2);
    assert_eq!(admin.generation()["last_reload"]["trigger"], "files");
    log.line(event(2));
    until("the second line is there", || count(&node.path("two.ndjson")) == 1);

    map.swap(&[("weir.yaml", "version: 1\nsauces: {}\n")]);
    until("it is refused", || admin.generation()["last_reload"]["outcome"] == "rejected");
    let refused = admin.generation();
    assert_eq!(refused["generation"], 2);
    assert!(refused["last_reload"]["errors"].to_string().contains("sauces"), "{refused:#}");
    thread::sleep(Duration::from_secs(1));
    let rejected = admin.metrics().value("weir_config_reloads_total", &[("outcome", "rejected")]);
    assert_eq!(rejected, 1.0, "it is refused once");

    // Back to what runs: nothing to do, but nothing is wrong any more either.
    map.swap(&[("weir.yaml", &main), ("others.yaml", &other)]);
    until("it is good again", || admin.metrics().value("weir_config_last_reload_successful", &[]) == 1.0);
    assert_eq!(admin.generation()["generation"], 2);
    log.line(event(3));
    until("the third line is there", || count(&node.path("two.ndjson")) == 2);
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn a_file_that_is_put_in_its_place_or_written_in_pieces_is_reloaded() {
    use std::io::Write as _;
    let node = Node::new();
    node.configure(ONE);
    let agent = node.start();
    let admin = agent.admin();
    let text = fs::read_to_string(node.path("weir.yaml")).unwrap();
    // As an editor saves.
    node.write("weir.yaml.swp", text.replace("out.ndjson", "two.ndjson"));
    fs::rename(node.path("weir.yaml.swp"), node.path("weir.yaml")).unwrap();
    until("it is reloaded", || admin.generation()["generation"] == 2);
    // As a slow copy writes: each part by itself would be refused.
    let third = text.replace("out.ndjson", "three.ndjson");
    let mut file = fs::File::create(node.path("weir.yaml")).unwrap();
    for part in third.as_bytes().chunks(third.len() / 20) {
        file.write_all(part).unwrap();
        thread::sleep(Duration::from_millis(10));
    }
    until("it is reloaded again", || admin.generation()["generation"] == 3);
    // On a signal.
    let fourth = text.replace("out.ndjson", "four.ndjson");
    node.write("weir.yaml", fourth);
    agent.signal(Signal::HUP);
    until("it is reloaded once more", || admin.generation()["generation"] == 4);
    agent.signal(Signal::HUP);
    until("there is nothing new", || admin.generation()["last_reload"]["outcome"] == "unchanged");
    assert_eq!(admin.generation()["last_reload"]["trigger"], "signal");
    let mut log = node.pod("shop_cart_u1");
    log.line(event(1));
    until("the line is there", || count(&node.path("four.ndjson")) == 1);
    assert_eq!(agent.terminate().code, Some(0));
}

#[test]
fn browsers_cannot_reload() {
    let node = Node::new();
    node.configure(ONE);
    let agent = node.start();
    let admin = agent.admin();
    for header in [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")] {
        assert_eq!(admin.post("/api/reload", &[header]).status, 403);
    }
    assert_eq!(admin.get("/api/reload").status, 405);
    assert_eq!(admin.generation()["last_reload"], Value::Null);
    assert_eq!(agent.terminate().code, Some(0));
}

/// A sink that fails holds its pipeline back; a reload that takes it away, or mends it, lets things go on.
#[test]
fn a_sink_that_fails_can_be_replaced_removed_and_brought_back() {
    let node = Node::new();
    fs::create_dir(node.path("locked")).unwrap();
    fs::set_permissions(node.path("locked"), fs::Permissions::from_mode(0o500)).unwrap();
    let failing = "
sources: {pods: {type: kubernetes_logs, path: pods}}
pipelines: {all: {from: [pods], to: [bad, out]}}
sinks: {bad: {type: file, path: locked/bad.ndjson, buffer: small}, out: {type: file, path: out.ndjson}}
buffers: {small: {memory: 4MiB, disk: 64MiB}}
";
    let without = failing
        .replace("to: [bad, out]", "to: [out]")
        .replace("bad: {type: file, path: locked/bad.ndjson, buffer: small}, ", "");
    let without = without.split("buffers:").next().unwrap();
    let mended = failing.replace("locked/bad.ndjson", "bad.ndjson");
    node.configure(failing);
    let agent = node.start_with(node.command_bound_by_modes(&["run", "-c", "weir.yaml"]));
    let admin = agent.admin();
    let mut log = node.pod("shop_cart_u1");
    log.lines((0..10_000).map(event));
    until("the sink fails", || admin.metrics().value("weir_sink_failing", &[("sink", "bad")]) == 1.0);
    take(&node, &admin, without);
    log.lines((10_000..20_000).map(event));
    until("the others go on", || count(&node.path("out.ndjson")) == 20_000);
    let waiting = admin.ledger().account("all", "bad");
    assert!(waiting.on_the_way().events > 0 && waiting.read.events < 20_000, "{waiting:?}");
    take(&node, &admin, &mended);
    log.lines((20_000..21_000).map(event));
    until("everything is there", || admin.ledger().account("all", "out").delivered.events == 21_000);
    until("what waited is there", || admin.ledger().account("all", "bad").is_settled());
    let bad = admin.ledger().account("all", "bad");
    assert_eq!(agent.terminate().code, Some(0));
    is_whole(numbers(&node.path("out.ndjson")), 0, 21_000);
    let arrived = numbers(&node.path("bad.ndjson"));
    assert_eq!(arrived.len() as u64, bad.delivered.events);
    // Those of the time without it are missing, nothing else, and nothing is there twice.
    let first = waiting.read.events;
    let expected: Vec<u64> = (0..first).chain(20_000..21_000).collect();
    assert_eq!(arrived, expected);
}

#[test]
fn a_pipeline_that_holds_tries_again_with_what_is_reloaded() {
    let node = Node::with_compiled(&["misbehave"]);
    let config = |fault: &str| {
        format!(
            "
sources: {{pods: {{type: kubernetes_logs, path: pods}}}}
plugins: {{guest: {{artifact: 'file:plugins/misbehave.wasm', on_error: hold, config: {fault}}}}}
pipelines: {{all: {{from: [pods], stages: [guest], to: [out]}}, beside: {{from: [pods], to: [free]}}}}
sinks: {{out: {{type: file, path: out.ndjson}}, free: {{type: file, path: free.ndjson}}}}
"
        )
    };
    node.configure(&config("{mode: trap, when: {equals: poison}}"));
    let agent = node.start();
    let admin = agent.admin();
    let mut log = node.pod("shop_cart_u1");
    let line = |n: u64| json!({"n": n, "level": if n == 50 { "poison" } else { "info" }}).to_string();
    log.lines((0..100).map(line));
    let held = |admin: &Admin| admin.metrics().value("weir_pipeline_held", &[("pipeline", "all")]) == 1.0;
    until("it holds", || held(&admin));
    log.lines((100..200).map(line));
    agent.signal(Signal::HUP);
    until("it was tried again", || admin.generation()["last_reload"]["outcome"] == "unchanged");
    until("it holds again", || held(&admin));
    take(&node, &admin, &config("{mode: none}"));
    until_some("all is there", || (count(&node.path("out.ndjson")) == 200).then_some(()));
    assert!(!held(&admin));
    let ended = agent.terminate();
    assert_eq!(ended.code, Some(0), "{ended}");
    assert_eq!(numbers(&node.path("out.ndjson")), (0..200).collect::<Vec<_>>(), "in order");
    is_whole(numbers(&node.path("free.ndjson")), 0, 200);
    node.ledger().check();
}

#[test]
fn twenty_reloads_under_load_lose_and_double_nothing() {
    let scenario =
        integration_tests::ReloadScenario { reloads: 20, rate: 50_000, pause: Duration::from_millis(300) };
    let report = scenario.play(&|progress| eprintln!("{progress}"));
    eprintln!("{:#}", report.to_json());
    assert_eq!(report.problems(false), Vec::<String>::new(), "{:#}", report.to_json());
}
