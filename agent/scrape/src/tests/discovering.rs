//! Targets from files and servers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use weir_pipeline::source::Mode;

use super::rig::{Kept, Reply, Target, once, run_for, settings};
use crate::settings::{FileDiscovery, HttpDiscovery, HttpSettings, Job};
use crate::{Health, Scrape};

#[tokio::test(start_paused = true)]
async fn files_and_servers_name_targets() {
    let target = Target::always(Reply::text("a 1\n")).await;
    let groups =
        |zone: &str| format!(r#"[{{"targets": ["{}"], "labels": {{"zone": "{zone}"}}}}]"#, target.address);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("t.json");
    std::fs::write(&file, groups("file")).unwrap();
    let server = Target::always(Reply::of_type("application/json; charset=utf-8", groups("server"))).await;
    let discovery = |url: String| HttpDiscovery {
        url,
        refresh_interval: Duration::from_secs(60),
        http: HttpSettings::default(),
    };
    let files = vec![FileDiscovery {
        files: vec![file.display().to_string()],
        refresh_interval: Duration::from_secs(300),
    }];
    let servers =
        vec![discovery(format!("http://{}/sd", server.address)), discovery("http://127.0.0.1:1/".into())];
    let job = Job { name: "j".into(), files, servers, ..Job::default() };
    let (kept, metrics) = once(job).await;
    let mut zones = kept.values("a");
    zones.sort();
    assert_eq!(zones.len(), 2, "{zones:?}");
    assert!(zones[0].contains("zone=\"file\"") && zones[1].contains("zone=\"server\""), "{zones:?}");
    assert_eq!(metrics.discovery_failures.load(Ordering::Relaxed), 1);
    assert_eq!(server.header("x-prometheus-refresh-interval-seconds"), "60");
    assert_eq!(server.header("accept"), "application/json");
}

#[tokio::test(start_paused = true)]
async fn the_last_list_of_a_server_is_kept_while_it_fails() {
    let target = Target::always(Reply::text("a 1\n")).await;
    let groups = format!(r#"[{{"targets": ["{}"]}}]"#, target.address);
    let server = Target::new(move |number| match number {
        0 => Reply::of_type("application/json", groups.clone()),
        1 => Reply::status(500),
        2 => Reply::of_type("text/plain", "[]"),
        3 => Reply::of_type("application/json", "[{\"targets\": 1}]"),
        _ => Reply::of_type("application/json", "[]"),
    })
    .await;
    let servers = vec![HttpDiscovery {
        url: format!("http://{}/", server.address),
        refresh_interval: Duration::from_secs(60),
        http: HttpSettings::default(),
    }];
    let job = Job { name: "j".into(), servers, interval: Some(Duration::from_secs(10)), ..Job::default() };
    let scrape = Scrape::new(settings(job)).unwrap();
    let (metrics, kept) = (scrape.metrics(), Kept::default());
    run_for(scrape, Mode::Follow, Duration::from_secs(330), &kept).await;
    let history = kept.history("up");
    let good = history.iter().filter(|(_, value)| value == "1").count();
    assert!((24..=26).contains(&good), "{history:?}");
    assert_eq!(history.last().map(|(_, value)| &**value), Some("stale"));
    assert_eq!(metrics.discovery_failures.load(Ordering::Relaxed), 3);
    assert_eq!(metrics.count(Health::Up), 0);
}
