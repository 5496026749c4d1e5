//! The sources as they run: on a thread, under the real clock, with notifications.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use weir_pipeline::source::{Mode, Source};

use super::rig::{Kind, Rig, cri, out};
use crate::KubernetesLogs;

fn run(rig: &Rig) -> JoinHandle<()> {
    let Kind::Kubernetes(settings) = &rig.kind else { panic!("not for Kubernetes") };
    let source = KubernetesLogs::new(settings.clone()).unwrap();
    let context = rig.context(Mode::Follow);
    std::thread::spawn(move || Box::new(source).run(context))
}

fn wait_for(rig: &Rig, count: usize) -> Duration {
    let start = Instant::now();
    while rig.collected.lock().unwrap().events.len() < count {
        assert!(start.elapsed() < Duration::from_secs(60), "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

#[test]
fn it_runs_finds_and_stops() {
    let rig = Rig::kubernetes();
    rig.log(out("a"));
    let thread = run(&rig);
    wait_for(&rig, 1);
    rig.append("shop_other_uid-2/main/0.log", out("b"));
    wait_for(&rig, 2);
    rig.rotate("20261122-100000");
    rig.log(out("c"));
    wait_for(&rig, 3);
    rig.stop().stop();
    let stopped = Instant::now();
    thread.join().unwrap();
    assert!(stopped.elapsed() < Duration::from_secs(5));
    assert_eq!(rig.texts(), ["a", "b", "c"]);
}

#[test]
fn a_change_in_a_folder_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let mut watch = crate::watch::Watch::new();
    if !watch.add(folder.path()) {
        // Where the machine gives no watches there is nothing to hear; looking is tested elsewhere.
        return;
    }
    let heard = |watch: &crate::watch::Watch| {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            let flagged = watch.take();
            if flagged.all || flagged.directories.contains(folder.path()) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        false
    };
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    std::fs::write(&a, "x").unwrap();
    assert!(heard(&watch), "created");
    std::fs::rename(&a, &b).unwrap();
    assert!(heard(&watch), "renamed");
    std::fs::remove_file(&b).unwrap();
    assert!(heard(&watch), "removed");
}

/// Writes numbered records, some in parts, as fast as it can, and rotates now and then.
fn write(folder: &Path, records: std::ops::Range<u32>) {
    fs::create_dir_all(folder).unwrap();
    let current = folder.join("0.log");
    let mut file = File::options().create(true).append(true).open(&current).unwrap();
    for n in records {
        if n % 1_500 == 1_499 {
            fs::rename(&current, folder.join(format!("0.log.20261122-{n:06}"))).unwrap();
            // The runtime still has the old file open when the new one is there.
            let next = File::create(&current).unwrap();
            file.write_all(cri(n, "stderr", "F", &format!("late {n}")).as_bytes()).unwrap();
            file = next;
        }
        let text = n.to_string();
        let line = match n % 7 {
            0 => {
                cri(n, "stdout", "P", &text) + &cri(n, "stderr", "F", "between") + &cri(n, "stdout", "F", ".")
            }
            _ => cri(n, "stdout", "F", &text),
        };
        file.write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn nothing_is_lost_or_doubled_while_busy_files_rotate() {
    const CONTAINERS: usize = 4;
    const RECORDS: u32 = 15_000;
    let rig = Rig::kubernetes();
    let folder = |n| rig.path(&format!("shop_pod-{n}_uid-{n}/main"));
    // No kubelet rotates a log within the milliseconds in which it is found for the first time: then the order of the
    // two files that are there afterwards is not known.
    (0..CONTAINERS).for_each(|n| write(&folder(n), 0..1));
    let thread = run(&rig);
    wait_for(&rig, 2 * CONTAINERS);
    std::thread::scope(|scope| {
        for n in 0..CONTAINERS {
            let folder = folder(n);
            scope.spawn(move || write(&folder, 1..RECORDS));
        }
    });
    let others = RECORDS.div_ceil(7) + RECORDS / 1_500;
    wait_for(&rig, CONTAINERS * (RECORDS + others) as usize);
    rig.stop().stop();
    thread.join().unwrap();
    let events = rig.take();
    let ids: HashSet<_> = events.iter().map(|event| event.id).collect();
    assert_eq!(ids.len(), events.len());
    let mut next: HashMap<&str, u32> = HashMap::new();
    for event in events.iter().filter(|event| event.attributes.stream == "stdout") {
        let expected = next.entry(&event.attributes.pod).or_default();
        assert_eq!(event.text().trim_end_matches('.'), expected.to_string());
        *expected += 1;
    }
    assert!(next.len() == CONTAINERS && next.values().all(|next| *next == RECORDS));
}
