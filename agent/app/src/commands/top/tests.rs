//! What two moments of an agent come to, and how that is drawn.

use std::collections::BTreeMap;

use weir_buffer::ledger::{Amount, Counts, Statement};

use super::super::Sort;
use super::super::rates::Snapshot;
use super::*;
use crate::admin::status::{PipelineStatus, PluginStatus, SinkStatus, SourceStatus, Status};

fn amount(events: u64) -> Amount {
    Amount { events, bytes: events * 100 }
}

/// An agent that is up for so many seconds, and does the same in each of them.
fn status(seconds: u64) -> Status {
    let reasons = |reasons: &[(&str, u64)]| {
        let each = reasons.iter().map(|(reason, events)| ((*reason).to_owned(), amount(*events)));
        each.collect::<BTreeMap<_, _>>()
    };
    let account = |pipeline: &str, sink: &str, read: u64, sampled: u64| Statement {
        pipeline: pipeline.to_owned(),
        sink: sink.to_owned(),
        counts: Counts {
            read: amount(read),
            delivered: amount(read - sampled - 300),
            sampled: reasons(&[("sampler.level=debug", sampled)]),
            ..Counts::default()
        },
        buffered: [("memory".to_owned(), amount(200))].into(),
        in_flight: amount(100),
        balanced: true,
    };
    let pipeline = |name: &str, held_by: Option<&str>| PipelineStatus {
        pipeline: name.to_owned(),
        sources: vec!["pods".to_owned()],
        stages: vec!["sampler".to_owned()],
        sinks: vec!["search".to_owned()],
        held_by: held_by.map(str::to_owned),
    };
    let plugin = |name: &str, events: u64, faults: u64| PluginStatus {
        plugin: name.to_owned(),
        version: "1.4.2".to_owned(),
        state: if faults == 0 { "healthy" } else { "quarantined" }.to_owned(),
        events,
        cpu_seconds: events as f64 * 120e-9,
        faults,
        failed_events: faults,
        memory_bytes: 3 << 19,
        last_fault: (faults > 0).then(|| "trap: unreachable\u{1b}[31m\nbacktrace".to_owned()),
    };
    Status {
        version: "0.1.0".to_owned(),
        cluster: "dev".to_owned(),
        node: "node-1".to_owned(),
        generation: 3,
        rejected: false,
        state: "ready".to_owned(),
        up_seconds: seconds as f64,
        cpu_seconds: seconds as f64 * 0.34,
        memory_bytes: 120 << 20,
        memory_bound_bytes: 256 << 20,
        workers: 2,
        taps: 1,
        pipelines: vec![pipeline("app-logs", None), pipeline("audit", Some("enrich"))],
        accounts: vec![
            account("app-logs", "search", 1_000 + seconds * 5_000, seconds * 3_800),
            account("audit", "search", 1_000 + seconds, 0),
        ],
        sources: vec![SourceStatus {
            source: "pods".to_owned(),
            events: seconds * 5_000,
            bytes: seconds << 20,
            files: 42,
            errors: 0,
            listen: None,
            connections: 0,
        }],
        sinks: vec![SinkStatus {
            sink: "search".to_owned(),
            state: "failing".to_owned(),
            documents: seconds * 1_200,
            bytes: seconds * 300_000,
            retries: seconds / 2,
            memory_bytes: 1 << 20,
            memory_bound_bytes: 64 << 20,
            disk_bytes: Some(5 << 20),
            disk_bound_bytes: Some(2 << 30),
            object_bytes: Some(3 << 30),
            held_events: 7,
            oldest_seconds: 4.25,
        }],
        plugins: vec![plugin("enrich", seconds, 12), plugin("sampler", seconds * 5_000, 0)],
    }
}

const PICTURE: &str = "\
weir 0.1.0 on node-1 in dev: ready, generation 3, up 2 min
CPU 34.0 % of 2 workers, memory 120 MiB of 256 MiB, over 20.0 s, 1 looking at events

PIPELINE  SINK     IN/s  DELIVERED/s  DROPPED/s  WAITING  OLDEST  STATE
app-logs  search  5 000        1 200      3 800      300   4.2 s  ok
  sampled sampler.level=debug: 3 800/s, 456 000 in all
audit     search    1.0          1.0          0      300   4.2 s  held by enrich
  sampled sampler.level=debug: 0/s, 0 in all

SINK    STATE    DOCS/s  BYTES/s  RETRIES/s               MEMORY                DISK  OBJECTS  HELD  OLDEST
search  failing   1 200  293 KiB        0.5  1.0 MiB of 64.0 MiB  5.0 MiB of 2.0 GiB  3.0 GiB     7   4.2 s

PLUGIN   VERSION  STATE        EVENTS/s  ns/EVENT    CPU  FAULTS/s   MEMORY
enrich   1.4.2    quarantined       1.0       120  0.0 %         0  1.5 MiB
  12 faults; the last: trap: unreachable [31m
sampler  1.4.2    healthy         5 000       120  0.1 %         0  1.5 MiB

SOURCE  EVENTS/s  BYTES/s  OPEN  ERRORS
pods       5 000  1.0 MiB    42       0
";

#[test]
fn the_picture_is_the_one_that_is_kept() {
    let snapshot = Snapshot::between(&status(100), &status(120), Sort::Name);
    let drawn = draw(&snapshot, 200, usize::MAX, Painter::plain());
    assert_eq!(drawn, PICTURE, "\n{drawn}");
}

#[test]
fn a_picture_fits_its_screen() {
    let snapshot = Snapshot::between(&status(100), &status(120), Sort::Name);
    let drawn = draw(&snapshot, 40, 10, Painter::plain());
    let lines: Vec<&str> = drawn.lines().collect();
    assert_eq!(lines.len(), 10);
    assert!(lines.iter().all(|line| line.chars().count() <= 40), "{drawn}");
    assert_eq!(lines[9], "… 10 more lines");
}

#[test]
fn what_is_most_comes_first() {
    let names = |sort| {
        let snapshot = Snapshot::between(&status(100), &status(120), sort);
        snapshot.plugins.into_iter().map(|plugin| plugin.plugin).collect::<Vec<_>>()
    };
    assert_eq!(names(Sort::Name), ["enrich", "sampler"]);
    assert_eq!(names(Sort::Rate), ["sampler", "enrich"]);
    assert_eq!(names(Sort::Cpu), ["sampler", "enrich"]);
}

#[test]
fn a_restart_is_no_burst() {
    // The agent began anew; its ledger went on, its other counters did not.
    let mut after = status(3);
    after.accounts = status(100).accounts;
    let snapshot = Snapshot::between(&status(100), &after, Sort::Name);
    assert_eq!(snapshot.agent.seconds, 3.0);
    assert_eq!(snapshot.pipelines[0].read_per_second, 0.0);
    assert_eq!(snapshot.sources[0].events_per_second, 5_000.0);
    assert_eq!(snapshot.plugins[1].events_per_second, 5_000.0);
    assert!((snapshot.agent.cpu - 0.34).abs() < 0.01, "{}", snapshot.agent.cpu);
}

#[test]
fn a_pipeline_that_is_gone_is_shown_while_something_waits() {
    let mut now = status(120);
    now.pipelines.clear();
    now.accounts[0].buffered.clear();
    now.accounts[0].in_flight = amount(0);
    let snapshot = Snapshot::between(&status(100), &now, Sort::Name);
    let names: Vec<_> = snapshot.pipelines.iter().map(|row| row.pipeline.as_str()).collect();
    assert_eq!(names, ["audit"]);
}

#[test]
fn numbers_are_short() {
    assert_eq!([0.0, 0.25, 9.94, 12.6, 12_345.0].map(rate), ["0", "0.2", "9.9", "13", "12 345"]);
    assert_eq!([0.0, 1_023.0, 1_536.0, 1e12].map(size), ["0 B", "1023 B", "1.5 KiB", "931 GiB"]);
    assert_eq!(
        [0.0, 4.25, 61.0, 3_600.0, 90_000.0, 1e6].map(age),
        ["-", "4.2 s", "61 s", "60 min", "25 h", "11 d"]
    );
}
