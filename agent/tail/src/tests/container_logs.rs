//! Container logs: what paths and lines say, records in parts, rotation.

use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;

use weir_event::batch::{Flags, MAX_EVENT_BYTES};
use weir_event::identity::{EventId, container_incarnation};
use weir_pipeline::source::Mode;

use super::rig::{CONTAINER, Event, Kind, Rig, at, cri, out};

#[test]
fn lines_become_events() {
    let mut rig = Rig::kubernetes();
    let first = cri(1, "stdout", "F", "{\"a\":1}");
    let second = cri(2, "stderr", "F:x", "oh\r");
    rig.log(format!("{first}{second}"));
    rig.follow();
    let events = rig.take();
    assert_eq!(events.iter().map(Event::text).collect::<Vec<_>>(), ["{\"a\":1}", "oh\r"]);
    let [one, two] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((one.time, two.time), (at(1), at(2)));
    assert_eq!((one.offset, two.offset), (0, first.len() as u64));
    assert_eq!(one.raw, first.trim_end_matches('\n').as_bytes());
    assert_eq!((one.flags, two.flags), (Flags::default(), Flags::default()));
    let a = &one.attributes;
    assert_eq!((&*a.source, &*a.cluster, &*a.node), ("apps", "dev", "node-1"));
    assert_eq!((&*a.namespace, &*a.pod, &*a.uid, &*a.container), ("shop", "cart-1", "uid-1", "main"));
    assert_eq!((&*a.stream, &*two.attributes.stream, &*a.path), ("stdout", "stderr", ""));
    let incarnation = container_incarnation("dev", "uid-1", "main", &one.raw);
    assert_eq!(two.id, EventId::new(incarnation, two.offset, &two.raw));
    assert_eq!(rig.metrics.events.load(Ordering::Relaxed), 2);
    assert_eq!(rig.metrics.bytes.load(Ordering::Relaxed), (first.len() + second.len()) as u64);
}

#[test]
fn parts_are_joined_by_stream() {
    let mut rig = Rig::kubernetes();
    let lines = [
        cri(1, "stdout", "P", "one "),
        cri(2, "stderr", "P", "eins "),
        cri(3, "stdout", "P:t", "two "),
        cri(4, "stderr", "F", "zwei"),
        cri(5, "stdout", "F", "three"),
        cri(6, "stdout", "F", "next"),
    ];
    rig.log(lines.concat());
    rig.follow();
    let events = rig.take();
    assert_eq!(events.iter().map(Event::text).collect::<Vec<_>>(), ["eins zwei", "one two three", "next"]);
    let starts = [lines[0].len() as u64, 0];
    assert_eq!((events[0].offset, events[1].offset), (starts[0], starts[1]));
    assert_eq!((events[0].time, events[1].time), (at(2), at(1)));
    let raw = [&lines[0], &lines[2], &lines[4]].map(|line| line.trim_end_matches('\n')).join("\n");
    assert_eq!(events[1].raw, raw.as_bytes());
    assert_eq!(events[1].attributes.stream, "stdout");
}

#[test]
fn parts_wait_however_long_it_takes() {
    let mut rig = Rig::kubernetes();
    rig.log(out("a") + &cri(0, "stdout", "P", "begin "));
    rig.follow();
    rig.pass_seconds(120);
    assert_eq!(rig.texts(), ["a"]);
    rig.log(cri(0, "stdout", "F", "end"));
    rig.pass_seconds(2);
    let events = rig.take();
    assert_eq!(events[0].text(), "begin end");
    assert_eq!(events[0].flags, Flags::default());
}

#[test]
fn adjacent_parts_and_parts_apart_give_the_same_event() {
    let (first, last) = (cri(1, "stdout", "P", "begin "), cri(2, "stdout", "F", "end"));
    let mut ids = Vec::new();
    for pause in [false, true] {
        let mut rig = Rig::kubernetes();
        rig.log(out("a") + &first);
        if pause {
            rig.follow();
        }
        rig.log(&last);
        if pause {
            rig.pass_seconds(2);
        } else {
            rig.follow();
        }
        let events = rig.take();
        assert_eq!(events[1].text(), "begin end");
        ids.push(events[1].id);
    }
    assert_eq!(ids[0], ids[1]);
}

#[test]
fn a_record_can_begin_in_one_file_and_end_in_the_next() {
    let mut rig = Rig::kubernetes();
    rig.log(out("a") + &cri(1, "stdout", "P", "begin ") + &cri(1, "stderr", "F", "b"));
    rig.follow();
    rig.rotate("20261122-100000");
    rig.log(cri(2, "stderr", "F", "c") + &cri(2, "stdout", "F", "end") + &out("d"));
    rig.pass_seconds(3);
    let events = rig.take();
    assert_eq!(events.iter().map(Event::text).collect::<Vec<_>>(), ["a", "b", "c", "begin end", "d"]);
    assert_eq!(events[3].offset, out("a").len() as u64, "its place is that of its first part");
    let incarnation = container_incarnation("dev", "uid-1", "main", &events[0].raw);
    assert_eq!(events[3].id, EventId::new(incarnation, events[3].offset, &events[3].raw));
}

#[test]
fn a_record_that_never_ends_is_sent_when_its_container_wrote_elsewhere() {
    let mut rig = Rig::kubernetes();
    rig.log(cri(1, "stdout", "P", "begin "));
    rig.follow();
    rig.append(&format!("{CONTAINER}/1.log"), out("restarted"));
    rig.pass_seconds(4);
    let mut events = rig.take();
    events.sort_by_key(|event| event.flags.0);
    assert_eq!(events.iter().map(Event::text).collect::<Vec<_>>(), ["restarted", "begin "]);
    assert_eq!(events[1].flags, Flags::PARTIAL);
    rig.release_all();
    assert!(rig.positions().iter().all(|p| p.resume_from == p.position && p.position > 0));
}

#[test]
fn a_record_that_never_ends_is_sent_when_its_file_is_gone() {
    let mut rig = Rig::kubernetes();
    rig.log(cri(1, "stderr", "P", "begin "));
    rig.follow();
    rig.remove(&format!("{CONTAINER}/0.log"));
    rig.pass_seconds(4);
    let events = rig.take();
    assert_eq!((events.len(), &*events[0].text(), events[0].flags), (1, "begin ", Flags::PARTIAL));
}

#[test]
fn malformed_lines_are_kept_as_text() {
    let mut rig = Rig::kubernetes();
    rig.log("no time\n".to_owned() + &cri(7, "stdout", "F", "fine") + "\n2026-11-22T00:00:00Z stdoor F x\n");
    rig.follow();
    let events = rig.take();
    let texts: Vec<String> = events.iter().map(Event::text).collect();
    assert_eq!(texts, ["no time", "fine", "", "2026-11-22T00:00:00Z stdoor F x"]);
    let malformed: Vec<bool> = events.iter().map(|event| event.flags.has(Flags::MALFORMED)).collect();
    assert_eq!(malformed, [true, false, true, true]);
    assert_eq!(events[0].time, rig.positions()[0].first_seen, "no dated event before it");
    assert_eq!((events[2].time, events[3].time), (at(7), at(7)), "the last dated event's");
    assert_eq!(events[0].attributes.stream, "");
    assert_eq!(rig.metrics.malformed.load(Ordering::Relaxed), 3);
}

#[test]
fn a_record_longer_than_an_event_can_be_is_cut() {
    let mut rig = Rig::kubernetes();
    let part = "x".repeat(500_000);
    let parts: String = (0..6).map(|_| cri(1, "stdout", "P", &part)).collect();
    rig.log(parts + &cri(2, "stdout", "F", "end") + &out("next"));
    rig.follow();
    let events = rig.take();
    assert_eq!(events.len(), 2);
    assert_eq!(events[0].content.len(), MAX_EVENT_BYTES);
    assert!(events[0].content.iter().all(|byte| *byte == b'x'));
    assert_eq!(events[0].flags, Flags::TRUNCATED);
    assert_eq!((events[1].text(), events[1].flags), ("next".into(), Flags::default()));
    assert_eq!(rig.metrics.truncated.load(Ordering::Relaxed), 1);
}

#[test]
fn a_large_record_in_parts_is_whole() {
    let mut rig = Rig::kubernetes();
    let parts: Vec<String> = (0..90).map(|n| format!("{n:05}").repeat(16 * 1024 / 5)).collect();
    let lines: String =
        parts.iter().map(|part| cri(1, "stdout", "P", part) + &cri(1, "stderr", "F", "e")).collect();
    rig.log(lines + &cri(2, "stdout", "F", "end"));
    rig.follow();
    let events = rig.take();
    assert_eq!(events.len(), 91);
    assert_eq!(events[90].text(), parts.concat() + "end");
    assert_eq!(events[90].flags, Flags::default());
}

#[test]
fn a_rotated_file_is_followed_to_its_end() {
    let mut rig = Rig::kubernetes();
    rig.log(out("a"));
    rig.follow();
    rig.rotate("20261122-100000");
    rig.append(&format!("{CONTAINER}/0.log.20261122-100000"), out("b"));
    rig.log(out("d"));
    rig.pass(std::time::Duration::from_millis(600));
    // The runtime had it open for a moment longer.
    rig.append(&format!("{CONTAINER}/0.log.20261122-100000"), out("c"));
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), ["a", "b", "c", "d"]);
}

#[test]
fn a_file_that_grows_after_it_was_left_is_read_on() {
    let mut rig = Rig::kubernetes();
    rig.log(out("a"));
    rig.follow();
    rig.rotate("20261122-100000");
    rig.log(out("b"));
    rig.pass_seconds(10);
    rig.append(&format!("{CONTAINER}/0.log.20261122-100000"), out("late"));
    rig.pass_seconds(10);
    assert_eq!(rig.texts(), ["a", "b", "late"]);
}

#[test]
fn rotated_files_from_before_the_start_are_read_oldest_first() {
    let mut rig = Rig::kubernetes();
    rig.append(&format!("{CONTAINER}/0.log.20261122-100002"), out("b"));
    rig.append(&format!("{CONTAINER}/0.log.20261122-100001"), out("a"));
    rig.append(&format!("{CONTAINER}/0.log.20261122-100003.tmp"), "being zipped");
    rig.log(out("c"));
    rig.follow();
    assert_eq!(rig.texts(), ["a", "b", "c"]);
}

#[test]
fn an_unfinished_last_line_waits() {
    let mut rig = Rig::kubernetes();
    let line = out("whole");
    let (start, end) = line.split_at(20);
    rig.log(start);
    rig.follow();
    rig.pass_seconds(5);
    assert!(rig.texts().is_empty());
    rig.log(end);
    rig.pass_seconds(2);
    assert_eq!(rig.texts(), ["whole"]);
}

#[test]
fn what_a_rotated_file_ends_with_is_an_event_without_a_newline_too() {
    let mut rig = Rig::kubernetes();
    rig.log(out("a") + out("cut off").trim_end());
    rig.follow();
    assert_eq!(rig.texts(), ["a"]);
    rig.rotate("20261122-100000");
    rig.log(out("b"));
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), ["cut off", "b"]);
}

#[test]
fn running_once_reads_everything_and_ends() {
    let mut rig = Rig::kubernetes();
    rig.append(&format!("{CONTAINER}/0.log.20261122-100000"), out("a"));
    rig.log(out("b") + &cri(3, "stderr", "P", "pending") + out("unfinished").trim_end());
    rig.append("shop_new_uid-2/main/0.log", out("only").trim_end());
    rig.append("shop_empty_uid-3/main/0.log", "");
    rig.once();
    let mut events = rig.take();
    events.sort_by_key(Event::text);
    assert_eq!(
        events.iter().map(Event::text).collect::<Vec<_>>(),
        ["a", "b", "only", "pending", "unfinished"]
    );
    let flags: Vec<Flags> = events.iter().map(|event| event.flags).collect();
    let none = Flags::default();
    assert_eq!(flags, [none, none, none, Flags::PARTIAL, none]);
}

#[test]
fn running_once_without_files_ends() {
    let mut rig = Rig::kubernetes();
    rig.once();
    assert!(rig.take().is_empty());
}

#[test]
fn links_are_followed() {
    let mut rig = Rig::kubernetes();
    rig.append("elsewhere/pod/main/0.log", out("pod behind a link"));
    rig.append("elsewhere/container/0.log", out("container behind a link"));
    rig.append("elsewhere/file", out("file behind a link"));
    symlink(rig.path("elsewhere/pod"), rig.path("shop_pod_u1")).unwrap();
    std::fs::create_dir_all(rig.path("shop_pod_u2/files")).unwrap();
    symlink(rig.path("elsewhere/container"), rig.path("shop_pod_u2/main")).unwrap();
    symlink(rig.path("elsewhere/file"), rig.path("shop_pod_u2/files/0.log")).unwrap();
    symlink(rig.path("nowhere"), rig.path("shop_pod_u2/files/1.log")).unwrap();
    rig.follow();
    let mut texts = rig.texts();
    texts.sort();
    assert_eq!(texts, ["container behind a link", "file behind a link", "pod behind a link"]);
    // Another file behind the same link changes nothing in the folder of the link.
    rig.rename("elsewhere/file", "elsewhere/file.1");
    rig.append("elsewhere/file", out("second"));
    rig.pass_seconds(15);
    assert_eq!(rig.texts(), ["second"]);
}

#[test]
fn excluded_pods_and_the_own_are_not_read() {
    let mut rig = Rig::kubernetes();
    if let Kind::Kubernetes(settings) = &mut rig.kind {
        settings.exclude_namespaces = vec!["kube-*".into()];
        settings.exclude_pods = vec!["noisy-?".into()];
    }
    for pod in ["weir_agent_u", "kube-system_dns_u", "shop_noisy-1_u", "shop_cart_u", "not-a-pod"] {
        rig.append(&format!("{pod}/main/0.log"), out(pod));
    }
    rig.follow();
    assert_eq!(rig.texts(), ["shop_cart_u"]);
}

#[test]
fn a_static_pod_may_have_any_uid() {
    let mut rig = Rig::kubernetes();
    rig.append("kube-system_etcd-n1_not_a-uid.at all/etcd/0.log", out("x"));
    rig.follow();
    assert_eq!(rig.take()[0].attributes.uid, "not_a-uid.at all");
}

#[test]
fn new_containers_are_found_within_a_second_without_notifications() {
    let mut rig = Rig::kubernetes();
    rig.follow();
    rig.append("shop_new_uid-9/main/0.log", out("first line"));
    rig.pass(std::time::Duration::from_millis(1_300));
    assert_eq!(rig.texts(), ["first line"]);
    rig.append("shop_new_uid-9/sidecar/0.log", out("second container"));
    rig.pass(std::time::Duration::from_millis(1_300));
    assert_eq!(rig.texts(), ["second container"]);
}

#[test]
fn a_file_written_anew_in_place_is_another_file() {
    let mut rig = Rig::kubernetes();
    rig.log(out("old 1") + &out("old 2"));
    rig.follow();
    let old = rig.take();
    std::fs::write(rig.path(&format!("{CONTAINER}/0.log")), out("new")).unwrap();
    rig.pass_seconds(3);
    let new = rig.take();
    assert_eq!(new.iter().map(Event::text).collect::<Vec<_>>(), ["new"]);
    assert_eq!(new[0].offset, 0);
    assert_ne!(new[0].id, old[0].id);
}

#[test]
fn mode_follow_keeps_the_position_of_a_waiting_record() {
    let mut rig = Rig::kubernetes();
    rig.log(out("a") + &cri(1, "stdout", "P", "begin ") + &cri(1, "stderr", "F", "b"));
    rig.start(Mode::Follow);
    rig.pass_seconds(1);
    rig.release_all();
    let position = &rig.positions()[0];
    assert_eq!(position.resume_from, out("a").len() as u64);
    assert!(position.position > position.resume_from);
    assert_eq!(position.last_time, at(1));
}

#[test]
fn a_record_that_waits_keeps_only_the_file_open_that_holds_its_parts() {
    let mut rig = Rig::kubernetes();
    rig.log(cri(1, "stdout", "P", "begin "));
    rig.follow();
    for n in 0..8 {
        rig.rotate(&format!("20261122-10000{n}"));
        rig.log(cri(n, "stderr", "F", "busy"));
        rig.pass_seconds(3);
        if n > 3 {
            rig.remove(&format!("{CONTAINER}/0.log.20261122-10000{}", n - 4));
        }
    }
    rig.release_all();
    rig.pass_seconds(12);
    assert_eq!(rig.engine.as_ref().unwrap().open_files(), 2);
    assert_eq!(rig.take().len(), 8);
    rig.log(cri(1, "stdout", "F", "end"));
    rig.pass_seconds(2);
    assert_eq!(rig.texts(), ["begin end"]);
    rig.release_all();
    rig.pass_seconds(70);
    assert_eq!(rig.positions().len(), 5, "those that are there");
    assert!(rig.positions().iter().all(|known| known.resume_from == known.position));
}
