//! Deleted files that are held open: bounds, and what is counted past them.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::rig::{CONTAINER, Rig, cri, out};

const FOREVER: Duration = Duration::MAX;

fn lost(rig: &Rig) -> Vec<(&'static str, u64)> {
    rig.collected.lock().unwrap().lost.clone()
}

/// Rotates while the pipelines are behind, and deletes the rotated files, as kubelets do with all but the newest.
fn rotate_and_delete(rig: &mut Rig, files: usize, content: &str) {
    rig.set_ready(false);
    for n in 0..files {
        rig.log(out(content));
        rig.pass_seconds(6);
        rig.rotate(&format!("20261122-{n:06}"));
        rig.log(out("next"));
        rig.pass_seconds(6);
        rig.remove(&format!("{CONTAINER}/0.log.20261122-{n:06}"));
    }
}

#[test]
fn what_is_deleted_unread_is_held_within_the_bounds() {
    let mut rig = Rig::kubernetes().held(1 << 30, Duration::from_secs(3_600));
    rig.log(out("first"));
    rig.follow();
    rotate_and_delete(&mut rig, 3, "held");
    rig.pass_seconds(12);
    assert_eq!(rig.metrics.held_files.load(Ordering::Relaxed), 3);
    assert!(rig.metrics.held_bytes.load(Ordering::Relaxed) > 3 * out("held").len() as u64);
    rig.set_ready(true);
    rig.pass_seconds(20);
    assert_eq!(rig.texts(), ["first", "held", "next", "held", "next", "held", "next"]);
    assert_eq!(lost(&rig), []);
    assert_eq!(rig.metrics.held_files.load(Ordering::Relaxed), 0);
}

#[test]
fn past_the_bound_of_bytes_the_oldest_is_let_go_and_counted() {
    let size = out("held").len() as u64 + out("next").len() as u64;
    let mut rig = Rig::kubernetes().held(2 * size, FOREVER);
    rig.log(out("first"));
    rig.follow();
    assert_eq!(rig.texts(), ["first"]);
    rotate_and_delete(&mut rig, 3, "held");
    rig.pass_seconds(12);
    // Of the first file the line before was read.
    assert_eq!(lost(&rig), [("rotation", out("held").len() as u64)]);
    assert_eq!(rig.metrics.held_files.load(Ordering::Relaxed), 2);
    rig.set_ready(true);
    rig.pass_seconds(20);
    assert_eq!(rig.texts(), ["next", "held", "next", "held", "next"]);
    rig.release_all();
    rig.pass_seconds(75);
    assert_eq!(rig.positions().len(), 1, "what was let go is forgotten");
    rig.kill();
    rig.follow();
    assert!(rig.take().is_empty());
}

#[test]
fn past_the_bound_of_age_a_file_is_let_go() {
    let mut rig = Rig::kubernetes().held(u64::MAX, Duration::from_secs(60));
    rig.log(out("first"));
    rig.follow();
    rotate_and_delete(&mut rig, 1, "held");
    rig.pass_seconds(50);
    assert_eq!(lost(&rig), []);
    rig.pass_seconds(30);
    assert_eq!(lost(&rig), [("rotation", out("held").len() as u64)]);
}

/// What was read of a record whose end never came is not delivered either.
#[test]
fn parts_of_a_record_in_a_file_that_is_let_go_are_counted_too() {
    let mut rig = Rig::kubernetes().held(0, FOREVER);
    let part = cri(1, "stdout", "P", "begin ");
    rig.log(out("first") + &part);
    rig.follow();
    rotate_and_delete(&mut rig, 1, "held");
    rig.pass_seconds(12);
    assert_eq!(lost(&rig), [("rotation", (part.len() + out("held").len()) as u64)]);
}

/// A rotated file that still has its name takes no room on our account, and is read when there is time.
#[test]
fn a_file_that_was_only_renamed_is_not_let_go() {
    let mut rig = Rig::kubernetes().held(0, Duration::ZERO);
    rig.log(out("first"));
    rig.follow();
    rig.set_ready(false);
    rig.log(out("second"));
    rig.pass_seconds(6);
    rig.rotate("20261122-100000");
    rig.log(out("third"));
    rig.pass_seconds(30);
    rig.set_ready(true);
    rig.pass_seconds(10);
    assert_eq!(rig.texts(), ["first", "second", "third"]);
    assert_eq!(lost(&rig), []);
}
