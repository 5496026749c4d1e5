//! Lines joined to events: recorded stack traces, shapes of others, own patterns, timers, rotation, kills.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_event::batch::Flags;
use weir_event::identity::EventId;
use weir_pipeline::source::Mode;

use super::rig::{Event, Rig, cri, out};
use crate::settings::{Format, Joining, Multiline, Preset};

const ALL: [Preset; 4] = [Preset::Java, Preset::Python, Preset::Go, Preset::Dotnet];

/// Shapes by language: events, separated by lines of `%%`.
const SHAPES: [(&str, &str, &[Preset]); 5] = [
    ("java", include_str!("../multiline/fixtures/java.txt"), &[Preset::Java]),
    ("python", include_str!("../multiline/fixtures/python.txt"), &[Preset::Python]),
    ("go", include_str!("../multiline/fixtures/go.txt"), &[Preset::Go]),
    ("dotnet", include_str!("../multiline/fixtures/dotnet.txt"), &[Preset::Dotnet]),
    ("mixed", include_str!("../multiline/fixtures/mixed.txt"), &ALL),
];

fn events(shapes: &str) -> Vec<&str> {
    shapes.trim_end_matches('\n').split("\n%%\n").collect()
}

fn lines(shapes: &str) -> Vec<&str> {
    events(shapes).into_iter().flat_map(|event| event.split('\n')).collect()
}

fn presets(presets: &[Preset]) -> Multiline {
    joining(Joining::Presets(presets.to_vec()))
}

fn start(pattern: &str) -> Multiline {
    joining(Joining::Start(pattern.to_owned()))
}

fn joining(joining: Joining) -> Multiline {
    Multiline { joining, timeout: Duration::from_secs(1), max_lines: 500, max_bytes: 2 * 1024 * 1024 }
}

/// A few numbers that look random, and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

#[test]
fn every_shape_is_joined() {
    for (name, shapes, own) in SHAPES {
        for wanted in [own, &ALL] {
            let mut rig = Rig::kubernetes().multiline(presets(wanted));
            rig.log(lines(shapes).into_iter().map(out).collect::<String>());
            rig.follow();
            assert_eq!(rig.texts(), events(shapes), "{name}, {wanted:?}");
        }
    }
}

/// Files of text have no events of nothing, so blank lines between events do not count.
#[test]
fn every_shape_is_joined_in_files_of_text() {
    for (name, shapes, own) in SHAPES {
        let mut rig = Rig::files(&["*.log"], Format::Text).multiline(presets(own));
        rig.append("a.log", lines(shapes).join("\r\n") + "\r\n");
        rig.follow();
        let events: Vec<String> = events(shapes).into_iter().map(str::to_owned).collect();
        assert_eq!(rig.texts(), events, "{name}");
    }
}

/// Two shapes at once, a line of each in turn on the two outputs of one container, and a third in another.
#[test]
fn interleaved_streams_are_told_apart() {
    for (n, (name, shapes, _)) in SHAPES.into_iter().enumerate() {
        let (other, others, _) = SHAPES[(n + 1) % SHAPES.len()];
        let mut rig = Rig::kubernetes().multiline(presets(&ALL));
        let (left, right) = (lines(shapes), lines(others));
        rig.start(Mode::Follow);
        for n in 0..left.len().max(right.len()) {
            let line =
                |lines: &[&str], stream| lines.get(n).map_or(String::new(), |line| cri(0, stream, "F", line));
            rig.log(line(&left, "stdout") + &line(&right, "stderr"));
            rig.append("shop_other_uid-2/main/0.log", line(&left, "stdout"));
            if n % 7 == 3 {
                rig.pass(Duration::from_millis(300));
            }
        }
        rig.pass_seconds(8);
        let found = rig.take();
        let of = |pod: &str, stream: &str| -> Vec<String> {
            let is_of = |event: &&Event| event.attributes.pod == pod && event.attributes.stream == stream;
            found.iter().filter(is_of).map(Event::text).collect()
        };
        assert_eq!(of("cart-1", "stdout"), events(shapes), "{name}");
        assert_eq!(of("cart-1", "stderr"), events(others), "{other}");
        assert_eq!(of("other", "stdout"), events(shapes), "{name} in another container");
    }
}

/// Whatever comes between two lines, a rotation, a pause, a kill or a record of parts, the events are the same.
#[test]
fn rotations_and_kills_change_no_event() {
    for seed in 0..60 {
        let (name, shapes, _) = SHAPES[seed as usize % SHAPES.len()];
        let mut numbers = Numbers(seed);
        let mut rig = Rig::kubernetes().multiline(presets(&ALL));
        let mut found: Vec<Event> = Vec::new();
        rig.start(Mode::Follow);
        let mut rotations = 0;
        for (second, line) in (0..).zip(lines(shapes)) {
            if line.len() > 8 && numbers.below(6) == 0 {
                let (first, last) = line.split_at(line.len() / 2);
                rig.log(cri(second, "stdout", "P", first));
                rig.log(cri(second, "stderr", "F", "between"));
                if numbers.below(2) == 0 {
                    rig.pass(Duration::from_millis(250));
                }
                rig.log(cri(second, "stdout", "F", last));
            } else {
                rig.log(cri(second, "stdout", "F", line));
            }
            match numbers.below(12) {
                0 => {
                    rotations += 1;
                    // Long enough to end a group in the middle.
                    rig.pass_seconds(6);
                    rig.rotate(&format!("20261122-{rotations:06}"));
                }
                1 | 2 => rig.pass(Duration::from_millis(450)),
                3 => {
                    rig.release(numbers.below(3) as usize);
                    rig.kill();
                    found.extend(rig.take());
                    rig.start(Mode::Follow);
                }
                _ => {}
            }
        }
        rig.pass_seconds(10 + 3 * rotations);
        found.extend(rig.take());
        let mut by_id: HashMap<EventId, String> = HashMap::new();
        for event in &found {
            let known = by_id.insert(event.id, event.text());
            assert!(
                known.is_none_or(|known| known == event.text()),
                "seed {seed}: an id stands for two texts"
            );
        }
        // Pauses of a second and more split groups, at whatever line they came; no line is lost or doubled.
        let mut texts: Vec<&str> =
            by_id.values().filter(|text| *text != "between").flat_map(|text| text.split('\n')).collect();
        texts.sort_unstable();
        let mut expected = lines(shapes);
        expected.sort_unstable();
        assert_eq!(texts, expected, "seed {seed}, {name}");
        rig.release_all();
        rig.kill();
        rig.follow();
        assert_eq!(rig.texts(), Vec::<String>::new(), "seed {seed}: all is safe, nothing comes again");
    }
}

/// A rotation or a kill within the second that a group waits does not split it.
#[test]
fn a_trace_over_two_files_and_a_kill_is_one_event() {
    for kills in [false, true] {
        for (name, shapes, _) in SHAPES {
            let all = lines(shapes);
            for at in 1..all.len() {
                let mut rig = Rig::kubernetes().multiline(presets(&ALL));
                rig.log(all[..at].iter().map(|line| out(line)).collect::<String>());
                rig.start(Mode::Follow);
                rig.pass(Duration::from_millis(300));
                rig.rotate("20261122-100000");
                rig.log(all[at..].iter().map(|line| out(line)).collect::<String>());
                let mut found = rig.take();
                if kills {
                    rig.kill();
                    rig.start(Mode::Follow);
                }
                rig.pass_seconds(6);
                found.extend(rig.take());
                let mut seen = std::collections::HashSet::new();
                found.retain(|event| seen.insert(event.id));
                let texts: Vec<String> = found.iter().map(Event::text).collect();
                assert_eq!(texts, events(shapes), "{name}, after line {at}");
            }
        }
    }
}

#[test]
fn recorded_traces_are_joined() {
    let recorded = [
        ("java.log", include_str!("../multiline/recorded/java.log"), Preset::Java),
        ("python.log", include_str!("../multiline/recorded/python.log"), Preset::Python),
        ("go.log", include_str!("../multiline/recorded/go.log"), Preset::Go),
    ];
    for (name, log, preset) in recorded {
        for wanted in [&[preset][..], &ALL] {
            let mut rig = Rig::kubernetes().multiline(presets(wanted));
            rig.log(log);
            rig.follow();
            let texts = rig.texts();
            let lines: Vec<&str> = log.lines().map(|line| line.splitn(4, ' ').last().unwrap()).collect();
            assert_eq!(texts.join("\n"), lines.join("\n"), "{name}: nothing is lost");
            let of_trace = |text: &&String| text.contains('\n');
            let traces: Vec<&String> = texts.iter().filter(of_trace).collect();
            let begins: Vec<&str> =
                traces.iter().map(|text| text.split(['[', ':']).next().unwrap()).collect();
            assert!(
                texts.iter().all(|text| !text.starts_with([' ', '\t'])),
                "{name}: no frame is left alone"
            );
            match preset {
                Preset::Java => {
                    assert_eq!(begins, ["org.opensearch.bootstrap.StartupException", "SettingsException"]);
                    assert!(traces[0].contains("\nCaused by: ") && traces[0].ends_with("... 6 more"));
                }
                Preset::Python => {
                    assert_eq!(begins, ["Traceback (most recent call last)"; 18]);
                    let chained = traces.iter().filter(|text| text.contains("was the direct cause")).count();
                    assert_eq!(chained, 12);
                }
                _ => {
                    assert_eq!(begins, ["panic"]);
                    assert_eq!(texts.last().map(String::as_str), Some("exit status 2"));
                }
            }
        }
    }
}

#[test]
fn the_clock_ends_a_group_and_the_place_is_on_disk_before_the_event_leaves() {
    let (first, second) = ("java.lang.Exception: one", "\tat A.b(A.java:1)");
    let mut rig = Rig::kubernetes().multiline(presets(&[Preset::Java]));
    rig.log(cri(1, "stdout", "F", first));
    rig.follow();
    let [event] = rig.take().try_into().unwrap();
    assert_eq!(event.text(), first);
    // Not safe when the agent dies: read again with more behind it, it ends in the same place.
    rig.kill();
    rig.log(cri(2, "stdout", "F", second));
    rig.follow();
    let events = rig.take();
    assert_eq!(events.iter().map(Event::text).collect::<Vec<_>>(), [first, second]);
    assert_eq!(events[0].id, event.id);
    rig.release_all();
    assert!(rig.positions()[0].cuts.is_empty(), "nothing before the position is read again");
}

#[test]
fn nothing_leaves_that_the_clock_ended_while_the_place_cannot_be_noted() {
    let mut rig = Rig::kubernetes().multiline(presets(&[Preset::Java]));
    rig.log(out("a"));
    rig.follow();
    assert_eq!(rig.texts(), ["a"]);
    let away = rig.data().with_extension("away");
    std::fs::rename(rig.data(), &away).unwrap();
    rig.log(out("java.lang.Exception: one"));
    rig.pass_seconds(5);
    assert_eq!(rig.texts(), Vec::<String>::new());
    std::fs::rename(&away, rig.data()).unwrap();
    rig.pass_seconds(2);
    assert_eq!(rig.texts(), ["java.lang.Exception: one"]);
}

#[test]
fn who_is_slow_to_read_ends_no_group() {
    let mut rig = Rig::kubernetes().multiline(presets(&[Preset::Java]));
    rig.log(out("java.lang.Exception: one"));
    rig.start(Mode::Follow);
    rig.pass(Duration::from_millis(300));
    rig.set_ready(false);
    rig.log(out("\tat A.b(A.java:1)"));
    rig.pass_seconds(5);
    rig.set_ready(true);
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), ["java.lang.Exception: one\n\tat A.b(A.java:1)"]);
}

#[test]
fn an_own_pattern_begins_events() {
    let mut rig = Rig::files(&["*.log"], Format::Text).multiline(start("^\\["));
    rig.append("a.log", "left over\nfrom before\n[1] one\n  more\n[2] two\n{\"a\": 1}\nafter\n[3] three\n");
    rig.follow();
    let expected =
        ["left over\nfrom before", "[1] one\n  more", "[2] two", "{\"a\": 1}", "after", "[3] three"];
    assert_eq!(rig.texts(), expected);
}

#[test]
fn an_event_begins_where_its_first_line_does_and_has_its_time() {
    let mut rig = Rig::kubernetes().multiline(presets(&ALL));
    let before = cri(1, "stdout", "F", "plain");
    let trace =
        [cri(2, "stdout", "F", "java.lang.Exception: x"), cri(3, "stdout", "F", "\tat A.b(A.java:1)")];
    rig.log(before.clone() + &trace.concat());
    rig.follow();
    let event = rig.take().pop().unwrap();
    assert_eq!((event.offset, event.time), (before.len() as u64, super::rig::at(2)));
    assert_eq!(event.raw, trace.concat().trim_end().as_bytes());
}

#[test]
fn a_single_line_has_the_id_that_it_has_without_joining() {
    let mut ids = Vec::new();
    for joined in [false, true] {
        let mut rig = Rig::kubernetes();
        if joined {
            rig = rig.multiline(presets(&ALL));
        }
        rig.log(out("java.lang.Exception: x") + &out("plain") + &out("{}"));
        rig.follow();
        ids.push(rig.take().iter().map(|event| event.id).collect::<Vec<_>>());
    }
    assert_eq!(ids[0], ids[1]);
    assert_eq!(ids[0].len(), 3);
}

#[test]
fn groups_are_cut_at_their_bounds() {
    let bounded = |max_lines, max_bytes| Multiline { max_lines, max_bytes, ..presets(&[Preset::Java]) };
    let frame = "\tat A.b(A.java:1)";
    for (bounds, sizes) in [(bounded(4, 1 << 20), [4, 4, 2]), (bounded(100, 90), [4, 5, 1])] {
        let mut rig = Rig::kubernetes().multiline(bounds);
        let lines: String = std::iter::repeat_n(frame, 9).map(out).collect();
        rig.log(out("java.lang.Exception: x") + &lines + &out("plain"));
        rig.follow();
        let events = rig.take();
        let found: Vec<usize> = events.iter().map(|event| event.text().lines().count()).collect();
        assert_eq!(found, [sizes[0], sizes[1], sizes[2], 1]);
        let flags: Vec<Flags> = events.iter().map(|event| event.flags).collect();
        let (cut, whole) = (Flags::MULTILINE_CUT, Flags::default());
        assert_eq!(flags, [cut, cut, whole, whole]);
        assert_eq!(rig.metrics.multiline_cut.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn a_group_larger_than_a_batch_is_whole() {
    let mut rig = Rig::kubernetes().multiline(presets(&[Preset::Java]));
    let frame = format!("\tat A.b({})", "x".repeat(4_000));
    let lines: Vec<String> = (0..400).map(|_| out(&frame) + &cri(0, "stderr", "F", "between")).collect();
    rig.log(out("java.lang.Exception: x") + &lines.concat() + &out("plain"));
    rig.follow();
    let events = rig.take();
    assert_eq!(events.len(), 402);
    let trace = events.iter().find(|event| event.text().starts_with("java")).unwrap();
    assert_eq!(trace.text(), format!("java.lang.Exception: x\n{}", vec![frame; 400].join("\n")));
    assert_eq!(trace.flags, Flags::default());
}

#[test]
fn a_single_run_takes_an_unfinished_group_and_a_later_one_goes_on() {
    let mut rig = Rig::kubernetes().multiline(presets(&[Preset::Java]));
    rig.log(out("plain") + &out("java.lang.Exception: x") + &out("\tat A.b(A.java:1)"));
    rig.once();
    let first = rig.take();
    let texts: Vec<String> = first.iter().map(Event::text).collect();
    assert_eq!(texts, ["plain", "java.lang.Exception: x\n\tat A.b(A.java:1)"]);
    // Nothing of it was safe.
    rig.kill();
    rig.log(out("\tat A.c(A.java:2)") + &out("next"));
    rig.once();
    let second = rig.take();
    assert_eq!(second.len(), 4);
    assert!(first.iter().zip(&second).all(|(first, second)| first.id == second.id));
    rig.release_all();
    rig.kill();
    rig.once();
    assert!(rig.take().is_empty());
}

#[test]
fn a_group_in_a_truncated_file_is_counted_as_lost() {
    let mut rig = Rig::files(&["*.log"], Format::Text).multiline(start("^\\["));
    rig.append("a.log", "[1] one\n");
    rig.start(Mode::Follow);
    rig.pass(Duration::from_millis(600));
    std::fs::write(rig.path("a.log"), "").unwrap();
    rig.pass(Duration::from_millis(2_000));
    let lost = rig.collected.lock().unwrap().lost.clone();
    let texts = rig.texts();
    assert!(
        texts == ["[1] one"] && lost.is_empty() || texts.is_empty() && lost == [("truncation", 8)],
        "{lost:?}"
    );
}
