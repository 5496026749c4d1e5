//! The source against the machine's own `journalctl`, where there is one, and journals that were made with
//! `systemd-journal-remote --output=node.journal` (systemd 252) of entries written by hand. The files' header names no
//! machine that exists.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;
use weir_event::batch::Flags;
use weir_pipeline::source::Mode;

use super::rig::{Rig, count, message};
use crate::{Fields, Priority};

/// Eight entries of two boots.
const NODE: &[u8] = include_bytes!("recorded/node.journal.gz");
/// One more, of another sequence.
const LATER: &[u8] = include_bytes!("recorded/later.journal.gz");

const ALL: [&str; 8] = [
    "Linux version 6.1.0",
    "Started kubelet.service.",
    "I1124 16:00:02.000000     812 server.go:467] \\",
    "time=\\",
    "Out of memory: Killed process 4242 (java)",
    "goroutine 1 [running]:\\nmain.main()\\n\\t/src/main.go:7\\n\\nexit status 2",
    "caf\u{fffd} closed",
    "xxxx",
];

/// A rig whose folder has the journal; `None` where the machine has no `journalctl`.
fn rig() -> Option<Rig> {
    let mut rig = Rig::new();
    rig.settings.command = "journalctl".into();
    let asked = Command::new("journalctl").arg("--version").stdout(Stdio::null()).status();
    asked.ok().filter(|status| status.success())?;
    put(&rig, "node.journal", NODE);
    Some(rig)
}

/// Puts a file among those of the journal, whole at once.
fn put(rig: &Rig, name: &str, packed: &[u8]) {
    let mut bytes = Vec::new();
    GzDecoder::new(packed).read_to_end(&mut bytes).unwrap();
    let folder: &Path = rig.folder.path();
    fs::write(folder.join("new"), bytes).unwrap();
    fs::rename(folder.join("new"), folder.join(name)).unwrap();
}

/// Messages, each of them up to four characters where it is long.
fn messages(rig: &Rig) -> Vec<String> {
    rig.take()
        .iter()
        .map(message)
        .map(|text| if text.len() > 1_000 { text[..4].into() } else { text })
        .collect()
}

#[test]
fn a_journal_is_read_over_boots() {
    let Some(mut rig) = rig() else { return };
    rig.once();
    assert_eq!(messages(&rig), ALL);
    let Some(mut rig) = self::rig() else { return };
    rig.follow(8);
    assert_eq!(messages(&rig), ALL);
    assert_eq!((count(&rig.metrics.errors), count(&rig.metrics.malformed)), (0, 0));
}

#[test]
fn its_entries_are_documents() {
    let Some(mut rig) = rig() else { return };
    rig.settings.fields = Fields::All;
    rig.once();
    let events = rig.take();
    assert_eq!(
        events[5].content,
        concat!(
            r#"{"message":"goroutine 1 [running]:\nmain.main()\n\t/src/main.go:7\n\nexit status 2","#,
            r#""priority":3,"level":"error","unit":"kubelet.service","identifier":"kubelet","pid":812,"#,
            r#""comm":"kubelet","exe":"/usr/bin/kubelet","hostname":"node-1","#,
            r#""boot_id":"1a2b3c4d5e6f708192a3b4c5d6e7f809","transport":"stdout","#,
            r#""machine_id":"4c6f6e67204d616368696e6520494421","journal":{"syslog_facility":"3","tag":["a","b"],"#,
            r#""_systemd_cgroup":"/system.slice/kubelet.service","_uid":"0"}}"#,
        )
    );
    assert!(events[1].content.contains(r#""unit":"kubelet.service""#), "of those the manager wrote");
    assert_eq!((events[5].offset, events[5].time), (6, 1_764_086_401_000_000_000));
    assert_eq!(events[6].flags, Flags::INVALID_UTF8);
    assert_eq!(events[6].time, 1_764_086_401_999_000_000, "the sender's");
    assert_eq!(message(&events[7]).len(), 100_000, "long values come whole");
}

#[test]
fn it_is_read_again_with_the_same_ids_and_gone_on_from() {
    let Some(mut rig) = rig() else { return };
    rig.once();
    let first: Vec<_> = rig.take().iter().map(|event| event.id).collect();
    rig.kill();
    rig.once();
    let again: Vec<_> = rig.take().iter().map(|event| event.id).collect();
    assert_eq!(first, again);
    rig.release_all();
    rig.kill();
    rig.once();
    assert!(rig.take().is_empty(), "all is safe");
    assert_eq!(count(&rig.metrics.errors), 0);
}

#[test]
fn it_goes_on_in_the_middle() {
    let Some(mut rig) = rig() else { return };
    rig.settings.priority = Some(Priority::Error);
    rig.once();
    rig.release_all();
    assert_eq!(messages(&rig), [ALL[4], ALL[5]]);
    rig.settings.priority = None;
    rig.once();
    assert_eq!(messages(&rig), [ALL[6], ALL[7]]);
    assert_eq!(count(&rig.metrics.errors), 0);
}

#[test]
fn what_is_selected_is_one_of_several_things() {
    let Some(mut rig) = rig() else { return };
    rig.settings.units = vec!["kubelet".into()];
    rig.settings.identifiers = vec!["CRON".into()];
    rig.once();
    assert_eq!(messages(&rig), [ALL[1], ALL[2], ALL[5], ALL[6]]);
    let Some(mut rig) = self::rig() else { return };
    rig.settings.kernel = true;
    rig.settings.units = vec!["kubelet.service".into()];
    rig.settings.priority = Some(Priority::Error);
    rig.once();
    assert_eq!(messages(&rig), [ALL[4], ALL[5]]);
    let Some(mut rig) = self::rig() else { return };
    rig.settings.kernel = true;
    rig.follow(2);
    assert_eq!(messages(&rig), [ALL[0], ALL[4]], "also of boots before");
}

#[test]
fn a_cursor_of_another_journal_is_given_up_for_the_oldest_entry() {
    let place = |time: u64| format!("s=5e;i=9;b=0123456789abcdef0123456789abcdef;m=1;t={time:x};x=1");
    let middle = place(1_764_000_002_500_000);
    let behind = place(1_999_000_000_000_000);
    let unreadable = "nonsense".to_owned();
    for cursor in [middle, behind, unreadable] {
        let Some(mut rig) = rig() else { return };
        rig.set_cursor(&cursor);
        rig.once();
        let events = rig.take();
        assert_eq!(events.len(), 8, "{cursor}");
        assert!(events[0].flags.has(Flags::AFTER_TRUNCATION), "{cursor}");
        assert_eq!(count(&rig.metrics.truncated_files), 1, "{cursor}");
    }
}

#[test]
fn entries_that_are_gone_are_noticed() {
    let Some(mut rig) = rig() else { return };
    rig.settings.kernel = true;
    rig.once();
    rig.release_all();
    rig.take();
    // As if the entry that was read last had been removed: it is not among those selected now.
    rig.settings.kernel = false;
    rig.settings.identifiers = vec!["CRON".into()];
    rig.once();
    let events = rig.take();
    assert_eq!(events.len(), 1, "the first behind the gap is not passed over");
    assert!(events[0].flags.has(Flags::AFTER_TRUNCATION));
    assert_eq!(count(&rig.metrics.truncated_files), 1);
}

#[test]
fn what_is_written_later_is_followed() {
    let Some(mut rig) = rig() else { return };
    rig.start(Mode::Follow);
    rig.wait_for(8);
    put(&rig, "later.journal", LATER);
    rig.wait_for(9);
    rig.release_all();
    rig.stop();
    assert_eq!(messages(&rig)[8], "written later");
    rig.once();
    assert!(rig.take().is_empty());
    assert_eq!(count(&rig.metrics.errors), 0);
}

#[test]
fn a_journal_that_is_not_there_yet_is_waited_for() {
    let Some(mut rig) = rig() else { return };
    fs::remove_file(rig.folder.path().join("node.journal")).unwrap();
    rig.start(Mode::Follow);
    std::thread::yield_now();
    put(&rig, "node.journal", NODE);
    rig.wait_for(8);
    rig.stop();
    assert_eq!(messages(&rig), ALL);
}
