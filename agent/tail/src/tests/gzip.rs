//! Compressed files: read like plain ones, with the same ids, from where the plain one was left; damaged ones.

use std::fs;
use std::io::Write as _;
use std::sync::atomic::Ordering;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::rig::{CONTAINER, Event, Rig, cri, out};
use crate::settings::{Format, ReadFrom};

pub(super) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// As kubelets do it: a temporary file, a rename, and only then the plain one is removed.
pub(super) fn compress(rig: &Rig, name: &str) {
    let packed = gzip(fs::read(rig.path(name)).unwrap());
    let temporary = rig.path(&format!("{name}.tmp"));
    fs::write(&temporary, packed).unwrap();
    fs::rename(temporary, rig.path(&format!("{name}.gz"))).unwrap();
    rig.remove(name);
}

fn name(stamp: &str) -> String {
    format!("{CONTAINER}/0.log.{stamp}")
}

fn lines(prefix: &str, count: u32) -> String {
    (0..count).map(|n| cri(n, "stdout", "F", &format!("{prefix} {n}"))).collect()
}

fn texts(prefix: &str, count: u32) -> Vec<String> {
    (0..count).map(|n| format!("{prefix} {n}")).collect()
}

#[test]
fn what_was_compressed_before_the_start_is_read_in_its_turn() {
    let mut rig = Rig::kubernetes();
    rig.append(&name("20261122-100000.gz"), gzip(lines("a", 20_000)));
    rig.append(&name("20261122-100001"), lines("b", 3));
    rig.append(&name("20261122-100002.gz.tmp"), "about to be compressed");
    rig.log(lines("c", 3));
    rig.follow();
    rig.pass_seconds(10);
    let expected = [texts("a", 20_000), texts("b", 3), texts("c", 3)].concat();
    assert_eq!(rig.texts(), expected);
    rig.release_all();
    rig.kill();
    rig.follow();
    assert!(rig.take().is_empty());
    assert_eq!(rig.engine.as_ref().unwrap().open_files(), 1, "it is not opened again");
}

#[test]
fn a_single_run_reads_compressed_files() {
    let mut rig = Rig::kubernetes();
    rig.append(&name("20261122-100000.gz"), gzip(lines("a", 100)));
    rig.log(lines("b", 3));
    rig.once();
    assert_eq!(rig.texts(), [texts("a", 100), texts("b", 3)].concat());
}

#[test]
fn ids_are_those_of_the_plain_file() {
    let ids = |packed: bool| {
        let mut rig = Rig::kubernetes();
        match packed {
            true => rig.append(&name("20261122-100000.gz"), gzip(lines("a", 10))),
            false => rig.append(&name("20261122-100000"), lines("a", 10)),
        }
        rig.follow();
        rig.take().iter().map(|event| (event.id, event.offset)).collect::<Vec<_>>()
    };
    assert_eq!(ids(true), ids(false));
    assert_eq!(ids(true).len(), 10);
}

#[test]
fn a_file_that_is_compressed_under_our_eyes_is_not_read_twice() {
    let mut rig = Rig::kubernetes();
    rig.log(lines("a", 10));
    rig.follow();
    rig.rotate("20261122-100000");
    rig.log(lines("b", 10));
    rig.pass_seconds(8);
    rig.rotate("20261122-100001");
    rig.log(lines("c", 10));
    compress(&rig, &name("20261122-100000"));
    rig.pass_seconds(20);
    assert_eq!(rig.texts(), [texts("a", 10), texts("b", 10), texts("c", 10)].concat());
    rig.release_all();
    rig.pass_seconds(10);
    let packed = rig.positions().into_iter().find(|known| known.path.ends_with(".gz")).unwrap();
    assert!(packed.finished && packed.position == lines("a", 10).len() as u64);
    rig.kill();
    rig.follow();
    assert!(rig.take().is_empty());
}

#[test]
fn a_file_that_is_compressed_before_it_was_read_to_its_end_is_read_to_its_end() {
    let mut rig = Rig::kubernetes();
    rig.log(lines("a", 10));
    rig.follow();
    rig.set_ready(false);
    rig.log(lines("b", 10));
    rig.rotate("20261122-100000");
    rig.log(lines("c", 10));
    rig.pass_seconds(8);
    compress(&rig, &name("20261122-100000"));
    rig.pass_seconds(8);
    rig.set_ready(true);
    rig.pass_seconds(20);
    assert_eq!(rig.texts(), [texts("a", 10), texts("b", 10), texts("c", 10)].concat());
}

/// Half read as plain text, rotated and compressed while the agent was down: nothing is doubled, nothing is lost.
#[test]
fn a_file_half_read_as_plain_text_goes_on_compressed() {
    for rotated_before in [false, true] {
        for kubernetes in [true, false] {
            let mut rig = match kubernetes {
                true => Rig::kubernetes(),
                false => Rig::files(&["**/0.log*"], Format::Cri),
            };
            rig.log(lines("a", 10) + &cri(10, "stdout", "P", "be"));
            rig.follow();
            let first = rig.take();
            assert_eq!(first.len(), 10);
            rig.release_all();
            if rotated_before {
                rig.rotate("20261122-100000");
                rig.pass_seconds(6);
                rig.release_all();
                rig.rename(&name("20261122-100000"), &format!("{CONTAINER}/0.log"));
            }
            rig.kill();
            rig.log(cri(11, "stdout", "F", "gun") + &lines("b", 10_000));
            rig.rotate("20261122-100000");
            compress(&rig, &name("20261122-100000"));
            rig.log(lines("c", 10));
            rig.follow();
            rig.pass_seconds(10);
            let second = rig.take();
            let found: Vec<String> = second.iter().map(Event::text).collect();
            assert_eq!(found, [vec!["begun".into()], texts("b", 10_000), texts("c", 10)].concat());
            assert_eq!(second[0].offset, lines("a", 10).len() as u64);
            assert_eq!(first[0].id.0[..8], second[0].id.0[..8], "the incarnation is the plain file's");
        }
    }
}

#[test]
fn of_a_damaged_file_what_decodes_is_delivered_and_the_rest_counted_once() {
    for truncated in [true, false] {
        let plain = lines("a", 20_000);
        let mut packed = gzip(&plain);
        let middle = packed.len() / 2;
        match truncated {
            true => packed.truncate(middle),
            false => packed[middle..middle + 64].fill(0xff),
        }
        let mut rig = Rig::kubernetes();
        rig.append(&name("20261122-100000.gz"), packed);
        rig.log(lines("b", 3));
        rig.follow();
        rig.pass_seconds(30);
        let found = rig.texts();
        let (tail, rest) = found.split_at(found.len() - 3);
        assert_eq!(rest, texts("b", 3), "what follows is read");
        // A run of bytes that is damaged in the middle may decode to anything; only the checksum at the end tells.
        let whole =
            tail.iter().zip(texts("a", 20_000)).take_while(|(found, expected)| *found == expected).count();
        assert!(
            whole > 2_000 && whole < 19_000 && (tail.len() <= whole + 1 || !truncated),
            "{whole} of {}",
            tail.len()
        );
        let lost = rig.collected.lock().unwrap().lost.clone();
        let [("corrupt_gzip", bytes)] = lost.as_slice() else { panic!("{lost:?}") };
        assert!(*bytes >= 1);
        assert!(rig.metrics.errors.load(Ordering::Relaxed) >= 1);
        rig.release_all();
        rig.kill();
        rig.follow();
        rig.pass_seconds(30);
        assert!(rig.take().is_empty());
        assert_eq!(rig.collected.lock().unwrap().lost.len(), 1, "not again after a restart");
    }
}

/// `gzip` writes under the final name.
#[test]
fn a_compressed_file_that_is_still_being_written_is_waited_for() {
    let plain = (0..20_000).map(|n| format!("line {n}\n")).collect::<String>();
    let packed = gzip(&plain);
    let mut rig = Rig::files(&["app.log*"], Format::Text);
    rig.append("app.log.1.gz", &packed[..packed.len() / 3]);
    rig.follow();
    rig.pass_seconds(6);
    rig.append("app.log.1.gz", &packed[packed.len() / 3..packed.len() / 2]);
    rig.pass_seconds(6);
    rig.append("app.log.1.gz", &packed[packed.len() / 2..]);
    rig.pass_seconds(20);
    assert_eq!(rig.texts().join("\n") + "\n", plain);
    assert!(rig.collected.lock().unwrap().lost.is_empty());
}

#[test]
fn several_compressed_runs_in_one_file_are_one_text() {
    let mut rig = Rig::files(&["app.log*"], Format::Text);
    rig.append("app.log.1.gz", [gzip("1\n2\n3\n4\n"), gzip("5\n")].concat());
    rig.follow();
    assert_eq!(rig.texts(), ["1", "2", "3", "4", "5"]);
    rig.release_all();
    rig.kill();
    rig.follow();
    assert!(rig.take().is_empty());
}

#[test]
fn compressed_files_are_old_when_reading_begins_at_the_end() {
    let mut rig = Rig::kubernetes().read_from(ReadFrom::End);
    rig.append(&name("20261122-100000.gz"), gzip(lines("a", 10)));
    rig.log(lines("b", 3));
    rig.follow();
    rig.log(lines("c", 1));
    rig.pass_seconds(3);
    assert_eq!(rig.texts(), ["c 0"]);
}

#[test]
fn what_is_no_compressed_file_at_all_is_counted() {
    let mut rig = Rig::kubernetes();
    rig.append(&name("20261122-100000.gz"), "no such thing");
    rig.append(&name("20261122-100001.gz"), "");
    rig.log(lines("b", 1));
    rig.follow();
    rig.pass_seconds(40);
    assert_eq!(rig.texts(), ["b 0"]);
    let lost = rig.collected.lock().unwrap().lost.clone();
    assert!(
        lost.iter().all(|(reason, bytes)| *reason == "corrupt_gzip" && *bytes > 0) && !lost.is_empty(),
        "{lost:?}"
    );
}

#[test]
fn a_record_in_parts_that_spans_a_compressed_file_and_the_next_is_joined() {
    let mut rig = Rig::kubernetes();
    let parts: String = (0..100).map(|n| cri(n, "stdout", "P", &"x".repeat(16_000))).collect();
    rig.append(&name("20261122-100000.gz"), gzip(out("a") + &parts));
    rig.log(cri(101, "stdout", "F", "end") + &out("b"));
    rig.follow();
    rig.pass_seconds(5);
    assert_eq!(rig.texts(), ["a".into(), "x".repeat(1_600_000) + "end", "b".into()]);
}
