//! Where reading goes on: after a restart of the agent, after the death of a child, and when the journal has lost the
//! place.

use weir_event::batch::Flags;
use weir_pipeline::source::Mode;

use super::rig::{Play, Rig, count, cursor, entries, entry_in};
use crate::ReadFrom;

const FOLLOW: &str = "--follow --no-tail --merge";

#[test]
fn without_a_checkpoint_it_begins_with_the_oldest_entry() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(1..=3), ..Play::default() });
    rig.follow(3);
    assert_eq!(rig.messages(), ["m1", "m2", "m3"]);
    assert_eq!(rig.calls(), [FOLLOW]);
    assert!(rig.position().is_none(), "nothing is safe yet");
}

#[test]
fn it_goes_on_behind_what_is_safe() {
    let mut rig = Rig::new()
        .plays(1, Play { output: &entries(1..=3), ..Play::default() })
        .plays(2, Play { output: &entries(3..=5), ..Play::default() });
    rig.follow(3);
    rig.release_all();
    rig.kill();
    assert_eq!(rig.position().unwrap().path, cursor(3));
    rig.follow(2);
    assert_eq!(rig.messages(), ["m4", "m5"], "the entry that was read last is not read again");
    assert_eq!(rig.calls()[1], format!("{FOLLOW} --cursor={}", cursor(3)));
    assert_eq!(count(&rig.metrics.errors), 0);
}

#[test]
fn what_is_not_safe_is_read_again_with_the_same_ids() {
    let mut rig = Rig::new()
        .plays(1, Play { output: &entries(1..=3), ..Play::default() })
        .plays(2, Play { output: &entries(1..=3), ..Play::default() });
    rig.follow(3);
    let first: Vec<_> = rig.take().iter().map(|event| event.id).collect();
    rig.kill();
    rig.follow(3);
    let again: Vec<_> = rig.take().iter().map(|event| event.id).collect();
    assert_eq!(first, again);
    assert_eq!(rig.calls()[1], FOLLOW);
}

#[test]
fn a_successor_goes_on_behind_batches_that_are_under_way() {
    let mut rig = Rig::new()
        .plays(1, Play { output: &entries(1..=3), ..Play::default() })
        .plays(2, Play { output: &entries(3..=4), ..Play::default() });
    rig.follow(3);
    rig.follow(4);
    assert_eq!(rig.messages(), ["m1", "m2", "m3", "m4"]);
}

#[test]
fn a_child_that_dies_is_followed_by_another() {
    for code in [0, 1, 137] {
        let mut rig = Rig::new()
            .plays(1, Play { output: &entries(1..=2), code: Some(code), ..Play::default() })
            .plays(2, Play { output: &entries(2..=2), code: Some(code), ..Play::default() })
            .plays(3, Play { output: &entries(2..=4), ..Play::default() });
        rig.follow(4);
        assert_eq!(rig.messages(), ["m1", "m2", "m3", "m4"]);
        assert_eq!(rig.calls()[2], format!("{FOLLOW} --cursor={}", cursor(2)));
        assert_eq!(count(&rig.metrics.errors), 2);
    }
}

#[test]
fn an_entry_that_a_child_did_not_finish_is_read_from_the_next() {
    let mut output = entries(1..=2);
    output.truncate(output.len() - 1);
    let mut rig = Rig::new()
        .plays(1, Play { output: &output, code: Some(1), ..Play::default() })
        .plays(2, Play { output: &entries(1..=2), ..Play::default() });
    rig.follow(2);
    assert_eq!(rig.messages(), ["m1", "m2"]);
    assert_eq!(count(&rig.metrics.malformed), 0);
}

#[test]
fn entries_that_the_journal_lost_leave_a_flag() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(7..=8), ..Play::default() });
    rig.set_cursor(&cursor(3));
    rig.follow(2);
    let events = rig.take();
    assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), [7, 8]);
    let flagged: Vec<bool> = events.iter().map(|event| event.flags.has(Flags::AFTER_TRUNCATION)).collect();
    assert_eq!(flagged, [true, false]);
    assert_eq!((count(&rig.metrics.errors), count(&rig.metrics.truncated_files)), (1, 1));
    assert_eq!(rig.calls().len(), 1, "what comes next is all that there is");
}

#[test]
fn a_cursor_that_the_journal_does_not_know_is_given_up_for_the_oldest_entry() {
    let elsewhere = entry_in("0ther", 9, "middle");
    let whole = [entry_in("0ther", 1, "first"), entry_in("0ther", 9, "middle")].concat();
    let refusal = "Failed to seek to cursor: Invalid argument\n";
    let cases: [(&str, Play<'_>); 2] = [
        ("it starts elsewhere", Play { output: &elsewhere, ..Play::default() }),
        ("it says so", Play { complaint: refusal, code: Some(1), ..Play::default() }),
    ];
    for (case, play) in cases {
        let mut rig = Rig::new().plays(1, play).plays(2, Play { output: &whole, ..Play::default() });
        rig.set_cursor(&cursor(3));
        rig.follow(2);
        let events = rig.take();
        assert_eq!(events.iter().map(|event| event.offset).collect::<Vec<_>>(), [1, 9], "{case}");
        assert!(events[0].flags.has(Flags::AFTER_TRUNCATION), "{case}");
        assert_eq!(rig.calls(), [format!("{FOLLOW} --cursor={}", cursor(3)), FOLLOW.to_owned()], "{case}");
        assert_eq!((count(&rig.metrics.errors), count(&rig.metrics.truncated_files)), (1, 1), "{case}");
    }
}

#[test]
fn what_cannot_be_a_cursor_is_not_handed_on() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(1..=1), ..Play::default() });
    rig.set_cursor("a b");
    rig.follow(1);
    assert_eq!(rig.calls(), [FOLLOW]);
}

#[test]
fn a_failure_that_is_not_about_the_cursor_keeps_the_place() {
    let play = Play { complaint: "Cannot allocate memory\n", code: Some(1), ..Play::default() };
    let mut rig = Rig::new()
        .plays(1, play)
        .plays(2, play)
        .plays(3, Play { output: &entries(3..=4), ..Play::default() });
    rig.set_cursor(&cursor(3));
    rig.follow(1);
    assert_eq!(rig.messages(), ["m4"]);
    let call = format!("{FOLLOW} --cursor={}", cursor(3));
    assert_eq!(rig.calls(), [call.clone(), call.clone(), call]);
}

#[test]
fn an_old_journalctl_that_cannot_merge_is_not_told_to() {
    let complaint = "Using --boot or --list-boots with --merge is not supported.\n";
    let mut rig = Rig::new()
        .plays(1, Play { complaint, code: Some(1), ..Play::default() })
        .plays(2, Play { output: &entries(1..=1), ..Play::default() });
    rig.follow(1);
    assert_eq!(rig.calls(), [FOLLOW, "--follow --no-tail"]);
}

#[test]
fn from_the_end_means_from_the_first_start_on() {
    let mut rig = Rig::new().plays(1, Play { code: Some(0), ..Play::default() });
    rig.settings.read_from = ReadFrom::End;
    rig.start(Mode::Follow);
    rig.wait_until(|rig| rig.calls().len() == 2);
    rig.kill();
    let position = rig.position().unwrap();
    assert_eq!(position.path, "");
    let call = format!("{FOLLOW} --since=@{}", position.first_seen / 1_000_000_000);
    rig = rig.plays(3, Play { output: &entries(1..=1), ..Play::default() });
    rig.follow(1);
    assert_eq!(rig.calls(), [call.clone(), call.clone(), call], "the same time, also after a crash");
    rig.release_all();
    assert_eq!(rig.position().unwrap().path, cursor(1));
}

#[test]
fn a_journalctl_that_is_missing_is_looked_for_again() {
    let mut rig = Rig::new().plays(1, Play { output: &entries(1..=1), ..Play::default() });
    let program = std::mem::replace(&mut rig.settings.command, rig.folder.path().join("later"));
    rig.start(Mode::Follow);
    rig.wait_until(|rig| count(&rig.metrics.errors) >= 2);
    std::os::unix::fs::symlink(program, rig.folder.path().join("later")).unwrap();
    rig.wait_for(1);
    rig.stop();
    assert_eq!(rig.messages(), ["m1"]);
}
