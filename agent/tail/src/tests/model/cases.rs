//! Cases that the model found.

use super::Action::*;
use super::{Action, Kind, run_kind};

fn container(actions: &[Action]) {
    for joined in [false, true] {
        run_kind(Kind::Container, joined, actions).unwrap();
    }
}

fn file(actions: &[Action]) {
    for joined in [false, true] {
        run_kind(Kind::File, joined, actions).unwrap();
    }
}

#[test]
fn a_rotated_file_whose_new_name_nobody_saw_comes_before_later_ones() {
    container(&[Ready(false), Line(0), Pass(1), Rotate, Delete(0), Burst(1), Rotate, Pass(992)]);
}

#[test]
fn a_file_that_was_truncated_before_it_was_read_is_known_again() {
    file(&[Line(0), Ready(false), Pass(1), Truncate]);
}

#[test]
fn an_empty_file_that_has_a_successor_holds_up_nothing() {
    file(&[Line(0), Settle, Truncate, Rotate]);
    file(&[Line(0), Line(0), Settle, Truncate, Line(0), Rotate, Line(0)]);
}

/// The position that is registered for the compressed file is what is safe, not what is under way.
#[test]
fn a_compressed_file_is_not_safe_because_batches_are_under_way() {
    let lines = [Line(0), Line(0), Line(0)];
    file(&[&lines[..], &[Rotate, Pass(1), Compress(0), Reload, Trace(0, 0), Restart(0, false)]].concat());
}

#[test]
fn a_record_waits_for_the_file_behind_a_compressed_one() {
    container(&[Part(0), Rotate, Settle, Compress(0), Settle]);
    container(&[Part(0), Rotate, Compress(0), Settle]);
    container(&[Part(0), Rotate, Settle, Compress(0), Pass(3_000)]);
}

#[test]
fn a_compressed_file_is_known_again_however_late_it_is_looked_at() {
    let before = [Burst(1), Rotate, Line(0), Pass(2_601), Compress(0), Truncate];
    file(&[&before[..], &[Release(1), Pass(1_201), Rotate]].concat());
}

#[test]
fn a_file_that_is_as_long_after_it_was_truncated_is_read() {
    let lines = [Line(0); 7];
    file(&[&lines[..], &[Rotate, Line(0), Line(0), Settle, Truncate]].concat());
}

#[test]
fn a_file_that_was_truncated_and_compressed_is_read_once() {
    file(&[Trace(0, 401), Truncate, Line(0), Rotate, Compress(0), Line(0)]);
}

#[test]
fn a_compressed_file_stays_in_its_chain_over_a_kill() {
    let before = [Line(0), Settle, Exception(0), Rotate, Frame(0), Pass(1), Rotate];
    file(&[&before[..], &[Compress(0), Settle, Restart(0, false)]].concat());
}

#[test]
fn a_file_that_was_copied_and_truncated_while_the_agent_was_down_goes_on_in_its_copy() {
    file(&[Burst(1), Settle, Restart(0, false), CopyTruncate(0)]);
}

#[test]
fn a_file_that_was_copied_and_truncated_goes_on_in_its_copy() {
    file(&[Burst(1), Pass(801), CopyTruncate(0)]);
}

/// Where the file system gives the compressed file the inode of the one that was deleted, both seen first at once.
#[test]
fn a_compressed_file_with_the_inode_of_a_deleted_one_is_neither() {
    let before = [Burst(1), Rotate, Line(0), Trace(0, 0), Recreate, Reload];
    file(&[&before[..], &[Compress(0), Trace(0, 0), Restart(1, true)]].concat());
}

/// What a file began with before the kill stands in the checkpoints only as half a line.
#[test]
fn a_copy_of_a_file_whose_first_line_was_begun_when_it_was_met_goes_on_over_a_kill() {
    let before = [Start, Settle, Line(0), Pass(201), Line(0), Line(0)];
    file(&[&before[..], &[CopyTruncate(0), Line(0), Restart(0, false)]].concat());
}

/// Where the file system gives a new file the inode of the compressed one that was empty, and is gone.
#[test]
fn an_empty_compressed_file_is_no_other_that_has_its_inode() {
    let before = [Exception(1), Truncate, CopyTruncate(0), Compress(0), Trace(1, 1433), Line(1), Delete(0)];
    file(&[&before[..], &[Settle, Reload, Trace(0, 1353), Rotate]].concat());
}

/// Where the file system gives the copy the inode of a rotated file that was empty, or was compressed.
#[test]
fn a_copy_is_no_other_file_that_had_its_inode() {
    let before = [Line(0), Line(0), Settle, Truncate, Rotate, Line(0), Settle];
    file(&[&before[..], &[Compress(0), CopyTruncate(0)]].concat());
    let before = [Line(0), Rotate, Line(0), CopyTruncate(0), Rotate, Trace(0, 401), Line(0)];
    file(&[&before[..], &[Compress(0), Burst(1), CopyTruncate(0)]].concat());
}

/// Where the truncation is noticed before anybody looked for files.
#[test]
fn a_copy_with_the_inode_of_a_file_that_was_compressed_is_found() {
    file(&[Trace(0, 401), Rotate, Trace(0, 601), Compress(0), CopyTruncate(0), Line(0)]);
}

#[test]
fn a_compressed_file_is_no_empty_one_that_had_its_inode_before_a_kill() {
    let lines = [Line(0); 4];
    file(&[&lines[..], &[CopyTruncate(0), Recreate, Settle, Compress(0), Restart(0, false)]].concat());
}

/// Where the line that kept two groups apart is gone after a kill, they come as one.
#[test]
fn groups_whose_separator_was_destroyed_may_come_as_one() {
    let before = [Trace(0, 0), Restart(0, false), Rotate, Compress(0), Line(0), Settle];
    let case = [&before[..], &[Restart(0, false), Rotate, Frame(0), Delete(1), Settle]].concat();
    container(&case);
    file(&case);
}
