//! The source as it runs: what it makes of entries, how it ends, and what it survives.

use std::time::{Duration, Instant};

use weir_event::batch::{Flags, MAX_EVENT_BYTES};
use weir_event::stream::Attributes;
use weir_pipeline::source::Mode;

use super::rig::{Play, Rig, Then, count, cursor, entries, entry_in, is_there, message};

#[test]
fn an_event_has_its_entrys_place_and_time() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(1..=2), ..Play::default() });
    rig.follow(2);
    let events = rig.take();
    let expected = Attributes {
        source: "node".into(),
        cluster: "dev".into(),
        node: "node-1".into(),
        ..Attributes::default()
    };
    assert_eq!(events[0].attributes, expected);
    assert_eq!(events[0].content, r#"{"message":"m1"}"#);
    assert_eq!((events[1].offset, events[1].time), (2, 1_700_000_000_000_002_000));
    assert_eq!(events[1].flags, Flags::default());
    assert_eq!(count(&rig.metrics.events), 2);
    assert_eq!(count(&rig.metrics.bytes), entries(1..=2).len() as u64);
}

#[test]
fn the_same_number_in_another_sequence_is_another_event() {
    let output = [entry_in("a", 1, "same"), entry_in("b", 1, "same")].concat();
    let mut rig = Rig::new().plays(1, Play { output: &output, ..Play::default() });
    rig.follow(2);
    let events = rig.take();
    assert_ne!(events[0].id, events[1].id);
}

#[test]
fn stopping_kills_the_child_at_once() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(1..=1), ..Play::default() });
    rig.start(Mode::Follow);
    rig.wait_for(1);
    let process = rig.process();
    assert!(is_there(process));
    let took = rig.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!is_there(process), "it is neither alive nor unreaped");
}

#[test]
fn stopping_does_not_wait_for_the_end_of_a_flood() {
    let mut rig =
        Rig::new().plays(1, Play { output: &entries(1..=500), then: Then::Flood, ..Play::default() });
    rig.start(Mode::Follow);
    rig.wait_for(5_000);
    let process = rig.process();
    let took = rig.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!is_there(process));
}

#[test]
fn a_child_that_shuts_its_output_is_replaced() {
    let shut = Play { output: &entries(1..=1), then: Then::Shut, ..Play::default() };
    let mut rig = Rig::new().plays(1, shut).plays(2, Play { output: &entries(1..=2), ..Play::default() });
    rig.start(Mode::Follow);
    rig.wait_for(1);
    let process = rig.process();
    rig.wait_for(2);
    assert_eq!(rig.messages(), ["m1", "m2"]);
    assert!(!is_there(process));
    rig.stop();
}

#[test]
fn stopping_does_not_wait_for_pipelines_that_are_behind() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(1..=1), ..Play::default() });
    rig.set_ready(false);
    rig.start(Mode::Follow);
    rig.wait_until(|rig| count(&rig.metrics.events) == 1);
    let process = rig.process();
    let took = rig.stop();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(!is_there(process));
    assert!(rig.take().is_empty());
}

#[test]
fn stopping_does_not_wait_through_a_pause() {
    let mut rig = Rig::new();
    rig.settings.command = "/nonexistent/journalctl".into();
    rig.start(Mode::Follow);
    rig.wait_until(|rig| count(&rig.metrics.errors) == 1);
    assert!(rig.stop() < Duration::from_secs(2));
}

#[test]
fn the_child_has_an_environment_of_its_own() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(1..=1), ..Play::default() });
    rig.follow(1);
    let environment = rig.read("environment");
    let names = environment.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name);
    // Shells add names of their own.
    let own = ["PWD", "OLDPWD", "SHLVL", "_"];
    let mut names: Vec<&str> = names.filter(|name| !own.contains(name)).collect();
    names.sort_unstable();
    assert_eq!(names, ["LANG", "PATH"]);
}

#[test]
fn once_reads_what_is_there_and_ends() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(1..=3), code: Some(0), ..Play::default() });
    rig.once();
    assert_eq!(rig.messages(), ["m1", "m2", "m3"]);
    assert_eq!(rig.calls(), ["--merge"]);
}

#[test]
fn once_goes_on_behind_the_checkpoint() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(3..=4), code: Some(0), ..Play::default() });
    rig.set_cursor(&cursor(3));
    rig.once();
    assert_eq!(rig.messages(), ["m4"]);
}

#[test]
fn once_begins_anew_where_the_journal_ends_before_the_checkpoint() {
    let mut rig = Rig::new()
        .plays(1, Play { code: Some(0), ..Play::default() })
        .plays(2, Play { output: &entry_in("new", 1, "first"), code: Some(0), ..Play::default() });
    rig.set_cursor(&cursor(3));
    rig.once();
    assert_eq!(rig.messages(), ["first"]);
    assert_eq!(rig.calls().len(), 2);
}

#[test]
fn once_gives_up_after_some_failures() {
    let failure = Play { code: Some(1), ..Play::default() };
    let mut rig = Rig::new().plays(1, failure).plays(2, failure).plays(3, failure);
    rig.once();
    assert_eq!(rig.calls().len(), 3);
    assert_eq!(count(&rig.metrics.errors), 3);
    rig.settings.command = "/nonexistent/journalctl".into();
    rig.once();
    assert_eq!(count(&rig.metrics.errors), 4, "there is nothing to wait for");
}

#[test]
fn what_is_no_entry_is_counted_and_passed_over() {
    let output = [
        entries(1..=1),
        b"MESSAGE=without a place\n\n".to_vec(),
        b"no field at all\nMESSAGE=lost with it\n\n".to_vec(),
        b"__CURSOR=s=1;i=1\nMESSAGE\n\xff\xff\xff\xff\xff\xff\xff\xffendless\n\n".to_vec(),
        entries(2..=2),
    ]
    .concat();
    let mut rig = Rig::new().plays(1, Play { output: &output, ..Play::default() });
    rig.follow(2);
    assert_eq!(rig.messages(), ["m1", "m2"]);
    assert_eq!(count(&rig.metrics.malformed), 3);
}

#[test]
fn an_entry_larger_than_the_cap_is_cut_and_flagged() {
    let long = "x".repeat(MAX_EVENT_BYTES + 1_000);
    let output = [entries(1..=1), entry_in("5e", 2, &long), entries(3..=3)].concat();
    let mut rig = Rig::new().plays(1, Play { output: &output, ..Play::default() });
    rig.follow(3);
    let events = rig.take();
    let lengths: Vec<usize> = events.iter().map(|event| message(event).len()).collect();
    assert_eq!(lengths, [2, MAX_EVENT_BYTES, 2]);
    let flagged: Vec<bool> = events.iter().map(|event| event.flags.has(Flags::TRUNCATED)).collect();
    assert_eq!(flagged, [false, true, false]);
    assert_eq!(count(&rig.metrics.truncated), 1);
}

#[test]
fn many_entries_come_in_few_batches_and_in_order() {
    let mut rig =
        Rig::new().plays(1, Play { output: &entries(1..=10_000), code: Some(0), ..Play::default() });
    rig.settings.linger = Duration::from_secs(60);
    rig.once();
    let offsets: Vec<u64> = rig.take().iter().map(|event| event.offset).collect();
    assert_eq!(offsets, (1..=10_000).collect::<Vec<_>>());
    assert_eq!(rig.batches(), 3, "4,096 rows each");
}

#[test]
fn entries_wait_no_longer_than_they_may() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(1..=1), ..Play::default() });
    rig.settings.linger = Duration::from_millis(300);
    rig.start(Mode::Follow);
    rig.wait_until(|rig| count(&rig.metrics.events) == 1);
    let start = Instant::now();
    rig.wait_for(1);
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(rig.batches(), 1);
}

#[test]
fn a_flood_of_complaints_does_no_harm() {
    let complaint = "something is wrong with this file\n".repeat(50_000);
    let play = Play { output: &entries(1..=1), complaint: &complaint, ..Play::default() };
    let mut rig = Rig::new().plays(1, play);
    rig.follow(1);
    assert_eq!(rig.messages(), ["m1"]);
}
