//! Restarts: where reading goes on, and what is not sent again.

use super::rig::{CONTAINER, Event, Rig, at, cri, out};
use crate::settings::Format;

#[test]
fn what_is_safe_is_not_read_again() {
    let mut rig = Rig::kubernetes();
    rig.log(out("a") + &out("b"));
    rig.follow();
    rig.release_all();
    rig.kill();
    rig.log(out("c"));
    rig.follow();
    assert_eq!(rig.texts(), ["a", "b", "c"]);
}

#[test]
fn what_is_not_safe_is_read_again_with_the_same_ids() {
    for kubernetes in [true, false] {
        let mut rig = if kubernetes { Rig::kubernetes() } else { Rig::files(&["**/*.log"], Format::Text) };
        rig.log(out("a"));
        rig.follow();
        rig.release_all();
        rig.log(out("b") + "malformed\n");
        rig.pass_seconds(2);
        let first = rig.take();
        rig.kill();
        rig.log(out("c"));
        rig.follow();
        let second = rig.take();
        assert_eq!(second.len(), 3);
        for (first, second) in first[1..].iter().zip(&second) {
            assert_eq!((first.id, first.time), (second.id, second.time));
        }
    }
}

#[test]
fn an_undated_line_keeps_its_time_over_a_restart() {
    let mut rig = Rig::kubernetes();
    rig.log(cri(9, "stdout", "F", "a"));
    rig.follow();
    rig.release_all();
    rig.kill();
    rig.log("malformed\n");
    rig.follow();
    assert_eq!(rig.take()[1].time, at(9));
}

#[test]
fn a_record_in_parts_survives_a_restart_and_nothing_around_it_is_sent_twice() {
    let mut rig = Rig::kubernetes();
    let [p1, p2] = ["one ", "two "].map(|part| cri(1, "stdout", "P", part));
    rig.log(out("a") + &p1 + &cri(1, "stderr", "F", "b") + &p2 + &cri(1, "stderr", "F", "c"));
    rig.follow();
    assert_eq!(rig.texts(), ["a", "b", "c"]);
    rig.release_all();
    rig.kill();
    rig.log(cri(2, "stdout", "F", "three") + &out("d"));
    rig.follow();
    let events = rig.take();
    assert_eq!(events.iter().map(Event::text).collect::<Vec<_>>(), ["one two three", "d"]);
    assert_eq!(events[0].offset, out("a").len() as u64);
}

#[test]
fn a_record_over_two_files_survives_a_restart() {
    let mut rig = Rig::kubernetes();
    rig.log(out("a") + &cri(1, "stdout", "P", "one "));
    rig.follow();
    rig.rotate("20261122-100000");
    rig.log(cri(1, "stderr", "F", "b") + &cri(1, "stdout", "P", "two "));
    rig.pass_seconds(3);
    rig.log(cri(1, "stderr", "F", "c"));
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), ["a", "b", "c"]);
    rig.release_all();
    rig.kill();
    rig.follow();
    assert!(rig.take().is_empty());
    rig.log(cri(2, "stdout", "F", "three"));
    rig.pass_seconds(2);
    assert_eq!(rig.texts(), ["one two three"]);
    rig.release_all();
    assert!(rig.positions().iter().all(|known| known.position == known.resume_from));
}

#[test]
fn files_rotated_while_it_was_down_are_read_on() {
    let mut rig = Rig::kubernetes();
    rig.log(out("a"));
    rig.follow();
    rig.release_all();
    rig.kill();
    rig.log(out("b"));
    rig.rotate("20261122-100000");
    rig.log(out("c"));
    rig.rotate("20261122-100001");
    rig.log(out("d"));
    rig.follow();
    assert_eq!(rig.texts(), ["a", "b", "c", "d"]);
}

#[test]
fn a_file_renamed_out_of_sight_while_it_was_down_is_read_on() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "1\n");
    rig.follow();
    rig.release_all();
    rig.kill();
    rig.append("a.log", "2\n");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    rig.follow();
    assert_eq!(rig.texts(), ["1", "2", "3"]);
}

#[test]
fn a_truncated_file_is_noticed_at_the_start() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "1\n2\n");
    rig.follow();
    rig.release_all();
    rig.kill();
    std::fs::write(rig.path("a.log"), "3\n").unwrap();
    rig.follow();
    assert_eq!(rig.texts(), ["1", "2", "3"]);
}

#[test]
fn a_finished_file_is_not_opened_again() {
    let mut rig = Rig::kubernetes();
    for n in 0..5 {
        rig.append(&format!("{CONTAINER}/0.log.20261122-10000{n}"), out("old"));
    }
    rig.log(out("new"));
    rig.follow();
    assert_eq!(rig.take().len(), 6);
    rig.release_all();
    rig.kill();
    rig.follow();
    assert!(rig.take().is_empty());
    assert_eq!(rig.engine.as_ref().unwrap().open_files(), 1);
}

#[test]
fn single_runs_go_on_where_the_last_one_ended() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "1\nno newline");
    rig.once();
    assert_eq!(rig.texts(), ["1", "no newline"]);
    rig.release_all();
    rig.kill();
    rig.append("a.log", "\n2\n");
    rig.once();
    assert_eq!(rig.texts(), ["2"]);
}

#[test]
fn positions_reach_the_end_of_what_was_sent() {
    let mut rig = Rig::kubernetes();
    let lines = out("a") + &out("b");
    rig.log(format!("{lines}unfinished"));
    rig.follow();
    rig.release_all();
    let known = &rig.positions()[0];
    assert_eq!((known.position, known.resume_from), (lines.len() as u64, lines.len() as u64));
    assert_eq!(known.fingerprint_len, lines.len() as u64 + 10);
    rig.log("x".repeat(2_000) + "\n");
    rig.pass_seconds(2);
    rig.release_all();
    assert_eq!(rig.positions()[0].fingerprint_len, 1_024);
}
