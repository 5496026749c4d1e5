//! The source on its two threads, in real time.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use weir_pipeline::source::{Mode, Source as _};

use super::rig::{Kept, context, group, settings};
use crate::Scrape;
use crate::settings::Job;

/// Answers connections, one after the other.
fn serve(listener: TcpListener, tell: std::sync::mpsc::SyncSender<()>) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { return };
        let mut head = [0; 4096];
        let _ = stream.read(&mut head);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\nConnection: close\r\n\r\na 1\n");
        if tell.send(()).is_err() {
            return;
        }
    }
}

fn job() -> (Job, std::sync::mpsc::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = std::sync::mpsc::sync_channel(100);
    std::thread::spawn(move || serve(listener, tell));
    (Job { name: "j".into(), groups: vec![group(&[&address])], ..Job::default() }, told)
}

#[test]
fn a_single_run_scrapes_once_and_ends() {
    let (kept, (job, told)) = (Kept::default(), job());
    let (_folder, context) = context(Mode::Once, &kept);
    let counted = std::sync::Arc::clone(&context.metrics);
    Box::new(Scrape::new(settings(job)).unwrap()).run(context);
    assert_eq!((kept.values("a").len(), kept.values("up").len()), (1, 1));
    assert_eq!(counted.events.load(std::sync::atomic::Ordering::Relaxed), 6);
    assert_eq!(counted.bytes.load(std::sync::atomic::Ordering::Relaxed), 4);
    assert!(told.try_recv().is_ok());
}

#[test]
fn it_stops_at_once_and_nothing_becomes_stale() {
    let (kept, (mut job, told)) = (Kept::default(), job());
    // One that takes no connection is no hindrance.
    job.groups.push(group(&["10.255.255.1:9"]));
    let (_folder, context) = context(Mode::Follow, &kept);
    let stop = context.stop.clone();
    let source = Box::new(Scrape::new(settings(job)).unwrap());
    let thread = std::thread::spawn(move || source.run(context));
    told.recv_timeout(Duration::from_secs(10)).unwrap();
    let begin = Instant::now();
    stop.stop();
    thread.thread().unpark();
    thread.join().unwrap();
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
    assert!(kept.take().iter().all(|seen| seen.value != "stale"));
}
