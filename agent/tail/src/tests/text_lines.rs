//! Files of lines: endings, bytes of any value, long lines, empty ones.

use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_event::batch::{Flags, MAX_BATCH_BYTES, MAX_EVENT_BYTES};

use super::rig::{Event, Rig, at, cri};
use crate::settings::Format;

#[test]
fn each_line_is_an_event() {
    for format in [Format::Text, Format::Json] {
        let mut rig = Rig::files(&["*.log"], format);
        rig.append("a.log", "one\n{\"two\": 2}\r\n\n\r\n  \nthree\rx\n");
        rig.follow();
        let events = rig.take();
        let texts: Vec<String> = events.iter().map(Event::text).collect();
        assert_eq!(texts, ["one", "{\"two\": 2}", "  ", "three\rx"], "{format:?}");
        let offsets: Vec<u64> = events.iter().map(|event| event.offset).collect();
        assert_eq!(offsets, [0, 4, 19, 22]);
        assert!(events.iter().all(|event| event.raw == event.content && event.flags == Flags::default()));
        let first_seen = rig.positions()[0].first_seen;
        assert!(events.iter().all(|event| event.time == first_seen));
        assert_eq!(events[0].attributes.path, rig.path("a.log").to_str().unwrap());
        assert_eq!(events[0].attributes.stream, "");
        rig.release_all();
        assert_eq!(rig.positions()[0].position, 30, "empty lines count as read");
    }
}

#[test]
fn bytes_are_kept_as_they_are() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    let line: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    rig.append("a.log", [&line[..], b"\n\0\0\n\xff\xfe\n"].concat());
    rig.follow();
    let events = rig.take();
    assert_eq!(events[0].content, line);
    assert_eq!(events[1].content, b"\0\0");
    assert_eq!(events[2].content, b"\xff\xfe");
}

#[test]
fn the_same_in_container_logs() {
    let mut rig = Rig::kubernetes();
    rig.log([b"2026-11-22T00:00:01Z stdout F a\0b\xff".as_slice(), b"\n\0\0\0\n"].concat());
    rig.follow();
    let events = rig.take();
    assert_eq!(events[0].content, b"a\0b\xff");
    assert_eq!((events[1].content.as_slice(), events[1].flags), (b"\0\0\0".as_slice(), Flags::MALFORMED));
    assert_eq!((events[0].time, events[1].time), (at(1), at(1)));
}

#[test]
fn a_long_line_is_whole() {
    for len in [100_000, MAX_BATCH_BYTES - 1, MAX_BATCH_BYTES, 1_500_000, MAX_EVENT_BYTES] {
        let mut rig = Rig::files(&["*.log"], Format::Text);
        let line = "y".repeat(len);
        rig.append("a.log", format!("before\n{line}\nafter\n"));
        rig.follow();
        let batches = rig.collected.lock().unwrap().batches.clone();
        let texts = rig.texts();
        assert_eq!(texts.iter().map(String::len).collect::<Vec<_>>(), [6, len, 5]);
        assert_eq!((&*texts[0], &*texts[2]), ("before", "after"));
        if len >= MAX_BATCH_BYTES {
            assert!(batches.iter().any(|batch| batch.0 == 1 && batch.1 >= len), "{batches:?}");
        }
        assert_eq!(rig.metrics.truncated.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_line_longer_than_an_event_can_be_is_cut_and_its_rest_skipped() {
    for (len, format) in [
        (MAX_EVENT_BYTES + 1, Format::Text),
        (3 * MAX_EVENT_BYTES, Format::Text),
        (MAX_EVENT_BYTES + 100, Format::Cri),
    ] {
        let mut rig = Rig::files(&["*.log"], format);
        let wrap = |text: &str| match format {
            Format::Cri => cri(3, "stdout", "F", text),
            _ => format!("{text}\n"),
        };
        rig.append("a.log", wrap("before") + &wrap(&"z".repeat(len)) + &wrap("after"));
        rig.follow();
        let events = rig.take();
        assert_eq!(events.len(), 3);
        assert_eq!(events[1].raw.len(), MAX_EVENT_BYTES);
        assert!(events[1].content.iter().all(|byte| *byte == b'z'));
        assert_eq!((events[1].flags, events[2].flags), (Flags::TRUNCATED, Flags::default()));
        assert_eq!(events[2].text(), "after");
        assert_eq!(rig.metrics.truncated.load(Ordering::Relaxed), 1);
    }
}

#[test]
fn a_line_that_never_ends_holds_little() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.start(weir_pipeline::source::Mode::Follow);
    for _ in 0..8 {
        rig.append("a.log", "w".repeat(MAX_EVENT_BYTES / 2));
        rig.pass_seconds(2);
    }
    rig.append("a.log", "\nafter\n");
    rig.pass_seconds(2);
    let events = rig.take();
    assert_eq!(events.iter().map(|event| event.content.len()).collect::<Vec<_>>(), [MAX_EVENT_BYTES, 5]);
    assert_eq!(events[0].flags, Flags::TRUNCATED);
}

#[test]
fn a_cut_line_is_cut_alike_after_a_restart() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "before\n".to_owned() + &"w".repeat(MAX_EVENT_BYTES + 10));
    rig.follow();
    assert_eq!(rig.take().len(), 2);
    rig.release_all();
    rig.kill();
    rig.append("a.log", "the rest\nafter\n");
    rig.follow();
    assert_eq!(rig.texts(), ["after"]);
}

#[test]
fn container_lines_can_lie_in_any_file() {
    let mut rig = Rig::files(&["*.log"], Format::Cri);
    rig.append("a.log", cri(1, "stderr", "P", "one ") + &cri(2, "stderr", "F", "two"));
    rig.follow();
    let events = rig.take();
    assert_eq!((events[0].text(), events[0].time), ("one two".into(), at(1)));
    assert_eq!(events[0].attributes.stream, "stderr");
    assert_eq!(events[0].attributes.path, rig.path("a.log").to_str().unwrap());
}

#[test]
fn batches_are_cut_by_rows_and_bytes() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "x\n".repeat(10_000) + &("y".repeat(999) + "\n").repeat(2_000));
    rig.follow();
    let batches = rig.collected.lock().unwrap().batches.clone();
    assert_eq!(rig.take().len(), 12_000);
    assert!(batches.len() >= 6, "{batches:?}");
    assert!(batches.iter().all(|(rows, bytes)| *rows <= 4_096 && *bytes <= MAX_BATCH_BYTES));
}

#[test]
fn what_comes_within_linger_goes_out_together() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    for n in 0..50 {
        rig.append(&format!("{n}.log"), "first\n");
    }
    rig.follow();
    rig.take();
    for n in 0..50 {
        rig.append(&format!("{n}.log"), format!("line {n}\n"));
    }
    rig.pass(Duration::from_millis(450));
    let batches = rig.collected.lock().unwrap().batches.clone();
    assert_eq!(batches.iter().map(|batch| batch.0).collect::<Vec<_>>(), [50]);
}

#[test]
fn a_busy_file_does_not_starve_the_others() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a-busy.log", ("b".repeat(199) + "\n").repeat(50_000));
    rig.append("b-quiet.log", "quiet\n");
    rig.start(weir_pipeline::source::Mode::Follow);
    rig.step();
    rig.step();
    rig.pass(Duration::from_millis(1));
    let events = rig.take();
    let quiet = events.iter().position(|event| event.content == b"quiet").unwrap();
    assert!(quiet < 2_000, "{quiet}");
    assert_eq!(events.len(), 50_001);
}

#[test]
fn files_without_lines_cost_no_batches() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "");
    rig.append("b.log", "unfinished");
    rig.follow();
    assert!(rig.collected.lock().unwrap().batches.is_empty());
    assert_eq!(rig.metrics.files.load(Ordering::Relaxed), 2);
}
