//! Files that patterns find: rotation, deletion, truncation, descriptors, trouble.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_event::identity::{EventId, file_incarnation};
use weir_pipeline::source::Mode;

use super::rig::{Event, Kind, Rig};
use crate::settings::{Format, ReadFrom};

#[test]
fn patterns_find_files_in_folders() {
    let mut rig = Rig::files(&["app/*/x-*.log", "deep/**/*.txt", "single"], Format::Text);
    if let Kind::Files(settings) = &mut rig.kind {
        settings.exclude.push(format!("{}/app/not/*", settings.include[0].split("/app").next().unwrap()));
    }
    for name in [
        "app/a/x-1.log",
        "app/a/y.log",
        "app/not/x-2.log",
        "app/a/b/x-3.log",
        "deep/1.txt",
        "deep/a/b/2.txt",
        "single",
    ] {
        rig.append(name, format!("{name}\n"));
    }
    rig.follow();
    let mut texts = rig.texts();
    texts.sort();
    assert_eq!(texts, ["app/a/x-1.log", "deep/1.txt", "deep/a/b/2.txt", "single"]);
    rig.append("app/new/x-4.log", "new\n");
    rig.pass(Duration::from_millis(1_300));
    assert_eq!(rig.texts(), ["new"]);
}

#[test]
fn a_pattern_without_match_is_no_error() {
    let mut rig = Rig::files(&["nowhere/*/x.log"], Format::Text);
    rig.follow();
    assert_eq!(rig.metrics.errors.load(Ordering::Relaxed), 0);
    rig.append("nowhere/a/x.log", "there now\n");
    rig.pass(Duration::from_millis(1_300));
    assert_eq!(rig.texts(), ["there now"]);
}

#[test]
fn a_circle_of_links_is_walked_once() {
    let mut rig = Rig::files(&["**/*.log"], Format::Text);
    rig.append("a/x.log", "once\n");
    symlink(rig.path("a"), rig.path("a/again")).unwrap();
    symlink(rig.path("."), rig.path("a/up")).unwrap();
    rig.follow();
    rig.pass_seconds(12);
    assert_eq!(rig.texts(), ["once"]);
}

#[test]
fn a_file_with_two_names_is_read_once() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "once\n");
    fs::hard_link(rig.path("a.log"), rig.path("b.log")).unwrap();
    rig.follow();
    rig.pass_seconds(12);
    rig.append("a.log", "twice\n");
    rig.pass_seconds(2);
    assert_eq!(rig.texts(), ["once", "twice"]);
}

#[test]
fn ids_are_made_of_the_inode_and_the_time_first_seen() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "x\n");
    rig.follow();
    let known = rig.positions().remove(0);
    let event = rig.take().remove(0);
    let incarnation = file_incarnation(known.device, known.inode, known.first_seen);
    assert_eq!(event.id, EventId::new(incarnation, 0, b"x"));
    assert_eq!(known.incarnation, incarnation);
}

#[test]
fn nothing_leaves_before_the_file_is_registered() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    let away = rig.data().with_extension("away");
    fs::rename(rig.data(), &away).unwrap();
    rig.append("a.log", "x\n");
    rig.follow();
    assert!(rig.take().is_empty());
    assert!(rig.metrics.errors.load(Ordering::Relaxed) > 0);
    fs::rename(&away, rig.data()).unwrap();
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), ["x"]);
}

#[test]
fn running_once_does_not_wait_for_a_register_that_fails() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    fs::remove_dir_all(rig.data()).unwrap();
    rig.append("a.log", "x\n");
    rig.once();
    assert!(rig.take().is_empty());
    assert!(rig.metrics.errors.load(Ordering::Relaxed) > 0);
    fs::create_dir(rig.data()).unwrap();
}

#[test]
fn a_renamed_file_is_followed_to_its_end() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "1\n");
    rig.follow();
    rig.rename("a.log", "a.log.1");
    rig.append("a.log.1", "2\n");
    rig.append("a.log", "3\n");
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), ["1", "2", "3"]);
    rig.release_all();
    rig.pass_seconds(80);
    let paths: Vec<String> = rig.positions().into_iter().map(|known| known.path).collect();
    assert_eq!(paths, [rig.path("a.log").to_str().unwrap()], "what is gone and safe is forgotten");
}

#[test]
fn a_file_renamed_to_another_match_is_not_read_again() {
    let mut rig = Rig::files(&["a.log*"], Format::Text);
    rig.append("a.log", "1\n");
    rig.follow();
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "2\n");
    rig.pass_seconds(10);
    rig.rename("a.log.1", "a.log.2");
    rig.rename("a.log", "a.log.1");
    rig.append("a.log", "3\n");
    rig.pass_seconds(10);
    assert_eq!(rig.texts(), ["1", "2", "3"]);
    assert_eq!(rig.positions().len(), 3);
}

#[test]
fn a_deleted_file_is_read_to_its_end_and_forgotten_once_safe() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "1\n");
    rig.follow();
    let mut writer = OpenOptions::new().append(true).open(rig.path("a.log")).unwrap();
    rig.remove("a.log");
    writer.write_all(b"2\nno newline").unwrap();
    drop(writer);
    rig.pass_seconds(5);
    assert_eq!(rig.texts(), ["1", "2", "no newline"]);
    assert_eq!(rig.positions().len(), 1, "not safe yet");
    assert_eq!(rig.engine.as_ref().unwrap().open_files(), 0);
    rig.release_all();
    rig.pass_seconds(2);
    assert_eq!(rig.positions().len(), 1, "what was made of it may not be found yet");
    rig.pass_seconds(60);
    assert!(rig.positions().is_empty());
    assert_eq!(rig.metrics.files.load(Ordering::Relaxed), 0);
}

#[test]
fn a_file_deleted_and_written_again_alike_is_another_file() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.follow();
    for _ in 0..4 {
        rig.append("a.log", "starting\n");
        rig.pass_seconds(3);
        rig.remove("a.log");
        rig.pass_seconds(4);
    }
    let events = rig.take();
    assert_eq!(events.len(), 4);
    assert!(events.iter().enumerate().all(|(n, one)| events[..n].iter().all(|other| other.id != one.id)));
}

#[test]
fn a_file_renamed_out_of_sight_is_left_in_the_end() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "1\n");
    rig.follow();
    rig.rename("a.log", "a.old");
    rig.append("a.old", "2\n");
    rig.pass_seconds(15);
    assert_eq!(rig.texts(), ["1", "2"]);
    assert_eq!(rig.engine.as_ref().unwrap().open_files(), 0);
}

#[test]
fn a_truncated_file_begins_anew() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "1\n2\n3\n");
    rig.follow();
    let before = rig.take();
    fs::write(rig.path("a.log"), "1\n").unwrap();
    rig.pass_seconds(3);
    let after = rig.take();
    assert_eq!(after.iter().map(Event::text).collect::<Vec<_>>(), ["1"]);
    assert_ne!(after[0].id, before[0].id, "it is not the first one again");
    rig.release_all();
    rig.pass_seconds(2);
    assert_eq!(rig.positions().len(), 1, "the first one is forgotten");
    assert_eq!(rig.positions()[0].position, 2);
}

#[test]
fn a_truncated_file_that_has_already_grown_past_its_old_end_is_noticed() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "old 1\nold 2\n");
    rig.follow();
    rig.take();
    fs::write(rig.path("a.log"), "new 1\nnew 2\nnew 3\nnew 4\n").unwrap();
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), ["new 1", "new 2", "new 3", "new 4"]);
}

#[test]
fn an_inode_that_is_used_again_is_another_file() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "old 1\nold 2\n");
    rig.follow();
    let old = rig.take();
    rig.release_all();
    rig.kill();
    // The same inode with other bytes is what a reused one looks like.
    fs::write(rig.path("a.log"), "new 1\nnew 2\nnew 3\n").unwrap();
    rig.follow();
    let new = rig.take();
    assert_eq!(new.iter().map(Event::text).collect::<Vec<_>>(), ["new 1", "new 2", "new 3"]);
    assert!(new.iter().all(|new| old.iter().all(|old| old.id != new.id)));
    rig.release_all();
    rig.pass_seconds(65);
    assert_eq!(rig.positions().len(), 1);
}

#[test]
fn an_inode_that_is_used_again_while_running_is_another_file() {
    let mut rig = Rig::kubernetes();
    let container = super::rig::CONTAINER;
    rig.log(super::rig::out("a"));
    rig.follow();
    rig.rotate("20261122-100000");
    rig.log(super::rig::out("b"));
    rig.pass_seconds(8);
    assert_eq!(rig.texts(), ["a", "b"]);
    // The finished file's inode comes back under another name, longer, as long, and shorter.
    let rotated = format!("{container}/0.log.20261122-100000");
    for (name, content) in [("x/0.log", "longer"), ("y/0.log", "c"), ("z/0.log", "")] {
        let name = format!("shop_cart-1_uid-1/{name}");
        fs::create_dir_all(rig.path(&name).parent().unwrap()).unwrap();
        rig.rename(&rotated, &name);
        fs::write(rig.path(&name), super::rig::out(content)).unwrap();
        rig.pass_seconds(8);
        assert_eq!(rig.texts(), [content]);
        // Left again, so that it is finished.
        rig.rename(&name, &rotated);
        rig.pass_seconds(8);
        rig.take();
    }
}

#[test]
fn reading_can_begin_at_the_end() {
    let mut rig = Rig::files(&["*.log"], Format::Text).read_from(ReadFrom::End);
    rig.append("a.log", "old\nunfin");
    rig.append("b.log", "");
    rig.follow();
    assert!(rig.take().is_empty());
    rig.append("a.log", "ished\n");
    rig.append("c.log", "what appears later is read whole\n");
    rig.pass_seconds(3);
    let mut texts = rig.texts();
    texts.sort();
    assert_eq!(texts, ["unfinished", "what appears later is read whole"]);
    // The place is known before anything was read.
    rig.kill();
    rig.append("d.log", "came while it was down\n");
    rig.follow();
    let mut texts = rig.texts();
    texts.sort();
    assert_eq!(texts, ["came while it was down", "unfinished", "what appears later is read whole"]);
}

#[test]
fn reading_that_begins_at_the_end_of_a_long_line_finds_its_start() {
    let mut rig = Rig::files(&["*.log"], Format::Text).read_from(ReadFrom::End);
    let long = "x".repeat(100_000);
    rig.append("a.log", format!("old\n{long}"));
    rig.follow();
    rig.append("a.log", "\nnext\n");
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), [long, "next".into()]);
}

#[test]
fn a_file_that_cannot_be_read_stops_no_other() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    // A regular file that gives an error when it is read.
    symlink("/proc/self/mem", rig.path("bad.log")).unwrap();
    rig.append("good.log", "1\n");
    rig.follow();
    assert_eq!(rig.texts(), ["1"]);
    let errors = rig.metrics.errors.load(Ordering::Relaxed);
    assert!(errors > 0);
    rig.append("good.log", "2\n");
    rig.pass_seconds(120);
    assert_eq!(rig.texts(), ["2"]);
    assert!(rig.metrics.errors.load(Ordering::Relaxed) < errors + 10, "tried ever more rarely");
    fs::remove_file(rig.path("bad.log")).unwrap();
    rig.append("bad.log", "good now\n");
    rig.pass_seconds(70);
    assert_eq!(rig.texts(), ["good now"]);
}

#[test]
fn a_file_that_cannot_be_read_does_not_hold_up_a_single_run() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    symlink("/proc/self/mem", rig.path("bad.log")).unwrap();
    rig.append("good.log", "1\n");
    rig.once();
    assert_eq!(rig.texts(), ["1"]);
}

#[test]
fn a_pipe_is_no_file() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    let made = std::process::Command::new("mkfifo").arg(rig.path("pipe.log")).status().unwrap();
    assert!(made.success());
    rig.append("good.log", "1\n");
    rig.once();
    assert_eq!(rig.texts(), ["1"]);
}

#[test]
fn few_descriptors_are_enough_for_many_files() {
    const FILES: usize = 60;
    let mut rig = Rig::files(&["*.log"], Format::Text);
    for n in 0..FILES {
        rig.append(&format!("{n}.log"), format!("first of {n}\n"));
    }
    rig.start(Mode::Follow);
    rig.engine.as_mut().unwrap().set_max_open_files(16);
    rig.pass_seconds(60);
    assert_eq!(rig.take().len(), FILES);
    for round in 0..3 {
        for n in 0..FILES {
            rig.append(&format!("{n}.log"), format!("{round} of {n}\n"));
        }
        rig.pass_seconds(30);
        assert_eq!(rig.take().len(), FILES);
        assert!(rig.engine.as_ref().unwrap().open_files() <= 16);
    }
}

#[test]
fn a_closed_file_that_was_truncated_begins_anew() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    for n in 0..40 {
        rig.append(&format!("{n}.log"), format!("first of {n}\nsecond\n"));
    }
    rig.start(Mode::Follow);
    rig.engine.as_mut().unwrap().set_max_open_files(16);
    rig.pass_seconds(40);
    assert_eq!(rig.take().len(), 80);
    for n in 0..40 {
        fs::write(rig.path(&format!("{n}.log")), format!("new {n}\n")).unwrap();
    }
    rig.pass_seconds(40);
    assert_eq!(rig.take().len(), 40);
}

#[test]
fn files_are_found_and_held_while_the_pipelines_are_behind() {
    let mut rig = Rig::files(&["*.log"], Format::Text);
    rig.append("a.log", "1\n");
    rig.follow();
    rig.set_ready(false);
    rig.append("a.log", "2\n");
    rig.append("b.log", "short-lived\n");
    rig.pass_seconds(3);
    rig.remove("b.log");
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), ["1"]);
    rig.set_ready(true);
    rig.pass_seconds(3);
    let mut texts = rig.texts();
    texts.sort();
    assert_eq!(texts, ["2", "short-lived"]);
}
